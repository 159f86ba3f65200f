//! One binary: the gateway, the vault, and the command line that administers and uses them.

fn main() -> std::process::ExitCode {
    tgp::cli::main()
}
