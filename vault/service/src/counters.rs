//! How often each operation was asked for, and how it ended.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tgp_vault_client::wire::{CallCount, Op};

/// How a call ended.
#[derive(Clone, Copy)]
pub(crate) enum Ending {
    Answered,
    Refused,
    Failed,
}

struct Row {
    op: Op,
    by_ending: [AtomicU64; 3],
}

/// Counts since the vault's start.
pub(crate) struct Counters(Vec<Row>);

impl Counters {
    pub(crate) fn new() -> Self {
        let row = |op: &Op| Row { op: *op, by_ending: Default::default() };
        Counters(Op::ALL.iter().map(row).collect())
    }

    pub(crate) fn count(&self, op: Op, ending: Ending) {
        if let Some(row) = self.0.iter().find(|row| row.op == op) {
            row.by_ending[ending as usize].fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn report(&self) -> Vec<CallCount> {
        self.0
            .iter()
            .map(|row| CallCount {
                op: row.op.as_str().to_owned(),
                ok: row.by_ending[0].load(Relaxed),
                refused: row.by_ending[1].load(Relaxed),
                failed: row.by_ending[2].load(Relaxed),
            })
            .collect()
    }
}
