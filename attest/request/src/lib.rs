//! Scoped access tokens and RFC 9421 request signatures: build and verify, sans-IO.
//!
//! This crate is what a tool embeds to check a request by itself, what the gateway and the vault
//! check with, and what a client signs with. It judges everything that the bytes of a request, a
//! token and a set of keys can tell. It refuses to do I/O, to read a clock or to remember: time is
//! an argument, and replay memory, revocation and certificates are the caller's.
//!
//! A request is a chain of types, each with private fields, so that a check cannot be skipped:
//!
//! ```text
//! UnverifiedRequest::parse   form and window
//!   └ verify(&VerifiedToken)   token time, key binding, signature, audience → VerifiedHead
//!       └ body(content)          digest rules                               → VerifiedRequest
//! ```

#![forbid(unsafe_code)]

pub mod assertion;
mod b64;
pub mod enrol;
pub mod jwk;
mod master_key;
pub mod name;
mod refusal;
pub mod signature;
pub mod status;
pub mod target;
pub mod token;
mod verifier_key;

pub use master_key::{MasterKey, MasterKeyError};
pub use refusal::{Code, Refusal};
pub use verifier_key::{VerifierKey, VerifierKeyError};
