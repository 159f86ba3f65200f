//! Admission: nothing is answered or forwarded before its record is durable.
//!
//! A decision is made from cached facts and may be old; [`Admission`] has the database compare them
//! once more, spend the request's nonce and write the verdict, in one statement that requests waiting at
//! the same moment share. What comes back is a [`Recorded`], the only thing that may be spent.
//!
//! It decides nothing, and it repeats nothing on its own: after [`AdmissionError::Stale`] the caller
//! loads and decides again, and after [`AdmissionError::Unavailable`] nothing may be answered but 503.
//!
//! | what fails | what the caller gets | what stays |
//! |---|---|---|
//! | the database before the statement | `Unavailable` | nothing |
//! | the connection during the statement | `Unavailable` | perhaps an `allowed` row without an outcome, and a spent nonce |
//! | one row of a batch is impossible | `Unavailable` for it alone | the other rows, as if it had not been there |
//! | the caller goes away meanwhile | nothing | the row, and the outcome `agent-gone` |
//! | the gateway after the commit | nothing | an `allowed` row without an outcome |
//! | the database before the outcome | its reply | the outcome, once the database is back |

mod batch;
mod ending;
mod failures;
mod live;
mod outcome;
mod recorded;
mod writer;

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tgp_policy::Permit;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::store::StoreError;
use crate::store::admission::{Basis, FreshToken, verdict};
pub use crate::store::{Entry, Kind};
use batch::{Answer, Waiting};
pub use ending::Ending;
use failures::Failures;
use live::LiveNonces;
pub use outcome::{Outcome, Recording};
pub use recorded::{Recorded, Unrecorded};

/// Waiting requests beyond which more are refused at once; at 20 µs a row it is a tenth of a second.
const QUEUE: usize = 4096;

/// Tells the time, Unix seconds: the gateway's, which the database's is compared with.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

pub struct AdmissionConfig {
    /// Of the role `tgp_admission`.
    pub url: String,
    /// For each agent at this gateway.
    pub live_nonces: u32,
    pub clock: Clock,
}

/// A nonce to be spent with the verdict.
#[derive(Clone, Debug)]
pub struct Spend {
    pub namespace: Namespace,
    /// Thumbprint of the key that signed.
    pub keyid: String,
    /// SHA-256 of the nonce's text.
    pub nonce_digest: [u8; 32],
    /// Unix seconds, both as signed.
    pub created: i64,
    pub expires: i64,
}

/// Request nonces and assertion ids are remembered apart: one may be spelled like the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Namespace {
    Request,
    /// The `jti` of a `private_key_jwt`.
    Assertion,
}

impl Spend {
    /// The nonce of a request signature.
    pub fn request(keyid: &str, nonce_digest: [u8; 32], created: i64, expires: i64) -> Self {
        Self { namespace: Namespace::Request, keyid: keyid.to_owned(), nonce_digest, created, expires }
    }

    /// The `jti` of an assertion; one without `iat` counts as created when it arrived.
    pub fn assertion(keyid: &str, jti_digest: [u8; 32], created: i64, expires: i64) -> Self {
        Self { namespace: Namespace::Assertion, keyid: keyid.to_owned(), nonce_digest: jti_digest, created, expires }
    }

    fn key(&self) -> [u8; 32] {
        let Self { namespace, keyid, nonce_digest, created: _, expires: _ } = self;
        let namespace: &[u8] = match namespace {
            Namespace::Request => b"request",
            Namespace::Assertion => b"assertion",
        };
        // The digest has a fixed length and comes last, and neither other part holds a zero byte.
        let mut hash = Sha256::new();
        for part in [namespace, b"\0", keyid.as_bytes(), b"\0", nonce_digest] {
            hash.update(part);
        }
        hash.finalize().into()
    }
}

/// Why a request was refused at the last moment. Each has been recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    Replayed,
    Frozen,
    Retired,
    /// The token.
    Revoked,
    /// This gateway's clock and the database's are more than 30 s apart.
    ClockSkew,
    /// The agent has as many live nonces as it may.
    NonceCap,
}

