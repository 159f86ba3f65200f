//! The gateway: the process that joins what an outsider can check (`attest/`) with what only the
//! vault may hold (`vault/`). It holds no private key, no PIN and no data encryption key.

pub mod admission;
pub mod cli;
pub mod config;
pub mod dev;
#[doc(hidden)]
pub mod fuzzing;
pub mod gateway;
pub mod http;
pub mod issue;
mod json;
pub mod manifest;
pub mod openapi;
pub mod proxy;
pub mod refusal;
pub mod sandbox;
pub mod store;
pub mod vault;
pub mod verifier;
pub mod verify;
