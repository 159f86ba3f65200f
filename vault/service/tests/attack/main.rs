//! The vault is not fooled: every argument of every call, forged, stale, swapped and replayed.
//!
//! The attacker of these tests holds the vault's socket and the database: he calls what he likes
//! with what he likes, and every record and statement there ever was is his to hand in. Each test
//! has a SoftHSM directory, a token and a vault process of its own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

mod actors;
mod assertion;
mod child;
mod delegation;
mod deployment;
mod enrolment;
mod fetching;
mod floods;
mod frames;
mod issuance;
mod metadata;
mod named;
mod orders;
mod recovery;
mod releasing;
mod renewal;
mod roster;
mod socket;
mod state;
mod status;
mod tenants;
