//! One binary: the gateway, the vault, and the command line that administers and uses them.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use zeroizing_alloc::ZeroAlloc;

/// Wipes what is freed, and what growing leaves behind: buffers of libraries that know of no secrets too.
#[global_allocator]
static WIPING: ZeroAlloc<MiMalloc> = ZeroAlloc(MiMalloc);

fn main() -> ExitCode {
    // Before there is a secret.
    if let Err(error) = tgp_sandbox::harden() {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    tgp::cli::main()
}
