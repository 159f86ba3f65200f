//! `mint_token`: an access token for an agent that proved itself, within a grant.
//!
//! Issuer, subject, confirmation key, AAN and times are the record's and the vault's own; the
//! caller chooses a tool, its resource and actions, and only among those that the grant names.

use sha2::{Digest, Sha256};
use tgp_request::name::{ActionName, MAX_PATTERNS, ResourcePattern, Slug, SpiffeId, all_within};
use tgp_request::token::{
    AuthorizationDetail, Claims, Confirmation, MAX_LIFETIME, MAX_TOKEN_LENGTH, assemble, scope_text, signing_input,
};
use tgp_token::KeyOps;
use tgp_vault_client::wire::{MintToken, Minted, RefusalCode, WireSecret};
use uuid::Uuid;

use super::proof;
use crate::failure::Failure;
use crate::record::{AgentRecord, GrantRecord};
use crate::vault::Worker;

/// A token is for one action, or for the few that a grant lets it be for.
const MAX_ACTIONS: usize = 32;

pub(super) fn mint_token(worker: &mut Worker<'_>, call: MintToken, now: i64) -> Result<Minted, Failure> {
    let MintToken { agent_record, grant_record, proof, tool, resource, actions, resources, lifetime_s } = call;
    let lifetime = i64::from(lifetime_s);
    if !(1..=MAX_LIFETIME).contains(&lifetime) {
        let text = format!("a token lives 1 to {MAX_LIFETIME} s");
        return Err(Failure::refused(RefusalCode::OutOfRange, text));
    }
    let agent: AgentRecord = worker.vault.open_record(&agent_record)?;
    // Before the grant: who has not proven himself learns nothing of grants.
    let proven = proof::check(worker, &agent, &proof, now)?;
    let grant: GrantRecord = worker.vault.open_record(&grant_record)?;
    let (tool, actions) = within_grant(&agent, &grant, (&tool, &resource, &actions), now)?;
    let resources = patterns_within(&resources, &grant.resources)?;

    let in_force = worker.vault.state.current();
    let roster = in_force.roster.doc();
    let jti = Uuid::new_v4();
    let exp = now.saturating_add(lifetime).min(grant.not_after);
    let claims = Claims {
        iss: roster.issuer.clone(),
        sub: SpiffeId::agent(roster.trust_domain.clone(), agent.agent),
        client_id: agent.agent,
        aud: resource.clone(),
        iat: now,
        nbf: now,
        exp,
        jti,
        scope: scope_text(&tool, &actions),
        authorization_details: vec![AuthorizationDetail::new(tool, resource, actions).only(resources.clone())],
        cnf: Confirmation { jwk: proof::identity(&agent)?.to_cnf_jwk() },
        aan: agent.aan,
    };
    proven.spend(worker, now)?;
    let input = signing_input(&worker.vault.keys.token_kid, &claims);
    let digest = Sha256::digest(input.as_bytes()).into();
    let key = &worker.vault.keys.token_signing;
    let signature = worker.session.sign_p256(key, &digest)?;
    let token = assemble(input, &signature);
    if token.len() > MAX_TOKEN_LENGTH {
        return Err(Failure::refused(
            RefusalCode::OutOfRange,
            "the token would be longer than 8 KiB; ask for fewer actions",
        ));
    }
    let resources = resources.iter().map(ToString::to_string).collect();
    Ok(Minted { token: WireSecret::from(token), jti, iat: now, exp, resources })
}

/// The patterns of the token: those that were asked for, each within one of those that are `allowed`; or these.
fn patterns_within(asked: &[String], allowed: &[ResourcePattern]) -> Result<Vec<ResourcePattern>, Failure> {
    if asked.is_empty() {
        return Ok(allowed.to_vec());
    }
    if asked.len() > MAX_PATTERNS {
        return Err(Failure::refused(RefusalCode::OutOfRange, format!("at most {MAX_PATTERNS} resource patterns")));
    }
    let refused = |detail: String| Failure::refused(RefusalCode::ResourceRefused, detail);
    let patterns: Result<Vec<ResourcePattern>, _> = asked.iter().map(|text| text.parse()).collect();
    let patterns = patterns.map_err(|error| refused(error.to_string()))?;
    if !all_within(&patterns, allowed) {
        return Err(refused("the resource patterns reach beyond the grant's".to_owned()));
    }
    Ok(patterns)
}

fn within_grant(
    agent: &AgentRecord,
    grant: &GrantRecord,
    (tool, resource, actions): (&str, &str, &[String]),
    now: i64,
) -> Result<(Slug, Vec<ActionName>), Failure> {
    if grant.tenant != agent.tenant || grant.agent != agent.agent {
        return Err(Failure::refused(RefusalCode::RecordMismatch, "the grant is another agent's"));
    }
    if grant.tool.as_str() != tool || !(grant.not_before..grant.not_after).contains(&now) {
        return Err(Failure::refused(RefusalCode::GrantMissing, "the grant is for another tool or not valid now"));
    }
    if grant.resource != resource {
        return Err(Failure::refused(RefusalCode::ResourceRefused, "the grant is for another resource"));
    }
    if actions.is_empty() || actions.len() > MAX_ACTIONS {
        let text = format!("a token is for 1 to {MAX_ACTIONS} actions");
        return Err(Failure::refused(RefusalCode::OutOfRange, text));
    }
    let mut covered: Vec<ActionName> = Vec::with_capacity(actions.len());
    for text in actions {
        let insufficient = |why: &str| Failure::refused(RefusalCode::ScopeInsufficient, format!("{text:.128?}: {why}"));
        let action: ActionName = text.parse().map_err(|_| insufficient("not an action name"))?;
        if covered.contains(&action) {
            return Err(insufficient("asked for twice"));
        }
        if !grant.covers(&action) {
            return Err(insufficient("the grant does not cover it"));
        }
        covered.push(action);
    }
    Ok((grant.tool.clone(), covered))
}
