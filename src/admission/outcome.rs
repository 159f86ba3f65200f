//! Outcomes of forwarded requests, and the counts of unauthenticated failures: the same kind of batch on
//! a connection of its own, so that endings never delay beginnings.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use super::failures::Failures;
use super::writer::Line;
use crate::store::StoreError;
use crate::store::admission::OutcomeColumns;

const BATCH: usize = 256;

/// How often counts are added to their minute's row.
const SUMMARY: Duration = Duration::from_secs(1);

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
}

pub(super) struct Waiting {
    pub(super) outcome: Outcome,
    pub(super) tell: oneshot::Sender<Result<(), StoreError>>,
}

pub(super) async fn run(url: Arc<str>, failures: Arc<Failures>, mut queue: mpsc::Receiver<Waiting>) {
    // Counts of two gateways in one minute are two rows.
    let gateway = Uuid::new_v4();
    let mut line = Line::new(url);
    let mut batch = Vec::with_capacity(BATCH);
    let mut tick = interval(SUMMARY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            received = queue.recv_many(&mut batch, BATCH) => {
                if received == 0 {
                    // The last handle has gone; what it counted has not been told.
                    return summarise(&mut line, gateway, &failures).await;
                }
                write(&mut line, &mut batch).await;
            }
            _ = tick.tick() => summarise(&mut line, gateway, &failures).await,
        }
    }
}

async fn write(line: &mut Line, batch: &mut Vec<Waiting>) {
    let mut rows = OutcomeColumns::default();
    for Waiting { outcome, tell: _ } in batch.iter() {
        let Outcome { request_id, tenant, status, bytes, digest, error } = outcome;
        rows.request.push(*request_id);
        rows.tenant.push(*tenant);
        rows.status.push(status.map(i32::from));
        rows.bytes.push(i64::try_from(*bytes).unwrap_or(i64::MAX));
        rows.sha256.push(digest.map(|digest| digest.to_vec()));
        rows.error.push(error.map(str::to_owned));
    }
    let result = line.run(async |writer| writer.end(&rows).await).await;
    if let Err(error) = &result {
        tracing::error!(%error, rows = batch.len(), "outcomes were not recorded");
    }
    for waiting in batch.drain(..) {
        // Nobody need wait for an ending.
        let _ = waiting.tell.send(result.clone());
    }
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
