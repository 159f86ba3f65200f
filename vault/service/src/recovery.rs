//! Bringing a lost token back without a restart of the vault.
//!
//! After a failure the known answer of a pinned key is asked: searches and random octets go on
//! working on a token that has gone. If it does not come, the module is started anew, once, and
//! asked again. Attempts are spaced; in between calls fail at once.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tgp_token::{Token, TokenSession};

use crate::vault::Vault;

/// Between two starts of the module. A refused PIN is never tried again, however long one waits.
const SPACING: Duration = Duration::from_secs(1);

pub(crate) struct Recovery {
    token: Token,
    last: Mutex<Option<Instant>>,
}

impl Recovery {
    pub(crate) fn of(token: Token) -> Self {
        Recovery { token, last: Mutex::new(None) }
    }

    /// A session for one thread.
    pub(crate) fn session(&self) -> Result<TokenSession, tgp_token::TokenError> {
        self.token.session()
    }

    /// Asks the known answer, and starts the module anew where it does not come. True when the
    /// token works.
    pub(crate) fn attempt(&self, vault: &Vault, session: &mut TokenSession) -> bool {
        let seen = self.token.generation();
        if vault.keys.known_answer(session) {
            return true;
        }
        {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            if last.is_some_and(|last| now.duration_since(last) < SPACING) {
                return false;
            }
            *last = Some(now);
        }
        tracing::warn!("the token does not give its known answer; starting its module anew");
        match self.token.recover(seen) {
            Ok(()) if vault.keys.known_answer(session) => {
                tracing::info!("the token is back");
                true
            }
            Ok(()) => {
                tracing::error!("the module was started and the token is not the one it was");
                false
            }
            Err(error) => {
                tracing::error!(%error, "the token is still away");
                false
            }
        }
    }
}
