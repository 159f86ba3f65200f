//! Why a request was refused: a stable code for the caller, and what to change.

use std::fmt;

/// The reason codes of the protocol that this crate can produce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    RequestMalformed,
    SignatureInvalid,
    SignatureExpired,
    DigestMismatch,
    PathNotCanonical,
    TokenMissing,
    TokenInvalid,
    SignatureMissing,
    ScopeInsufficient,
    HeadersTooLarge,
}

impl Code {
    pub const ALL: [Self; 10] = [
        Self::RequestMalformed,
        Self::SignatureInvalid,
        Self::SignatureExpired,
        Self::DigestMismatch,
        Self::PathNotCanonical,
        Self::TokenMissing,
        Self::TokenInvalid,
        Self::SignatureMissing,
        Self::ScopeInsufficient,
        Self::HeadersTooLarge,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::RequestMalformed => "request-malformed",
            Self::SignatureInvalid => "signature-invalid",
            Self::SignatureExpired => "signature-expired",
            Self::DigestMismatch => "digest-mismatch",
            Self::PathNotCanonical => "path-not-canonical",
            Self::TokenMissing => "token-missing",
            Self::TokenInvalid => "token-invalid",
            Self::SignatureMissing => "signature-missing",
            Self::ScopeInsufficient => "scope-insufficient",
            Self::HeadersTooLarge => "headers-too-large",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refused request. `detail` tells the caller what to change and never repeats a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Refusal {
    pub code: Code,
    pub detail: String,
}

impl Refusal {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(Code::RequestMalformed, detail)
    }

    pub(crate) fn signature(detail: impl Into<String>) -> Self {
        Self::new(Code::SignatureInvalid, detail)
    }

    pub(crate) fn path(detail: impl Into<String>) -> Self {
        Self::new(Code::PathNotCanonical, detail)
    }

    pub(crate) fn digest(detail: impl Into<String>) -> Self {
        Self::new(Code::DigestMismatch, detail)
    }
}
