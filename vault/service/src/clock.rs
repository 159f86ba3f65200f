//! The clock and the boot's, read at one place and never backwards.

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::mark::Mark;

/// The system's clock may wander by so much between two readings, by adjustment, and is followed.
const FOLLOWED_MS: i64 = 2_000;
/// A step that has lasted so long is believed: it was a correction, and no slip.
const BELIEVED_MS: i64 = 60_000;

/// Unix seconds. Once a second has been seen, no earlier one is answered: what was judged expired
/// stays so when the system's clock is set back. A clock that jumps and comes back within a minute is not
/// followed: time goes on by the boot's clock meanwhile, so that a slip forward does not stop us for its length.
pub(crate) struct Clock {
    shift: i64,
    steady: Mutex<Steady>,
}

impl Clock {
    /// A clock that is ahead of the system's by `shift` seconds; 0 but for tests.
    pub(crate) fn shifted(shift: i64) -> Self {
        Clock { shift, steady: Mutex::default() }
    }

    pub(crate) fn now(&self) -> i64 {
        self.now_ms(boot_ms()).div_euclid(1000)
    }

    /// The same, and the time since this boot.
    pub(crate) fn mark(&self, boot: &str) -> Mark {
        let up = boot_ms();
        Mark { boot: boot.to_owned(), up, wall: self.now_ms(up) }
    }

    fn now_ms(&self, up: i64) -> i64 {
        let wall = self.system_ms();
        // A reading is whole before the lock is released.
        self.steady.lock().unwrap_or_else(PoisonError::into_inner).read(wall, up)
    }

    fn system_ms(&self) -> i64 {
        #[expect(clippy::disallowed_methods, reason = "the vault's one clock")]
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        // A system whose clock stands before 1970 gets no valid certificate or token either way.
        let ms = since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
        ms.saturating_add(self.shift.saturating_mul(1000))
    }
}

fn boot_ms() -> i64 {
    let up = clock_gettime(ClockId::Boottime);
    up.tv_sec.saturating_mul(1000).saturating_add(up.tv_nsec / 1_000_000)
}

/// Two clocks, in milliseconds, made one.
#[derive(Default)]
struct Steady {
    /// What the boot's clock lacks to Unix time; unknown before the first reading.
    offset: Option<i64>,
    /// Since when the system's clock says something else, by the boot's.
    stepped: Option<i64>,
    latest: i64,
}

impl Steady {
    fn read(&mut self, wall: i64, up: i64) -> i64 {
        let fresh = wall.saturating_sub(up);
        let offset = *self.offset.get_or_insert(fresh);
        if fresh.saturating_sub(offset).saturating_abs() <= FOLLOWED_MS {
            (self.offset, self.stepped) = (Some(fresh), None);
        } else {
            let since = *self.stepped.get_or_insert(up);
            if up.saturating_sub(since) >= BELIEVED_MS {
                (self.offset, self.stepped) = (Some(fresh), None);
            }
        }
        let now = up.saturating_add(self.offset.unwrap_or(fresh));
        self.latest = self.latest.max(now);
        self.latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTES: i64 = 60_000;

    #[test]
    fn a_step_that_does_not_last_is_not_followed() {
        for step in [5 * MINUTES, -5 * MINUTES] {
            let mut clock = Steady::default();
            assert_eq!(clock.read(1_000_000, 0), 1_000_000);
            assert_eq!(clock.read(1_010_000 + step, 10_000), 1_010_000, "{step}");
            assert_eq!(clock.read(1_050_000 + step, 50_000), 1_050_000, "{step}");
            assert_eq!(clock.read(1_051_000, 51_000), 1_051_000, "back again: {step}");
            assert_eq!(clock.read(1_052_000 + step, 52_000), 1_052_000, "the minute begins anew: {step}");
        }
    }

    #[test]
    fn a_step_that_lasts_is_believed_and_time_never_goes_back() {
        let mut ahead = Steady::default();
        ahead.read(1_000_000, 0);
        ahead.read(1_001_000 + 5 * MINUTES, 1_000);
        assert_eq!(ahead.read(1_061_000 + 5 * MINUTES, 61_000), 1_061_000 + 5 * MINUTES);
        let mut behind = Steady::default();
        behind.read(1_000_000, 0);
        behind.read(1_001_000 - 5 * MINUTES, 1_000);
        assert_eq!(behind.read(1_060_000 - 5 * MINUTES, 60_000), 1_060_000);
        assert_eq!(behind.read(1_061_000 - 5 * MINUTES, 61_000), 1_060_000, "it stands until it is reached");
        assert_eq!(behind.read(1_062_000, 62_000 + 5 * MINUTES), 1_062_000);
    }

    #[test]
    fn small_adjustments_are_followed() {
        let mut clock = Steady::default();
        clock.read(1_000_000, 0);
        assert_eq!(clock.read(1_011_500, 10_000), 1_011_500);
        assert_eq!(clock.read(1_023_000, 20_000), 1_023_000);
    }
}
