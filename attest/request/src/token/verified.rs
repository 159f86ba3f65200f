//! A token that was checked, and the checks.

use serde::{Deserialize, Deserializer};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{AuthorizationDetail, Claims, MAX_LIFETIME, MAX_TOKEN_LENGTH, TokenError, TokenKeys};
use crate::b64;
use crate::jwk::IdentityKey;
use crate::name::{ActionName, Kind, MAX_PATTERNS, Resource, ResourcePattern, Scope, Slug, covered};

/// A genuine token. It was inside its time when it was verified; [`check_time`](Self::check_time)
/// says whether it still is. Whether it was revoked only the issuer knows.
#[derive(Clone, Debug)]
pub struct VerifiedToken {
    claims: Claims,
    agent: Uuid,
    key: IdentityKey,
    hash: [u8; 32],
}

/// The members that matter; others are ignored as RFC 7515 §4 says, except that `crit` names
/// extensions which we would have to understand.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    typ: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    alg: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    kid: std::borrow::Cow<'a, str>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl VerifiedToken {
    pub(super) fn verify(keys: &TokenKeys, token: &str, issuer: &str, now: i64) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN_LENGTH {
            return Err(TokenError::Malformed("it is longer than 8 KiB"));
        }
        let parts = TokenError::Malformed("it is not three parts of base64url");
        let (message, signature) = token.rsplit_once('.').ok_or(parts.clone())?;
        let (header, payload) = message.split_once('.').ok_or(parts.clone())?;
        // Checked here because jsonwebtoken answers an unreadable signature like a wrong one.
        b64::decode_exact::<64>(signature).ok_or(parts.clone())?;

        let header = b64::decode(header).ok_or(parts.clone())?;
        let header: Header<'_> =
            serde_json::from_slice(&header).map_err(|_| TokenError::Malformed("its header has no typ, alg and kid"))?;
        let Header { typ, alg, kid, crit } = header;
        if typ != "at+jwt" {
            return Err(TokenError::Malformed("its typ is not at+jwt"));
        }
        if alg != "ES256" {
            return Err(TokenError::Malformed("its alg is not ES256"));
        }
        if crit {
            return Err(TokenError::Malformed("it has critical extensions"));
        }
        keys.find(&kid).ok_or(TokenError::UnknownKey)?.verify(message.as_bytes(), signature)?;

        let payload = b64::decode(payload).ok_or(parts)?;
        let claims: Claims = serde_json::from_slice(&payload)
            .map_err(|_| TokenError::Malformed("its claims are not those of the profile"))?;
        let (agent, key) = check_claims(&claims, issuer)?;
        let verified = Self { claims, agent, key, hash: Sha256::digest(token.as_bytes()).into() };
        verified.check_time(now)?;
        Ok(verified)
    }

    /// No leeway in either direction: RFC 7519 §4.1.4 and §4.1.5.
    pub fn check_time(&self, now: i64) -> Result<(), TokenError> {
        if now >= self.claims.exp {
            return Err(TokenError::Expired);
        }
        if now < self.claims.nbf {
            return Err(TokenError::NotYetValid);
        }
        Ok(())
    }

    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    pub fn agent(&self) -> Uuid {
        self.agent
    }

    pub fn tool(&self) -> &Slug {
        &self.detail().identifier
    }

    pub fn actions(&self) -> &[ActionName] {
        &self.detail().actions
    }

    pub fn covers(&self, action: &ActionName) -> bool {
        self.actions().contains(action)
    }

    /// The patterns over what may be touched inside the tool; none restrict nothing.
    pub fn resources(&self) -> &[ResourcePattern] {
        self.detail().resources.as_deref().unwrap_or_default()
    }

    /// Whether a request that touches this may be made: `None` where the tool's manifest names no resource.
    pub fn covers_resource(&self, touched: Option<&Resource>) -> bool {
        covered(self.resources(), touched)
    }

    /// The key of `cnf.jwk`, which signs the requests that this token goes with.
    pub fn key(&self) -> &IdentityKey {
        &self.key
    }

    pub fn keyid(&self) -> &str {
        self.key.keyid()
    }

    /// SHA-256 of the token's text: what a cache of verified tokens is keyed on.
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    fn detail(&self) -> &AuthorizationDetail {
        &self.claims.authorization_details[0]
    }
}

/// What the claims must say of each other.
fn check_claims(claims: &Claims, issuer: &str) -> Result<(Uuid, IdentityKey), TokenError> {
    // Destructured whole, so that a new claim must be decided on here.
    let Claims { iss, sub, client_id, aud, iat, nbf, exp, jti: _, scope, authorization_details, cnf, aan: _ } = claims;
    if iss != issuer {
        return Err(TokenError::WrongIssuer);
    }
    let Kind::Agent(agent) = sub.kind else {
        return Err(TokenError::Claims("sub is not an agent"));
    };
    if agent != *client_id {
        return Err(TokenError::Claims("client_id is not the agent of sub"));
    }
    if aud.is_empty() {
        return Err(TokenError::Claims("aud is empty"));
    }
    if !exp.checked_sub(*iat).is_some_and(|lifetime| (1..=MAX_LIFETIME).contains(&lifetime)) {
        return Err(TokenError::Claims("its lifetime is not 1 second to 15 minutes"));
    }
    if nbf > exp {
        return Err(TokenError::Claims("nbf is after exp"));
    }
    let [detail] = authorization_details.as_slice() else {
        return Err(TokenError::Claims("it has not exactly one authorization detail"));
    };
    check_detail(detail, aud, scope)?;
    let key = IdentityKey::from_jwk(&cnf.jwk).map_err(|_| TokenError::Claims("cnf.jwk is not an identity key"))?;
    Ok((agent, key))
}

fn check_detail(detail: &AuthorizationDetail, aud: &str, scope: &str) -> Result<(), TokenError> {
    let AuthorizationDetail { kind, locations, actions, identifier, resources } = detail;
    if kind != AuthorizationDetail::TYPE {
        return Err(TokenError::Claims("its authorization detail is of another type"));
    }
    if locations.as_slice() != [aud] {
        return Err(TokenError::Claims("its authorization detail is for another location"));
    }
    if actions.is_empty() {
        return Err(TokenError::Claims("its authorization detail has no action"));
    }
    if resources.as_ref().is_some_and(|patterns| !(1..=MAX_PATTERNS).contains(&patterns.len())) {
        return Err(TokenError::Claims("its authorization detail has no or too many resources"));
    }
    // Both say what is allowed, so they must say the same.
    let mut count = 0;
    for text in scope.split(' ') {
        let fits = text
            .parse::<Scope>()
            .is_ok_and(|scope| scope.tool == *identifier && actions.get(count) == Some(&scope.action));
        if !fits {
            return Err(TokenError::Claims("scope and authorization detail differ"));
        }
        count += 1;
    }
    if count != actions.len() {
        return Err(TokenError::Claims("scope and authorization detail differ"));
    }
    Ok(())
}
