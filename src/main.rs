//! One binary: the gateway, the vault, and the command line that administers and uses them.

use std::alloc::System;
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// Wipes what is freed, and what growing leaves behind: buffers of libraries that know of no secrets too.
#[global_allocator]
static WIPING: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    // Before there is a secret.
    if let Err(error) = tgp_sandbox::harden() {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    tgp::cli::main()
}
