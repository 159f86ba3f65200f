//! `sign_status_list`: who is stopped, for verifiers that ask nobody.
//!
//! Freezes and revocations of tokens are facts of the database, and the vault has none: what it signs is that its
//! gateway named these at this time. Whoever holds the socket can leave one out, as he could ignore it himself, for as
//! long as a list is good; he cannot make a list good for longer, nor for another issuer, nor take out an agent that an
//! operator's signature retired, and what he adds only stops somebody.

use std::sync::PoisonError;

use sha2::{Digest, Sha256};
use tgp_request::status::{LIFETIME, MAX_ENTRIES, StatusClaims, signing_input};
use tgp_request::token::{MAX_LIFETIME, assemble};
use tgp_token::KeyOps;
use tgp_vault_client::wire::{RefusalCode, SignStatusList, SignedStatusList};
use uuid::Uuid;

use crate::failure::Failure;
use crate::vault::Worker;

/// Agents that this vault has retired since its start, while a token of theirs may live.
#[derive(Default)]
pub(crate) struct Retired(Vec<(Uuid, i64)>);

impl Retired {
    pub(crate) fn add(&mut self, agent: Uuid, now: i64) {
        self.0.retain(|(_, since)| now - since <= MAX_LIFETIME);
        self.0.push((agent, now));
    }

    fn recent(&self, now: i64) -> impl Iterator<Item = Uuid> {
        self.0.iter().filter(move |(_, since)| now - since <= MAX_LIFETIME).map(|(agent, _)| *agent)
    }
}

pub(super) fn sign_status_list(
    worker: &mut Worker<'_>,
    call: SignStatusList,
    now: i64,
) -> Result<SignedStatusList, Failure> {
    let SignStatusList { mut agents, mut tokens } = call;
    let vault = worker.vault;
    if agents.len() > MAX_ENTRIES || tokens.len() > MAX_ENTRIES {
        let text = format!("a status list names at most {MAX_ENTRIES} agents and as many tokens");
        return Err(Failure::refused(RefusalCode::OutOfRange, text));
    }
    let tables = vault.state.tables();
    agents.retain(|agent| tables.was_enrolled(*agent));
    drop(tables);
    agents.extend(vault.retired.lock().unwrap_or_else(PoisonError::into_inner).recent(now));
    for list in [&mut agents, &mut tokens] {
        list.sort_unstable();
        list.dedup();
    }
    let in_force = vault.state.current();
    let (iat, exp) = (now, now.saturating_add(LIFETIME));
    let claims = StatusClaims { iss: in_force.roster.doc().issuer.clone(), iat, exp, agents, tokens };
    let input = signing_input(&vault.keys.token_kid, &claims);
    let digest = Sha256::digest(input.as_bytes()).into();
    let signature = worker.session.sign_p256(&vault.keys.token_signing, &digest)?;
    Ok(SignedStatusList { text: assemble(input, &signature), iat, exp })
}
