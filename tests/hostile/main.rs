//! Hostile requests: tables of what attackers and broken clients send, each line with the status and code that must come
//! back, against a running gateway. One test and one deployment a table.
//!
//! To add a case, add a line to a table: its name, how it differs from a good request, the status, the code. Then
//! `WRITE=1 make hostile ONLY=results` writes the counts of `docs/RESULTS.md` anew.

#[path = "../it/support.rs"]
#[allow(dead_code, reason = "shared with the whole-process tests; each program uses its part")]
mod support;
#[path = "../it/wire.rs"]
#[allow(dead_code, reason = "shared with the whole-process tests; each program uses its part")]
mod wire;

mod asking;
mod assertions;
mod catalogue;
mod certificates;
mod components;
mod digests;
mod ecdsa;
mod enrolment;
mod exchange;
mod forge;
mod frames;
mod heads;
mod issuance;
mod limits;
mod operators;
mod parameters;
mod paths;
mod plan;
mod raw;
mod results;
mod table;
mod tokens;
mod uploads;
mod verifiers;
mod world;
