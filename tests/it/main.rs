//! Whole-process tests: each starts a deployment of its own and speaks to it as agents, operators and attackers would.

mod credentials;
mod delegation;
mod edges;
mod flow;
mod leaks;
mod listeners;
mod oauth2;
mod openapi;
mod records;
mod replicas;
mod sandbox;
mod secrets;
mod streams;
mod support;
mod third_party;
mod token_files;
mod tools;
mod tour;
mod uploads;
mod upstream;
mod verifiers;
mod wire;
