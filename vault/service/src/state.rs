//! The state file: what this vault must not forget, and notices when someone makes it forget.
//!
//! A snapshot and the acts since, each MACed by `state-mac` in the token, chained and numbered. An act
//! is done in this order: its line is durable; the token's data object holds its version; it is in
//! force; it is answered. At start the file must be of the object's version, or of the next one (a
//! crash between the two). An older file put back, one that was cut short or edited, and a missing one
//! are refused, and nothing makes a new one but `tgp init`.
//!
//! The end of a line that a crash cut short is dropped, where the lines before it are of the token's
//! version: an act is answered only once the token holds its version, and the token gets it only once
//! the whole line is on disk, so nobody was told that this one was done.
//!
//! Where an act's line is durable and the token does not take its version, the act is neither in force
//! nor answered, and no other is done before the token has taken it.

mod act;
mod file;
mod tables;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use serde::{Deserialize, Serialize};
use tgp_authority::Roster;
use tgp_token::{KeyOps, KeyRef, TokenError, TokenSession};

use crate::failure::{Failure, VaultError};
use act::Entry;
use file::{Link, StateFile, Tail};

pub(crate) use act::Act;
pub(crate) use tables::{Enrolment, Pin, State, Tables};

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
    /// Not of the known form.
    #[error("malformed: {0}")]
    Malformed(String),
    /// Not written by this token's key.
    #[error("its MAC is not by this token's state-mac key: it was edited or is another vault's")]
    Mac,
    /// Another version than the token remembers.
    #[error(
        "version {file} was found where the token remembers {token}: an older file was put back, or its end was cut off"
    )]
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

/// What the state needs of the token.
pub(crate) trait StateToken {
    fn mac(&mut self, key: &KeyRef, data: &[u8]) -> Result<[u8; 32], TokenError>;
    fn version(&mut self) -> Result<u64, TokenError>;
    fn set_version(&mut self, version: u64) -> Result<(), TokenError>;
}

impl StateToken for TokenSession {
    fn mac(&mut self, key: &KeyRef, data: &[u8]) -> Result<[u8; 32], TokenError> {
        self.hmac(key, data)
    }
    fn version(&mut self) -> Result<u64, TokenError> {
        self.read_version()
    }
    fn set_version(&mut self, version: u64) -> Result<(), TokenError> {
        self.write_version(version)
    }
}

/// A version of the state's head, and the roster in it as a valid one.
pub(crate) struct InForce {
    pub state: State,
    pub roster: Arc<Roster>,
}

/// The state in memory and on disk. Readers never wait for disk or token.
pub(crate) struct StateStore {
    mac_key: KeyRef,
    in_force: RwLock<Arc<InForce>>,
    // Written to only for the moment in which an act comes into force.
    tables: RwLock<Tables>,
    writer: Mutex<Writer>,
}

struct Writer {
    file: StateFile,
    /// An act whose line is durable and whose version the token does not hold yet.
    unsettled: Option<(Entry, Arc<InForce>)>,
}

#[derive(Serialize)]
struct Snapshot<'s> {
    state: &'s State,
    tables: &'s Tables,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadSnapshot {
    state: State,
    tables: Tables,
}

impl StateStore {
    /// Writes the first version. Only `init` calls this.
    pub(crate) fn create(
        path: PathBuf,
        mac_key: KeyRef,
        token: &mut impl StateToken,
        state: State,
    ) -> Result<Self, VaultError> {
        if path.try_exists().map_err(StateError::Io)? {
            return Err(StateError::Exists(path).into());
        }
        let version = state.version;
        let store = Self::new(StateFile::new(path), mac_key, state, Tables::default())?;
        store.rewrite(&mut store.writer(), token).map_err(|failure| match failure {
            Failure::Token(error) => VaultError::Token(error),
            other => VaultError::Configuration(format!("{other:?}")),
        })?;
        token.set_version(version)?;
        Ok(store)
    }

    /// Reads and checks the file of an existing vault.
    pub(crate) fn open(path: PathBuf, mac_key: KeyRef, token: &mut impl StateToken) -> Result<Self, VaultError> {
        let text = file::read(&path)?;
        let believed = file::believe(&text, |input| Ok::<_, VaultError>(token.mac(&mac_key, input)?))?;
        let (state, tables) = replay(&believed)?;
        let held = token.version()?;
        // Before the token is told of its version: a token that remembers what the disk forgets could not be started with.
        file::make_durable(&path).map_err(StateError::Io)?;
        // A line is begun only once the token holds the version of the one before.
        if state.version == held.wrapping_add(1) && !believed.torn {
            token.set_version(state.version)?;
        } else if state.version != held {
            return Err(StateError::Version { file: state.version, token: held }.into());
        }
        let file = StateFile::resume(path, &believed).map_err(StateError::Io)?;
        Self::new(file, mac_key, state, tables)
    }

    fn new(file: StateFile, mac_key: KeyRef, state: State, tables: Tables) -> Result<Self, VaultError> {
        let roster = Arc::new(roster_of(&state)?);
        Ok(StateStore {
            mac_key,
            in_force: RwLock::new(Arc::new(InForce { state, roster })),
            tables: RwLock::new(tables),
            writer: Mutex::new(Writer { file, unsettled: None }),
        })
    }

