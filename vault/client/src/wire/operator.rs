//! Calls that carry out what operators signed.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Call, Certificate, Op, StatementText, WireSecret, WrappedDek};

/// Seals a grant that a granter signed. The agent need not have enrolled yet.
#[derive(Debug, Serialize, Deserialize)]
pub struct SetGrant {
    /// `grant`, signed by a granter of the tenant.
    pub statement: StatementText,
    /// A record DEK of that tenant, authenticated by the KEK.
    pub dek: Uuid,
}

impl Call for SetGrant {
    const OP: Op = Op::SetGrant;
    type Reply = SealedGrant;
}

/// A grant record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedGrant {
    /// Keep it, hand it in again.
    #[serde(with = "super::octets")]
    pub record: Vec<u8>,
    /// What it says, for the database's clear columns.
    pub facts: GrantFacts,
}

/// What a grant record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantFacts {
    /// The grant's id.
    pub grant: Uuid,
    /// Version of the record.
    pub version: u32,
    /// Whose it is.
    pub tenant: Uuid,
    /// Who may.
    pub agent: Uuid,
    /// Where.
    pub tool: String,
    /// The tool's URL prefix: a token's `aud`.
    pub resource: String,
    /// Globs over action names.
    pub actions: Vec<String>,
    /// Patterns over what may be touched inside the tool; none restrict nothing.
    pub resources: Vec<String>,
    /// Unix seconds.
    pub not_before: i64,
    /// Unix seconds.
    pub not_after: i64,
    /// Who signed.
    pub granter: Uuid,
    /// Which of the tool's credentials is used under it; `None` for the unnamed one.
    pub credential: Option<String>,
}

/// Seals a tool's credential.
#[derive(Debug, Serialize, Deserialize)]
pub struct SetCredential {
    /// `credential`, signed by a granter: tool, resource, origins, placement and the digest.
    pub statement: StatementText,
    /// With the secret it must give the signed digest.
    #[serde(with = "super::octets")]
    pub salt: Vec<u8>,
    /// With the salt it must give the signed digest.
    pub secret: WireSecret,
    /// A record DEK of the tenant, authenticated by the KEK.
    pub dek: Uuid,
}

impl Call for SetCredential {
    const OP: Op = Op::SetCredential;
    type Reply = SealedCredential;
}

/// A credential record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedCredential {
    /// Keep it, hand it in again.
    #[serde(with = "super::octets")]
    pub record: Vec<u8>,
    /// Whose it is.
    pub tenant: Uuid,
    /// For which tool.
    pub tool: String,
    /// Which of the tool's; `None` for the unnamed one.
    pub name: Option<String>,
    /// Version of the record.
    pub version: u32,
    /// Where it may go.
    pub origins: Vec<String>,
}

/// Raises the floor of a record above every version there is.
#[derive(Debug, Serialize, Deserialize)]
pub struct Revoke {
    /// `revoke`, signed by those whose role it is.
    pub statements: Vec<StatementText>,
}

impl Call for Revoke {
    const OP: Op = Op::Revoke;
    type Reply = Revoked;
}

/// The floor as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Records of a lower version are refused.
    pub floor: u32,
}

/// Replaces the roster by its successor.
#[derive(Debug, Serialize, Deserialize)]
pub struct SetRoster {
    /// `roster` with the whole successor in it, signed by the quorum of the present one.
    pub statements: Vec<StatementText>,
}

impl Call for SetRoster {
    const OP: Op = Op::SetRoster;
    /// The version now in force.
    type Reply = u32;
}

/// A certificate for an operator's key of the roster.
#[derive(Debug, Serialize, Deserialize)]
pub struct CertifyOperator {
    /// `certify-operator`, signed by that operator or an owner; carries the CSR.
    pub statement: StatementText,
}

impl Call for CertifyOperator {
    const OP: Op = Op::CertifyOperator;
    type Reply = Certificate;
}

/// A new server certificate for the key in the token.
#[derive(Debug, Serialize, Deserialize)]
pub struct CertifyServer {
    /// `certify-server`, signed by owners; carries the names.
    pub statements: Vec<StatementText>,
}

impl Call for CertifyServer {
    const OP: Op = Op::CertifyServer;
    type Reply = Certificate;
}

/// A fresh data encryption key for a tenant and purpose.
#[derive(Debug, Serialize, Deserialize)]
pub struct NewDek {
    /// `new-dek`, signed by an owner; carries tenant and purpose.
    pub statement: StatementText,
}

impl Call for NewDek {
    const OP: Op = Op::NewDek;
    type Reply = WrappedDek;
}
