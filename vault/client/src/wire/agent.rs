//! Calls made for an agent: enrolment, renewal, tokens, credentials.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use tgp_authority::Placement;

use super::{Call, Op, StatementText, WireSecret};

/// An HTTP request as the gateway received it. Its signatures authenticate what they cover; the
/// rest is not used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestEnvelope {
    /// `@method`.
    pub method: String,
    /// `@target-uri`, built from configuration and the received path and query.
    pub target_uri: String,
    /// `signature`, `signature-input` and every covered field, repeated fields repeated.
    pub headers: Vec<(String, String)>,
    /// The content; empty where only the head is checked ([`Release`]).
    #[serde(with = "super::octets")]
    pub body: Vec<u8>,
}

/// Completes an invitation: record, certificate, master key.
#[derive(Debug, Serialize, Deserialize)]
pub struct Enrol {
    /// Authenticated by the inviter's signature; spent in the state file.
    pub invitation: StatementText,
    /// Authenticated by the identity key and the code's key; the CSR by its own signature.
    pub request: RequestEnvelope,
    /// A record DEK of the invitation's tenant, authenticated by the KEK.
    pub dek: Uuid,
}

impl Call for Enrol {
    const OP: Op = Op::Enrol;
    type Reply = Enrolled;
}

/// What a new agent gets, and what the gateway keeps.
#[derive(Debug, Serialize, Deserialize)]
pub struct Enrolled {
    /// The sealed agent record: keep it, hand it in again.
    #[serde(with = "super::octets")]
    pub record: Vec<u8>,
    /// What the record says, for the database's clear columns.
    pub facts: AgentFacts,
    /// The agent's certificate.
    pub certificate: Certificate,
    /// The CA's certificate, PEM.
    pub ca_bundle: String,
    /// The master key's text. Shown once.
    pub master_key: WireSecret,
}

/// A certificate that the vault issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Leaf and CA, PEM.
    pub chain: String,
    /// The leaf's serial number, lower-case hexadecimal.
    pub serial: String,
    /// SHA-256 of the leaf's DER.
    pub sha256: [u8; 32],
    /// Unix seconds.
    pub not_before: i64,
    /// Unix seconds.
    pub not_after: i64,
}

/// What an agent record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentFacts {
    /// From the invitation.
    pub tenant: Uuid,
    /// From the invitation.
    pub agent: Uuid,
    /// From the invitation.
    pub handle: String,
    /// From the invitation, 16 digits.
    pub aan: String,
    /// RFC 7638 thumbprint of the identity key.
    pub keyid: String,
    /// The identity key as JWK text.
    pub jwk: String,
    /// How it may authenticate to the token endpoint, by RFC 8414's names.
    pub methods: Vec<String>,
    /// Version of `master-root` that its master key comes from.
    pub root_version: u32,
    /// Generation of its master key.
    pub generation: u32,
    /// Version of the record.
    pub version: u32,
    /// Who invited it.
    pub inviter: Uuid,
    /// SHA-256 of the signed invitation.
    pub invitation_sha256: [u8; 32],
}

/// A new certificate for an enrolled agent.
#[derive(Debug, Serialize, Deserialize)]
pub struct Renew {
    /// Sealed by this vault, not older than the newest seen.
    #[serde(with = "super::octets")]
    pub agent_record: Vec<u8>,
    /// Authenticated by the record's identity key, tag `tgp-renew`.
    pub request: RequestEnvelope,
}

impl Call for Renew {
    const OP: Op = Op::Renew;
    type Reply = Certificate;
}

/// Asks for an access token.
#[derive(Debug, Serialize, Deserialize)]
pub struct MintToken {
    /// Sealed by this vault, not older than the newest seen.
    #[serde(with = "super::octets")]
    pub agent_record: Vec<u8>,
    /// The same; of the same agent and tenant.
    #[serde(with = "super::octets")]
    pub grant_record: Vec<u8>,
    /// What shows that it is the agent who asks.
    pub proof: Proof,
    /// Must be the grant's.
    pub tool: String,
    /// Must be the grant's.
    pub resource: String,
    /// Each must match one of the grant's patterns.
    pub actions: Vec<String>,
    /// Patterns over what is touched inside the tool; each must lie within one of the grant's. None: the grant's own.
    pub resources: Vec<String>,
    /// Another agent that may exchange the token for one of its own. Nothing says that the agent wanted it; whoever it is
    /// still shows its own proof, and was invited by the same person.
    pub may_act: Option<Uuid>,
    /// 1 to 900; cut at the grant's end.
    pub lifetime_s: u32,
}

impl Call for MintToken {
    const OP: Op = Op::MintToken;
    type Reply = Minted;
}

