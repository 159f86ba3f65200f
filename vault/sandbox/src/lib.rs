//! What vault and gateway take from themselves before they serve: dumps and tracing
//! ([`harden()`]), then capabilities, files, networks and system calls ([`Sandbox`]).
//!
//! Each layer holds alone. Landlock names the files, seccomp the system calls, and without capabilities and
//! new privileges neither can be undone. Nothing here trusts what the process does later: what was
//! given up cannot be had back.
//!
//! [`Sandbox::enter`] acts on the calling thread and on all that it starts from then on, so it comes
//! before the first of them.
#![warn(missing_docs)]

mod capabilities;
mod files;
mod harden;
pub mod probe;
mod syscalls;

use std::fmt;
use std::path::{Path, PathBuf};

pub use capabilities::spawn_without_capabilities;
pub use harden::harden;

/// Why a process does not confine itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The kernel refused a step that every kernel takes.
    #[error("{what}: {source}")]
    System {
        /// The step.
        what: &'static str,
        /// Its error.
        source: std::io::Error,
    },
    /// Something is missing and the configuration requires all of it.
    #[error("the sandbox is required and not whole: {0}")]
    NotWhole(String),
    /// A defect here: the rules do not compile.
    #[error("the sandbox's rules: {0}")]
    Rules(String),
}

impl SandboxError {
    fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

/// How much must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Nothing is given up. For finding out whether the sandbox is what is in the way.
    Off,
    /// Whatever this kernel knows; what it does not is warned of.
    #[default]
    On,
    /// All of it, or the process does not start.
    Required,
}

/// Which networks remain.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Network {
    /// Unix sockets only.
    None,
    /// IPv4 and IPv6; TCP connections to these ports only, to every port where none is named. Nothing
    /// can be bound any more.
    Connect(Vec<u16>),
}

/// What a process keeps.
#[derive(Clone, Debug)]
pub struct Sandbox {
    mode: Mode,
    network: Network,
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
}

impl Sandbox {
    /// Keeps what any process here needs: libraries, name resolution, time zones, trust anchors,
    /// randomness.
    pub fn new(mode: Mode, network: Network) -> Self {
        Self { mode, network, read: files::COMMON.iter().map(PathBuf::from).collect(), write: Vec::new() }
    }

    /// Keeps reading this file, or all below this directory. Missing ones are passed over.
    #[must_use]
    pub fn read(mut self, path: impl AsRef<Path>) -> Self {
        self.read.push(path.as_ref().to_owned());
        self
    }

    /// Keeps reading and changing what is below this directory.
    #[must_use]
    pub fn write(mut self, path: impl AsRef<Path>) -> Self {
        self.write.push(path.as_ref().to_owned());
        self
    }

    /// Gives up everything else, for good.
    ///
    /// # Errors
    /// When something is missing and [`Mode::Required`] asks for all of it.
    pub fn enter(self) -> Result<Entered, SandboxError> {
        let Self { mode, network, read, write } = self;
        if mode == Mode::Off {
            return Ok(Entered { holds: Vec::new(), missing: vec!["switched off".to_owned()] });
        }
        let mut entered = Entered { holds: Vec::new(), missing: Vec::new() };
        if threads() > 1 {
            entered.missing.push("other threads run already".to_owned());
        }
        capabilities::give_up()?;
        entered.holds.push("no capabilities".to_owned());
        match files::confine(&network, &read, &write) {
            Ok(held) => entered.holds.push(held),
            Err(why) => entered.missing.push(why),
        }
        match syscalls::confine(&network) {
            Ok(()) => entered.holds.push("seccomp".to_owned()),
            Err(syscalls::Unconfined::Rules(why)) => return Err(SandboxError::Rules(why)),
            Err(syscalls::Unconfined::Kernel(why)) => entered.missing.push(why),
        }
        if entered.is_whole() {
            tracing::info!(sandbox = %entered, "confined");
        } else if mode == Mode::Required {
            return Err(SandboxError::NotWhole(entered.missing.join(", ")));
        } else {
            tracing::warn!(sandbox = %entered, "the sandbox is not whole");
        }
        Ok(entered)
    }
}

/// What was given up, for logs and health reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entered {
    holds: Vec<String>,
    missing: Vec<String>,
}

impl Entered {
    /// Whether every layer holds.
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty()
    }
}

/// `no capabilities, landlock, seccomp`; what does not hold follows after `missing:`.
impl fmt::Display for Entered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holds = if self.holds.is_empty() { "none".to_owned() } else { self.holds.join(", ") };
        f.write_str(&holds)?;
        if self.missing.is_empty() { Ok(()) } else { write!(f, "; missing: {}", self.missing.join(", ")) }
    }
}

/// Threads of this process; 1 where the kernel does not say.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}
