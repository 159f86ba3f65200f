//! Access tokens: RFC 9068 JWTs, ES256, bound to the agent's identity key.

mod assemble;
pub(crate) mod jws;
mod keys;
mod verified;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::jwk::Jwk;
use crate::name::{Aan, ActionName, ResourcePattern, Slug, SpiffeId};
use crate::{Code, Refusal};

pub(crate) use assemble::signing_input_of;
pub use assemble::{assemble, scope_text, signing_input};
pub use keys::{Jwks, TokenKey, TokenKeys};
pub use verified::VerifiedToken;

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN_LENGTH: usize = 8 * 1024;
/// The longest lifetime of a token, in seconds.
pub const MAX_LIFETIME: i64 = 15 * 60;
/// How many agents may have handed a token on, one to the next.
pub const MAX_DEPTH: usize = 3;

/// RFC 9068 §2.1.
const TYP: &str = "at+jwt";

/// What a token says. Field order is the order on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    /// On whose behalf: the agent itself, or the one whose grant it is.
    pub sub: SpiffeId,
    /// The agent that acts: the certificate's, whose key is in `cnf`.
    #[serde(with = "crate::name::uuid_text")]
    pub client_id: Uuid,
    /// Exactly one tool's resource.
    pub aud: String,
    pub iat: i64,
    pub nbf: i64,
    pub exp: i64,
    #[serde(with = "crate::name::uuid_text")]
    pub jti: Uuid,
    /// `<tool>:<action>`, separated by single spaces; see [`scope_text`].
    pub scope: String,
    pub authorization_details: Vec<AuthorizationDetail>,
    pub cnf: Confirmation,
    pub aan: Aan,
    /// Who acts for `sub`, where another agent does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Actor>>,
    /// Who may exchange it for a token of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_act: Option<MayAct>,
    /// `jti` of the tokens that it was exchanged from, the latest first: when one of them is revoked, so is this.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "uuid_texts")]
    pub derived_from: Vec<Uuid>,
}

/// RFC 8693 §4.1: the actor, and in it the one that acted before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    pub sub: SpiffeId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Actor>>,
}

/// RFC 8693 §4.4.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MayAct {
    pub sub: SpiffeId,
}

mod uuid_texts {
    use serde::{Deserialize, Deserializer, Serializer};
    use uuid::Uuid;

    pub(super) fn serialize<S: Serializer>(ids: &[Uuid], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(ids.iter().map(|id| id.hyphenated().to_string()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Uuid>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| crate::name::parse_uuid(text).map_err(serde::de::Error::custom)).collect()
    }
}

/// RFC 9396, type `tgp_tool`. A member unknown here might narrow the permission, so it is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorizationDetail {
    #[serde(rename = "type")]
    pub kind: String,
    pub locations: Vec<String>,
    pub actions: Vec<ActionName>,
    pub identifier: Slug,
    /// What inside the tool may be touched; everything where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Vec<ResourcePattern>>,
}

impl AuthorizationDetail {
    pub const TYPE: &'static str = "tgp_tool";

    pub fn new(tool: Slug, resource: String, actions: Vec<ActionName>) -> Self {
        Self { kind: Self::TYPE.to_owned(), locations: vec![resource], actions, identifier: tool, resources: None }
    }

    /// For what one of these patterns covers; no patterns leave it as it is.
    #[must_use]
    pub fn only(self, resources: Vec<ResourcePattern>) -> Self {
        let resources = Some(resources).filter(|resources| !resources.is_empty());
        Self { resources, ..self }
    }
}

/// RFC 7800. Another confirmation method might bind more than we check, so it is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    pub jwk: Jwk,
}

/// Why a token is not accepted. The caller learns `token-invalid`; the reason is for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    #[error("the token's key is not in the key set")]
    UnknownKey,
    #[error("the token's signature does not verify")]
    BadSignature,
    #[error("the token is of another issuer")]
    WrongIssuer,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not yet valid")]
    NotYetValid,
    #[error("the token's claims do not fit: {0}")]
    Claims(&'static str),
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        Self::new(Code::TokenInvalid, error.to_string())
    }
}
