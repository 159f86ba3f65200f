//! How far the vault's clock had come, measured by a clock that nobody sets.
//!
//! A proof is refused once it has been seen, and the memory of it ends with the process. A vault that starts
//! refuses what was made before its start, which is of no use where the clock was set back meanwhile. So
//! the state keeps a mark, and before a proof is accepted the mark is such that a later start will know this
//! moment to be past: from the time since the machine's boot, which goes on whatever is done to the clock, or,
//! after another boot, from a minute's grace.

use serde::{Deserialize, Serialize};

/// A mark vouches for no longer than this, so that another boot need not refuse for longer.
const GRACE_MS: i64 = 60_000;
/// How far the clock may run ahead of the time since boot before a new mark is made.
const SLACK_MS: i64 = 500;

/// A moment by both clocks, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mark {
    /// The kernel's id of this boot.
    pub boot: String,
    /// Since that boot, suspension included.
    pub up: i64,
    /// Since 1970.
    pub wall: i64,
}

impl Mark {
    /// Whether a vault that starts with this mark will know that `now` is past.
    pub(crate) fn covers(&self, now: &Mark) -> bool {
        self.boot == now.boot
            && now.wall < self.wall.saturating_add(GRACE_MS)
            && now.wall <= self.by_uptime(now).saturating_add(SLACK_MS)
    }

    /// The last second, Unix, at which a vault may have accepted anything before a start at `now`.
    pub(crate) fn latest(&self, now: &Mark) -> i64 {
        let latest = match self.boot == now.boot {
            true => self.by_uptime(now).saturating_add(SLACK_MS),
            false => self.wall.saturating_add(GRACE_MS),
        };
        latest.div_euclid(1000)
    }

    /// What the clock would show `now`, had nobody set it since.
    fn by_uptime(&self, now: &Mark) -> i64 {
        self.wall.saturating_add(now.up.saturating_sub(self.up))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(boot: &str, up: i64, wall: i64) -> Mark {
        Mark { boot: boot.into(), up, wall }
    }

    #[test]
    fn a_mark_covers_a_minute_of_one_boot_while_the_clock_is_not_set_forward() {
        let mark = at("a", 1000, 500_000);
        assert!(mark.covers(&at("a", 1000, 500_000)));
        assert!(mark.covers(&at("a", 31_000, 530_500)));
        assert!(!mark.covers(&at("a", 31_000, 530_501)), "set forward");
        assert!(mark.covers(&at("a", 61_000, 559_999)));
        assert!(!mark.covers(&at("a", 61_000, 560_000)), "a minute is over");
        assert!(!mark.covers(&at("b", 1000, 500_000)), "another boot");
        assert!(!Mark::default().covers(&at("a", 0, 0)));
    }

    proptest! {
        #[test]
        fn whatever_a_mark_covers_is_past_for_every_later_start(
            up in 0..100_000_i64, wall in 0..100_000_000_i64,
            to in 0..100_000_i64, shift in -100_000..100_000_i64,
            later in 0..1_000_000_i64, set in -100_000_000..100_000_000_i64, rebooted: bool,
        ) {
            let mark = at("a", up, wall);
            let accepted = at("a", up + to, wall + to + shift);
            prop_assume!(mark.covers(&accepted));
            let boot = if rebooted { "b" } else { "a" };
            let started = at(boot, if rebooted { later } else { accepted.up + later }, accepted.wall + set);
            prop_assert!(accepted.wall.div_euclid(1000) <= mark.latest(&started));
        }

        #[test]
        fn a_clock_that_nobody_set_loses_a_second_at_most(up in 0..100_000_i64, wall in 0..100_000_000_i64, later in 0..1_000_000_i64) {
            let started = at("a", up + later, wall + later);
            prop_assert!(at("a", up, wall).latest(&started) <= started.wall.div_euclid(1000) + 1);
        }
    }
}
