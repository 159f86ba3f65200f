//! What an operator may order, with typed arguments.
//!
//! Each operation has one `op` text and one shape of `params`. Reading is strict: unknown members are
//! refused, and what was read must write back to the very value that was signed, so that no second
//! spelling (an upper-case UUID, a left-out default) is ever a second statement of the same thing.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tgp_request::jwk::{IdentityKey, Jwk};
use tgp_request::name::{Aan, Handle, MAX_PATTERNS, ResourcePattern, Slug};
use uuid::Uuid;

use crate::action::ActionPattern;
use crate::canonical::MAX_INTEGER;
use crate::csr::CertificateRequest;
use crate::error::AuthorityError;
use crate::placement::Placement;
use crate::roster::RosterDoc;
use crate::statement::decoded;
use crate::url::{valid_host, valid_origin, valid_resource};

/// The kinds of operation, as statements and quorums name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Op {
    /// [`Invite`].
    Invite,
    /// [`Grant`].
    Grant,
    /// [`Credential`].
    Credential,
    /// [`Revoke`].
    Revoke,
    /// [`RosterChange`].
    Roster,
    /// [`CertifyOperator`].
    CertifyOperator,
    /// [`CertifyServer`].
    CertifyServer,
    /// [`NewDek`].
    NewDek,
}

impl Op {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Invite,
        Self::Grant,
        Self::Credential,
        Self::Revoke,
        Self::Roster,
        Self::CertifyOperator,
        Self::CertifyServer,
        Self::NewDek,
    ];

    /// The text in `op`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invite => "invite",
            Self::Grant => "grant",
            Self::Credential => "credential",
            Self::Revoke => "revoke",
            Self::Roster => "roster",
            Self::CertifyOperator => "certify-operator",
            Self::CertifyServer => "certify-server",
            Self::NewDek => "new-dek",
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Op {
    type Err = AuthorityError;

    fn from_str(text: &str) -> Result<Self, AuthorityError> {
        Self::ALL
            .into_iter()
            .find(|op| op.as_str() == text)
            .ok_or_else(|| AuthorityError::malformed("statement", format!("unknown op {text:.32?}")))
    }
}

/// An operation with its arguments.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant is its struct, and that is documented")]
pub enum Operation {
    Invite(Invite),
    Grant(Grant),
    Credential(Credential),
    Revoke(Revoke),
    Roster(RosterChange),
    CertifyOperator(CertifyOperator),
    CertifyServer(CertifyServer),
    NewDek(NewDek),
}

/// Let an agent enrol. By an inviter of the tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// The agent's UUID, made by the inviter.
    pub agent: Uuid,
    /// Where it will belong.
    pub tenant: Uuid,
    /// Its handle, unique in the tenant.
    pub handle: Handle,
    /// Its Agent Authentication Number.
    pub aan: Aan,
    /// How it may authenticate at the token endpoint; 1 or 2, each once.
    pub methods: Vec<Method>,
    /// The enrolment code's public key, secp256k1.
    pub code_key: Jwk,
    /// The enrolment code's expiry, Unix seconds; not later than the statement's own `not_after`.
    pub not_after: i64,
}

/// How an agent authenticates at the token endpoint (RFC 8414 `token_endpoint_auth_methods_supported`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Method {
    /// The master key, over mutual TLS.
    ClientSecretBasic,
    /// An assertion by the identity key.
    PrivateKeyJwt,
}

/// Let an agent take actions at a tool. By a granter of the tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The grant's UUID.
    pub grant: Uuid,
    /// From 1 to 4294967294 (a revocation needs a number above); a higher version replaces a lower one.
    pub version: u32,
    /// The tenant of grant, agent and tool.
    pub tenant: Uuid,
    /// Who may.
    pub agent: Uuid,
    /// At which tool.
    pub tool: Slug,
    /// The tool's resource: the URL prefix that is called, a token's `aud`.
    pub resource: String,
    /// Which actions; 1 to 64 patterns, each once.
    pub actions: Vec<ActionPattern>,
    /// On what inside the tool; at most 16 patterns, each once. Left out: on everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<ResourcePattern>,
    /// First second of validity, Unix seconds.
    pub not_before: i64,
    /// First second after validity.
    pub not_after: i64,
    /// The name of the tool's credential that is used under it; the unnamed one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Slug>,
}

/// Let a secret be injected for a tool, at these origins only. By a granter of the tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// The tool's tenant.
    pub tenant: Uuid,
    /// The tool.
    pub tool: Slug,
    /// Its name within the tool; left out for the one that is used where a grant names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Slug>,
    /// The tool's resource.
    pub resource: String,
    /// From 1 to 4294967294 (a revocation needs a number above); a higher version replaces a lower one.
    pub version: u32,
    /// Upstream origins that may see the secret; 1 to 16, each once.
    pub origins: Vec<String>,
    /// What is made of the secret and where it goes.
    pub placement: Placement,
    /// base64url of SHA-256(salt ‖ secret): [`salted_secret_sha256`].
    pub secret_sha256: String,
}

