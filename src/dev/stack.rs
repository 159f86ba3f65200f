//! The stack: a private PostgreSQL cluster, a private SoftHSM token, vault, gateways and the sample tool, each a process
//! of its own (the sample tool is a task of ours). Stopped when dropped, the gateway first and the database last.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use secrecy::SecretString;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::layout::{Layout, User};
use super::options::{Environment, Ports, StackOptions};
use super::postgres::Postgres;
use super::process::{self, Process};
use super::{DevError, SampleTool};

/// A gateway, and how to start it again.
struct Gateway {
    process: Process,
    config: PathBuf,
    ports: Ports,
    log: &'static str,
}

/// A running stack.
pub struct Stack {
    gateways: Vec<Gateway>,
    environment: Environment,
    vault: Process,
    postgres: Postgres,
    tool: SampleTool,
    tool_task: JoinHandle<std::io::Result<()>>,
    tool_secret: PathBuf,
    ports: Ports,
    layout: Layout,
}

impl Stack {
    /// Makes what is missing below the root and starts everything; ready for requests when it returns.
    pub fn start(options: StackOptions, runtime: &Runtime) -> Result<Self, DevError> {
        options.ports.check_free()?;
        let module = options.module_or_softhsm()?;
        let ours = std::env::current_exe().map_err(|e| DevError::start("tgp", e))?;
        let tgp = options.tgp.as_deref().unwrap_or(&ours);
        let layout = Layout::prepare(options.root.clone(), tgp, options.apart)?;
        let environment = options.environment.clone();
        let postgres = Postgres::start(&layout, &Environment::of(&environment.postgres))?;
        layout.secret("vault/pin", &layout.vault, random_hex(&layout, 12)?.as_bytes())?;
        layout.secret("vault/so-pin", &layout.vault, random_hex(&layout, 12)?.as_bytes())?;
        let tool_secret = layout.secret("sample-tool.secret", &User::caller()?, random_hex(&layout, 24)?.as_bytes())?;
        let text = configuration(&layout, &postgres, &module, &options, options.ports);
        write(&layout.config(), &text)?;
        write(&layout.path("softhsm2.conf"), &softhsm_configuration(&layout))?;

        let tool = SampleTool::new(read_secret(&tool_secret)?);
        let address = SocketAddr::from(([127, 0, 0, 1], options.ports.tool));
        let tool_task = runtime.spawn(tool.clone().serve(address));

        let migrate = layout.postgres.command(&layout.tgp, &[]);
        run_tgp("tgp migrate", migrate, &["migrate", "--config", &text_of(&layout.config())])?;
        initialise(&layout, &environment)?;
        let vault = start_vault(&layout, &environment)?;
        let gateway = Gateway::start(&layout, layout.config(), options.ports, "gateway", &environment)?;
        connect(&layout, options.ports)?;
        Ok(Self {
            gateways: vec![gateway],
            environment,
            vault,
            postgres,
            tool,
            tool_task,
            tool_secret,
            ports: options.ports,
            layout,
        })
    }

