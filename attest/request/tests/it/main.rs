//! The crate from outside, as a tool or a client uses it.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

mod generate;
mod properties;
mod signature;
mod status;
mod vectors;
mod wycheproof;
