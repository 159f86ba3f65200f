//! `release`: a tool's credential, for one request that its agent signed.
//!
//! Draws nothing without a token of ours, the signature of the key that the token and the agent's
//! record name, a proof that this vault has not seen, and a credential of the very tool, resource
//! and tenant. The body is the gateway's to check: its digest is signed, not seen here.

use std::sync::{Arc, PoisonError};

use tgp_authority::Placement;
use tgp_request::signature::{Tag, UnverifiedRequest};
use tgp_request::target::EscapedSlash;
use tgp_request::token::{TokenError, VerifiedToken};
use tgp_vault_client::wire::{self, RefusalCode, Release, Released, WireSecret};

use crate::failure::Failure;
use crate::record::{AgentRecord, CredentialRecord};
use crate::vault::{Worker, headers, proof_of};

pub(super) fn release(worker: &mut Worker<'_>, call: Release, now: i64) -> Result<Released, Failure> {
    let Release { agent_record, principal_records, credential_record, request } = call;
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
    let credential: CredentialRecord = worker.vault.open_record(&credential_record)?;
    fits(&token, &agent, &credential)?;
    worker.vault.check_principals(&token, &principal_records, agent.tenant)?;
    let head = unverified.verify(&token)?;
    worker.spend_proof(&proof_of!(head), now)?;
    Ok(Released {
        placement: placement(&credential.placement)?,
        secret: WireSecret::new(credential.secret.clone()),
        origins: credential.origins.clone(),
        version: credential.version,
    })
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

fn fits(token: &VerifiedToken, agent: &AgentRecord, credential: &CredentialRecord) -> Result<(), Failure> {
    let mismatch = |what: &str| Err(Failure::refused(RefusalCode::RecordMismatch, what));
    if token.agent() != agent.agent {
        return mismatch("the token is another agent's");
    }
    if token.keyid() != agent.keyid {
        return mismatch("the token is bound to a key that is not the agent's current one");
    }
    if credential.tenant != agent.tenant {
        return mismatch("the credential is another tenant's");
    }
    if credential.tool != *token.tool() || credential.resource != token.claims().aud {
        return mismatch("the credential is another tool's");
    }
    Ok(())
}

fn placement(signed: &Placement) -> Result<wire::Placement, Failure> {
    match signed {
        Placement::None => Ok(wire::Placement::None),
        Placement::Bearer => Ok(wire::Placement::Bearer),
        Placement::Header { name } => Ok(wire::Placement::Header { name: name.clone() }),
        Placement::Basic => Ok(wire::Placement::Basic),
        _ => Err(Failure::refused(RefusalCode::RecordInvalid, "this vault does not know the credential's placement")),
    }
}
