//! The error names of `/oauth2/*`, and which of our refusals has which.

use super::form::Way;
use crate::refusal::{Code, Refusal};

/// RFC 6749 §5.2, and what RFC 8707 and RFC 9396 add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OauthError {
    InvalidRequest,
    InvalidClient,
    UnauthorizedClient,
    UnsupportedGrantType,
    InvalidScope,
    /// RFC 8707 §2.
    InvalidTarget,
    /// RFC 9396 §5.
    InvalidAuthorizationDetails,
    TemporarilyUnavailable,
    ServerError,
}

impl OauthError {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidAuthorizationDetails => "invalid_authorization_details",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::ServerError => "server_error",
        }
    }
}

/// A refusal with its name in RFC 6749 §5.2 and its kin.
#[derive(Debug)]
pub struct OauthRefusal {
    pub error: OauthError,
    pub refusal: Refusal,
}

impl OauthRefusal {
    pub fn invalid_request(refusal: Refusal) -> Self {
        Self { error: OauthError::InvalidRequest, refusal }
    }

    pub fn invalid_client(refusal: Refusal) -> Self {
        Self { error: OauthError::InvalidClient, refusal }
    }

    /// Of a client that shows nothing good; what cannot be read at all is no client's fault but the request's.
    pub fn of_client(refusal: Refusal) -> Self {
        let error = Self::name(refusal.code, None);
        Self { error, refusal }
    }

    pub fn invalid_scope(refusal: Refusal) -> Self {
        Self { error: OauthError::InvalidScope, refusal }
    }

    pub fn invalid_target(refusal: Refusal) -> Self {
        Self { error: OauthError::InvalidTarget, refusal }
    }

    pub fn invalid_details(refusal: Refusal) -> Self {
        Self { error: OauthError::InvalidAuthorizationDetails, refusal }
    }

    pub fn unsupported_grant_type() -> Self {
        let refusal =
            Refusal::new(Code::RequestMalformed, "grant_type must be client_credentials or that of token exchange");
        Self { error: OauthError::UnsupportedGrantType, refusal }
    }

    /// The name that a code has at the token endpoint; it depends on how the token was asked for.
    pub fn name(code: Code, way: Option<Way>) -> OauthError {
        match (code, way) {
            (
                Code::CertificateRequired
                | Code::CertificateInvalid
                | Code::CertificateMismatch
                | Code::CodeInvalid
                | Code::VerifierRequired
                // RFC 7523 §3.2: an assertion that was seen or made too long ago authenticates nobody.
                | Code::SignatureReplayed
                | Code::SignatureExpired,
                _,
            ) => OauthError::InvalidClient,
            (Code::AgentFrozen | Code::AgentRetired, _) => OauthError::UnauthorizedClient,
            (Code::VaultUnavailable | Code::StoreUnavailable | Code::ClockSkew, _)
            | (Code::RateLimited | Code::LimitExceeded, _) => OauthError::TemporarilyUnavailable,
            (Code::Internal, _) => OauthError::ServerError,
            (
                Code::ToolUnknown | Code::ResourceRefused | Code::GrantMissing | Code::ScopeInsufficient,
                Some(Way::Details),
            ) => OauthError::InvalidAuthorizationDetails,
            (Code::ToolUnknown | Code::ResourceRefused, _) => OauthError::InvalidTarget,
            (Code::GrantMissing | Code::ScopeInsufficient, _) => OauthError::InvalidScope,
            _ => OauthError::InvalidRequest,
        }
    }
}
