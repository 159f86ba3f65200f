//! No core files and no tracing, from the first line of `main` on: before there is a secret.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use crate::SandboxError;

/// No core files; nobody but root attaches to this process or reads its `/proc/<pid>/mem`, its own
/// user included.
///
/// # Errors
/// When the kernel refuses, which it does not.
pub fn harden() -> Result<(), SandboxError> {
    let system = |what| move |e: rustix::io::Errno| SandboxError::system(what)(io::Error::from(e));
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(system("PR_SET_DUMPABLE"))?;
    // Where core files go through a pipe the limit does not count, and the line above does.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(system("RLIMIT_CORE"))
}
