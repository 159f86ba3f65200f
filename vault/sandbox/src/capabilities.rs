//! No capabilities, and no way to get one.

use std::io;
use std::process::{Child, Command};

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

use crate::SandboxError;

/// Of this thread and those that it starts. The bounding set stays where only a privileged process could
/// empty it: without new privileges it gives nothing.
pub(crate) fn give_up() -> Result<(), SandboxError> {
    let system = |what| move |e: rustix::io::Errno| SandboxError::system(what)(io::Error::from(e));
    set_no_new_privs(true).map_err(system("PR_SET_NO_NEW_PRIVS"))?;
    empty_bounding_set();
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    // Kernels without ambient capabilities (before 4.3) have none to clear.
    let _ = clear_ambient_capability_set();
    // Where there is none to give up the call is not made: a supervisor's own filter may forbid it.
    if capabilities(None).map_err(system("capget"))? == none {
        return Ok(());
    }
    set_capabilities(None, none).map_err(system("capset"))
}

/// Every capability that the kernel knows, where we may.
fn empty_bounding_set() {
    for number in 0..64_u32 {
        // Unknown to this kernel, or not ours to drop: what is held is given up either way.
        let _ = remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number));
    }
}

/// Starts a program that can never have a capability, whatever it runs as: its bounding set is empty.
///
/// # Errors
/// When it cannot be started.
pub fn spawn_without_capabilities(command: &mut Command) -> io::Result<Child> {
    // The set is a thread's own; this thread ends with its one child started.
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| {
            empty_bounding_set();
            command.spawn()
        });
        starting.join().unwrap_or_else(|_| Err(io::Error::other("the thread that starts it panicked")))
    })
}
