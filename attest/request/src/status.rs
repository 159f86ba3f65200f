//! The status list: which agents and tokens an offline verifier must refuse before their tokens expire.
//!
//! A JWT of its own `typ` by the gateway's token-signing key, so that a verifier needs the JWKS and nothing else. It names
//! whoever was stopped within the longest life of a token: what was stopped earlier has no live token left. A list that
//! has expired says nothing, and then nothing is accepted.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::token::{TokenError, TokenKeys, VerifiedToken, jws, signing_input_of};

/// How long a list is good, in seconds.
pub const LIFETIME: i64 = 60;
/// The most agents in a list, and the most tokens.
pub const MAX_ENTRIES: usize = 5000;
/// The longest list that is looked at, in bytes: both kinds at their most, in base64url.
pub const MAX_LENGTH: usize = 640 * 1024;

const TYP: &str = "tgp-status-list+jwt";

/// What a list says. Field order is the order on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusClaims {
    pub iss: String,
    pub iat: i64,
    pub exp: i64,
    /// Frozen or retired.
    pub agents: Vec<Uuid>,
    /// The `jti` of revoked tokens.
    pub tokens: Vec<Uuid>,
}

/// Why a token is not accepted, or a list not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatusError {
    #[error("the status list is not usable: {0}")]
    List(TokenError),
    #[error("the status list has expired; fetch a new one")]
    Expired,
    #[error("the token's agent is frozen or retired")]
    AgentStopped,
    #[error("the token was revoked")]
    TokenRevoked,
}

/// What is signed: base64url of header, a dot, base64url of claims. [`assemble`](crate::token::assemble) adds the
/// signature.
pub fn signing_input(kid: &str, claims: &StatusClaims) -> String {
    signing_input_of(TYP, kid, claims)
}

/// A genuine list.
#[derive(Clone, Debug)]
pub struct StatusList {
    issued: i64,
    expires: i64,
    agents: HashSet<Uuid>,
    tokens: HashSet<Uuid>,
}

impl StatusList {
    /// Checks everything that a list and a clock can tell; `now` is Unix seconds.
    pub fn verify(keys: &TokenKeys, text: &str, issuer: &str, now: i64) -> Result<Self, StatusError> {
        let refused = |error| Err(StatusError::List(error));
        if text.len() > MAX_LENGTH {
            return refused(TokenError::Malformed("it is longer than 640 KiB"));
        }
        let payload = jws::open(keys, text, TYP).map_err(StatusError::List)?;
        let Ok(claims) = serde_json::from_slice::<StatusClaims>(&payload) else {
            return refused(TokenError::Malformed("its claims are not those of a status list"));
        };
        let StatusClaims { iss, iat, exp, agents, tokens } = claims;
        if iss != issuer {
            return refused(TokenError::WrongIssuer);
        }
        // A list that is good for longer would hide what happened since.
        if !exp.checked_sub(iat).is_some_and(|lifetime| (1..=LIFETIME).contains(&lifetime)) {
            return refused(TokenError::Claims("its lifetime is not 1 to 60 seconds"));
        }
        if iat > now.saturating_add(crate::signature::MAX_AHEAD) {
            return refused(TokenError::NotYetValid);
        }
        let list = Self { issued: iat, expires: exp, agents: set(agents), tokens: set(tokens) };
        list.check_time(now)?;
        Ok(list)
    }

    /// Whether the token may still be accepted, as far as this list knows: nobody in it is stopped, neither its agent nor
    /// those on whose behalf that acts, and neither it nor a token that it was exchanged from is revoked.
    pub fn check(&self, token: &VerifiedToken, now: i64) -> Result<(), StatusError> {
        self.check_time(now)?;
        if token.principals().iter().chain([&token.agent()]).any(|agent| self.agents.contains(agent)) {
            return Err(StatusError::AgentStopped);
        }
        if token.derived_from().iter().chain([&token.claims().jti]).any(|jti| self.tokens.contains(jti)) {
            return Err(StatusError::TokenRevoked);
        }
        Ok(())
    }

    /// When it was made, Unix seconds. A verifier never goes back to an older list than the one it holds.
    pub fn issued(&self) -> i64 {
        self.issued
    }

    fn check_time(&self, now: i64) -> Result<(), StatusError> {
        if now >= self.expires { Err(StatusError::Expired) } else { Ok(()) }
    }
}

fn set(list: Vec<Uuid>) -> HashSet<Uuid> {
    list.into_iter().collect()
}
