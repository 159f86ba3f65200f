//! A few counters, in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use crate::issue::MINTED_UNRECORDED;

/// Answers by listener and status.
#[derive(Default)]
pub struct Metrics {
    answers: Mutex<BTreeMap<(&'static str, u16), u64>>,
}

impl Metrics {
    pub fn answered(&self, listener: &'static str, status: u16) {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner).entry((listener, status)).or_default() += 1;
    }

    /// `calls` are the vault's own counters: operation, answered, refused.
    pub fn text(&self, calls: &[(String, u64, u64)]) -> String {
        let mut text = String::from("# TYPE tgp_answers_total counter\n");
        for ((listener, status), count) in self.answers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = writeln!(text, "tgp_answers_total{{listener=\"{listener}\",status=\"{status}\"}} {count}");
        }
        text.push_str("# TYPE tgp_minted_unrecorded_total counter\n");
        let minted = MINTED_UNRECORDED.load(std::sync::atomic::Ordering::Relaxed);
        let _ = writeln!(text, "tgp_minted_unrecorded_total {minted}");
        text.push_str("# TYPE tgp_vault_calls_total counter\n");
        for (op, ok, refused) in calls {
            let _ = writeln!(text, "tgp_vault_calls_total{{op=\"{op}\",result=\"ok\"}} {ok}");
            let _ = writeln!(text, "tgp_vault_calls_total{{op=\"{op}\",result=\"refused\"}} {refused}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_listener_and_status() {
        let metrics = Metrics::default();
        metrics.answered("gateway", 200);
        metrics.answered("gateway", 200);
        let text = metrics.text(&[("mint_token".into(), 3, 1)]);
        assert!(text.contains("tgp_answers_total{listener=\"gateway\",status=\"200\"} 2\n"));
        assert!(text.contains("tgp_vault_calls_total{op=\"mint_token\",result=\"refused\"} 1\n"));
    }
}
