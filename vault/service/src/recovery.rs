//! Bringing a lost token back without a restart of the vault, and without anybody asking for it.
//!
//! A thread of its own asks the known answer of a pinned key, each second and whenever a call has
//! failed: searches and random octets go on working on a token that has gone. Where the answer does not
//! come the module is started anew, with one login where the token is there and none where it is not.
//! Calls meanwhile fail at once; none of them waits for a recovery or makes one.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tgp_token::{Token, TokenSession};

use crate::failure::Failure;
use crate::vault::Vault;

/// Between two looks, and between two starts of the module. A refused PIN is never tried again,
/// however long one waits.
const BEAT: Duration = Duration::from_secs(1);

pub(crate) struct Recovery {
    token: Token,
    wanted: Mutex<Wanted>,
    wake: Condvar,
}

#[derive(Default)]
struct Wanted {
    look: bool,
    stop: bool,
}

impl Recovery {
    pub(crate) fn of(token: Token) -> Self {
        Recovery { token, wanted: Mutex::default(), wake: Condvar::new() }
    }

    /// A session for one thread.
    pub(crate) fn session(&self) -> Result<TokenSession, tgp_token::TokenError> {
        self.token.session()
    }

    /// How often the token was logged in to.
    pub(crate) fn logins(&self) -> u64 {
        self.token.logins()
    }

    /// How often the module was started.
    pub(crate) fn starts(&self) -> u64 {
        self.token.generation()
    }

    /// The token failed a call: somebody should look.
    pub(crate) fn look(&self) {
        self.wanted().look = true;
        self.wake.notify_one();
    }

    /// Ends [`Recovery::supervise`].
    pub(crate) fn stop(&self) {
        self.wanted().stop = true;
        self.wake.notify_one();
    }

    /// Looks after the token until it is stopped.
    pub(crate) fn supervise(&self, vault: &Vault) {
        let Ok(mut session) = self.session() else { return };
        let mut told = None;
        while self.wait(told.is_some()) {
            match self.attend(vault, &mut session) {
                Ok(()) => {
                    if told.take().is_some() {
                        tracing::info!("the token is back");
                    }
                }
                // Once for each reason, not once a second.
                Err(why) if told.as_ref() == Some(&why) => {}
                Err(why) => {
                    tracing::error!(why, "the token is away");
                    told = Some(why);
                }
            }
        }
    }

    /// Waits for a beat or for somebody who asks; false when it is time to end. While the token is away
    /// every call fails and asks, and starts of the module stay a beat apart.
    fn wait(&self, away: bool) -> bool {
        let idle = |wanted: &mut Wanted| !wanted.stop && (away || !wanted.look);
        let (mut wanted, _) =
            self.wake.wait_timeout_while(self.wanted(), BEAT, idle).unwrap_or_else(PoisonError::into_inner);
        wanted.look = false;
        !wanted.stop
    }

    fn attend(&self, vault: &Vault, session: &mut TokenSession) -> Result<(), String> {
        let seen = self.token.generation();
        if !vault.keys.known_answer(session) {
            tracing::warn!("the token does not give its known answer; starting its module anew");
            self.token.recover(seen).map_err(|error| error.to_string())?;
            if !vault.keys.known_answer(session) {
                return Err("the module was started and the token is not the one it was".into());
            }
        }
        vault.state.settle(session).map_err(|failure| match failure {
            Failure::Token(error) => format!("the state's version: {error}"),
            other => format!("the state's version: {other:?}"),
        })
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
