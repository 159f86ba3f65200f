//! The clock and the boot's, read at one place and never backwards.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::mark::Mark;

/// Unix seconds. Once a second has been seen, no earlier one is answered: what was judged expired
/// stays so when the system's clock is set back.
pub(crate) struct Clock {
    shift: i64,
    latest: AtomicI64,
}

impl Clock {
    /// A clock that is ahead of the system's by `shift` seconds; 0 but for tests.
    pub(crate) fn shifted(shift: i64) -> Self {
        Clock { shift, latest: AtomicI64::new(0) }
    }

    pub(crate) fn now(&self) -> i64 {
        let now = self.system_ms().div_euclid(1000);
        self.latest.fetch_max(now, Relaxed).max(now)
    }

    /// The same, and the time since this boot.
    pub(crate) fn mark(&self, boot: &str) -> Mark {
        let up = clock_gettime(ClockId::Boottime);
        let wall = self.now().saturating_mul(1000).max(self.system_ms());
        Mark { boot: boot.to_owned(), up: up.tv_sec.saturating_mul(1000) + up.tv_nsec / 1_000_000, wall }
    }

    fn system_ms(&self) -> i64 {
        #[expect(clippy::disallowed_methods, reason = "the vault's one clock")]
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        // A system whose clock stands before 1970 gets no valid certificate or token either way.
        let ms = since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
        ms.saturating_add(self.shift.saturating_mul(1000))
    }
}