impl Reason {
    /// The protocol's code, as recorded.
    pub fn code(self) -> &'static str {
        match self {
            Self::Replayed => "signature-replayed",
            Self::Frozen => "agent-frozen",
            Self::Retired => "agent-retired",
            Self::Revoked => "token-invalid",
            Self::ClockSkew => "clock-skew",
            Self::NonceCap => "rate-limited",
        }
    }
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum AdmissionError {
    /// A fact is newer than the decision: load it and decide again. Not recorded, since it is no verdict.
    #[error("the decision rests on facts that have changed")]
    Stale,
    #[error("refused and recorded: {}", .0.code())]
    Denied(Reason),
    /// Not recorded, or not known to be: nothing may be answered or forwarded.
    #[error(transparent)]
    Unavailable(#[from] StoreError),
}

/// What a decision rested on, as admission compares it.
fn basis(permit: &Permit) -> Basis {
    Basis {
        agent: permit.agent(),
        agent_version: Some(permit.agent_version()),
        principals: permit.principals().to_vec(),
        tool: Some((permit.tool().to_string(), permit.tool_version())),
        grant: Some((permit.grant(), permit.grant_version())),
    }
}

/// The handle; clones share one writer. The writer ends when the last of them is dropped.
#[derive(Clone)]
pub struct Admission {
    queue: mpsc::Sender<Waiting>,
    outcomes: mpsc::Sender<outcome::Item>,
    failures: Arc<Failures>,
    live: Arc<LiveNonces>,
    clock: Clock,
}

impl Admission {
    /// Spawns the writers on the current runtime. They connect when there is something to write.
    pub fn start(config: AdmissionConfig) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (outcomes, ended) = mpsc::channel(outcome::QUEUE);
        let failures = Arc::new(Failures::default());
        let AdmissionConfig { url, live_nonces, clock } = config;
        let url: Arc<str> = url.into();
        let setting = writer::Setting { clock: clock.clone(), outcomes: outcomes.clone() };
        tokio::spawn(writer::run(url.clone(), setting, waiting));
        tokio::spawn(outcome::run(url, failures.clone(), ended));
        let live = Arc::new(LiveNonces::new(live_nonces));
        Self { queue, outcomes, failures, live, clock }
    }

    /// Admits a request: the permit comes back recorded, or not at all.
    pub async fn admit(
        &self,
        permit: Permit,
        entry: Entry,
        spend: Option<Spend>,
    ) -> Result<Recorded<Permit>, AdmissionError> {
        let basis = basis(&permit);
        self.spend(Waiting::new(entry).resting_on(basis).spending(spend)).await?;
        Ok(Recorded::new(permit))
    }

    /// Admits a call that will be forwarded: its ending comes with it, and is recorded even if the caller
    /// has gone when the verdict is durable.
    pub async fn admit_call(
        &self,
        permit: Permit,
        entry: Entry,
        spend: Option<Spend>,
    ) -> Result<(Recorded<Permit>, Ending), AdmissionError> {
        let basis = basis(&permit);
        let waiting = Waiting::new(entry).resting_on(basis).spending(spend).ending();
        match self.spend(waiting).await? {
            Some(ending) => Ok((Recorded::new(permit), ending)),
            None => Err(gone()),
        }
    }

    /// Admits a token: from the commit on it is valid, and may be answered.
    pub async fn issue<T>(
        &self,
        permit: Permit,
        token: Unrecorded<T>,
        entry: Entry,
        spend: Option<Spend>,
    ) -> Result<Recorded<T>, AdmissionError> {
        let basis = basis(&permit);
        let Unrecorded { value, jti, expires, actions } = token;
        let fresh = FreshToken { jti, expires, actions: actions.join(" ") };
        self.spend(Waiting::new(entry).resting_on(basis).spending(spend).making(fresh)).await?;
        Ok(Recorded::new(value))
    }

    /// Admits an agent's act that rests on no grant (a renewal, say): its status is checked, its nonce spent.
    pub async fn admit_agent(
        &self,
        agent: Uuid,
        entry: Entry,
        spend: Option<Spend>,
    ) -> Result<Recorded<()>, AdmissionError> {
        let basis = Basis { agent, agent_version: None, principals: Vec::new(), tool: None, grant: None };
        self.spend(Waiting::new(entry).resting_on(basis).spending(spend)).await?;
        Ok(Recorded::new(()))
    }

    /// Records a refusal of an authenticated caller, with the protocol's code for it. Durable on return.
    pub async fn deny(&self, entry: Entry, code: &'static str) -> Result<(), AdmissionError> {
        self.submit(Waiting::new(entry).denied(code)).await.map(drop)
    }

    /// Records how a forwarded request ended; see [`Recording::durable`].
    pub async fn outcome(&self, outcome: Outcome) -> Result<(), AdmissionError> {
        outcome::send(&self.outcomes, outcome, outcome::Haste::Awaited).durable().await
    }

    /// Waits until every outcome that was sent before is recorded.
    pub async fn flush(&self) {
        let (tell, told) = oneshot::channel();
        if self.outcomes.send(outcome::Item::Flush(tell)).await.is_ok() {
            // A writer that has ended has nothing left to write.
            let _ = told.await;
        }
    }

    /// Counts a failure from before anybody was authenticated. Written a second later; what a
    /// crash loses in that second is lost.
    pub fn unauthenticated(&self, code: &'static str) {
        self.failures.count(code);
    }

    /// Within the agent's cap on live nonces, or refused and recorded.
    async fn spend(&self, waiting: Waiting) -> Result<Option<Ending>, AdmissionError> {
        let Some((agent, expires)) = waiting.spends() else { return self.submit(waiting).await };
        if !self.live.take(agent, expires, (self.clock)()) {
            self.submit(waiting.denied(Reason::NonceCap.code())).await?;
            return Err(AdmissionError::Denied(Reason::NonceCap));
        }
        let submitted = self.submit(waiting).await;
        if matches!(submitted, Err(AdmissionError::Stale | AdmissionError::Denied(_))) {
            self.live.give_back(agent, expires);
        }
        submitted
    }

    async fn submit(&self, waiting: Waiting) -> Result<Option<Ending>, AdmissionError> {
        let (tell, told) = oneshot::channel();
        self.queue.try_send(waiting.answering(tell)).map_err(|_| overloaded())?;
        match told.await.map_err(|_| gone())? {
            Answer::Admitted(ending) => Ok(ending),
            Answer::Refused(verdict) => Err(refusal(verdict)),
            Answer::Failed(error) => Err(error.into()),
        }
    }
}

