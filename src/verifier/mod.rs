//! For tools that ask: whom a token is of, whether a request that they received is allowed, who is stopped.
//!
//! A tool logs in with a verifier key and learns of nothing but its own. What it hands over goes through the proxy's own
//! chain of checks (`proxy::genuine`, `proxy::call`) and spends the same nonce, so that no request is good at two doors.

pub mod form;
pub mod forwarded;
pub mod handed;
pub mod introspect;
pub mod login;
pub mod relay;
pub mod revoke;
pub mod status;
