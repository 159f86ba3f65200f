//! The proxy: from a verified request to the tool's reply.

pub mod call;
pub mod client;
pub mod credential;
pub mod exchange;
pub mod guard;
pub mod headers;
pub mod mask;
pub mod needles;
pub mod reply;
pub mod streams;
pub mod upload;
pub mod upstream;

pub use credential::Credential;
