//! The proxy: from a verified request to the tool's reply.

pub mod call;
pub mod client;
pub mod credential;
pub mod guard;
pub mod headers;
pub mod reply;
pub mod streams;
pub mod upstream;

pub use credential::Credential;
