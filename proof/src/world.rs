//! The deployment under test, and the agents that load it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use tgp::dev::{Ports, Stack, StackOptions};
use tgp_client::{Enrolment, Origin, enrol};
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use crate::Failure;
use crate::agent::LoadAgent;
use crate::cpu::Part;

/// A running deployment in a temporary directory, with the sample tool `mail`.
pub struct World {
    pub stack: Stack,
    pub runtime: Runtime,
    pub directory: TempDir,
}

/// Limits that a load from a few dozen agents on one address would meet.
const ROOM: &str = "live_nonces = 1000000\nfailures_per_minute = 1000000\n";

impl World {
    pub fn start(tgp: &Path, adapt: impl FnOnce(StackOptions) -> StackOptions) -> Result<Self, Failure> {
        let directory = TempDir::with_prefix("tgp-proof-")?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let options = StackOptions::new(directory.path().join("d")).tgp(tgp).ports(Ports::free()?).config(ROOM);
        let stack = Stack::start(adapt(options), &runtime)?;
        stack.prepare_sample_tool()?;
        Ok(Self { stack, runtime, directory })
    }

    pub fn issuer(&self) -> String {
        format!("https://localhost:{}", self.stack.ports().gateway)
    }

    pub fn ca(&self) -> PathBuf {
        self.directory.path().join("d/ca.pem")
    }

    /// The processes whose CPU a request costs.
    pub fn parts(&mut self) -> Vec<Part> {
        vec![
            Part { name: "gateway", pid: self.stack.gateway().id() },
            Part { name: "vault", pid: self.stack.vault().id() },
            Part { name: "postgresql", pid: self.stack.postgres().id() },
        ]
    }

    /// `count` agents that may list and send with `mail`, each with a token in hand.
    pub fn agents(&self, count: usize) -> Result<Vec<Arc<LoadAgent>>, Failure> {
        let mut agents = Vec::with_capacity(count);
        for n in 0..count {
            agents.push(Arc::new(self.agent(&format!("load-{n}"))?));
        }
        Ok(agents)
    }

    /// Invites, enrols and grants.
    pub fn agent(&self, handle: &str) -> Result<LoadAgent, Failure> {
        let at = |name: &str| self.directory.path().join(name);
        let (code, directory) = (at(&format!("{handle}.code")), at(handle));
        self.stack.operator(&["agent", "create", handle, "--code-file", &code.display().to_string()])?;
        let text = Zeroizing::new(std::fs::read_to_string(&code)?);
        let gateway = Origin::parse(&self.issuer())?;
        self.runtime.block_on(enrol(Enrolment {
            code: &Enrolment::parse_code(&text)?,
            gateway: &gateway,
            dir: &directory,
            show_master_key: None,
        }))?;
        self.stack.operator(&["grant", "add", handle, "mail", "--action", "list", "--action", "send"])?;
        LoadAgent::load(&directory, &self.ca(), self.stack.ports().gateway)
    }
}
