//! A refusal on its way out, and what must be durable before it is answered.

use crate::admission::{Admission, AdmissionError, Entry, Reason, Recording};
use crate::refusal::{Advice, Code, Refusal};

/// What is still due to the record.
#[derive(Debug)]
pub enum Due {
    /// Nobody was authenticated yet: counted by code, per minute.
    Count,
    /// The same behind a tool that is authenticated: its address is not that of whoever failed.
    Relayed,
    /// An authenticated caller: one row.
    Row(Box<Entry>),
    /// The certificate names the caller, and nothing yet shows that he meant this request: one row, and
    /// such rows are limited, so that nobody can fill the disk with them.
    Early(Box<Entry>),
    /// The decision is on record, and was yes; how the rest failed is on its way there.
    Outcome(Recording),
    /// Recorded already, or impossible to record.
    Nothing,
}

/// Not `Clone`: what is due is paid once, by [`Denied::settle`], which alone gives the refusal out.
#[derive(Debug)]
#[must_use = "a refusal must be recorded and answered"]
pub struct Denied {
    refusal: Refusal,
    due: Due,
}

impl Denied {
    pub fn counted(refusal: impl Into<Refusal>) -> Self {
        Self { refusal: refusal.into(), due: Due::Count }
    }

    pub fn relayed(refusal: impl Into<Refusal>) -> Self {
        Self { refusal: refusal.into(), due: Due::Relayed }
    }

    pub fn row(entry: &Entry, refusal: impl Into<Refusal>) -> Self {
        Self { refusal: refusal.into(), due: Due::Row(Box::new(entry.clone())) }
    }

    pub fn early(entry: &Entry, refusal: impl Into<Refusal>) -> Self {
        Self { refusal: refusal.into(), due: Due::Early(Box::new(entry.clone())) }
    }

    pub fn outcome(outcome: Recording, refusal: impl Into<Refusal>) -> Self {
        Self { refusal: refusal.into(), due: Due::Outcome(outcome) }
    }

    pub fn settled(refusal: impl Into<Refusal>) -> Self {
        Self { refusal: refusal.into(), due: Due::Nothing }
    }

    /// For what goes on in between; answered is only what `settle` returns.
    pub fn code(&self) -> Code {
        self.refusal.code
    }

    /// Whether such refusals are limited.
    pub fn counts_against_caller(&self) -> bool {
        matches!(self.due, Due::Count | Due::Early(_)) && self.refusal.code != Code::RateLimited
    }

    /// Makes the record durable, then hands out the refusal. Without a record the answer is 503's.
    pub async fn settle(self, admission: &Admission) -> Refusal {
        let Self { refusal, due } = self;
        let recorded = match due {
            Due::Count | Due::Relayed => {
                admission.unauthenticated(refusal.code.as_str());
                Ok(())
            }
            Due::Row(entry) | Due::Early(entry) => admission.deny(*entry, refusal.code.as_str()).await,
            Due::Outcome(outcome) => outcome.durable().await,
            Due::Nothing => Ok(()),
        };
        match recorded {
            Ok(()) => refusal,
            Err(error) => {
                tracing::error!(%error, code = %refusal.code, "a refusal was not recorded");
                Refusal::store_unavailable()
            }
        }
    }
}

/// What admission says no with is recorded there.
pub fn not_admitted(error: AdmissionError) -> Denied {
    Denied::settled(match error {
        AdmissionError::Denied(reason) => refused(reason),
        // The caller has tried again as often as it may.
        AdmissionError::Stale => Refusal::new(Code::StoreUnavailable, "the permissions are being changed; try again")
            .advise(Advice::RetryAfter(1)),
        AdmissionError::Unavailable(error) => {
            tracing::warn!(%error, "admission is unavailable");
            match Refusal::from(error) {
                refusal if refusal.code == Code::StoreUnavailable => refusal,
                // Whatever went wrong there, nothing was recorded and nothing may be answered but this.
                _ => Refusal::store_unavailable(),
            }
        }
    })
}

fn refused(reason: Reason) -> Refusal {
    match reason {
        Reason::Replayed => Refusal::new(Code::SignatureReplayed, "the nonce was used before; sign with a fresh one"),
        Reason::Frozen => {
            Refusal::new(Code::AgentFrozen, "the agent, or one on whose behalf it acts, is frozen; ask its operator")
        }
        Reason::Retired => Refusal::new(Code::AgentRetired, "the agent, or one on whose behalf it acts, is retired"),
        Reason::Revoked => {
            Refusal::new(Code::TokenInvalid, "the token, or one that it came of, was revoked; get a new one")
        }
        Reason::ClockSkew => {
            Refusal::new(Code::ClockSkew, "the clocks of gateway and store are apart; try again later")
                .advise(Advice::RetryAfter(5))
        }
        Reason::NonceCap => Refusal::new(Code::RateLimited, "too many requests are still inside their time window")
            .advise(Advice::RetryAfter(10)),
    }
}

impl From<tgp_request::Refusal> for Refusal {
    fn from(refusal: tgp_request::Refusal) -> Self {
        let code = Code::from_text(refusal.code.as_str()).unwrap_or(Code::RequestMalformed);
        Self::new(code, refusal.detail)
    }
}