/// Asks for an access token on the strength of another agent's (RFC 8693).
#[derive(Debug, Serialize, Deserialize)]
pub struct ExchangeToken {
    /// Of the agent that asks. Sealed by this vault, not older than the newest seen.
    #[serde(with = "super::octets")]
    pub agent_record: Vec<u8>,
    /// What shows that it is this agent who asks.
    pub proof: Proof,
    /// Signed by this vault, current; it names the agent that asks as the one that may act.
    pub subject_token: WireSecret,
    /// Of the agent that handed the token over. Sealed by this vault; the token is bound to its key.
    #[serde(with = "super::octets")]
    pub parent_record: Vec<u8>,
    /// Of the token's principals, in its order. Sealed by this vault, not older than the newest seen.
    pub principal_records: Vec<Vec<u8>>,
    /// Sealed by this vault; of the token's subject, tool and resource, and valid now.
    #[serde(with = "super::octets")]
    pub grant_record: Vec<u8>,
    /// Each must be one of the token's, and the grant's.
    pub actions: Vec<String>,
    /// Each must lie within one of the token's and one of the grant's. None: the token's own.
    pub resources: Vec<String>,
    /// As in [`MintToken`].
    pub may_act: Option<Uuid>,
    /// 1 to 900; cut at the token's end and the grant's.
    pub lifetime_s: u32,
}

impl Call for ExchangeToken {
    const OP: Op = Op::ExchangeToken;
    type Reply = Minted;
}

/// What authenticates the agent at issuance.
#[derive(Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Proof {
    /// `tgpmk_…` as presented; recomputed in the token and compared in constant time.
    MasterKey(WireSecret),
    /// A `private_key_jwt` as presented; signed by the record's identity key, inside its time, spent with the token.
    Assertion(WireSecret),
}

/// A signed token, not yet recorded by anyone.
#[derive(Debug, Serialize, Deserialize)]
pub struct Minted {
    /// The JWT.
    pub token: WireSecret,
    /// Its id.
    pub jti: Uuid,
    /// Unix seconds.
    pub iat: i64,
    /// Unix seconds.
    pub exp: i64,
    /// The patterns that it carries, asked for or the grant's.
    pub resources: Vec<String>,
}

/// Draws a tool's credential for one signed request.
#[derive(Debug, Serialize, Deserialize)]
pub struct Release {
    /// Sealed by this vault, not older than the newest seen.
    #[serde(with = "super::octets")]
    pub agent_record: Vec<u8>,
    /// The same; the subject's and the token's tool. It names the credential.
    #[serde(with = "super::octets")]
    pub grant_record: Vec<u8>,
    /// The same; of those on whose behalf the token acts, in its order.
    pub principal_records: Vec<Vec<u8>>,
    /// The same; the very one that the grant names, of the token's tool and the agent's tenant.
    #[serde(with = "super::octets")]
    pub credential_record: Vec<u8>,
    /// The agent's request, tag `tgp-request`, without its body. Its `authorization` field carries
    /// the token.
    pub request: RequestEnvelope,
    /// What of the credential is wanted.
    pub draw: Draw,
}

impl Call for Release {
    const OP: Op = Op::Release;
    type Reply = Released;
}

/// What of a credential is wanted. Of one that is not fetched, the first is all there is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Draw {
    /// The secret itself, to be placed.
    Secret,
    /// An access token that was fetched with it and sealed by [`SealAccessToken`]; still good.
    AccessToken(Fetched),
    /// What an access token is fetched with: after the first time, the refresh token that came last.
    Fetch(Option<Fetched>),
}

/// What [`SealAccessToken`] answered for this very credential record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched(#[serde(with = "super::octets")] pub Vec<u8>);

/// A credential and the only places it may go.
#[derive(Debug, Serialize, Deserialize)]
pub struct Released {
    /// What is made of the secret.
    pub placement: Placement,
    /// The secret, in the form that its placement says; an access token is placed as `Bearer`.
    pub secret: WireSecret,
    /// Origins (`https://host:port`) that a granter signed.
    pub origins: Vec<String>,
    /// Version of the credential record.
    pub version: u32,
    /// With [`Draw::Fetch`]: lets the gateway hand in what it fetches, for two minutes.
    #[serde(with = "super::octets")]
    pub ticket: Vec<u8>,
}

/// Seals an access token that was fetched for a request.
#[derive(Debug, Serialize, Deserialize)]
pub struct SealAccessToken {
    /// Sealed by this vault, not older than the newest seen.
    #[serde(with = "super::octets")]
    pub credential_record: Vec<u8>,
    /// From the release of this very credential: no token is sealed but for a request that an agent signed.
    #[serde(with = "super::octets")]
    pub ticket: Vec<u8>,
    /// Authenticated by nothing but that: the vault has no network, and TLS proves nothing to a third.
    pub access_token: WireSecret,
    /// Likewise; the one before stays in force where none came.
    pub refresh_token: Option<WireSecret>,
    /// As the token endpoint said; cut at an hour.
    pub expires_in_s: u32,
}

impl Call for SealAccessToken {
    const OP: Op = Op::SealAccessToken;
    type Reply = SealedAccessToken;
}

/// An access token, sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedAccessToken {
    /// Keep it, hand it in again.
    pub fetched: Fetched,
    /// From then on the vault does not give it out, Unix seconds.
    pub expires: i64,
}
