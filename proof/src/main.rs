//! `tgp-proof`: the commands that show what TGP claims of speed, faults and endurance, on a deployment of their own:
//! the release binary, PostgreSQL with fsync, SoftHSM, real TLS. It measures and judges; it is no part of the product and
//! shares with it only the signing of `tgp-request` and the stack of `tgp dev`.

mod agent;
mod bench;
mod connection;
mod cpu;
mod faults;
mod load;
mod raw;
mod record;
mod report;
mod scale;
mod soak;
mod upstream;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "tgp-proof", about = "Shows what TGP claims of speed, faults and endurance")]
struct Cli {
    /// The binary under test
    #[arg(long, value_name = "FILE", default_value = "target/release/tgp", global = true)]
    tgp: PathBuf,
    #[command(subcommand)]
    proof: Proof,
}

#[derive(Subcommand)]
enum Proof {
    /// CPU per request, latency and memory, with the raw operations measured in the same run
    Bench(bench::Bench),
    /// A table of faults under load: what callers see, how long until all is well, and that no promise was broken
    Faults(faults::Faults),
    /// Mixed load for half an hour: nothing may grow
    Soak(soak::Soak),
    /// Forwards a Unix socket (used by faults)
    #[command(hide = true)]
    Forward(faults::Forward),
    /// The token's own operations, in a process of their own (used by bench)
    #[command(hide = true)]
    RawToken {
        #[arg(long)]
        directory: PathBuf,
    },
}

fn main() -> ExitCode {
    let Cli { tgp, proof } = Cli::parse();
    let done = match proof {
        Proof::Bench(bench) => bench.run(&tgp),
        Proof::Faults(faults) => faults.run(&tgp),
        Proof::Soak(soak) => soak.run(&tgp),
        Proof::Forward(forward) => forward.run(),
        Proof::RawToken { directory } => raw::token(&directory).and_then(|raw| {
            println!("{}", serde_json::to_string(&raw)?);
            Ok(true)
        }),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tgp-proof: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whatever stops a proof: it is reported and nothing else is done about it.
type Failure = Box<dyn std::error::Error + Send + Sync>;
