//! What is said on the vault's socket, and the clients that say it.
//!
//! [`wire`] holds the messages: the vault serves them and every client sends them. [`Client`]
//! (feature `async`) is the gateway's: pipelined, reconnecting, failing fast while the vault is
//! away. [`Blocking`] makes one call at a time; [`BlockingTls`] is the one TLS handshakes use.
//!
//! This crate decides nothing: whatever it sends, the vault checks by itself.

mod blocking;
#[cfg(feature = "async")]
mod client;
mod error;
pub mod wire;

pub use blocking::{Blocking, BlockingTls};
#[cfg(feature = "async")]
pub use client::Client;
pub use error::CallError;

/// For `tests/parsers` alone: what the clients do with a reply's frame.
#[doc(hidden)]
pub mod fuzzing {
    use crate::CallError;
    use crate::wire::Call;

    /// # Errors
    /// As a call ends.
    pub fn reply<C: Call>(status: u8, body: &[u8]) -> Result<C::Reply, CallError> {
        crate::blocking::reply::<C>(status, body)
    }
}
