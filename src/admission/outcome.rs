//! Outcomes of forwarded requests, and the counts of unauthenticated failures: the same kind of batch on
//! a connection of its own, so that endings never delay beginnings.
//!
//! A verdict that cannot be written is answered with 503. An outcome cannot be taken back: it waits here,
//! in order, until the database takes it. What is lost is what a crash finds waiting, and what comes when
//! [`QUEUE`] of them wait already; admission takes nothing while the database is away, so those could
//! only be calls that were under way when it went.
//!
//! Most endings are waited for by nobody. Those gather for [`GATHERING`], so that one statement and one
//! flush serve many of them also where few calls run at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use uuid::Uuid;

use super::failures::Failures;
use super::writer::Line;
use super::{AdmissionError, gone, overloaded};
use crate::store::StoreError;
use crate::store::admission::OutcomeColumns;

const BATCH: usize = 256;

/// Some ten megabytes.
pub(super) const QUEUE: usize = 64 * 1024;

/// How long an ending that nobody waits for may wait for others: what a crash can lose grows by it.
const GATHERING: Duration = Duration::from_millis(10);

/// How often counts are added to their minute's row.
const SUMMARY: Duration = Duration::from_secs(1);

/// Between two attempts: at first, and at most.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How a forwarded request ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub request_id: Uuid,
    pub tenant: Uuid,
    /// The upstream's; absent when it never answered.
    pub status: Option<u16>,
    /// Of the reply's body, as passed on.
    pub bytes: u64,
    /// SHA-256 of those.
    pub digest: Option<[u8; 32]>,
    /// What broke, as the protocol's code.
    pub error: Option<&'static str>,
    /// Matches of the tool's credential that were masked.
    pub masked: u64,
}

/// In the order in which they came.
pub(super) enum Item {
    Outcome(Waiting),
    /// Told when everything before it is recorded.
    Flush(oneshot::Sender<()>),
}

pub(super) struct Waiting {
    outcome: Outcome,
    haste: Haste,
    /// Taken when there is something to tell: the record may come later than the first failure.
    tell: Option<oneshot::Sender<Result<(), StoreError>>>,
}

/// Whether somebody waits for the record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Haste {
    /// An answer does: it is written at once, with all that came before it.
    Awaited,
    /// Nobody does.
    Gathered,
}

impl Item {
    /// Whether the batch it is in goes out at once.
    fn is_awaited(&self) -> bool {
        match self {
            Self::Outcome(waiting) => waiting.haste == Haste::Awaited,
            Self::Flush(_) => true,
        }
    }
}

/// A record on its way.
#[must_use = "an answer that depends on this record waits for it"]
#[derive(Debug)]
pub struct Recording(oneshot::Receiver<Result<(), StoreError>>);

impl Recording {
    /// Waits until the record is durable, or the first attempt has failed: then it is tried again, but
    /// nothing that depends on it may be answered.
    pub async fn durable(self) -> Result<(), AdmissionError> {
        Ok(self.0.await.map_err(|_| gone())??)
    }
}

/// Puts an outcome into the queue, whatever becomes of who asked.
pub(super) fn send(queue: &mpsc::Sender<Item>, outcome: Outcome, haste: Haste) -> Recording {
    let (tell, told) = oneshot::channel();
    match queue.try_send(Item::Outcome(Waiting { outcome, haste, tell: Some(tell) })) {
        Ok(()) => {}
        Err(mpsc::error::TrySendError::Full(item) | mpsc::error::TrySendError::Closed(item)) => {
            if let Item::Outcome(Waiting { outcome, tell: Some(tell), .. }) = item {
                tracing::error!(request_id = %outcome.request_id, "an outcome is lost: too many wait already");
                // Nobody need wait for it.
                let _ = tell.send(Err(StoreError::Unavailable(overloaded().to_string())));
            }
        }
    }
    Recording(told)
}

pub(super) async fn run(url: Arc<str>, failures: Arc<Failures>, mut queue: mpsc::Receiver<Item>) {
    // Counts of two gateways in one minute are two rows.
    let gateway = Uuid::new_v4();
    let mut scribe = Scribe { line: Line::new(url), lock: gateway.as_u64_pair().0.cast_signed(), last: None };
    let mut items = Vec::with_capacity(BATCH);
    let mut tick = interval(SUMMARY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            received = queue.recv_many(&mut items, BATCH) => {
                if received == 0 {
                    // The last handle has gone; what it counted has not been told.
                    return summarise(&mut scribe.line, gateway, &failures).await;
                }
                gather(&mut queue, &mut items).await;
                let mut batch = Vec::with_capacity(items.len());
                let mut flushes = Vec::new();
                for item in items.drain(..) {
                    match item {
                        Item::Outcome(waiting) => batch.push(waiting),
                        Item::Flush(tell) => flushes.push(tell),
                    }
                }
                scribe.write(&mut batch).await;
                for tell in flushes {
                    // Whoever asked may have lost patience.
                    let _ = tell.send(());
                }
            }
            _ = tick.tick() => summarise(&mut scribe.line, gateway, &failures).await,
        }
    }
}

