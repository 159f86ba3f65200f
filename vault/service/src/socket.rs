//! The socket: who may connect, how many, and how it ends.

use std::collections::HashMap;
use std::fs::Permissions;
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::net::sockopt::socket_peercred;

use crate::counters::{Counters, Met};
use crate::door;
use crate::failure::VaultError;
use crate::vault::Vault;

/// A gateway holds three; more gateways, the CLI and health checks come beside it.
const CONNECTIONS: usize = 64;

/// Ends a vault that serves. Clones end the same one.
#[derive(Clone, Default)]
pub struct Stop(Arc<Stopping>);

#[derive(Default)]
struct Stopping {
    asked: AtomicBool,
    // Where to knock so that `accept` returns.
    socket: Mutex<Option<PathBuf>>,
}

impl Stop {
    /// A handle that nothing has been asked of.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the vault to end; returns at once.
    pub fn stop(&self) {
        self.0.asked.store(true, SeqCst);
        if let Some(path) = &*self.socket() {
            // Whether it succeeds or not, nobody waits in `accept` after it.
            drop(UnixStream::connect(path));
        }
    }

    fn asked(&self) -> bool {
        self.0.asked.load(SeqCst)
    }

    fn socket(&self) -> MutexGuard<'_, Option<PathBuf>> {
        self.0.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A bound socket; its file goes when it is dropped.
pub(crate) struct Bound {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Another vault cannot have bound the name meanwhile: the state's lock is still held.
        drop(std::fs::remove_file(&self.path));
    }
}

/// Binds the socket for the vault's user and group. A file left behind by a vault that died is
/// replaced; anything else in its place is not.
pub(crate) fn bind(path: &Path, group: Option<u32>) -> Result<Bound, VaultError> {
    let what = || format!("bind {}", path.display());
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            std::fs::remove_file(path).map_err(VaultError::system(what()))?;
        }
        Ok(_) => {
            let text = format!("{} exists and is not a socket", path.display());
            return Err(VaultError::Configuration(text));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(VaultError::system(what())(error)),
    }
    let listener = UnixListener::bind(path).map_err(VaultError::system(what()))?;
    let bound = Bound { listener, path: path.to_owned() };
    if let Some(group) = group {
        std::os::unix::fs::chown(path, None, Some(group)).map_err(VaultError::system(what()))?;
    }
    // Peers are checked at every connection too: until this line the file's mode is the umask's.
    std::fs::set_permissions(path, Permissions::from_mode(0o660)).map_err(VaultError::system(what()))?;
    Ok(bound)
}

/// Accepts until asked to stop, one thread per connection; returns when all have ended.
pub(crate) fn serve(bound: &Bound, vault: &Vault, allowed: &[u32], stop: &Stop) -> io::Result<()> {
    *stop.socket() = Some(bound.path.clone());
    let live = Live::default();
    std::thread::scope(|scope| {
        let mut next = 0_u64;
        while !stop.asked() {
            let stream = match bound.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::error!(%error, "accept failed");
                    // Out of descriptors, most likely: let some be closed.
                    std::thread::sleep(std::time::Duration::from_millis(100));
                    continue;
                }
            };
            if stop.asked() {
                continue;
            }
            if !admitted(&stream, allowed) {
                vault.counters.met(Met::TurnedAwayUser);
                continue;
            }
            if !live.keep(next, &stream) {
                vault.counters.met(Met::TurnedAwayFull);
                continue;
            }
            vault.counters.met(Met::Admitted);
            let (id, live) = (next, &live);
            next += 1;
            let work = move || {
                // A defect in one call ends its connection, not the vault, and gives its place back.
                let served = std::panic::catch_unwind(AssertUnwindSafe(|| connection(vault, &stream)));
                match served {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        count(&vault.counters, error.kind());
                        tracing::warn!(%error, "connection closed");
                    }
                    Err(_) => {
                        vault.counters.met(Met::CutPanicked);
                        tracing::error!("a call panicked; its connection is closed");
                    }
                }
                live.forget(id);
            };
            let spawned = std::thread::Builder::new().name("vault-door".into());
            if let Err(error) = spawned.spawn_scoped(scope, work) {
                tracing::error!(%error, "no thread for a connection");
                live.forget(id);
            }
        }
        live.shut_down();
    });
    *stop.socket() = None;
    Ok(())
}

fn count(counters: &Counters, kind: ErrorKind) {
    counters.met(match kind {
        ErrorKind::InvalidData => Met::CutMalformed,
        // A timeout of a socket is reported as the one or the other.
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Met::CutSlow,
        _ => Met::Lost,
    });
}

fn connection(vault: &Vault, stream: &UnixStream) -> io::Result<()> {
    let session = vault.recovery.session().map_err(io::Error::other)?;
    door::serve(vault, session, stream)
}

fn admitted(stream: &UnixStream, allowed: &[u32]) -> bool {
    match socket_peercred(stream) {
        Ok(peer) if allowed.contains(&peer.uid.as_raw()) => true,
        Ok(peer) => {
            tracing::warn!(uid = peer.uid.as_raw(), "a user that is not listed was turned away");
            false
        }
        Err(error) => {
            tracing::warn!(%error, "a peer without credentials was turned away");
            false
        }
    }
}

/// Connections being served, so that they can be counted and cut.
#[derive(Default)]
struct Live(Mutex<HashMap<u64, UnixStream>>);

impl Live {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, UnixStream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, id: u64, stream: &UnixStream) -> bool {
        let mut live = self.lock();
        if live.len() >= CONNECTIONS {
            tracing::warn!("too many connections; one was turned away");
            return false;
        }
        let Ok(stream) = stream.try_clone() else {
            return false;
        };
        live.insert(id, stream);
        true
    }

    fn forget(&self, id: u64) {
        self.lock().remove(&id);
    }

    fn shut_down(&self) {
        for stream in self.lock().values() {
            // Already closed by the peer, perhaps.
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}