/// Withdraw something for ever. Agents: by an inviter or owner; the rest: by a granter or owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// Where it belongs.
    pub tenant: Uuid,
    /// What it is.
    pub kind: RecordKind,
    /// The UUID of an agent or grant, a credential's [`credential_id`].
    pub id: String,
}

/// The records that can be revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RecordKind {
    /// An agent.
    Agent,
    /// A grant.
    Grant,
    /// A tool's credential.
    Credential,
}

/// Put the next roster in force. By owners in all tenants, as many as the roster in force demands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RosterChange {
    /// The whole next roster.
    pub roster: RosterDoc,
}

/// Issue a certificate to an operator. By that operator, or by an owner in all tenants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertifyOperator {
    /// For whom.
    pub operator: Uuid,
    /// PKCS#10 in PEM; its key must be one of that operator's in the roster.
    pub csr: String,
}

/// Issue the gateway's TLS certificate. By owners in all tenants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertifyServer {
    /// DNS names in lower case and IP addresses; 1 to 32, each once.
    pub names: Vec<String>,
}

/// Make a data encryption key. By an owner of the tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewDek {
    /// Whose data.
    pub tenant: Uuid,
    /// Which data.
    pub purpose: Purpose,
}

/// What a data encryption key seals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Purpose {
    /// Records: agents, grants, credentials.
    Record,
    /// Metadata columns.
    Metadata,
}

/// base64url of SHA-256(salt ‖ secret): what a [`Credential`] statement says of its secret.
#[must_use]
pub fn salted_secret_sha256(salt: &[u8], secret: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::new().chain_update(salt).chain_update(secret).finalize())
}

/// What names a credential within its tenant: its tool's slug, and behind a slash its own name.
#[must_use]
pub fn credential_id(tool: &Slug, name: Option<&Slug>) -> String {
    match name {
        Some(name) => format!("{tool}/{name}"),
        None => tool.to_string(),
    }
}

impl Operation {
    /// Its kind.
    #[must_use]
    pub fn op(&self) -> Op {
        match self {
            Self::Invite(_) => Op::Invite,
            Self::Grant(_) => Op::Grant,
            Self::Credential(_) => Op::Credential,
            Self::Revoke(_) => Op::Revoke,
            Self::Roster(_) => Op::Roster,
            Self::CertifyOperator(_) => Op::CertifyOperator,
            Self::CertifyServer(_) => Op::CertifyServer,
            Self::NewDek(_) => Op::NewDek,
        }
    }

    /// The tenant that it concerns; `None` for the whole deployment.
    #[must_use]
    pub fn tenant(&self) -> Option<Uuid> {
        match self {
            Self::Invite(Invite { tenant, .. })
            | Self::Grant(Grant { tenant, .. })
            | Self::Credential(Credential { tenant, .. })
            | Self::Revoke(Revoke { tenant, .. })
            | Self::NewDek(NewDek { tenant, .. }) => Some(*tenant),
            Self::Roster(_) | Self::CertifyOperator(_) | Self::CertifyServer(_) => None,
        }
    }

    /// The arguments as JSON.
    #[must_use]
    pub fn params(&self) -> Value {
        match self {
            Self::Invite(params) => serde_json::to_value(params),
            Self::Grant(params) => serde_json::to_value(params),
            Self::Credential(params) => serde_json::to_value(params),
            Self::Revoke(params) => serde_json::to_value(params),
            Self::Roster(params) => serde_json::to_value(params),
            Self::CertifyOperator(params) => serde_json::to_value(params),
            Self::CertifyServer(params) => serde_json::to_value(params),
            Self::NewDek(params) => serde_json::to_value(params),
        }
        .expect("structs with text keys always have a JSON form")
    }

    /// Read an operation from a statement's `op` and `params`, strictly.
    ///
    /// # Errors
    /// An unknown op; params with unknown, missing or out-of-bounds members or not in their one spelling.
    pub fn parse(op: &str, params: &Value) -> Result<Self, AuthorityError> {
        let op: Op = op.parse()?;
        let operation = match op {
            Op::Invite => Invite::deserialize(params).map(Self::Invite),
            Op::Grant => Grant::deserialize(params).map(Self::Grant),
            Op::Credential => Credential::deserialize(params).map(Self::Credential),
            Op::Revoke => Revoke::deserialize(params).map(Self::Revoke),
            Op::Roster => RosterChange::deserialize(params).map(Self::Roster),
            Op::CertifyOperator => CertifyOperator::deserialize(params).map(Self::CertifyOperator),
            Op::CertifyServer => CertifyServer::deserialize(params).map(Self::CertifyServer),
            Op::NewDek => NewDek::deserialize(params).map(Self::NewDek),
        }
        .map_err(|error| AuthorityError::malformed("params", error))?;
        if operation.params() != *params {
            return Err(AuthorityError::malformed("params", "not in their one spelling"));
        }
        operation.within_bounds()?;
        Ok(operation)
    }

