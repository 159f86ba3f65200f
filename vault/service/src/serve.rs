//! The vault's life: harden, confine, open, check, listen, serve, end.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, RwLock};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::process::getuid;
use tgp_sandbox::Entered;
use tgp_token::{Token, TokenConfig};

use crate::certificate::Authority;
use crate::clock::Clock;
use crate::confine::{Confinement, sandbox};
use crate::counters::Counters;
use crate::dek::Deks;
use crate::failure::VaultError;
use crate::keyring::KeyRing;
use crate::proofs::Proofs;
use crate::recovery::Recovery;
use crate::socket::{self, Stop};
use crate::state::{StateError, StateStore};
use crate::token_cache::TokenCache;
use crate::vault::Vault;

/// See random(4).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// A start waits so long rather than refuse.
const SHORT_S: i64 = 1;

/// How a vault is run.
pub struct ServeOptions {
    /// The token that `init` provisioned.
    pub token: TokenConfig,
    /// The state file that `init` wrote.
    pub state: PathBuf,
    /// Where to listen.
    pub socket: PathBuf,
    /// The socket's group, where gateways run as other users of one group.
    pub socket_group: Option<u32>,
    /// Users that may connect.
    pub allowed_uids: Vec<u32>,
    /// What it gives up before it loads the token.
    pub confinement: Confinement,
    /// Ends it; SIGTERM and SIGINT do too.
    pub stop: Stop,
    /// Seconds that the vault's clock is ahead of the system's. 0, but for tests of time.
    pub dangerous_clock_shift_s: i64,
}

/// Serves until it is asked to stop.
///
/// # Errors
/// When it cannot start: the state file is missing, edited or old, a key is not the pinned one, the
/// token or the socket is not to be had.
pub fn serve(options: ServeOptions) -> Result<(), VaultError> {
    let ServeOptions { token, state, socket, socket_group, allowed_uids, confinement, stop, dangerous_clock_shift_s } =
        options;
    tgp_sandbox::harden()?;
    let confined = sandbox(&confinement, &token, &state, &socket).enter()?;
    let _lock = lock(&state)?;
    let token = Token::open(&token)?;
    let single_domain = allowed_uids.contains(&getuid().as_raw());
    let clock = Clock::shifted(dangerous_clock_shift_s);
    let vault = open(token, state, clock, single_domain, &confined)?;

    let bound = socket::bind(&socket, socket_group)?;
    let signals = stop_on_signals(&stop)?;
    tracing::info!(socket = %socket.display(), "the vault serves");
    let served = std::thread::scope(|scope| {
        let supervisor = std::thread::Builder::new().name("vault-token".into());
        supervisor.spawn_scoped(scope, || vault.recovery.supervise(&vault))?;
        let served = socket::serve(&bound, &vault, &allowed_uids, &stop);
        vault.recovery.stop();
        served
    });
    signals.close();
    served.map_err(VaultError::system("serve"))
}

fn open(
    token: Token,
    state: PathBuf,
    clock: Clock,
    single_domain: bool,
    confined: &Entered,
) -> Result<Vault, VaultError> {
    if !state.try_exists().map_err(VaultError::system("look for the state file"))? {
        return Err(StateError::Missing(state).into());
    }
    // Connections have sessions of their own; this one ends here.
    let mut session = token.session()?;
    session.self_test()?;
    let keys = KeyRing::find(&mut session)?;
    let state = StateStore::open(state, keys.state_mac.clone(), &mut session)?;
    let in_force = state.current();
    keys.check(&in_force.state.pins)?;
    let authority = Authority::from_pem(&in_force.state.ca_pem).map_err(StateError::Malformed)?;
    if authority.sec1() != keys.agent_ca_sec1 {
        return Err(VaultError::Configuration("the CA's certificate is not for its key".into()));
    }
    let started = clock.now();
    let boot = std::fs::read_to_string(BOOT_ID).map_err(VaultError::system(BOOT_ID))?;
    let boot = boot.trim().to_owned();
    // Proofs of this second may have been seen by a vault that ran before: they are refused. And all that
    // were made while it ran, though the clock was set back since.
    let seen_until = started.max(in_force.state.mark.latest(&clock.mark(&boot)));
    if seen_until > started + SHORT_S {
        let seconds = seen_until - started;
        tracing::warn!(seconds, "the clock stands behind what a vault before this one saw; proofs are refused so long");
    }
    // It is over before anyone is let in, so that no agent meets that refusal for nothing.
    while clock.now() <= seen_until.min(started + SHORT_S) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let horizon = seen_until.max(in_force.state.horizon);
    drop(in_force);
    Ok(Vault {
        token_keys: keys.token_keys(),
        retired: Mutex::default(),
        keys,
        state,
        deks: RwLock::new(Deks::default()),
        proofs: Mutex::new(Proofs::since(horizon)),
        tokens: Mutex::new(TokenCache::default()),
        authority,
        counters: Counters::new(),
        clock,
        started,
        boot,
        single_domain,
        confined: confined.to_string(),
        recovery: Recovery::of(token),
    })
}

/// No symbolic link is followed, and a pipe is not waited for: somebody else put it there.
const NOT_ELSEWHERE: i32 = rustix::fs::OFlags::NOFOLLOW.union(rustix::fs::OFlags::NONBLOCK).bits().cast_signed();

/// One vault per state file, however many are started.
fn lock(state: &Path) -> Result<File, VaultError> {
    let mut path = state.as_os_str().to_owned();
    path.push(".lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(NOT_ELSEWHERE)
        .open(&path)
        .map_err(VaultError::system(format!("open {}", Path::new(&path).display())))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        VaultError::Configuration(format!(
            "another vault runs on {}\nhint: there is one vault per deployment",
            state.display()
        ))
    })?;
    Ok(file)
}

fn stop_on_signals(stop: &Stop) -> Result<signal_hook::iterator::Handle, VaultError> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals =
        signal_hook::iterator::Signals::new([SIGTERM, SIGINT]).map_err(VaultError::system("watch signals"))?;
    let handle = signals.handle();
    let stop = stop.clone();
    std::thread::Builder::new()
        .name("vault-signals".into())
        .spawn(move || {
            if signals.forever().next().is_some() {
                stop.stop();
            }
        })
        .map_err(VaultError::system("watch signals"))?;
    Ok(handle)
}