    /// The version in force.
    pub(crate) fn current(&self) -> Arc<InForce> {
        // Only whole versions are ever put there.
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The tables in force. Not to be held over a call into the token, nor asked for twice at once.
    pub(crate) fn tables(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides on an act and does it: durable, held by the token, in force. A refusal by `decide` changes nothing.
    ///
    /// An act that fails after its line was written is done all the same once the token is back, although the caller is
    /// told of the failure: a nonce may be spent for nothing, but never twice.
    pub(crate) fn commit<T>(
        &self,
        token: &mut impl StateToken,
        now: i64,
        decide: impl FnOnce(&mut Act<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut writer = self.writer();
        self.settle_with(&mut writer, token)?;
        let before = self.current();
        let (out, entry) = {
            let tables = self.tables();
            let mut act = Act::on(&before.state, &tables, now);
            let out = decide(&mut act)?;
            (out, act.entry())
        };
        let Some(entry) = entry else { return Ok(out) };
        let next = after(&before, &entry).map_err(|e| Failure::Unavailable(e.to_string()))?;
        let tail = match writer.file.tail() {
            Some(tail) => tail,
            None => self.rewrite(&mut writer, token)?,
        };
        let body = serde_json::to_string(&entry).expect("maps of text and numbers serialise");
        let link = tail.then(&body);
        let mac = token.mac(&self.mac_key, &link.mac_input())?;
        writer.file.append(&body, Tail { link, mac }).map_err(unwritten)?;
        writer.unsettled = Some((entry, Arc::new(next)));
        self.settle_with(&mut writer, token)?;
        if writer.file.has_outgrown_its_snapshot()
            && let Err(error) = self.rewrite(&mut writer, token)
        {
            // The acts are all there; the next one tries again.
            tracing::warn!(?error, "no new snapshot of the state could be written");
        }
        Ok(out)
    }

    /// Finishes an act that a failing token left half done, and puts a file in the place of one that could not be written
    /// or is not there any more; nothing where there is neither.
    pub(crate) fn settle(&self, token: &mut impl StateToken) -> Result<(), Failure> {
        let mut writer = self.writer();
        self.settle_with(&mut writer, token)?;
        if writer.file.tail().is_none() {
            self.rewrite(&mut writer, token)?;
        }
        Ok(())
    }

    /// Whether the next act can be written down, as far as the last one tells.
    pub(crate) fn is_sound(&self) -> bool {
        match self.writer.try_lock() {
            Ok(writer) => writer.unsettled.is_none() && writer.file.tail().is_some(),
            // Somebody is writing.
            Err(_) => true,
        }
    }

    fn settle_with(&self, writer: &mut Writer, token: &mut impl StateToken) -> Result<(), Failure> {
        if let Some((entry, _)) = &writer.unsettled {
            token.set_version(entry.version)?;
        }
        if let Some((entry, next)) = writer.unsettled.take() {
            entry.apply(&mut self.tables.write().unwrap_or_else(PoisonError::into_inner));
            *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = next;
        }
        Ok(())
    }

    /// Puts a snapshot of what is in force in the file's place; answers what the next act follows.
    fn rewrite(&self, writer: &mut Writer, token: &mut impl StateToken) -> Result<Tail, Failure> {
        let in_force = self.current();
        let body = {
            let tables = self.tables();
            let snapshot = Snapshot { state: &in_force.state, tables: &tables };
            serde_json::to_string(&snapshot).expect("maps of text and numbers serialise")
        };
        let link = Link::snapshot(&body);
        let mac = token.mac(&self.mac_key, &link.mac_input())?;
        let tail = Tail { link, mac };
        writer.file.replace(&body, tail).map_err(unwritten)?;
        Ok(tail)
    }

    fn writer(&self) -> std::sync::MutexGuard<'_, Writer> {
        // Whatever a panic interrupted is written down in the writer before it is begun.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a file's head and believes it if the token's key made its MAC. Its age is not judged.
pub(crate) fn read(path: &Path, mac_key: &KeyRef, token: &mut impl StateToken) -> Result<State, VaultError> {
    let text = file::read(path)?;
    let believed = file::believe(&text, |input| Ok::<_, VaultError>(token.mac(mac_key, input)?))?;
    let (state, _) = replay(&believed)?;
    Ok(state)
}

/// For [`crate::fuzzing`]: reads a file whose last MAC is taken for good, and writes a snapshot of what it says.
pub(crate) fn reread(text: &str) -> Option<String> {
    let mac = file::last_mac(text)?;
    let believed = file::believe(text.as_bytes(), |_| Ok::<_, StateError>(mac)).ok()?;
    let (state, tables) = replay(&believed).ok()?;
    roster_of(&state).ok()?;
    let body = serde_json::to_string(&Snapshot { state: &state, tables: &tables }).ok()?;
    Some(file::line(&body, &mac))
}

/// The state that a file's lines lead to.
fn replay(believed: &file::Believed<'_>) -> Result<(State, Tables), StateError> {
    let malformed = |error: serde_json::Error| StateError::Malformed(error.to_string());
    let ReadSnapshot { mut state, mut tables } = serde_json::from_str(believed.snapshot).map_err(malformed)?;
    for act in &believed.acts {
        let entry: Entry = serde_json::from_str(act).map_err(malformed)?;
        if entry.version != state.version + 1 {
            let text = format!("version {} follows version {}", entry.version, state.version);
            return Err(StateError::Malformed(text));
        }
        entry.advance(&mut state);
        entry.apply(&mut tables);
    }
    Ok((state, tables))
}

/// The head that an act leads to, if its roster is one that may be in force.
fn after(before: &InForce, entry: &Entry) -> Result<InForce, StateError> {
    let mut state = before.state.clone();
    entry.advance(&mut state);
    let roster = match state.roster == before.state.roster {
        true => Arc::clone(&before.roster),
        false => Arc::new(roster_of(&state)?),
    };
    Ok(InForce { state, roster })
}

fn roster_of(state: &State) -> Result<Roster, StateError> {
    Roster::try_from(state.roster.clone()).map_err(|error| StateError::Malformed(format!("its roster: {error}")))
}

fn unwritten(error: std::io::Error) -> Failure {
    Failure::Unavailable(format!("write the state file: {error}"))
}
