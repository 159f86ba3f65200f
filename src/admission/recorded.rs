//! What admission turns things into. Both are moved, never copied, and only this module makes the second.

use uuid::Uuid;

/// Something made before it was admitted (a token that the vault has signed). Nothing can be done with it
/// but have it recorded.
#[must_use = "what is not recorded cannot be used"]
pub struct Unrecorded<T> {
    pub(super) value: T,
    pub(super) jti: Uuid,
    pub(super) expires: i64,
    pub(super) actions: Vec<String>,
}

impl<T> Unrecorded<T> {
    /// `jti`, `expires` (Unix seconds) and `actions` are the token's own.
    pub fn new(value: T, jti: Uuid, expires: i64, actions: Vec<String>) -> Self {
        Self { value, jti, expires, actions }
    }
}

/// Something whose verdict is durable.
#[must_use = "a recorded permit that is not spent was recorded for nothing"]
pub struct Recorded<T>(T);

impl<T> Recorded<T> {
    pub(super) fn new(value: T) -> Self {
        Self(value)
    }

    /// Spends it.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> AsRef<T> for Recorded<T> {
    fn as_ref(&self) -> &T {
        &self.0
    }
}
