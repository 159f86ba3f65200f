//! The vault: the process that holds the PIN and the keys, behind a Unix socket.
//!
//! [`init()`] makes a deployment once, [`serve()`] runs it, [`key_list`] shows what its token holds.
//! What is said on the socket is in `tgp-vault-client`.
//!
//! It signs only what it composed itself, opens only what it sealed itself, and believes nothing
//! because the gateway says it. It speaks no HTTP, no SQL and to no network. It makes no key but
//! in `init`, and does not start when a pinned key, the state file or its age is not as it left it.
#![warn(missing_docs)]

mod certificate;
mod clock;
mod confine;
mod counters;
mod dek;
mod door;
mod envelope;
mod failure;
mod fetched;
#[doc(hidden)]
pub mod fuzzing;
mod init;
mod keyring;
mod mark;
mod memory;
mod operation;
mod proofs;
mod random;
mod record;
mod recovery;
mod serve;
mod socket;
mod state;
mod token_cache;
mod vault;

pub use confine::{Confinement, sandbox};
pub use failure::VaultError;
pub use init::{InitOptions, InitReport, first_roster, init, key_list};
pub use serve::{ServeOptions, serve};
pub use socket::Stop;
pub use state::StateError;
pub use tgp_sandbox::Mode as SandboxMode;
pub use tgp_token::{Pin, TokenConfig, softhsm};