/// Adds to `items` what comes within [`GATHERING`], until one is waited for or the batch is full.
async fn gather(queue: &mut mpsc::Receiver<Item>, items: &mut Vec<Item>) {
    let until = Instant::now() + GATHERING;
    let mut seen = 0;
    while items.len() < BATCH && !items[seen..].iter().any(Item::is_awaited) {
        seen = items.len();
        let room = BATCH - seen;
        match timeout_at(until, queue.recv_many(items, room)).await {
            Ok(received) if received > 0 => {}
            // The time is over, or nothing will come any more.
            Ok(_) | Err(_) => return,
        }
    }
}

struct Scribe {
    line: Line,
    /// This gateway's advisory lock.
    lock: i64,
    /// No outcome that was not yet written had an id up to this one.
    last: Option<i64>,
}

impl Scribe {
    /// Returns when all of `batch` is recorded, or is known to be impossible.
    async fn write(&mut self, batch: &mut [Waiting]) {
        let mut pause = PAUSE;
        // Whether an attempt may have been committed without our hearing of it.
        let mut in_doubt = false;
        while !batch.is_empty() {
            match self.attempt(batch, &mut in_doubt).await {
                Ok(()) => return tell(batch, &Ok(())),
                Err(error @ (StoreError::Bug(_) | StoreError::Conflict(_))) => {
                    tracing::error!(%error, rows = batch.len(), "outcomes were refused");
                    if let [_] = batch {
                        return tell(batch, &Err(error));
                    }
                    // One impossible row must not take the others with it.
                    for one in batch.chunks_mut(1) {
                        Box::pin(self.write(one)).await;
                    }
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, rows = batch.len(), "outcomes wait for the database");
                    tell(batch, &Err(error));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn attempt(&mut self, batch: &[Waiting], in_doubt: &mut bool) -> Result<(), StoreError> {
        let last = match self.last {
            Some(last) => last,
            None => self.line.run(async |writer| writer.last_outcome().await).await?,
        };
        self.last = Some(last);
        let rows = columns(batch);
        let lock = self.lock;
        let again = *in_doubt;
        let written = self
            .line
            .run(async |writer| {
                *in_doubt = true;
                if again { writer.end_again(lock, last, &rows).await } else { writer.end(lock, &rows).await }
            })
            .await;
        if matches!(written, Err(StoreError::Bug(_) | StoreError::Conflict(_))) {
            // The server has said that it took nothing.
            *in_doubt = again;
        }
        self.last = Some(written?.max(last));
        Ok(())
    }
}

fn tell(batch: &mut [Waiting], result: &Result<(), StoreError>) {
    for tell in batch.iter_mut().filter_map(|waiting| waiting.tell.take()) {
        // Nobody need wait for an ending.
        let _ = tell.send(result.clone());
    }
}

fn columns(batch: &[Waiting]) -> OutcomeColumns {
    let mut rows = OutcomeColumns::default();
    for Waiting { outcome, haste: _, tell: _ } in batch {
        let Outcome { request_id, tenant, status, bytes, digest, error, masked } = outcome;
        rows.request.push(*request_id);
        rows.tenant.push(*tenant);
        rows.status.push(status.map(i32::from));
        rows.bytes.push(i64::try_from(*bytes).unwrap_or(i64::MAX));
        rows.sha256.push(digest.map(|digest| digest.to_vec()));
        rows.error.push(error.map(str::to_owned));
        rows.masked.push(i64::try_from(*masked).unwrap_or(i64::MAX));
    }
    rows
}

async fn summarise(line: &mut Line, gateway: Uuid, failures: &Failures) {
    let counted = failures.take();
    if counted.is_empty() {
        return;
    }
    let codes: Vec<String> = counted.iter().map(|(code, _)| (*code).to_owned()).collect();
    let counts: Vec<i64> = counted.iter().map(|(_, count)| i64::try_from(*count).unwrap_or(i64::MAX)).collect();
    if let Err(error) = line.run(async |writer| writer.summarise(gateway, &codes, &counts).await).await {
        tracing::warn!(%error, "unauthenticated failures were not summarised");
        failures.put_back(counted);
    }
}
