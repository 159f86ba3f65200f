//! The proxy: from a verified request to the tool's reply.

pub mod call;
pub mod client;
pub mod client_certificate;
pub mod credential;
pub mod exchange;
pub mod genuine;
pub mod guard;
pub mod headers;
pub mod mask;
pub mod needles;
pub mod oauth2;
pub mod query;
pub mod reply;
pub mod sigv4;
pub mod streams;
pub mod upload;
pub mod upstream;

pub use credential::Credential;
