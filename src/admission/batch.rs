//! Turns what waits into a batch. Pure: the same nonce twice in one statement would come back fresh
//! twice, so the pair is told apart here, and the loser is recorded too.

use std::collections::HashSet;

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::Spend;
use super::ending::Ending;
use super::outcome::Item;
use crate::store::admission::{Basis, Columns, FreshToken, SpentNonce, verdict};
use crate::store::{Entry, StoreError};

/// What a caller is told.
pub(super) enum Answer {
    /// With the ending of a call, which is recorded even if nobody takes it.
    Admitted(Option<Ending>),
    Refused(i16),
    Failed(StoreError),
}

/// A request in the queue, and whom to tell.
pub(super) struct Waiting {
    entry: Entry,
    basis: Option<Basis>,
    spend: Option<Spend>,
    token: Option<FreshToken>,
    denied: Option<&'static str>,
    ends: bool,
    tell: Option<oneshot::Sender<Answer>>,
}

impl Waiting {
    pub(super) fn new(entry: Entry) -> Self {
        Self { entry, basis: None, spend: None, token: None, denied: None, ends: false, tell: None }
    }

    pub(super) fn resting_on(self, basis: Basis) -> Self {
        Self { basis: Some(basis), ..self }
    }

    pub(super) fn spending(self, spend: Option<Spend>) -> Self {
        Self { spend, ..self }
    }

    pub(super) fn making(self, token: FreshToken) -> Self {
        Self { token: Some(token), ..self }
    }

    /// The agent whose nonce it spends, and when that ends.
    pub(super) fn spends(&self) -> Option<(Uuid, i64)> {
        Some((self.basis.as_ref()?.agent, self.spend.as_ref()?.expires))
    }

    /// Refused before the statement: it spends nothing, makes nothing and goes no further.
    pub(super) fn denied(self, code: &'static str) -> Self {
        Self { denied: Some(code), spend: None, token: None, ends: false, ..self }
    }

    /// What is admitted goes on, and has an ending of its own.
    pub(super) fn ending(self) -> Self {
        Self { ends: true, ..self }
    }

    pub(super) fn answering(self, tell: oneshot::Sender<Answer>) -> Self {
        Self { tell: Some(tell), ..self }
    }

    /// The verdict is durable, and was yes.
    pub(super) fn admitted(&mut self, outcomes: &mpsc::Sender<Item>) {
        if self.tell.is_some() {
            let ending = self.ends.then(|| Ending::new(outcomes.clone(), self.entry.request_id, self.entry.tenant));
            self.answer(Answer::Admitted(ending));
        }
    }

    /// Whoever asked may have gone: then the record stands and nobody is told.
    pub(super) fn answer(&mut self, answer: Answer) {
        if let Some(tell) = self.tell.take() {
            let _ = tell.send(answer);
        }
    }
}

pub(super) fn columns(batch: &[Waiting]) -> Columns {
    let mut columns = Columns::default();
    let mut seen: HashSet<[u8; 32]> = HashSet::with_capacity(batch.len());
    for waiting in batch {
        let Waiting { entry, basis, spend, token, denied, ends: _, tell: _ } = waiting;
        let mut preset = if denied.is_some() { verdict::DENIED } else { verdict::NONE };
        let nonce = spend.as_ref().map(|spend| {
            let key = spend.key();
            if preset == verdict::NONE && !seen.insert(key) {
                preset = verdict::REPLAYED;
            }
            SpentNonce { key, created: spend.created }
        });
        // The loser's nonce stays out of the statement: joined with the winner's, it would take its verdict.
        let nonce = nonce.filter(|_| preset == verdict::NONE);
        columns.push(preset, *denied, entry, basis.as_ref(), nonce.as_ref(), token.as_ref());
    }
    columns
}
