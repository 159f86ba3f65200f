//! How a call fails, by blame: the caller was refused, or the vault could not be asked.

use uuid::Uuid;

use crate::wire::Refusal;

/// A call that brought no reply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The vault looked at the arguments and said no.
    #[error("the vault refused: {0}")]
    Refused(Refusal),
    /// The vault or its token is away, or did not answer in time.
    #[error("the vault is unavailable: {0}")]
    Unavailable(String),
    /// The vault has not been given this data encryption key since it started: load it, ask again.
    #[error("the vault does not hold data encryption key {0}")]
    DekUnknown(Uuid),
}

impl CallError {
    /// The refusal, where it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            CallError::Refused(refusal) => Some(refusal),
            CallError::Unavailable(_) | CallError::DekUnknown(_) => None,
        }
    }

    pub(crate) fn from_io(what: &str, error: &std::io::Error) -> Self {
        CallError::Unavailable(format!("{what}: {error}"))
    }
}
