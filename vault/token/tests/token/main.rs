//! The token as SoftHSM has it. Each test has a process, a directory and a token of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod scene;

mod attributes;
mod known_keys;
mod lifecycle;
mod operations;
mod other_tools;
mod pin;
mod provisioning;
mod starting;
mod version;
