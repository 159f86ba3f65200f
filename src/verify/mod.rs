//! From what arrived to what is decided. One function per arrow of
//! `UnverifiedRequest → VerifiedRequest → Permit → Recorded<Permit>`; each step is a type, so that none
//! can be left out, and every refusal says what has to be recorded before it may be answered.

pub mod decide;
pub mod denied;
pub mod manifest;
pub mod tokens;
pub mod tools;

pub use denied::{Denied, Due};
