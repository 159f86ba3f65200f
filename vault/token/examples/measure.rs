//! CPU time of the operations that requests wait for, on a fresh SoftHSM token:
//!
//!     cargo run --release -p tgp-token --example measure
//!
//! One thread, one session. Our own share (locks, the search for a handle) is measured too.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use tgp_token::softhsm::{self, NewToken};
use tgp_token::{KeyOps, Role, Token, TokenConfig, TokenError, TokenSession};

const DIRECTORY: &str = "TGP_MEASURE_DIRECTORY";
const WARM_UP: u32 = 200;
const ROUNDS: u32 = 20_000;

fn main() -> ExitCode {
    // SoftHSM reads its configuration from the environment that the process was started with.
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return match measure(Path::new(&directory)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let conf = softhsm::write_conf(directory.path()).expect("the configuration can be written");
    let status = Command::new(std::env::current_exe().expect("a program has a path"))
        .env(softhsm::CONF_VARIABLE, conf)
        .env(DIRECTORY, directory.path())
        .status()
        .expect("the program runs again");
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn measure(directory: &Path) -> Result<(), TokenError> {
    let Some(module) = softhsm::module() else {
        eprintln!("softhsm is not installed\n  hint: apt-get install softhsm2");
        return Ok(());
    };
    let (label, pin, start_lock) = ("measure", "1234-5678", directory.join("start.lock"));
    let new = new_token(module.clone(), label, pin, start_lock.clone());
    softhsm::dangerous_init_token(&new)?;
    let token = Token::open(&TokenConfig { module, label: label.into(), pin: pin.into(), start_lock })?;
    token.dangerous_provision()?;
    let mut session = token.session()?;

    let mac = session.find(Role::MasterRoot, 1)?;
    let pair = session.find(Role::TokenSigning, 1)?;
    let log = session.find(Role::LogSigning, 1)?;
    let kek = session.find(Role::Kek, 1)?;
    let sealed = session.seal(&kek, b"tenant|purpose|1", &[9; 32])?;
    let info = token.info();
    println!("{} {}, CPU µs per operation, {ROUNDS} rounds", info.manufacturer, info.firmware);
    row("HMAC over 64 octets", &mut session, |s| s.hmac(&mac, &[7; 64]).map(drop))?;
    row("P-256 signature", &mut session, |s| s.sign_p256(&pair, &[7; 32]).map(drop))?;
    if log.algorithm() == tgp_token::Algorithm::Ed25519 {
        row("Ed25519 signature", &mut session, |s| s.sign_ed25519(&log, &[7; 64]).map(drop))?;
    }
    row("GCM open of 32 octets", &mut session, |s| s.open(&kek, b"tenant|purpose|1", &sealed).map(drop))?;
    row("GCM seal of 32 octets", &mut session, |s| s.seal(&kek, b"tenant|purpose|1", &[9; 32]).map(drop))?;
    row("known answer", &mut session, |s| s.check_value(&mac).map(drop))?;
    row("32 random octets", &mut session, |s| s.random(&mut [0; 32]))?;
    Ok(())
}

fn new_token(module: PathBuf, label: &str, pin: &str, start_lock: PathBuf) -> NewToken {
    NewToken { module, label: label.into(), so_pin: "8765-4321".into(), pin: pin.into(), start_lock }
}

fn row(
    name: &str,
    session: &mut TokenSession,
    mut operation: impl FnMut(&mut TokenSession) -> Result<(), TokenError>,
) -> Result<(), TokenError> {
    for _ in 0..WARM_UP {
        operation(session)?;
    }
    let before = cpu_ns();
    for _ in 0..ROUNDS {
        operation(session)?;
    }
    let us = (cpu_ns() - before) as f64 / f64::from(ROUNDS) / 1000.0;
    println!("{name:24} {us:8.1}");
    Ok(())
}

/// Of this thread, in user space and in the kernel (Linux: proc_pid_schedstat).
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("linux has scheduler statistics");
    let first = text.split_whitespace().next().expect("the first figure is time on the CPU");
    first.parse().expect("a number of nanoseconds")
}