    /// A second gateway beside the first, on the same database and vault.
    /// `adapt` has the last word on its configuration.
    pub fn start_another_gateway(
        &mut self,
        options: &StackOptions,
        ports: Ports,
        adapt: impl FnOnce(String) -> String,
    ) -> Result<(), DevError> {
        let module = options.module_or_softhsm()?;
        let config = self.layout.path("tgp-2.toml");
        // Its issuer is the deployment's, whatever port it listens on.
        let text = configuration(&self.layout, &self.postgres, &module, options, ports);
        let own = format!("issuer = \"https://localhost:{}\"", ports.gateway);
        let text = text.replace(&own, &format!("issuer = \"https://localhost:{}\"", self.ports.gateway));
        write(&config, &adapt(text))?;
        self.gateways.push(Gateway::start(&self.layout, config, ports, "gateway-2", &self.environment)?);
        Ok(())
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    pub fn ports(&self) -> Ports {
        self.ports
    }

    pub fn tool(&self) -> &SampleTool {
        &self.tool
    }

    pub fn vault(&mut self) -> &mut Process {
        &mut self.vault
    }

    pub fn gateway(&mut self) -> &mut Process {
        &mut self.gateways[0].process
    }

    /// The second gateway, once it was started.
    pub fn other_gateway(&mut self) -> Option<&mut Process> {
        self.gateways.get_mut(1).map(|gateway| &mut gateway.process)
    }

    pub fn postgres(&mut self) -> &mut Process {
        &mut self.postgres.process
    }

    /// The URL by which `role` reaches the database (from this machine, as a user that may be that role).
    pub fn database(&self, role: &str) -> String {
        self.postgres.url(role)
    }

    /// Stops and starts the vault.
    pub fn restart_vault(&mut self) -> Result<(), DevError> {
        self.vault.stop();
        self.vault = start_vault(&self.layout, &self.environment)?;
        self.wait_ready()
    }

    /// Waits until the first gateway says that it is ready.
    pub fn wait_ready(&mut self) -> Result<(), DevError> {
        wait_ready(&mut self.gateways[0].process, self.ports)
    }

    /// Starts what has ended, as a service manager does. Returns once each accepts connections; health is another matter.
    pub fn start_what_ended(&mut self) -> Result<(), DevError> {
        if self.postgres.process.check().is_err() {
            self.postgres.start_again(&self.layout, &Environment::of(&self.environment.postgres))?;
        }
        if self.vault.check().is_err() {
            self.vault = start_vault(&self.layout, &self.environment)?;
        }
        for gateway in &mut self.gateways {
            if gateway.process.check().is_err() {
                gateway.process = gateway.spawn(&self.layout, &self.environment)?;
            }
        }
        Ok(())
    }

    /// `tgp` with the first owner's context, as a person at a shell would run it.
    pub fn operator(&self, args: &[&str]) -> Result<String, DevError> {
        let mut command = Command::new(&self.layout.tgp);
        command.env("TGP_OPERATOR", self.layout.operator());
        run_tgp("tgp", command, args)
    }

    /// The sample tool `mail`, its credential and the tenant's keys, unless they are there.
    pub fn prepare_sample_tool(&self) -> Result<(), DevError> {
        self.operator(&["tenant", "prepare"])?;
        let tools = self.operator(&["tool", "list", "--json"])?;
        if tools.contains("\"mail\"") {
            return Ok(());
        }
        let upstream = format!("http://127.0.0.1:{}", self.ports.tool);
        self.operator(&[
            "tool",
            "add",
            "mail",
            "--upstream",
            &upstream,
            "--allow-private",
            "--action",
            "list=GET /messages",
            "--action",
            "send=POST /messages",
            "--action",
            "read=GET /messages/{id}",
            "--action",
            "delete=DELETE /messages/{id}",
            "--action",
            "events=GET /events",
        ])?;
        self.operator(&["tool", "credential", "mail", "--bearer", "--secret-file", &text_of(&self.tool_secret)])?;
        Ok(())
    }

    /// What was made, where it listens and what to type next.
    pub fn welcome(&self, fresh: bool) -> String {
        let Ports { gateway, operators, health, tool } = self.ports;
        let (root, operator) = (self.layout.root.display(), self.layout.operator());
        let apart = if self.layout.vault.ids.is_some() {
            "as user tgp-vault"
        } else {
            "single-domain: same user as the gateway"
        };
        let mut text = String::new();
        let made = if fresh { "made" } else { "found" };
        let _ = write!(
            text,
            "\n{made} in {root}\n  token       SoftHSM, eight keys (tgp key list shows them)\n  roster      version 1, you are its owner\n  \
             database    PostgreSQL, Unix socket only\n  tool        mail, with a bearer credential that no agent will see\n\n\
             running\n  gateway     https://localhost:{gateway}   agents\n  operators   https://localhost:{operators}   you\n  \
             health      http://127.0.0.1:{health}/health/ready\n  sample tool http://127.0.0.1:{tool}\n  vault       {apart}\n\n\
             next, in another shell\n  export PATH={bin}:$PATH TGP_OPERATOR={operator}\n  \
             tgp agent create travel-bot --code-file code\n  tgp enrol --code-file code --url https://localhost:{gateway} --dir travel-bot\n  \
             tgp grant add travel-bot mail --action list --action send\n  \
             tgp call --agent travel-bot mail send -d '{{\"to\":\"ada\",\"text\":\"hello\"}}'\n  tgp audit tail\n\nCtrl-C stops all of it\n",
            bin = self.layout.path("bin").display(),
            operator = operator.display(),
        );
        text
    }

    /// Waits for Ctrl-C, SIGTERM, or a part that ended by itself.
    pub async fn run_until_interrupted(&mut self) -> Result<(), DevError> {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
            .map_err(|e| DevError::start("signal handling", e))?;
        loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                () = tokio::time::sleep(Duration::from_millis(500)) => {
                    self.vault.check()?;
                    self.postgres.process.check()?;
                    for gateway in &mut self.gateways {
                        gateway.process.check()?;
                    }
                }
            }
        }
    }

    pub fn stop(&mut self) {
        for gateway in &mut self.gateways {
            gateway.process.stop();
        }
        self.vault.stop();
        self.postgres.process.stop();
        self.tool_task.abort();
        while !self.tool_task.is_finished() {
            std::thread::sleep(Duration::from_millis(1)); // its port is free once it has ended
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The owner's key, then the token's keys, roster 1 and the server certificate: once.
fn initialise(layout: &Layout, environment: &Environment) -> Result<(), DevError> {
    let operator = text_of(&layout.operator());
    if !layout.operator().join("operator.key").exists() {
        run_tgp("tgp operator keygen", Command::new(&layout.tgp), &["operator", "keygen", "--dir", &operator])?;
    }
    if layout.path("vault/vault.state").exists() {
        return Ok(());
    }
    let public = layout.path("owner.pub");
    let owner =
        std::fs::read_to_string(layout.operator().join("operator.pub")).map_err(|e| DevError::file(&public, e))?;
    write(&public, &owner)?; // readable by the vault's user, unlike the owner's own directory
    let conf = layout.path("softhsm2.conf");
    let mut environment = Environment::of(&environment.vault);
    environment.push(("SOFTHSM2_CONF", conf.as_path()));
    let init = layout.vault.command(&layout.tgp, &environment);
    let (config, public, so_pin) = (text_of(&layout.config()), text_of(&public), text_of(&layout.path("vault/so-pin")));
    let args = [
        "init",
        "--config",
        &config,
        "--owner",
        &public,
        "--server-name",
        "localhost",
        "--server-name",
        "127.0.0.1",
        "--new-soft-token",
        "--so-pin-file",
        &so_pin,
    ];
    run_tgp("tgp init", init, &args).map(|_| ())
}

/// Tells the owner's directory which deployment it is for, and leaves the CA's certificate for whoever wants it.
fn connect(layout: &Layout, ports: Ports) -> Result<(), DevError> {
    let (operator, deployment) = (text_of(&layout.operator()), layout.path("vault/deployment.json"));
    if !layout.operator().join("operator.json").exists() {
        let (url, file) = (format!("https://localhost:{}", ports.operators), text_of(&deployment));
        let args = ["operator", "connect", "--operator", &operator, "--url", &url, "--deployment-file", &file];
        run_tgp("tgp operator connect", Command::new(&layout.tgp), &args)?;
    }
    let text = std::fs::read_to_string(&deployment).map_err(|e| DevError::file(&deployment, e))?;
    let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    write(&layout.path("ca.pem"), json["ca_pem"].as_str().unwrap_or_default())
}

fn start_vault(layout: &Layout, environment: &Environment) -> Result<Process, DevError> {
    let (conf, config) = (layout.path("softhsm2.conf"), text_of(&layout.config()));
    let mut environment = Environment::of(&environment.vault);
    environment.push(("SOFTHSM2_CONF", conf.as_path()));
    let _ = std::fs::remove_file(layout.socket()); // a socket left by a vault that was killed
    let args = ["vault", "--config", &config];
    let mut vault =
        Process::start("vault", &layout.tgp, &args, &environment, &layout.vault, &layout.log("vault"), Signal::TERM)?;
    let socket = layout.socket();
    vault.wait_until(|| std::os::unix::net::UnixStream::connect(&socket).is_ok())?;
    Ok(vault)
}

impl Gateway {
    fn start(
        layout: &Layout,
        config: PathBuf,
        ports: Ports,
        log: &'static str,
        environment: &Environment,
    ) -> Result<Self, DevError> {
        let process = spawn_gateway(layout, &config, log, environment)?;
        let mut gateway = Self { process, config, ports, log };
        wait_ready(&mut gateway.process, gateway.ports)?;
        Ok(gateway)
    }

    fn spawn(&self, layout: &Layout, environment: &Environment) -> Result<Process, DevError> {
        spawn_gateway(layout, &self.config, self.log, environment)
    }
}

fn spawn_gateway(layout: &Layout, config: &Path, log: &str, environment: &Environment) -> Result<Process, DevError> {
    let config = text_of(config);
    let args = ["serve", "--config", &config];
    let environment = Environment::of(&environment.gateway);
    Process::start("gateway", &layout.tgp, &args, &environment, &layout.gateway, &layout.log(log), Signal::TERM)
}

fn wait_ready(gateway: &mut Process, ports: Ports) -> Result<(), DevError> {
    gateway.wait_until(|| ready(ports.health).unwrap_or(false))
}

/// Asks the health listener.
fn ready(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply.starts_with("HTTP/1.1 200"))
}

fn configuration(layout: &Layout, postgres: &Postgres, module: &Path, options: &StackOptions, ports: Ports) -> String {
    let Ports { gateway, operators, health, .. } = ports;
    let lifetime = options.token_lifetime_s;
    format!(
        "# written by tgp dev at every start; not for production\n\
         issuer = \"https://localhost:{gateway}\"\ntrust_domain = \"tgp-dev.example\"\n\n\
         [listen]\ngateway = \"127.0.0.1:{gateway}\"\noperators = \"127.0.0.1:{operators}\"\nhealth = \"127.0.0.1:{health}\"\n\n\
         [vault]\nsocket = \"{socket}\"\nuid = {vault}\ngateway_uids = [{uid}]\n\n\
         [database]\nurl = \"{url}\"\nadmission_url = \"{admission}\"\nowner_url = \"{owner}\"\n\n\
         [token]\nmodule = \"{module}\"\nlabel = \"tgp\"\npin_file = \"vault/pin\"\nstate = \"vault/vault.state\"\n\n\
         [limits]\ntoken_lifetime_s = {lifetime}\n{more}",
        socket = layout.socket().display(),
        vault = layout.vault.uid(),
        uid = layout.gateway.uid(),
        url = postgres.url("tgp_gateway"),
        admission = postgres.url("tgp_admission"),
        owner = postgres.url("postgres"),
        module = module.display(),
        more = options.gateway_config,
    )
}

fn softhsm_configuration(layout: &Layout) -> String {
    format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        layout.path("token").display()
    )
}

fn run_tgp(name: &'static str, mut command: Command, args: &[&str]) -> Result<String, DevError> {
    process::run(name, command.args(args))
}

fn write(path: &Path, text: &str) -> Result<(), DevError> {
    std::fs::write(path, text).map_err(|e| DevError::file(path, e))
}

fn read_secret(path: &Path) -> Result<SecretString, DevError> {
    let text = std::fs::read_to_string(path).map_err(|e| DevError::file(path, e))?;
    Ok(SecretString::from(text))
}

fn text_of(path: &Path) -> String {
    path.display().to_string()
}

/// `bytes` random bytes in hexadecimal, from the kernel.
fn random_hex(layout: &Layout, bytes: usize) -> Result<String, DevError> {
    let mut raw = vec![0; bytes];
    rustix::rand::getrandom(&mut raw, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| DevError::file(&layout.root, e.into()))?;
    Ok(raw.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}
