//! A refusal and its codes.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why the vault refused. The first block carries the codes of the wire protocol, which a
        /// gateway passes on; the second is between gateway and vault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum RefusalCode {
            $($(#[$doc])* $name,)*
        }

        impl RefusalCode {
            /// All of them.
            pub const ALL: &'static [RefusalCode] = &[$(RefusalCode::$name),*];

            /// The stable text of the code.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(RefusalCode::$name => $text,)*
                }
            }
        }
    };
}

codes! {
    /// A request, or a part of it, is not well-formed.
    RequestMalformed = "request-malformed",
    /// No signature with the tag that was called for.
    SignatureMissing = "signature-missing",
    /// Form, window, key, r or s.
    SignatureInvalid = "signature-invalid",
    /// `expires` has passed, or the proof is older than the vault's memory.
    SignatureExpired = "signature-expired",
    /// This vault has seen this proof.
    SignatureReplayed = "signature-replayed",
    /// The body is not the signed one.
    DigestMismatch = "digest-mismatch",
    /// The target has a second spelling.
    PathNotCanonical = "path-not-canonical",
    /// No bearer token.
    TokenMissing = "token-missing",
    /// Not a token of ours, or expired.
    TokenInvalid = "token-invalid",
    /// The grant or the token does not cover it.
    ScopeInsufficient = "scope-insufficient",
    /// The resource is not the grant's or the credential's.
    ResourceRefused = "resource-refused",
    /// The grant is not of this agent and tool, or not valid now.
    GrantMissing = "grant-missing",
    /// Unknown invitation or bad proof alike.
    CodeInvalid = "code-invalid",
    /// The invitation was used, by other keys or more than ten minutes ago.
    CodeUsed = "code-used",
    /// The invitation was never used and its time has passed.
    CodeExpired = "code-expired",
    /// The master key is not this agent's current one.
    MasterKeyInvalid = "master-key-invalid",
    /// The token was not handed to this agent, or may not be.
    DelegationRefused = "delegation-refused",
    /// The assertion is not the agent's, not now, or not a method that its record allows.
    AssertionInvalid = "assertion-invalid",

    /// The frame's body is not the operation's message.
    Malformed = "malformed",
    /// The operation has another door.
    WrongDoor = "wrong-door",
    /// No operation of this vault.
    OperationUnknown = "operation-unknown",
    /// Not an operator's valid statement for this deployment, vault and operation.
    StatementInvalid = "statement-invalid",
    /// The statement's time is over, or further ahead than allowed.
    StatementExpired = "statement-expired",
    /// The statement was carried out before.
    StatementReplayed = "statement-replayed",
    /// Signed, but not by enough operators with the role.
    QuorumMissing = "quorum-missing",
    /// Not a record that this vault sealed as this kind.
    RecordInvalid = "record-invalid",
    /// Older than the newest that this vault has seen, or revoked.
    RecordStale = "record-stale",
    /// A record of another agent, tenant or tool.
    RecordMismatch = "record-mismatch",
    /// The certificate request is not acceptable.
    CsrInvalid = "csr-invalid",
    /// The secret is not the one whose digest was signed.
    SecretMismatch = "secret-mismatch",
    /// A sealed value that does not open in this context.
    SealInvalid = "seal-invalid",
    /// A context that belongs to the vault's own records.
    ContextReserved = "context-reserved",
    /// The data encryption key is of another tenant or purpose, or not one of ours.
    DekRefused = "dek-refused",
    /// The message is not a TLS handshake's.
    NotAHandshake = "not-a-handshake",
    /// A number or length outside what is allowed.
    OutOfRange = "out-of-range",
}

/// What a caller learns of a refusal: never a secret, never whether something else exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people.
    pub detail: String,
}

impl Refusal {
    /// A refusal with its explanation.
    pub fn new(code: RefusalCode, detail: impl Into<String>) -> Self {
        Refusal { code, detail: detail.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)
    }
}

impl std::error::Error for Refusal {}
