//! RFC 9421 request signatures, as the profile fixes them, over an [`http::HeaderMap`].
//!
//! Replay is not judged here: the caller spends [`nonce_digest`](UnverifiedRequest::nonce_digest)
//! after the signature verified and before anything is done.

mod base;
mod content;
mod envelope;
mod form;
mod input;
mod sign;
mod verified;

pub use crate::refusal::{Code, Refusal};
pub use content::ContentCheck;
pub use envelope::{header_map, proof_fields};
pub use sign::{Params, SignError, accept_signature, sign_request};
pub use verified::{UnverifiedRequest, VerifiedHead, VerifiedRequest};

/// `expires` − `created` is 1 to this many seconds.
pub const MAX_WINDOW: i64 = 60;
/// `created` is at most this many seconds ahead of the verifier's clock.
pub const MAX_AHEAD: i64 = 30;
/// The most header fields, and the most octets of names and values together.
pub const MAX_HEADER_FIELDS: usize = 128;
pub const MAX_HEADER_OCTETS: usize = 64 * 1024;

/// What a signature is for: its `tag` parameter, and with it which components it must cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tag {
    /// A call of a tool, with an access token.
    Request,
    /// An enrolment, by the identity key.
    Enrol,
    /// An enrolment, by the enrolment code's key.
    EnrolCode,
    /// A certificate renewal.
    Renew,
    /// An identity key's rotation, by the old key.
    RotateOld,
    /// An identity key's rotation, by the new key.
    RotateNew,
}

impl Tag {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "tgp-request",
            Self::Enrol => "tgp-enrol",
            Self::EnrolCode => "tgp-enrol-code",
            Self::Renew => "tgp-renew",
            Self::RotateOld => "tgp-rotate-old",
            Self::RotateNew => "tgp-rotate-new",
        }
    }
}