fn refusal(verdict: i16) -> AdmissionError {
    AdmissionError::Denied(match verdict {
        verdict::REPLAYED => Reason::Replayed,
        verdict::FROZEN => Reason::Frozen,
        verdict::RETIRED => Reason::Retired,
        verdict::REVOKED => Reason::Revoked,
        verdict::CLOCK_SKEW => Reason::ClockSkew,
        verdict::STALE => return AdmissionError::Stale,
        other => return StoreError::Bug(format!("admission answered with verdict {other}")).into(),
    })
}

fn overloaded() -> AdmissionError {
    StoreError::Unavailable("too many requests are waiting for the database".into()).into()
}

fn gone() -> AdmissionError {
    StoreError::Unavailable("the writer has ended".into()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_of_two_namespaces_or_keys_are_different_nonces() {
        let spend = Spend::request("key", [7; 32], 0, 60);
        let others = [
            Spend::assertion("key", [7; 32], 0, 60),
            Spend::request("yek", [7; 32], 0, 60),
            Spend::request("key", [8; 32], 0, 60),
        ];
        for other in &others {
            assert_ne!(spend.key(), other.key(), "{other:?}");
        }
        assert_eq!(spend.key(), Spend::request("key", [7; 32], 10, 20).key(), "time is not part of a nonce");
    }
}
