//! The ending of a call that was admitted. It is made by the writer in the moment that the verdict is
//! durable, and whoever lets go of it writes what became of the call: so a caller that went away while
//! its verdict was being committed leaves an outcome as any other does.

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::outcome::{Haste, Item, Outcome, Recording, send};

/// How an admitted call ends: recorded once, at its end, or when it is dropped before.
#[must_use = "a call whose ending is dropped has ended"]
pub struct Ending {
    outcomes: mpsc::Sender<Item>,
    request_id: Uuid,
    tenant: Uuid,
    status: Option<u16>,
    bytes: u64,
    digest: Sha256,
    masked: u64,
    recorded: bool,
}

impl Ending {
    pub(super) fn new(outcomes: mpsc::Sender<Item>, request_id: Uuid, tenant: Uuid) -> Self {
        let digest = Sha256::new();
        Self { outcomes, request_id, tenant, status: None, bytes: 0, digest, masked: 0, recorded: false }
    }

    /// The call failed before its reply began: the record is due before the refusal is answered.
    pub fn failed(mut self, error: &'static str) -> Recording {
        self.record(Some(error), Haste::Awaited)
    }

    /// The reply has begun.
    pub fn begun(&mut self, status: u16) {
        self.status = Some(status);
    }

    /// A piece of the reply's body, as it is passed on.
    pub fn passed(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        self.digest.update(data);
    }

    /// How many matches of the credential were masked until now.
    pub fn masked(&mut self, matches: u64) {
        self.masked = matches;
    }

    pub fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// Nobody waits for this record: the caller has its reply. Only the first end counts.
    pub fn end(&mut self, error: Option<&'static str>) {
        if !self.recorded {
            drop(self.record(error, Haste::Gathered));
        }
    }

    fn record(&mut self, error: Option<&'static str>, haste: Haste) -> Recording {
        self.recorded = true;
        let digest = self.status.map(|_| std::mem::take(&mut self.digest).finalize().into());
        let outcome = Outcome {
            request_id: self.request_id,
            tenant: self.tenant,
            status: self.status,
            bytes: self.bytes,
            digest,
            error,
            masked: self.masked,
        };
        send(&self.outcomes, outcome, haste)
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        // The agent went away, or its connection did: what it got until then is on record.
        self.end(Some("agent-gone"));
    }
}
