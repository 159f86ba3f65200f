//! Counts of calls, by kind and how each ended, of refusals by code, and of what became of connections.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tgp_vault_client::wire::{CallCount, Count, Op, RefusalCode};

/// How a call ended.
#[derive(Clone, Copy)]
pub(crate) enum Ending {
    Answered,
    Refused,
    Failed,
}

/// What became of a connection.
#[derive(Clone, Copy)]
pub(crate) enum Met {
    Admitted,
    /// By a user who is not listed.
    TurnedAwayUser,
    /// There were as many as there may be.
    TurnedAwayFull,
    /// It did not begin with a hello, or what it sent is no frame.
    CutMalformed,
    /// It did not finish what it began, or did not take its replies.
    CutSlow,
    /// A defect of ours ended it.
    CutPanicked,
    /// It went away by itself in the middle of something.
    Lost,
}

impl Met {
    const NAMES: [(Met, &'static str); 7] = [
        (Met::Admitted, "admitted"),
        (Met::TurnedAwayUser, "turned-away-user"),
        (Met::TurnedAwayFull, "turned-away-full"),
        (Met::CutMalformed, "cut-malformed"),
        (Met::CutSlow, "cut-slow"),
        (Met::CutPanicked, "cut-panicked"),
        (Met::Lost, "lost"),
    ];
}

struct Row {
    op: Op,
    by_ending: [AtomicU64; 3],
}

/// Counts since the vault's start.
pub(crate) struct Counters {
    calls: Vec<Row>,
    refusals: Vec<(RefusalCode, AtomicU64)>,
    connections: [AtomicU64; Met::NAMES.len()],
}

impl Counters {
    pub(crate) fn new() -> Self {
        let row = |op: &Op| Row { op: *op, by_ending: Default::default() };
        Counters {
            calls: Op::ALL.iter().map(row).collect(),
            refusals: RefusalCode::ALL.iter().map(|code| (*code, AtomicU64::new(0))).collect(),
            connections: Default::default(),
        }
    }

    pub(crate) fn count(&self, op: Op, ending: Ending) {
        if let Some(row) = self.calls.iter().find(|row| row.op == op) {
            row.by_ending[ending as usize].fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn refused(&self, code: RefusalCode) {
        if let Some((_, count)) = self.refusals.iter().find(|(of, _)| *of == code) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn met(&self, what: Met) {
        self.connections[what as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn calls(&self) -> Vec<CallCount> {
        self.calls
            .iter()
            .map(|row| CallCount {
                op: row.op.as_str().to_owned(),
                ok: row.by_ending[0].load(Relaxed),
                refused: row.by_ending[1].load(Relaxed),
                failed: row.by_ending[2].load(Relaxed),
            })
            .collect()
    }

    /// Of every code that was given at least once.
    pub(crate) fn refusals(&self) -> Vec<Count> {
        let counts = self.refusals.iter().map(|(code, count)| (code.as_str(), count));
        counts.map(named).filter(|count| count.count > 0).collect()
    }

    pub(crate) fn connections(&self) -> Vec<Count> {
        Met::NAMES.iter().map(|(met, name)| named((name, &self.connections[*met as usize]))).collect()
    }
}

fn named((name, count): (&str, &AtomicU64)) -> Count {
    Count { name: name.to_owned(), count: count.load(Relaxed) }
}
