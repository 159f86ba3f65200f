//! The store and admission against a real PostgreSQL.
//!
//!     scripts/with-postgres cargo nextest run -p tgp --test store
//!
//! Each test makes a database of its own and migrates it; none depends on another.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "store/access_token.rs"]
mod access_token;
#[path = "store/admission.rs"]
mod admission;
#[path = "store/audit.rs"]
mod audit;
#[path = "store/batch.rs"]
mod batch;
#[path = "store/cache.rs"]
mod cache;
#[path = "store/catalogue.rs"]
mod catalogue;
#[path = "store/constraint.rs"]
mod constraint;
#[path = "store/delegation.rs"]
mod delegation;
#[path = "store/fault.rs"]
mod fault;
#[path = "store/partition.rs"]
mod partition;
#[path = "store/tenancy.rs"]
mod tenancy;
#[path = "store/verifier.rs"]
mod verifier;
#[path = "store/world.rs"]
mod world;
