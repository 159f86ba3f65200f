//! A deployment of one's own for each test: database cluster, token, vault and gateway, in a temporary directory.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tgp::dev::{Ports, Stack, StackOptions};
use tokio::runtime::Runtime;

use crate::wire::{Certificate, TestAgent, Wire, read};

pub const TGP: &str = env!("CARGO_BIN_EXE_tgp");

pub struct Deployment {
    pub stack: Stack,
    pub runtime: Runtime,
    pub directory: TempDir,
}

/// How a test's deployment differs from the usual one.
#[derive(Default)]
pub struct Setup {
    pub token_lifetime_s: Option<u32>,
    pub config: &'static str,
    /// What vault and gateway log.
    pub log: Option<&'static str>,
    /// Vault and gateway as users of their own, where the test may make them so.
    pub apart: bool,
}

impl Deployment {
    pub fn start() -> Self {
        Self::with(Setup::default())
    }

    pub fn with(setup: Setup) -> Self {
        let directory = TempDir::with_prefix("tgp-").expect("a directory");
        let runtime = Runtime::new().expect("a runtime");
        let options = Self::options(&directory, &setup).ports(Ports::free().expect("ports"));
        let stack = Stack::start(options, &runtime).unwrap_or_else(|e| panic!("{e}"));
        stack.prepare_sample_tool().unwrap_or_else(|e| panic!("{e}"));
        Self { stack, runtime, directory }
    }

    /// The options of this deployment, for a second gateway.
    pub fn options(directory: &TempDir, setup: &Setup) -> StackOptions {
        let mut options = StackOptions::new(directory.path().join("d")).tgp(Path::new(TGP)).config(setup.config);
        if setup.apart {
            let passable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(directory.path(), passable).expect("others may pass");
        } else {
            options = options.single_domain();
        }
        if let Some(filter) = setup.log {
            options = options.log(filter);
        }
        options.token_lifetime_s(setup.token_lifetime_s.unwrap_or(300))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn wire(&self) -> Wire {
        self.wire_to(self.stack.ports().gateway)
    }

    pub fn wire_to(&self, port: u16) -> Wire {
        let issuer = format!("https://localhost:{}", self.stack.ports().gateway);
        Wire { port, issuer, ca: self.path("d/ca.pem"), http2: false }
    }

    /// `tgp` as the first owner; panics with its words when it fails.
    #[track_caller]
    pub fn operator(&self, args: &[&str]) -> String {
        self.stack.operator(args).unwrap_or_else(|e| panic!("tgp {args:?}: {e}"))
    }

    #[track_caller]
    pub fn operator_json(&self, args: &[&str]) -> Value {
        let text = self.operator(&[args, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("tgp {args:?}: {e}: {text}"))
    }

    /// `tgp` as anybody would run it, whatever comes of it.
    pub fn tgp(&self, args: &[&str]) -> Output {
        let mut command = Command::new(TGP);
        command.args(args).current_dir(self.directory.path()).stdin(Stdio::null());
        command.env("TGP_OPERATOR", self.path("d/operator")).output().expect("tgp runs")
    }

    /// Creates and enrols an agent.
    pub fn agent(&self, handle: &str) -> TestAgent {
        self.agent_of(handle, None)
    }

    /// The same in a tenant.
    pub fn agent_of(&self, handle: &str, tenant: Option<&str>) -> TestAgent {
        let of: Vec<&str> = tenant.into_iter().flat_map(|tenant| ["--tenant", tenant]).collect();
        self.agent_with(handle, &of)
    }

    /// The same with further arguments of `tgp agent create`.
    pub fn agent_with(&self, handle: &str, args: &[&str]) -> TestAgent {
        let code = self.path(&format!("{handle}.code"));
        let directory = self.path(handle);
        let mut create = vec!["agent", "create", handle, "--code-file", code.to_str().expect("utf-8")];
        create.extend(args);
        self.operator(&create);
        let url = self.wire().issuer;
        let code = code.display().to_string();
        let output =
            self.tgp(&["enrol", "--code-file", &code, "--url", &url, "--dir", &directory.display().to_string()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        load(&directory)
    }

    /// Lets `agent` do `actions` with `tool`.
    pub fn grant(&self, agent: &str, tool: &str, actions: &[&str]) -> Value {
        let mut args = vec!["grant", "add", agent, tool];
        for action in actions {
            args.extend(["--action", action]);
        }
        self.operator_json(&args)
    }

    /// Records of decisions, oldest first, as `tgp audit tail --json` prints them: one object a line.
    pub fn records(&self) -> Vec<Value> {
        lines(&self.operator(&["audit", "tail", "--json", "-n", "1000"]))
    }

    /// Records of outcomes.
    pub fn outcomes(&self) -> Vec<Value> {
        lines(&self.operator(&["audit", "tail", "--outcomes", "--json", "-n", "1000"]))
    }

    /// Runs SQL as the database's owner and returns psql's output, unaligned.
    #[track_caller]
    pub fn sql(&self, role: &str, query: &str) -> String {
        let output = self.psql(role, query);
        assert!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("utf-8").trim().to_owned()
    }

    pub fn psql(&self, role: &str, query: &str) -> Output {
        let mut psql = Command::new("psql");
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &self.stack.database(role), "-c", query]);
        psql.output().expect("psql runs")
    }
}

pub fn load(directory: &Path) -> TestAgent {
    let about: Value = serde_json::from_str(&read(directory, "agent.json")).expect("agent.json");
    let (dir, _) = tgp_client::AgentDir::open(directory).expect("an agent's directory");
    TestAgent {
        directory: directory.to_owned(),
        id: about["agent"].as_str().expect("agent id").to_owned(),
        certificate: Certificate { chain: directory.join("chain.pem"), key: directory.join("tls.key") },
        identity: dir.identity().expect("an identity key"),
        master_key: read(directory, "master-key").trim().to_owned(),
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}
