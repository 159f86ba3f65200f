//! Why a statement or a roster is not accepted, by blame.

use uuid::Uuid;

use crate::operation::Op;

/// Every refusal of this crate.
///
/// The text is for a log and for the operator who signed; it holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    // The caller handed over something that is not in the form.
    /// Not in the form that this crate's documentation gives.
    #[error("malformed {what}: {why}")]
    Malformed {
        /// Which thing: `statement`, `roster`, `params`, …
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// There is no statement at all.
    #[error("no statement was given")]
    NoStatement,
    /// More statements than any quorum needs.
    #[error("more than {max} statements for one operation")]
    TooManyStatements {
        /// How many are accepted.
        max: usize,
    },

    // A statement that is well-formed and may not be used here and now.
    /// Signed for another deployment.
    #[error("the statement is for another deployment")]
    OtherDeployment,
    /// Signed for another vault of this deployment.
    #[error("the statement is for another vault")]
    OtherVault,
    /// `not_after` has come.
    #[error("the statement expired at {not_after}")]
    Expired {
        /// The statement's bound, Unix seconds.
        not_after: i64,
    },
    /// `not_after` is further ahead than this operation allows.
    #[error("the statement's not_after {not_after} is more than {max_s} s ahead")]
    TooFarAhead {
        /// The statement's bound, Unix seconds.
        not_after: i64,
        /// The longest allowed, seconds.
        max_s: i64,
    },
    /// The signer is not in the roster.
    #[error("operator {0} is not in the roster")]
    UnknownSigner(Uuid),
    /// No key of the signer made this signature.
    #[error("the signature is not by a key of operator {0}")]
    SignatureInvalid(Uuid),
    /// Two statements of one set differ in what they order.
    #[error("the statements order different things")]
    DifferentOperations,
    /// One person signed twice; a quorum counts persons.
    #[error("operator {0} signed more than once")]
    SamePerson(Uuid),
    /// Two statements of one set share a nonce.
    #[error("two statements have the same nonce")]
    SameNonce,
    /// The signer's roles do not include one that may order this.
    #[error("operator {signer} has no role that may order {op}")]
    RoleMissing {
        /// Who signed.
        signer: Uuid,
        /// What was ordered.
        op: Op,
    },
    /// The signer has the role, but not in this tenant (or not in all, where all are concerned).
    #[error("operator {signer} may not order {op} in this tenant")]
    TenantRefused {
        /// Who signed.
        signer: Uuid,
        /// What was ordered.
        op: Op,
    },
    /// Fewer persons than the roster demands.
    #[error("{op} needs {needed} signers, {given} signed")]
    QuorumMissing {
        /// What was ordered.
        op: Op,
        /// The roster's quorum.
        needed: u32,
        /// Distinct valid signers given.
        given: u32,
    },
    /// The operation contradicts itself or the roster.
    #[error("{op} is refused: {why}")]
    OperationRefused {
        /// What was ordered.
        op: Op,
        /// What is wrong with it.
        why: String,
    },

    // Rosters.
    /// A roster that must never be in force.
    #[error("the roster is not valid: {0}")]
    RosterInvalid(String),
    /// A roster that may not follow the one in force.
    #[error("the roster may not follow version {version}: {why}")]
    SuccessionRefused {
        /// The version in force.
        version: u32,
        /// Which rule is broken.
        why: String,
    },

    // Keys.
    /// Not a usable P-256 key.
    #[error("not a P-256 key: {0}")]
    Key(String),
}

impl AuthorityError {
    pub(crate) fn malformed(what: &'static str, why: impl ToString) -> Self {
        Self::Malformed { what, why: why.to_string() }
    }

    /// A stable name of the rule, for logs and vectors.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed",
            Self::NoStatement => "statement-missing",
            Self::TooManyStatements { .. } => "statements-too-many",
            Self::OtherDeployment => "deployment-other",
            Self::OtherVault => "vault-other",
            Self::Expired { .. } => "statement-expired",
            Self::TooFarAhead { .. } => "statement-too-far-ahead",
            Self::UnknownSigner(_) => "signer-unknown",
            Self::SignatureInvalid(_) => "signature-invalid",
            Self::DifferentOperations => "operations-differ",
            Self::SamePerson(_) => "person-repeated",
            Self::SameNonce => "nonce-repeated",
            Self::RoleMissing { .. } => "role-missing",
            Self::TenantRefused { .. } => "tenant-refused",
            Self::QuorumMissing { .. } => "quorum-missing",
            Self::OperationRefused { .. } => "operation-refused",
            Self::RosterInvalid(_) => "roster-invalid",
            Self::SuccessionRefused { .. } => "succession-refused",
            Self::Key(_) => "key-invalid",
        }
    }
}
