//! The state file: what this vault must not forget, and notices when someone makes it forget.
//!
//! Two lines: JSON, and the MAC of it by `state-mac` in the token. Version n is written before the
//! call that made it is answered, then the token's data object is set to n. At start the file must
//! be of the object's version, or of the next one (a crash between the two); an older file put
//! back, an edited or a missing one is refused, and nothing makes a new one but `tgp init`.

mod body;
mod file;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tgp_authority::Roster;
use tgp_token::{KeyOps, KeyRef, TokenSession};

use crate::failure::Failure;

pub(crate) use body::{Enrolment, Pin, State};

/// Why a state file is not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// There is none. It is not made again: what it knew would be lost unnoticed.
    #[error("{0} does not exist; restore it, or run init for a new deployment")]
    Missing(PathBuf),
    /// There is one already.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// Not two lines of the known form.
    #[error("malformed: {0}")]
    Malformed(String),
    /// Not written by this token's key.
    #[error("its MAC is not by this token's state-mac key: it was edited or is another vault's")]
    Mac,
    /// Another version than the token remembers.
    #[error("version {file} was found where the token remembers {token}: an older file was put back")]
    Version {
        /// Of the file.
        file: u64,
        /// Of the token's data object.
        token: u64,
    },
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// For [`crate::fuzzing`]: reads a file whose MAC is taken for good, and writes it.
pub(crate) fn reread(text: &str) -> Option<String> {
    let (body, mac) = file::parse(text).ok()?;
    let state = file::accept(body, &mac, &mac).ok()?;
    roster_of(&state).ok()?;
    file::seal(&state, |_| Ok::<_, std::convert::Infallible>(mac)).ok()
}

/// A version of the state, and the roster in it as a valid one.
pub(crate) struct InForce {
    pub state: State,
    pub roster: Roster,
}

/// The state in memory and on disk. Readers never wait for the disk.
pub(crate) struct StateStore {
    path: PathBuf,
    mac_key: KeyRef,
    current: RwLock<Arc<InForce>>,
    writer: Mutex<Writer>,
}

struct Writer {
    /// The file is of the current version and the token's object is not yet.
    object_behind: bool,
}

impl StateStore {
    /// Writes the first version. Only `init` calls this.
    pub(crate) fn create(
        path: PathBuf,
        mac_key: KeyRef,
        session: &mut TokenSession,
        state: State,
    ) -> Result<Self, crate::VaultError> {
        if path.try_exists().map_err(StateError::Io)? {
            return Err(StateError::Exists(path).into());
        }
        let roster = roster_of(&state)?;
        let text = file::seal(&state, |octets| session.hmac(&mac_key, octets))?;
        file::write(&path, &text).map_err(StateError::Io)?;
        session.write_version(state.version)?;
        Ok(StateStore {
            path,
            mac_key,
            current: RwLock::new(Arc::new(InForce { state, roster })),
            writer: Mutex::new(Writer { object_behind: false }),
        })
    }

    /// Reads and checks the file of an existing vault.
    pub(crate) fn open(path: PathBuf, mac_key: KeyRef, session: &mut TokenSession) -> Result<Self, crate::VaultError> {
        let state = read(&path, &mac_key, session)?;
        let token = session.read_version()?;
        if state.version == token.wrapping_add(1) {
            session.write_version(state.version)?;
        } else if state.version != token {
            let file = state.version;
            return Err(StateError::Version { file, token }.into());
        }
        let roster = roster_of(&state)?;
        Ok(StateStore {
            path,
            mac_key,
            current: RwLock::new(Arc::new(InForce { state, roster })),
            writer: Mutex::new(Writer { object_behind: false }),
        })
    }

    /// The version in force.
    pub(crate) fn current(&self) -> Arc<InForce> {
        // Only whole versions are ever put there.
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }

    /// Makes the next version durable, then the one in force. A refusal by `change` changes nothing.
    ///
    /// What fails after the file was replaced stays changed although the caller is told of the
    /// failure: a nonce may be spent for nothing, but never twice.
    pub(crate) fn commit<T>(
        &self,
        session: &mut TokenSession,
        now: i64,
        change: impl FnOnce(&mut State) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.current().state.clone();
        if writer.object_behind {
            session.write_version(state.version)?;
            writer.object_behind = false;
        }
        state.forget(now);
        let out = change(&mut state)?;
        state.version += 1;
        let roster = roster_of(&state).map_err(|e| Failure::Unavailable(e.to_string()))?;
        let text = file::seal(&state, |octets| session.hmac(&self.mac_key, octets))?;
        let version = state.version;
        file::write(&self.path, &text).map_err(|e| Failure::Unavailable(format!("write the state file: {e}")))?;
        let next = Arc::new(InForce { state, roster });
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        writer.object_behind = true;
        session.write_version(version)?;
        writer.object_behind = false;
        Ok(out)
    }
}

/// Reads a file and believes it if the token's key made its MAC. Its age is not judged.
pub(crate) fn read(path: &Path, mac_key: &KeyRef, session: &mut TokenSession) -> Result<State, crate::VaultError> {
    let text = file::read(path)?;
    let (body, mac) = file::parse(&text)?;
    let expected = session.hmac(mac_key, &file::mac_input(body))?;
    Ok(file::accept(body, &mac, &expected)?)
}

fn roster_of(state: &State) -> Result<Roster, StateError> {
    Roster::try_from(state.roster.clone()).map_err(|error| StateError::Malformed(format!("its roster: {error}")))
}
