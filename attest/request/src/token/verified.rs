//! A token that was checked, and the checks.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{
    Actor, AuthorizationDetail, Claims, MAX_DEPTH, MAX_LIFETIME, MAX_TOKEN_LENGTH, MayAct, TYP, TokenError, TokenKeys,
    jws,
};
use crate::jwk::IdentityKey;
use crate::name::{ActionName, Kind, MAX_PATTERNS, Resource, ResourcePattern, Scope, Slug, SpiffeId, covered};

/// A genuine token. It was inside its time when it was verified; [`check_time`](Self::check_time)
/// says whether it still is. Whether it was revoked only the issuer knows.
#[derive(Clone, Debug)]
pub struct VerifiedToken {
    claims: Claims,
    agent: Uuid,
    principals: Vec<Uuid>,
    may_act: Option<Uuid>,
    key: IdentityKey,
    hash: [u8; 32],
}

impl VerifiedToken {
    pub(super) fn verify(keys: &TokenKeys, token: &str, issuer: &str, now: i64) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN_LENGTH {
            return Err(TokenError::Malformed("it is longer than 8 KiB"));
        }
        let payload = jws::open(keys, token, TYP)?;
        let claims: Claims = serde_json::from_slice(&payload)
            .map_err(|_| TokenError::Malformed("its claims are not those of the profile"))?;
        let Checked { agent, principals, may_act, key } = check_claims(&claims, issuer)?;
        let verified = Self { claims, agent, principals, may_act, key, hash: Sha256::digest(token.as_bytes()).into() };
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

    /// The agent that acts: its certificate, its key. `client_id`, and without a delegation `sub`.
    pub fn agent(&self) -> Uuid {
        self.agent
    }

    /// The agent whose grant it is: `sub`.
    pub fn subject(&self) -> Uuid {
        self.principals.first().copied().unwrap_or(self.agent)
    }

    /// Those on whose behalf the agent acts: the subject, then whoever handed the token on, in that order. None where it
    /// acts for itself. The token is good only while each of them is.
    pub fn principals(&self) -> &[Uuid] {
        &self.principals
    }

    /// `jti` of the tokens that this one was exchanged from; revoked with each of them.
    pub fn derived_from(&self) -> &[Uuid] {
        &self.claims.derived_from
    }

    /// The agent that may exchange it.
    pub fn may_act(&self) -> Option<Uuid> {
        self.may_act
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
fn check_claims(claims: &Claims, issuer: &str) -> Result<Checked, TokenError> {
    // Destructured whole, so that a new claim must be decided on here.
    let Claims {
        iss,
        sub,
        client_id,
        aud,
        iat,
        nbf,
        exp,
        jti: _,
        scope,
        authorization_details,
        cnf,
        aan: _,
        act,
        may_act,
        derived_from,
    } = claims;
    if iss != issuer {
        return Err(TokenError::WrongIssuer);
    }
    let mut chain = chain(sub, act.as_deref())?;
    let agent = chain.pop().expect("a chain begins with the subject");
    if agent != *client_id {
        return Err(TokenError::Claims("client_id is not the agent that acts"));
    }
    if derived_from.len() != chain.len() {
        return Err(TokenError::Claims("act and derived_from differ in length"));
    }
    let may_act = match may_act {
        None => None,
        Some(MayAct { sub: named }) => Some(agent_of(sub, named)?),
    };
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
    Ok(Checked { agent, principals: chain, may_act, key })
}

struct Checked {
    agent: Uuid,
    principals: Vec<Uuid>,
    may_act: Option<Uuid>,
    key: IdentityKey,
}

/// The subject, then the actors from the first to the one that acts now; each an agent, and each once.
fn chain(sub: &SpiffeId, act: Option<&Actor>) -> Result<Vec<Uuid>, TokenError> {
    let mut actors = Vec::new();
    let mut next = act;
    while let Some(Actor { sub: actor, act }) = next {
        if actors.len() == MAX_DEPTH {
            return Err(TokenError::Claims("it was handed on too often"));
        }
        actors.push(agent_of(sub, actor)?);
        next = act.as_deref();
    }
    let chain: Vec<Uuid> = std::iter::once(agent_of(sub, sub)?).chain(actors.into_iter().rev()).collect();
    if (1..chain.len()).any(|at| chain[..at].contains(&chain[at])) {
        return Err(TokenError::Claims("an agent stands in its chain twice"));
    }
    Ok(chain)
}

/// An agent of the subject's trust domain.
fn agent_of(sub: &SpiffeId, id: &SpiffeId) -> Result<Uuid, TokenError> {
    match id.kind {
        Kind::Agent(agent) if id.trust_domain == sub.trust_domain => Ok(agent),
        _ => Err(TokenError::Claims("sub or an actor is not an agent of one trust domain")),
    }
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
