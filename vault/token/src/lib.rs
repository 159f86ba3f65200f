//! The PKCS#11 token: sessions, keys, and nothing that leaves them.
//!
//! One process opens one [`Token`]; each thread takes a [`TokenSession`] of its own from it and asks
//! it for the operations of [`KeyOps`]. This is the only crate that knows `cryptoki`: no type of it
//! is in the interface, so that another process may hold the sessions one day.
//!
//! What it refuses to do:
//! - make a key because a search came back empty: a token whose storage has gone answers every search
//!   with "nothing". Keys are made by [`Token::dangerous_provision`] and by nothing else;
//! - try a PIN a second time: some tokens lock after the third wrong one;
//! - hand out an object handle, a private key or a secret key. A key is named by a [`KeyRef`];
//! - retry an operation. An error costs the session, the next operation opens a new one, and
//!   [`Token::recover`] starts the module anew when that is not enough.

mod attribute;
mod context;
mod error;
mod inventory;
mod key;
mod object;
mod ops;
mod pin;
mod provision;
mod self_test;
mod session;
pub mod softhsm;
mod start;
mod token;

pub use error::TokenError;
pub use inventory::KeyReport;
pub use key::{Algorithm, CHECK_BLOCK, CHECK_VALUE_LENGTH, CheckValue, KeyRef, PublicKey, Role};
pub use ops::KeyOps;
pub use pin::Pin;
pub use provision::Provisioned;
pub use session::TokenSession;
pub use token::{Token, TokenConfig, TokenInfo};
