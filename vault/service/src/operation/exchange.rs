//! `exchange_token`: a token for an agent that another agent handed its own to (RFC 8693).
//!
//! The child shows its own proof, and a token that its parent had made out to it (`may_act`): a token that was merely
//! seen somewhere is worth nothing here. Both were invited by one person. What comes out is narrower in everything: its
//! actions and resources are the token's and the grant's, it ends no later, and it stands for the same subject. Whoever
//! handed it on stays in it, and it is worth as little as the weakest of them: none may have been withdrawn.

use tgp_request::name::SpiffeId;
use tgp_request::token::{Actor, AuthorizationDetail, MAX_DEPTH, VerifiedToken};
use tgp_vault_client::wire::{ExchangeToken, Minted, RefusalCode};

use super::mint::{NewToken, actions_within, grant_fits, lifetime, patterns_within};
use super::proof;
use crate::failure::Failure;
use crate::record::{AgentRecord, GrantRecord};
use crate::vault::Worker;

pub(super) fn exchange_token(worker: &mut Worker<'_>, call: ExchangeToken, now: i64) -> Result<Minted, Failure> {
    let ExchangeToken {
        agent_record,
        proof,
        subject_token,
        parent_record,
        principal_records,
        grant_record,
        actions,
        resources,
        may_act,
        lifetime_s,
    } = call;
    let lifetime = lifetime(lifetime_s)?;
    let vault = worker.vault;
    let child: AgentRecord = vault.open_record(&agent_record)?;
    // Before all else: who has not proven himself learns nothing of tokens and grants.
    let proven = proof::check(worker, &child, &proof, now)?;
    let in_force = vault.state.current();
    let roster = in_force.roster.doc();
    let text = subject_token.expose_text().unwrap_or_default();
    let token = vault.token_keys.verify(text, &roster.issuer, now)?;
    let parent: AgentRecord = vault.open_record(&parent_record)?;
    handed_over(&token, &parent, &child)?;
    vault.check_principals(&token, &principal_records, child.tenant)?;

    let grant: GrantRecord = vault.open_record(&grant_record)?;
    let claims = token.claims();
    grant_fits(&grant, (child.tenant, token.subject()), (token.tool().as_str(), &claims.aud), now)?;
    let actions = actions_within(&grant, &actions)?;
    if let Some(action) = actions.iter().find(|action| !token.covers(action)) {
        return Err(Failure::refused(RefusalCode::ScopeInsufficient, format!("the token does not cover {action}")));
    }
    let patterns = patterns_within(&resources, &[token.resources(), &grant.resources])?;
    let new = NewToken {
        agent: &child,
        subject: token.subject(),
        act: Some(Box::new(Actor {
            sub: SpiffeId::agent(roster.trust_domain.clone(), child.agent),
            act: claims.act.clone(),
        })),
        derived_from: std::iter::once(claims.jti).chain(token.derived_from().iter().copied()).collect(),
        may_act,
        detail: AuthorizationDetail::new(grant.tool.clone(), claims.aud.clone(), actions).only(patterns),
        exp: now.saturating_add(lifetime).min(claims.exp).min(grant.not_after),
    };
    new.sign(worker, proven, now)
}

/// Whether the token is its parent's to hand over, was made out to this child, and may go one further.
fn handed_over(token: &VerifiedToken, parent: &AgentRecord, child: &AgentRecord) -> Result<(), Failure> {
    let refused = |why: &str| Err(Failure::refused(RefusalCode::DelegationRefused, why));
    if token.agent() != parent.agent || token.keyid() != parent.keyid {
        return Err(Failure::refused(RefusalCode::RecordMismatch, "the token is not that parent's, or not its key's"));
    }
    if token.may_act() != Some(child.agent) {
        return refused("the token was not made out to this agent; its holder names it when it asks (may_act)");
    }
    if parent.tenant != child.tenant || parent.inviter != child.inviter {
        return refused("the two agents were not invited by one person");
    }
    if token.agent() == child.agent || token.principals().contains(&child.agent) {
        return refused("the agent stands in the token's chain already");
    }
    if token.principals().len() >= MAX_DEPTH {
        return refused("the token was handed on as often as it may be");
    }
    Ok(())
}
