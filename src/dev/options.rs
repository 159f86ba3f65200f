//! What a stack is made of, before anything is started.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use tgp_vault::softhsm;

use super::DevError;

/// The loopback ports that a stack listens on.
#[derive(Clone, Copy)]
pub struct Ports {
    pub gateway: u16,
    pub operators: u16,
    pub health: u16,
    pub tool: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { gateway: 8443, operators: 8444, health: 9464, tool: 8480 }
    }
}

impl Ports {
    /// Four ports that were free a moment ago.
    pub fn free() -> Result<Self, DevError> {
        let listeners = [listener()?, listener()?, listener()?, listener()?];
        let mut ports = [0; 4];
        for (port, listener) in ports.iter_mut().zip(&listeners) {
            *port = listener.local_addr().map_err(|e| DevError::start("a listener", e))?.port();
        }
        let [gateway, operators, health, tool] = ports;
        Ok(Self { gateway, operators, health, tool })
    }

    pub(super) fn check_free(self) -> Result<(), DevError> {
        for port in [self.gateway, self.operators, self.health, self.tool] {
            TcpListener::bind(("127.0.0.1", port)).map_err(|_| DevError::Port { port })?;
        }
        Ok(())
    }
}

/// Below the ports that systems give to connections which go out (RFC 6335 §6: from 49152 on; Linux: from 32768 on), so that
/// none of those takes it before it is listened at.
fn listener() -> Result<TcpListener, DevError> {
    let mut last = None;
    for _ in 0..64 {
        let random = uuid::Uuid::new_v4().as_u64_pair().0;
        let port = 10_000 + u16::try_from(random % 22_000).unwrap_or(0);
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    Err(DevError::start("a listener", last.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into())))
}

/// What a stack is made of.
pub struct StackOptions {
    pub(super) root: PathBuf,
    pub(super) ports: Ports,
    pub(super) tgp: Option<PathBuf>,
    pub(super) apart: bool,
    pub(super) token_lifetime_s: u32,
    pub(super) gateway_config: String,
    pub(super) module: Option<PathBuf>,
    pub(super) environment: Environment,
}

/// What the parts find in their environment beside what they need.
#[derive(Clone, Default)]
pub(super) struct Environment {
    pub(super) vault: Vec<(&'static str, PathBuf)>,
    pub(super) gateway: Vec<(&'static str, PathBuf)>,
    pub(super) postgres: Vec<(&'static str, PathBuf)>,
}

impl Environment {
    pub(super) fn of<'a>(pairs: &'a [(&'static str, PathBuf)]) -> Vec<(&'a str, &'a Path)> {
        pairs.iter().map(|(name, value)| (*name, value.as_path())).collect()
    }
}

impl StackOptions {
    pub(super) fn module_or_softhsm(&self) -> Result<PathBuf, DevError> {
        let module = self.module.clone().or_else(softhsm::module);
        module.ok_or(DevError::Missing { what: "SoftHSM", package: "softhsm2" })
    }

    /// Everything below `root`; vault and gateway as users of their own when the caller is root.
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            ports: Ports::default(),
            tgp: None,
            apart: rustix::process::geteuid().is_root(),
            token_lifetime_s: 300,
            gateway_config: String::new(),
            module: None,
            environment: Environment::default(),
        }
    }

    pub fn ports(mut self, ports: Ports) -> Self {
        self.ports = ports;
        self
    }

    /// The binary to run the parts with; the running one when not said.
    pub fn tgp(mut self, path: &Path) -> Self {
        self.tgp = Some(path.to_owned());
        self
    }

    /// Everything as the caller's own user.
    pub fn single_domain(mut self) -> Self {
        self.apart = false;
        self
    }

    pub fn token_lifetime_s(mut self, seconds: u32) -> Self {
        self.token_lifetime_s = seconds;
        self
    }

    /// The PKCS#11 module; SoftHSM's own when not said.
    pub fn module(mut self, path: PathBuf) -> Self {
        self.module = Some(path);
        self
    }

    /// An environment variable of one part, from its first start on (a faked clock, say).
    pub fn environment(mut self, part: Part, name: &'static str, value: PathBuf) -> Self {
        let Environment { vault, gateway, postgres } = &mut self.environment;
        let pairs = match part {
            Part::Vault => vault,
            Part::Gateway => gateway,
            Part::Postgres => postgres,
        };
        pairs.push((name, value));
        self
    }

    /// What vault and gateway log, as `TGP_LOG` says it.
    pub fn log(self, filter: &str) -> Self {
        let value = PathBuf::from(filter);
        self.environment(Part::Vault, "TGP_LOG", value.clone()).environment(Part::Gateway, "TGP_LOG", value)
    }

    /// Further configuration, appended as it is.
    pub fn config(mut self, toml: &str) -> Self {
        self.gateway_config.push_str(toml);
        self
    }
}

/// The processes of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Vault,
    Gateway,
    Postgres,
}