    /// Bounds and grammar that the types alone do not give. [`Self::parse`] has checked them; whoever
    /// builds an operation in code may ask before signing.
    ///
    /// # Errors
    /// The first member that is out of bounds.
    pub fn within_bounds(&self) -> Result<(), AuthorityError> {
        match self {
            Self::Invite(params) => params.within_bounds(),
            Self::Grant(params) => params.within_bounds(),
            Self::Credential(params) => params.within_bounds(),
            Self::Revoke(params) => params.within_bounds(),
            Self::Roster(RosterChange { roster }) => roster.validate(),
            Self::CertifyOperator(CertifyOperator { operator: _, csr }) => CertificateRequest::parse(csr).map(|_| ()),
            Self::CertifyServer(CertifyServer { names }) => {
                bounded("names", names, 32)?;
                require(names.iter().all(|name| valid_host(name)), "a name is not a DNS name or IP address")
            }
            Self::NewDek(NewDek { tenant: _, purpose: _ }) => Ok(()),
        }
    }
}

impl Invite {
    fn within_bounds(&self) -> Result<(), AuthorityError> {
        let Self { agent, tenant: _, handle: _, aan: _, methods, code_key, not_after } = self;
        require(!agent.is_nil(), "agent is nil")?;
        bounded("methods", methods, 2)?;
        time("not_after", *not_after)?;
        let key = IdentityKey::from_jwk(code_key)
            .map_err(|error| AuthorityError::malformed("params", format!("code_key: {error}")))?;
        require(key.to_jwk() == *code_key, "code_key must be crv, kty, x and y")
    }
}

impl Grant {
    fn within_bounds(&self) -> Result<(), AuthorityError> {
        let Self {
            grant,
            version,
            tenant: _,
            agent: _,
            tool: _,
            resource,
            actions,
            resources,
            not_before,
            not_after,
            credential: _,
        } = self;
        require(!grant.is_nil(), "grant is nil")?;
        require((1..u32::MAX).contains(version), "version must be 1 to 4294967294")?;
        require(valid_resource(resource), "resource is not a URL in its one spelling")?;
        bounded("actions", actions, 64)?;
        if !resources.is_empty() {
            bounded("resources", resources, MAX_PATTERNS)?;
        }
        time("not_before", *not_before)?;
        time("not_after", *not_after)?;
        require(not_before < not_after, "not_before must be before not_after")
    }
}

impl Credential {
    fn within_bounds(&self) -> Result<(), AuthorityError> {
        let Self { tenant: _, tool: _, name: _, resource, version, origins, placement, secret_sha256 } = self;
        require((1..u32::MAX).contains(version), "version must be 1 to 4294967294")?;
        require(valid_resource(resource), "resource is not a URL in its one spelling")?;
        bounded("origins", origins, 16)?;
        require(origins.iter().all(|origin| valid_origin(origin)), "an origin is not in its one spelling")?;
        let over_tls = || origins.iter().all(|origin| origin.starts_with("https://"));
        require(
            *placement != Placement::ClientCertificate || over_tls(),
            "a client certificate is shown to https origins alone",
        )?;
        require(decoded::<32>(secret_sha256).is_some(), "secret_sha256 is not base64url of 32 bytes")
    }
}

impl Revoke {
    fn within_bounds(&self) -> Result<(), AuthorityError> {
        let Self { tenant: _, kind, id } = self;
        let valid = match kind {
            RecordKind::Agent | RecordKind::Grant => id.parse::<Uuid>().is_ok_and(|uuid| uuid.to_string() == *id),
            RecordKind::Credential => {
                let (tool, name) = id.split_once('/').map_or((id.as_str(), None), |(tool, name)| (tool, Some(name)));
                tool.parse::<Slug>().is_ok() && name.is_none_or(|name| name.parse::<Slug>().is_ok())
            }
        };
        require(valid, "id is not one of this kind")
    }
}

fn require(holds: bool, why: &str) -> Result<(), AuthorityError> {
    if holds { Ok(()) } else { Err(AuthorityError::malformed("params", why)) }
}

/// 1 to `max` items, no two equal.
fn bounded<T: PartialEq>(name: &str, items: &[T], max: usize) -> Result<(), AuthorityError> {
    // The length first: comparing all pairs of an unsigned list of any length would be somebody's lever.
    let fits = (1..=max).contains(&items.len());
    let unique = || (1..items.len()).all(|place| !items[..place].contains(&items[place]));
    require(fits && unique(), &format!("{name} must be 1 to {max}, each once"))
}

fn time(name: &str, seconds: i64) -> Result<(), AuthorityError> {
    require((0..=MAX_INTEGER).contains(&seconds), &format!("{name} is not a time"))
}
