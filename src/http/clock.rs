//! The one place where the gateway reads the clock; everything below takes `now`.

use std::time::UNIX_EPOCH;

/// Unix seconds.
#[allow(clippy::disallowed_methods, reason = "this is the edge's one clock")]
pub fn now() -> i64 {
    let elapsed = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}
