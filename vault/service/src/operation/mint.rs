//! `mint_token`: an access token for an agent that proved itself, within a grant.
//!
//! Issuer, subject, confirmation key, AAN and times are the record's and the vault's own; the
//! caller chooses a tool, its resource and actions, and only among those that the grant names.

use sha2::{Digest, Sha256};
use tgp_request::name::{ActionName, MAX_PATTERNS, ResourcePattern, SpiffeId, all_within};
use tgp_request::token::{
    Actor, AuthorizationDetail, Claims, Confirmation, MAX_LIFETIME, MAX_TOKEN_LENGTH, MayAct, assemble, scope_text,
    signing_input,
};
use tgp_token::KeyOps;
use tgp_vault_client::wire::{MintToken, Minted, RefusalCode, WireSecret};
use uuid::Uuid;

use super::proof::{self, Proven};
use crate::failure::Failure;
use crate::record::{AgentRecord, GrantRecord};
use crate::vault::Worker;

/// A token is for one action, or for the few that a grant lets it be for.
const MAX_ACTIONS: usize = 32;

pub(super) fn mint_token(worker: &mut Worker<'_>, call: MintToken, now: i64) -> Result<Minted, Failure> {
    let MintToken { agent_record, grant_record, proof, tool, resource, actions, resources, may_act, lifetime_s } = call;
    let lifetime = lifetime(lifetime_s)?;
    let agent: AgentRecord = worker.vault.open_record(&agent_record)?;
    // Before the grant: who has not proven himself learns nothing of grants.
    let proven = proof::check(worker, &agent, &proof, now)?;
    let grant: GrantRecord = worker.vault.open_record(&grant_record)?;
    grant_fits(&grant, (agent.tenant, agent.agent), (&tool, &resource), now)?;
    let detail = AuthorizationDetail::new(grant.tool.clone(), resource, actions_within(&grant, &actions)?)
        .only(patterns_within(&resources, &[&grant.resources])?);
    let token = NewToken {
        agent: &agent,
        subject: agent.agent,
        act: None,
        derived_from: Vec::new(),
        may_act,
        detail,
        exp: now.saturating_add(lifetime).min(grant.not_after),
    };
    token.sign(worker, proven, now)
}

/// What a token is to say; all else is the record's and the vault's.
pub(super) struct NewToken<'r> {
    /// Who will act with it.
    pub agent: &'r AgentRecord,
    /// On whose behalf.
    pub subject: Uuid,
    pub act: Option<Box<Actor>>,
    pub derived_from: Vec<Uuid>,
    pub may_act: Option<Uuid>,
    pub detail: AuthorizationDetail,
    pub exp: i64,
}

impl NewToken<'_> {
    /// Spends the proof, then signs.
    pub(super) fn sign(self, worker: &mut Worker<'_>, proven: Proven, now: i64) -> Result<Minted, Failure> {
        let Self { agent, subject, act, derived_from, may_act, detail, exp } = self;
        let in_force = worker.vault.state.current();
        let roster = in_force.roster.doc();
        let spiffe = |agent| SpiffeId::agent(roster.trust_domain.clone(), agent);
        if may_act == Some(agent.agent) {
            return Err(Failure::refused(RefusalCode::OutOfRange, "an agent acts for itself without being named"));
        }
        let jti = Uuid::new_v4();
        let resources = detail.resources.iter().flatten().map(ToString::to_string).collect();
        let claims = Claims {
            iss: roster.issuer.clone(),
            sub: spiffe(subject),
            client_id: agent.agent,
            aud: detail.locations[0].clone(),
            iat: now,
            nbf: now,
            exp,
            jti,
            scope: scope_text(&detail.identifier, &detail.actions),
            authorization_details: vec![detail],
            cnf: Confirmation { jwk: proof::identity(agent)?.to_cnf_jwk() },
            aan: agent.aan.clone(),
            act,
            may_act: may_act.map(|agent| MayAct { sub: spiffe(agent) }),
            derived_from,
        };
        let input = signing_input(&worker.vault.keys.token_kid, &claims);
        // base64url of 64 octets and the dot before it.
        if input.len() + 87 > MAX_TOKEN_LENGTH {
            return Err(Failure::refused(
                RefusalCode::OutOfRange,
                "the token would be longer than 8 KiB; ask for fewer actions",
            ));
        }
        drop(in_force);
        proven.spend(worker, now)?;
        let digest = Sha256::digest(input.as_bytes()).into();
        let signature = worker.session.sign_p256(&worker.vault.keys.token_signing, &digest)?;
        let token = WireSecret::from(assemble(input, &signature));
        Ok(Minted { token, jti, iat: now, exp, resources })
    }
}

pub(super) fn lifetime(seconds: u32) -> Result<i64, Failure> {
    let lifetime = i64::from(seconds);
    if (1..=MAX_LIFETIME).contains(&lifetime) {
        return Ok(lifetime);
    }
    Err(Failure::refused(RefusalCode::OutOfRange, format!("a token lives 1 to {MAX_LIFETIME} s")))
}

/// The patterns of the token: those that are asked for, each within one of each of the sets in `allowed`; or the first set.
pub(super) fn patterns_within(
    asked: &[String],
    allowed: &[&[ResourcePattern]],
) -> Result<Vec<ResourcePattern>, Failure> {
    let refused = |detail: String| Failure::refused(RefusalCode::ResourceRefused, detail);
    if asked.len() > MAX_PATTERNS {
        return Err(Failure::refused(RefusalCode::OutOfRange, format!("at most {MAX_PATTERNS} resource patterns")));
    }
    let patterns: Vec<ResourcePattern> = match asked {
        [] => allowed.first().map(|own| own.to_vec()).unwrap_or_default(),
        asked => asked
            .iter()
            .map(|text| text.parse())
            .collect::<Result<_, _>>()
            .map_err(|error: tgp_request::name::NameError| refused(error.to_string()))?,
    };
    if !allowed.iter().all(|allowed| all_within(&patterns, allowed)) {
        return Err(refused("the resource patterns reach beyond what was granted".to_owned()));
    }
    Ok(patterns)
}

/// Whether the grant is this agent's, for this tool and resource, now.
pub(super) fn grant_fits(
    grant: &GrantRecord,
    (tenant, agent): (Uuid, Uuid),
    (tool, resource): (&str, &str),
    now: i64,
) -> Result<(), Failure> {
    if grant.tenant != tenant || grant.agent != agent {
        return Err(Failure::refused(RefusalCode::RecordMismatch, "the grant is another agent's"));
    }
    if grant.tool.as_str() != tool || !(grant.not_before..grant.not_after).contains(&now) {
        return Err(Failure::refused(RefusalCode::GrantMissing, "the grant is for another tool or not valid now"));
    }
    if grant.resource != resource {
        return Err(Failure::refused(RefusalCode::ResourceRefused, "the grant is for another resource"));
    }
    Ok(())
}

/// The actions by name, each once and each the grant's.
pub(super) fn actions_within(grant: &GrantRecord, actions: &[String]) -> Result<Vec<ActionName>, Failure> {
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
    Ok(covered)
}
