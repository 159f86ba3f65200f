//! What must hold of every parser, whatever it is given.
//!
//! Each target is a function over arbitrary octets that panics when a promise is broken: not only "it does not crash", but
//! that what is accepted reads back as it was, that two readings agree, that a forbidden form never passes. The fuzzer
//! (`fuzz/`, `make fuzz`) and the ordinary tests (`tests/replay.rs`, over `fuzz/corpus/`) run these same functions.
//!
//! [`TARGETS`] is the one list: `scripts/fuzz` reads it here. A new target is a line in it, a `[[bin]]` in
//! `fuzz/Cargo.toml` and a folder of seeds.
#![allow(clippy::unwrap_used, reason = "a panic is how a target reports")]

mod assertion;
mod config;
mod credential;
mod csr;
mod form;
mod invitation;
mod json;
mod jwk;
mod manifest;
mod name;
mod openapi;
mod record;
mod request;
mod roster;
pub mod seeds;
mod statement;
mod status;
mod target;
mod tls;
mod token;
mod vectors;
mod verifier;
mod wire;

/// One parser, or a few that read the same thing.
pub struct Target {
    pub name: &'static str,
    /// Panics when what must hold does not; says whether the parser accepted, so that a corpus can be known to reach
    /// behind it.
    pub check: fn(&[u8]) -> bool,
}

/// Every target, in the order in which a long run takes them.
pub const TARGETS: &[Target] = &[
    Target { name: "request", check: request::check },
    Target { name: "token", check: token::check },
    Target { name: "assertion", check: assertion::check },
    Target { name: "wire", check: wire::check },
    Target { name: "record", check: record::check },
    Target { name: "statement", check: statement::check },
    Target { name: "roster", check: roster::check },
    Target { name: "invitation", check: invitation::check },
    Target { name: "manifest", check: manifest::check },
    Target { name: "openapi", check: openapi::check },
    Target { name: "config", check: config::check },
    Target { name: "csr", check: csr::check },
    Target { name: "target", check: target::check },
    Target { name: "jwk", check: jwk::check },
    Target { name: "form", check: form::check },
    Target { name: "json", check: json::check },
    Target { name: "name", check: name::check },
    Target { name: "tls", check: tls::check },
    Target { name: "verifier", check: verifier::check },
    Target { name: "status", check: status::check },
    Target { name: "credential", check: credential::check },
];

/// The target of this name.
///
/// # Panics
/// When there is none: a `[[bin]]` of `fuzz/Cargo.toml` without a line in [`TARGETS`].
pub fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).expect("TARGETS names every target")
}
