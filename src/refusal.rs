//! Why a request is refused, in the protocol's own words.
//!
//! A refusal is data: a stable code, what the caller has to change, and what belongs in the
//! reply's headers. It knows nothing of HTTP status codes; `http::problem` alone maps them.

use std::fmt;

/// The codes of PROTOCOL.md, "Errors", and those of the operator API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    RequestMalformed,
    SignatureInvalid,
    SignatureExpired,
    SignatureReplayed,
    DigestMismatch,
    PathNotCanonical,
    CodeUsed,
    CodeExpired,
    TokenMissing,
    TokenInvalid,
    SignatureMissing,
    CertificateRequired,
    CertificateInvalid,
    VerifierRequired,
    CodeInvalid,
    ScopeInsufficient,
    ActionUnknown,
    CertificateMismatch,
    AgentFrozen,
    AgentRetired,
    GrantMissing,
    ResourceRefused,
    /// A token was not handed to the agent that wants to exchange it, or may not be.
    DelegationRefused,
    ApprovalRequired,
    BodyRequired,
    ToolUnknown,
    NotFound,
    MethodNotAllowed,
    BodyTooLarge,
    HeadersTooLarge,
    LimitExceeded,
    RateLimited,
    UpstreamRefused,
    UpstreamBroken,
    UpstreamTimeout,
    VaultUnavailable,
    StoreUnavailable,
    ClockSkew,
    /// The gateway ends, and has cut what was open.
    GatewayStopping,
    /// Operator API: the name or number is taken, or the thing is in the wrong state.
    Conflict,
    /// Operator API: the vault refused the signed statement.
    StatementRefused,
    /// Operator API: the operator's roles do not reach this act.
    RoleInsufficient,
    /// A defect of ours; the log has the rest.
    Internal,
}

impl Code {
    /// The code as it stands in problem documents, `tgp_code` and the audit log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RequestMalformed => "request-malformed",
            Self::SignatureInvalid => "signature-invalid",
            Self::SignatureExpired => "signature-expired",
            Self::SignatureReplayed => "signature-replayed",
            Self::DigestMismatch => "digest-mismatch",
            Self::PathNotCanonical => "path-not-canonical",
            Self::CodeUsed => "code-used",
            Self::CodeExpired => "code-expired",
            Self::TokenMissing => "token-missing",
            Self::TokenInvalid => "token-invalid",
            Self::SignatureMissing => "signature-missing",
            Self::CertificateRequired => "certificate-required",
            Self::CertificateInvalid => "certificate-invalid",
            Self::VerifierRequired => "verifier-required",
            Self::CodeInvalid => "code-invalid",
            Self::ScopeInsufficient => "scope-insufficient",
            Self::ActionUnknown => "action-unknown",
            Self::CertificateMismatch => "certificate-mismatch",
            Self::AgentFrozen => "agent-frozen",
            Self::AgentRetired => "agent-retired",
            Self::GrantMissing => "grant-missing",
            Self::ResourceRefused => "resource-refused",
            Self::DelegationRefused => "delegation-refused",
            Self::ApprovalRequired => "approval-required",
            Self::BodyRequired => "body-required",
            Self::ToolUnknown => "tool-unknown",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::BodyTooLarge => "body-too-large",
            Self::HeadersTooLarge => "headers-too-large",
            Self::LimitExceeded => "limit-exceeded",
            Self::RateLimited => "rate-limited",
            Self::UpstreamRefused => "upstream-refused",
            Self::UpstreamBroken => "upstream-broken",
            Self::UpstreamTimeout => "upstream-timeout",
            Self::VaultUnavailable => "vault-unavailable",
            Self::StoreUnavailable => "store-unavailable",
            Self::ClockSkew => "clock-skew",
            Self::GatewayStopping => "gateway-stopping",
            Self::Conflict => "conflict",
            Self::StatementRefused => "statement-refused",
            Self::RoleInsufficient => "role-insufficient",
            Self::Internal => "internal",
        }
    }

    /// Every code, for tables and tests.
    pub const ALL: &'static [Self] = &[
        Self::RequestMalformed,
        Self::SignatureInvalid,
        Self::SignatureExpired,
        Self::SignatureReplayed,
        Self::DigestMismatch,
        Self::PathNotCanonical,
        Self::CodeUsed,
        Self::CodeExpired,
        Self::TokenMissing,
        Self::TokenInvalid,
        Self::SignatureMissing,
        Self::CertificateRequired,
        Self::CertificateInvalid,
        Self::VerifierRequired,
        Self::CodeInvalid,
        Self::ScopeInsufficient,
        Self::ActionUnknown,
        Self::CertificateMismatch,
        Self::AgentFrozen,
        Self::AgentRetired,
        Self::GrantMissing,
        Self::ResourceRefused,
        Self::DelegationRefused,
        Self::ApprovalRequired,
        Self::BodyRequired,
        Self::ToolUnknown,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::BodyTooLarge,
        Self::HeadersTooLarge,
        Self::LimitExceeded,
        Self::RateLimited,
        Self::UpstreamRefused,
        Self::UpstreamBroken,
        Self::UpstreamTimeout,
        Self::VaultUnavailable,
        Self::StoreUnavailable,
        Self::ClockSkew,
        Self::GatewayStopping,
        Self::Conflict,
        Self::StatementRefused,
        Self::RoleInsufficient,
        Self::Internal,
    ];

    /// The code that text stands for.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a reply's headers say beside the code.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// The scope that would have been enough, `<tool>:<action>`.
    Scope(String),
    /// Seconds after which the caller may try again.
    RetryAfter(u32),
    /// The signature that this request needs: an `Accept-Signature` field value (RFC 9421 §5.1).
    Signature(String),
    /// The framing cannot be trusted any further: close the connection.
    Close,
    /// The methods that this path has.
    Allow(&'static str),
}

/// A refused request.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Refusal {
    pub code: Code,
    /// What the caller has to change; never a secret, never whether a UUID exists.
    pub detail: String,
    pub advice: Option<Advice>,
}

impl Refusal {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), advice: None }
    }

    #[must_use]
    pub fn advise(mut self, advice: Advice) -> Self {
        self.advice = Some(advice);
        self
    }

    pub fn vault_unavailable() -> Self {
        Self::new(Code::VaultUnavailable, "the vault does not answer; try again later").advise(Advice::RetryAfter(5))
    }

    pub fn store_unavailable() -> Self {
        Self::new(Code::StoreUnavailable, "the store does not answer; try again later").advise(Advice::RetryAfter(5))
    }

    /// A defect of ours: logged in full, told to the caller as nothing but that.
    pub fn internal(error: &dyn fmt::Display) -> Self {
        tracing::error!(error = %error, "internal error");
        Self::new(Code::Internal, "an error of the gateway's own; its log names it by request_id")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_its_own_text() {
        for code in Code::ALL {
            assert_eq!(Code::from_text(code.as_str()), Some(*code));
        }
        let mut texts: Vec<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), Code::ALL.len());
    }
}
