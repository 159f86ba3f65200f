//! The one writer of a gateway: a batch forms while the one before it commits, so nobody waits for a
//! timer and a lone request goes out at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Clock;
use super::batch::{Answer, Waiting, columns};
use super::outcome::Item;
use crate::store::StoreError;
use crate::store::admission::Writer;

/// Rows in one statement, at most: past some hundred a row gets no cheaper and everybody waits longer.
const BATCH: usize = 256;

pub(super) struct Setting {
    pub(super) clock: Clock,
    /// Where the endings of what is admitted go.
    pub(super) outcomes: mpsc::Sender<Item>,
}

pub(super) async fn run(url: Arc<str>, setting: Setting, mut queue: mpsc::Receiver<Waiting>) {
    let mut line = Line::new(url);
    let mut batch = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        admit(&mut line, &setting, &mut batch).await;
        batch.clear();
    }
}

/// Gets every caller of the batch its answer.
async fn admit(line: &mut Line, setting: &Setting, batch: &mut [Waiting]) {
    match attempt(line, setting, batch).await {
        Ok(()) => {}
        // One impossible row must not take the others with it, nor tell them apart by failing them all.
        Err(StoreError::Bug(why)) if batch.len() > 1 => {
            tracing::error!(%why, rows = batch.len(), "a batch was refused, taking its rows one by one");
            for waiting in batch.chunks_mut(1) {
                if let Err(error) = attempt(line, setting, waiting).await {
                    fail(waiting, &error);
                }
            }
        }
        Err(error) => fail(batch, &error),
    }
}

async fn attempt(line: &mut Line, setting: &Setting, batch: &mut [Waiting]) -> Result<(), StoreError> {
    let Setting { clock, outcomes } = setting;
    let columns = columns(batch);
    let refused = line.run(async |writer| writer.admit(&columns, clock()).await).await?;
    for (index, verdict) in refused {
        if let Some(waiting) = batch.get_mut(index) {
            waiting.answer(Answer::Refused(verdict));
        }
    }
    // Whoever was not refused was admitted: the statement has committed.
    for waiting in batch {
        waiting.admitted(outcomes);
    }
    Ok(())
}

fn fail(batch: &mut [Waiting], error: &StoreError) {
    for waiting in batch {
        waiting.answer(Answer::Failed(error.clone()));
    }
}

/// A connection that is made when it is needed and thrown away when in doubt.
pub(super) struct Line {
    url: Arc<str>,
    writer: Option<Writer>,
    /// After a failed attempt, callers fail at once until then rather than queue up behind the next.
    closed_until: Option<(Instant, StoreError)>,
}

impl Line {
    pub(super) fn new(url: Arc<str>) -> Self {
        Self { url, writer: None, closed_until: None }
    }

    pub(super) async fn run<T>(
        &mut self,
        statement: impl AsyncFnOnce(&mut Writer) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Some((until, error)) = &self.closed_until {
            if Instant::now() < *until {
                return Err(error.clone());
            }
            self.closed_until = None;
        }
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => match Writer::connect(&self.url).await {
                Ok(writer) => writer,
                Err(error) => {
                    self.closed_until = Some((Instant::now() + Duration::from_millis(250), error.clone()));
                    return Err(error);
                }
            },
        };
        let result = statement(&mut writer).await;
        // After a refusal by the server the connection is sound; after anything else nobody knows what
        // answer would come next on it.
        if matches!(result, Ok(_) | Err(StoreError::Bug(_) | StoreError::Conflict(_))) {
            self.writer = Some(writer);
        }
        result
    }
}
