//! The token: opened once per process, logged in to once, and brought back when it was away.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, Weak};

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use secrecy::SecretString;

use crate::context::{self, Process};
use crate::error::{TokenError, ckr};
use crate::session::{Seat, TokenSession};
use crate::start::StartLock;

/// Which token, and how to log in to it.
pub struct TokenConfig {
    /// The PKCS#11 module, a shared object.
    pub module: PathBuf,
    /// CK_TOKEN_INFO.label.
    pub label: String,
    /// The user PIN; see [`crate::Pin`].
    pub pin: SecretString,
    /// Held during C_Initialize and C_Login; one file for all processes that use this token.
    pub start_lock: PathBuf,
}

/// CK_TOKEN_INFO, the part that tells tokens apart.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenInfo {
    pub label: String,
    pub serial: String,
    pub manufacturer: String,
    pub model: String,
    /// `major.minor`.
    pub firmware: String,
    /// The token is software: its keys are as safe as its files.
    pub soft: bool,
}

/// The token that this process has open.
pub struct Token {
    pub(crate) shared: Arc<Shared>,
}

/// What sessions and token have in common.
///
/// Every call into the module is made while `state` is held for reading; C_Initialize and C_Finalize
/// only while it is held for writing, with every session dropped. A stale session that is dropped
/// after a restart of the module would close somebody else's, since handle numbers come again.
pub(crate) struct Shared {
    config: TokenConfig,
    info: TokenInfo,
    state: RwLock<State>,
    seats: Mutex<Vec<Weak<Seat>>>,
    /// Held while the module is started: operations do not wait for that, they fail.
    starting: Mutex<()>,
    /// Counts C_Login, whatever the token answered.
    logins: AtomicU64,
    _process: Process,
}

pub(crate) struct State {
    connection: Result<Connection, TokenError>,
    /// Counts C_Initialize.
    generation: u64,
}

/// An initialised module, logged in to one token.
pub(crate) struct Connection {
    // Declared, so dropped, before the context: the last session's end logs out.
    // Behind a lock only because a session cannot be shared between threads.
    guard: Mutex<Session>,
    pub(crate) context: Pkcs11,
    pub(crate) slot: Slot,
}

impl Token {
    /// Loads the module, finds the token by its label and logs in, all under the start lock.
    ///
    /// # Errors
    /// When a token is open in this process already, the token is not to be had, or it refuses the
    /// PIN, which is tried once.
    pub fn open(config: &TokenConfig) -> Result<Self, TokenError> {
        let process = Process::claim()?;
        let config = TokenConfig {
            module: config.module.clone(),
            label: config.label.clone(),
            pin: config.pin.clone(),
            start_lock: config.start_lock.clone(),
        };
        let logins = AtomicU64::new(0);
        let (connection, info) = Connection::start(&config, None, &logins)?;
        let state = RwLock::new(State { connection: Ok(connection), generation: 1 });
        Ok(Self {
            shared: Arc::new(Shared {
                config,
                info,
                state,
                seats: Mutex::default(),
                starting: Mutex::default(),
                logins,
                _process: process,
            }),
        })
    }

    /// What the token said of itself when it was opened.
    pub fn info(&self) -> TokenInfo {
        self.shared.info.clone()
    }

    /// A session for one thread.
    ///
    /// # Errors
    /// None today: the session is opened by its first operation.
    pub fn session(&self) -> Result<TokenSession, TokenError> {
        Ok(TokenSession::new(Arc::clone(&self.shared)))
    }

    /// How often the module was started: what [`Token::recover`] wants to know of a failure.
    pub fn generation(&self) -> u64 {
        self.shared.state().generation
    }

    /// How often a PIN was given to the token.
    pub fn logins(&self) -> u64 {
        self.shared.logins.load(Relaxed)
    }

    /// Starts the module anew: waits for running operations, drops every session, finalises,
    /// initialises, finds the token of the same label and serial number and logs in once. Sessions
    /// of other threads open themselves again. Does nothing when the module was started since
    /// `seen`, so that several threads may ask for it after one failure.
    ///
    /// Whether the keys are there again, only a known-answer operation tells.
    ///
    /// # Errors
    /// When the token is still away; operations fail with [`TokenError::Away`] until a recovery
    /// succeeds. After a refused PIN the token is not asked again.
    pub fn recover(&self, seen: u64) -> Result<(), TokenError> {
        self.shared.recover(seen)
    }
}

impl Shared {
    /// Held for the time of one operation.
    pub(crate) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn register(&self, seat: &Arc<Seat>) {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.retain(|seat| seat.strong_count() > 0);
        seats.push(Arc::downgrade(seat));
    }

