//! How things fail here, by blame.

use tgp_authority::AuthorityError;
use tgp_token::TokenError;
use tgp_vault_client::wire::{Refusal, RefusalCode};
use uuid::Uuid;

/// Why a call has no reply.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The caller's arguments are refused.
    Refused(Refusal),
    /// The disk or the kernel failed, or a bound of this process is reached.
    Unavailable(String),
    /// The token failed.
    Token(TokenError),
    /// A key that the caller must load first.
    DekUnknown(Uuid),
}

impl Failure {
    pub(crate) fn refused(code: RefusalCode, detail: impl Into<String>) -> Self {
        Failure::Refused(Refusal::new(code, detail))
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::Refused(refusal)
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        Failure::Token(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::Unavailable(error.to_string())
    }
}

/// What is wrong with a set of operator statements, for the operator who signed them.
impl From<AuthorityError> for Failure {
    fn from(error: AuthorityError) -> Self {
        let code = match error {
            AuthorityError::Expired { .. } | AuthorityError::TooFarAhead { .. } => RefusalCode::StatementExpired,
            AuthorityError::QuorumMissing { .. } => RefusalCode::QuorumMissing,
            _ => RefusalCode::StatementInvalid,
        };
        Failure::refused(code, error.to_string())
    }
}

/// Requests are refused here with the codes that the gateway passes on.
impl From<tgp_request::Refusal> for Failure {
    fn from(refusal: tgp_request::Refusal) -> Self {
        let text = refusal.code.as_str();
        let code = RefusalCode::ALL
            .iter()
            .copied()
            .find(|code| code.as_str() == text)
            // A code of the request crate that has no counterpart here is about its form.
            .unwrap_or(RefusalCode::RequestMalformed);
        Failure::refused(code, refusal.detail)
    }
}

impl From<tgp_request::token::TokenError> for Failure {
    fn from(error: tgp_request::token::TokenError) -> Self {
        tgp_request::Refusal::from(error).into()
    }
}

/// Why the vault does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// What the operator of the machine asked for cannot be.
    #[error("{0}")]
    Configuration(String),
    /// The state file is missing, not ours or older than it was.
    #[error("state file: {0}")]
    State(#[from] crate::state::StateError),
    /// A key in the token is not the one that the state file pins.
    #[error("key {label}: {why}")]
    Pin {
        /// Which key.
        label: String,
        /// What does not fit.
        why: String,
    },
    /// The token.
    #[error("token: {0}")]
    Token(#[from] TokenError),
    /// What it could not give up.
    #[error(transparent)]
    Sandbox(#[from] tgp_sandbox::SandboxError),
    /// The operating system.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What came of it.
        source: std::io::Error,
    },
}

impl VaultError {
    /// Whether the token said no to the PIN: asked again and again it would lock itself.
    #[must_use]
    pub fn is_pin_refused(&self) -> bool {
        matches!(self, Self::Token(TokenError::PinRefused { .. }))
    }

    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| VaultError::System { what, source }
    }
}
