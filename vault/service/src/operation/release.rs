//! `release`: a tool's credential, for one request that its agent signed.
//!
//! Draws nothing without a token of ours, the signature of the key that the token and the agent's
//! record name, a proof that this vault has not seen, a grant of that agent's that is in force and
//! covers what the token is for, and the very credential that this grant names. The body is the
//! gateway's to check: its digest is signed, not seen here.

use std::sync::{Arc, PoisonError};

use tgp_authority::{OAuth2Grant, Placement};
use tgp_request::signature::{Tag, UnverifiedRequest};
use tgp_request::target::EscapedSlash;
use tgp_request::token::{TokenError, VerifiedToken};
use tgp_vault_client::wire::{Draw, RefusalCode, Release, Released, WireSecret};

use crate::failure::Failure;
use crate::fetched::Holder;
use crate::record::{AgentRecord, CredentialRecord, GrantRecord};
use crate::vault::{Worker, headers, proof_of};

pub(super) fn release(worker: &mut Worker<'_>, call: Release, now: i64) -> Result<Released, Failure> {
    let Release { agent_record, grant_record, principal_records, credential_record, request, draw } = call;
    let fields = headers(&request)?;
    // Whether a template takes an escaped slash is the gateway's knowledge; the path is signed.
    let unverified = UnverifiedRequest::parse_with(
        &request.method,
        &request.target_uri,
        &fields,
        Tag::Request,
        now,
        EscapedSlash::Allowed,
    )?;
    let token = verified_token(worker, &unverified, now)?;
    let agent: AgentRecord = worker.vault.open_record(&agent_record)?;
    let grant: GrantRecord = worker.vault.open_record(&grant_record)?;
    let holder = Holder::open(worker.vault, &credential_record)?;
    is_the_agents(&token, &agent)?;
    permits(&grant, &token, &agent, now)?;
    is_named_by(&grant, &holder.record, &token)?;
    worker.vault.check_principals(&token, &principal_records, agent.tenant)?;
    let head = unverified.verify(&token)?;
    let released = drawn(&holder, &draw, now)?;
    worker.spend_proof(&proof_of!(head), now)?;
    Ok(released)
}

fn verified_token(worker: &Worker<'_>, request: &UnverifiedRequest, now: i64) -> Result<Arc<VerifiedToken>, Failure> {
    let vault = worker.vault;
    let in_force = vault.state.current();
    let issuer = &in_force.roster.doc().issuer;
    // The cache holds whole entries only.
    let cache = || vault.tokens.lock().unwrap_or_else(PoisonError::into_inner);
    let found = request.bearer_hash().and_then(|hash| cache().find(hash));
    if let Some(token) = found {
        // The roster may name another issuer since.
        if token.claims().iss != *issuer {
            return Err(TokenError::WrongIssuer.into());
        }
        token.check_time(now)?;
        return Ok(token);
    }
    let token = Arc::new(vault.token_keys.verify(request.bearer(), issuer, now)?);
    cache().insert(Arc::clone(&token));
    Ok(token)
}

fn mismatch(what: &str) -> Result<(), Failure> {
    Err(Failure::refused(RefusalCode::RecordMismatch, what))
}

fn is_the_agents(token: &VerifiedToken, agent: &AgentRecord) -> Result<(), Failure> {
    if token.agent() != agent.agent {
        return mismatch("the token is another agent's");
    }
    if token.keyid() != agent.keyid {
        return mismatch("the token is bound to a key that is not the agent's current one");
    }
    Ok(())
}

/// The grant is the subject's, in force, and about what the token is for. Which of a token's actions the request is
/// only the gateway knows; one that the grant does not cover, and another that it does, it could take for each other
/// in any case.
fn permits(grant: &GrantRecord, token: &VerifiedToken, agent: &AgentRecord, now: i64) -> Result<(), Failure> {
    if grant.tenant != agent.tenant || grant.agent != token.subject() {
        return mismatch("the grant is another agent's");
    }
    if grant.tool != *token.tool() || grant.resource != token.claims().aud {
        return mismatch("the grant is for another tool");
    }
    if !(grant.not_before..grant.not_after).contains(&now) {
        return Err(Failure::refused(RefusalCode::GrantMissing, "the grant is not valid now"));
    }
    if !token.actions().iter().any(|action| grant.covers(action)) {
        return Err(Failure::refused(RefusalCode::ScopeInsufficient, "the grant covers no action of the token"));
    }
    Ok(())
}

fn is_named_by(grant: &GrantRecord, credential: &CredentialRecord, token: &VerifiedToken) -> Result<(), Failure> {
    if credential.tenant != grant.tenant {
        return mismatch("the credential is another tenant's");
    }
    if credential.tool != *token.tool() || credential.resource != token.claims().aud {
        return mismatch("the credential is another tool's");
    }
    if credential.name != grant.credential {
        return mismatch("the credential is not the one that the grant names");
    }
    Ok(())
}

/// What of the credential is asked for, if it is of a kind that has it.
fn drawn(holder: &Holder<'_>, draw: &Draw, now: i64) -> Result<Released, Failure> {
    let credential = &holder.record;
    let released = |placement: &Placement, secret: &[u8], ticket: Vec<u8>| Released {
        placement: placement.clone(),
        secret: WireSecret::new(secret.to_vec()),
        origins: credential.origins.clone(),
        version: credential.version,
        ticket,
    };
    match (&credential.placement, draw) {
        // What a token is fetched with is never placed in a request to the tool.
        (Placement::OAuth2(_), Draw::AccessToken(fetched)) => {
            let tokens = holder.tokens(fetched)?;
            Ok(released(&Placement::Bearer, tokens.access_token(now)?, Vec::new()))
        }
        (Placement::OAuth2(oauth2), Draw::Fetch(fetched)) => {
            let tokens = fetched.as_ref().map(|fetched| holder.tokens(fetched)).transpose()?;
            let (client_secret, first) = match oauth2.grant {
                OAuth2Grant::RefreshToken => split_line(&credential.secret),
                _ => (&credential.secret[..], &[][..]),
            };
            // The one that came last took the place of the first.
            let latest = tokens.as_ref().map(|tokens| tokens.refresh_token()).filter(|token| !token.is_empty());
            let refresh_token = latest.unwrap_or(first);
            let ticket = holder.ticket(refresh_token, now)?;
            let secret = zeroize::Zeroizing::new(match oauth2.grant {
                OAuth2Grant::RefreshToken => [client_secret, b"\n", refresh_token].concat(),
                _ => client_secret.to_vec(),
            });
            Ok(released(&credential.placement, &secret, ticket))
        }
        (Placement::OAuth2(_), _) | (_, Draw::AccessToken(_) | Draw::Fetch(_)) => {
            Err(Failure::refused(RefusalCode::RecordMismatch, "the credential's kind has no such part"))
        }
        (placement, _) => Ok(released(placement, &credential.secret, Vec::new())),
    }
}

/// Before and behind the first line end.
fn split_line(secret: &[u8]) -> (&[u8], &[u8]) {
    match secret.iter().position(|octet| *octet == b'\n') {
        Some(at) => (&secret[..at], &secret[at + 1..]),
        None => (secret, &[]),
    }
}
