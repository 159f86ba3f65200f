//! The deployment under test, and the agents that load it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
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
    /// Where the database lies when it has a disk of its own. Unmounted once the database has stopped.
    _disk: Option<SmallDisk>,
    pub directory: TempDir,
}

/// Limits that a load from a few dozen agents on one address would meet.
const ROOM: &str = "live_nonces = 1000000\nfailures_per_minute = 1000000\n";

impl World {
    /// As a newcomer's `tgp dev` would be: vault, gateway and database as users of their own when we are root.
    pub fn start(tgp: &Path) -> Result<Self, Failure> {
        Self::start_in(Self::directory()?, None, tgp, |options| options)
    }

    /// A directory that the parts' users can reach.
    pub fn directory() -> Result<TempDir, Failure> {
        let directory = TempDir::with_prefix("tgp-proof-")?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        Ok(directory)
    }

    /// In a directory that was prepared.
    pub fn start_in(
        directory: TempDir,
        disk: Option<SmallDisk>,
        tgp: &Path,
        adapt: impl FnOnce(StackOptions) -> StackOptions,
    ) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let options = adapt(Self::options(&root(&directory), tgp).ports(Ports::free()?));
        let stack = Stack::start(options, &runtime)?;
        stack.prepare_sample_tool()?;
        Ok(Self { stack, runtime, _disk: disk, directory })
    }

    /// The options of the deployment below `root`, for another gateway too.
    pub fn options(root: &Path, tgp: &Path) -> StackOptions {
        StackOptions::new(root.to_owned()).tgp(tgp).config(ROOM)
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

    fn agent(&self, handle: &str) -> Result<LoadAgent, Failure> {
        let directory = self.enrolled(handle)?;
        self.stack.operator(&["grant", "add", handle, "mail", "--action", "list", "--action", "send"])?;
        LoadAgent::load(&directory, &self.ca(), self.issuer(), self.stack.ports().gateway)
    }

    /// Invites and enrols; where the agent lives.
    pub fn enrolled(&self, handle: &str) -> Result<PathBuf, Failure> {
        let at = |name: &str| self.directory.path().join(name);
        let (code, directory) = (at(&format!("{handle}.code")), at(handle));
        self.stack.operator(&["agent", "create", handle, "--code-file", &code.display().to_string()])?;
        let text = Zeroizing::new(fs::read_to_string(&code)?);
        let gateway = Origin::parse(&self.issuer())?;
        self.runtime.block_on(enrol(Enrolment {
            code: &Enrolment::parse_code(&text)?,
            gateway: &gateway,
            dir: &directory,
            show_master_key: None,
        }))?;
        Ok(directory)
    }
}

/// Where the deployment lies.
pub fn root(directory: &TempDir) -> PathBuf {
    directory.path().join("d")
}

/// A small file system for the database.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it (needs root).
    pub fn mount(at: PathBuf, size: &str) -> Result<Self, Failure> {
        fs::create_dir_all(&at)?;
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(&at).status()?;
        if mount.success() { Ok(Self(at)) } else { Err("a small disk cannot be mounted: this needs root".into()) }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Nothing can be done about one that stays.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