    fn recover(&self, seen: u64) -> Result<(), TokenError> {
        let _starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.stop_for(seen)? {
            return Ok(());
        }
        // A token that is reached over a network may take a minute to say that it is not there. Nobody enters the module
        // meanwhile: without a connection there is none to enter it with.
        let started = Connection::start(&self.config, Some(&self.info.serial), &self.logins);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.generation += 1;
        match started {
            Ok((connection, _)) => {
                state.connection = Ok(connection);
                Ok(())
            }
            Err(error) => {
                state.connection = Err(match &error {
                    TokenError::PinRefused { ckr } => TokenError::PinRefused { ckr: ckr.clone() },
                    other => TokenError::Away { why: other.to_string() },
                });
                Err(error)
            }
        }
    }

    /// Waits for running operations and drops every session; false when the module was started since `seen`.
    fn stop_for(&self, seen: u64) -> Result<bool, TokenError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.generation > seen && state.connection.is_ok() {
            return Ok(false);
        }
        if let Err(TokenError::PinRefused { ckr }) = &state.connection {
            return Err(TokenError::PinRefused { ckr: ckr.clone() });
        }
        let seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.iter().filter_map(Weak::upgrade).for_each(|seat| seat.vacate());
        drop(seats);
        let away = TokenError::Away { why: "the module is being started".into() };
        if let Ok(connection) = std::mem::replace(&mut state.connection, Err(away)) {
            connection.stop();
        }
        Ok(true)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Every session holds an Arc of us, so none is left.
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let closed = TokenError::Away { why: "closed".into() };
        if let Ok(connection) = std::mem::replace(&mut state.connection, Err(closed)) {
            connection.stop();
        }
    }
}

impl State {
    pub(crate) fn connection(&self) -> Result<&Connection, TokenError> {
        match &self.connection {
            Ok(connection) => Ok(connection),
            Err(TokenError::PinRefused { ckr }) => Err(TokenError::PinRefused { ckr: ckr.clone() }),
            Err(TokenError::Away { why }) => Err(TokenError::Away { why: why.clone() }),
            Err(other) => Err(TokenError::Away { why: other.to_string() }),
        }
    }
}

impl Connection {
    /// All of it under the lock: a login writes the token's flags, and for that moment SoftHSM answers
    /// C_GetTokenInfo of another process with CKR_GENERAL_ERROR.
    fn start(config: &TokenConfig, serial: Option<&str>, logins: &AtomicU64) -> Result<(Self, TokenInfo), TokenError> {
        let _lock = StartLock::acquire(&config.start_lock)?;
        let context = context::initialise(&config.module)?;
        let started = Self::log_in(&context, config, serial, logins).and_then(|connection| {
            let info = connection.info()?;
            Ok((connection, info))
        });
        started.inspect_err(|_| {
            // What is initialised must be finalised, or no later start succeeds; the failure that
            // is worth telling is the one that led here.
            let _ = context.clone().finalize();
        })
    }

    fn log_in(
        context: &Pkcs11,
        config: &TokenConfig,
        serial: Option<&str>,
        logins: &AtomicU64,
    ) -> Result<Self, TokenError> {
        let slot = context::slot(context, &config.module, &config.label, serial)?;
        let guard = context.open_rw_session(slot)?;
        logins.fetch_add(1, Relaxed);
        match guard.login(UserType::User, Some(&config.pin)) {
            Ok(()) => Ok(Self { guard: Mutex::new(guard), context: context.clone(), slot }),
            Err(Error::Pkcs11(
                rv @ (RvError::PinIncorrect
                | RvError::PinInvalid
                | RvError::PinLenRange
                | RvError::PinLocked
                | RvError::PinExpired
                | RvError::UserPinNotInitialized),
                _,
            )) => Err(TokenError::PinRefused { ckr: ckr(rv) }),
            Err(other) => Err(other.into()),
        }
    }

    /// Ends the last session, which logs out, and finalises.
    fn stop(self) {
        let Self { guard, context, slot: _ } = self;
        drop(guard);
        // A token that has gone may fail even here; a start follows, and says so if it matters.
        let _ = context.finalize();
    }

    fn info(&self) -> Result<TokenInfo, TokenError> {
        let info = self.context.get_token_info(self.slot)?;
        let firmware = info.firmware_version();
        let (manufacturer, model) = (info.manufacturer_id().to_owned(), info.model().to_owned());
        let named = format!("{manufacturer} {model}").to_ascii_lowercase();
        Ok(TokenInfo {
            label: info.label().to_owned(),
            serial: info.serial_number().to_owned(),
            soft: ["softhsm", "kryoptic", "opencryptoki", "nss"].iter().any(|soft| named.contains(soft)),
            manufacturer,
            model,
            firmware: format!("{}.{}", firmware.major(), firmware.minor()),
        })
    }
}
