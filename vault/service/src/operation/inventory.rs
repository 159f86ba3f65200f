//! `describe`, `inventory` and `health`: what the vault says of itself.

use std::sync::PoisonError;

use tgp_token::{KeyOps, TokenSession};
use tgp_vault_client::wire::{Attribute, Describe, Description, Health, HealthReport, Inventory, KeyEntry, Mode};

use crate::failure::Failure;
use crate::state::Pin;
use crate::vault::Worker;

pub(super) fn describe(worker: &mut Worker<'_>, Describe {}: Describe, _now: i64) -> Result<Description, Failure> {
    let vault = worker.vault;
    let in_force = vault.state.current();
    let (state, roster) = (&in_force.state, in_force.roster.doc());
    let text = |e: serde_json::Error| Failure::Unavailable(e.to_string());
    Ok(Description {
        deployment: state.deployment.clone(),
        vault: state.vault.clone(),
        trust_domain: roster.trust_domain.to_string(),
        issuer: roster.issuer.clone(),
        jwks: serde_json::to_string(&vault.token_keys.to_jwks()).map_err(text)?,
        ca_pem: vault.authority.pem(),
        server_chain_pem: state.server_chain_pem.clone(),
        roster: serde_json::to_string(roster).map_err(text)?,
        roster_version: roster.version,
    })
}

pub(super) fn inventory(worker: &mut Worker<'_>, Inventory {}: Inventory, _now: i64) -> Result<Vec<KeyEntry>, Failure> {
    let in_force = worker.vault.state.current();
    Ok(entries(&mut worker.session, &in_force.state.pins)?)
}

/// Every object of the token, its attributes read one at a time.
pub(crate) fn entries(session: &mut TokenSession, pins: &[Pin]) -> Result<Vec<KeyEntry>, tgp_token::TokenError> {
    Ok(session
        .inventory()?
        .into_iter()
        .map(|report| KeyEntry {
            pinned: pins.iter().any(|pin| pin.label == report.label && pin.id == report.id),
            label: report.label,
            id: report.id,
            class: report.class,
            kind: report.kind,
            fingerprint: report.fingerprint,
            attributes: report.attributes.into_iter().map(|(name, value)| Attribute { name, value }).collect(),
        })
        .collect())
}

pub(super) fn health(worker: &mut Worker<'_>, Health {}: Health, _now: i64) -> Result<HealthReport, Failure> {
    let vault = worker.vault;
    let deks = vault.deks.read().unwrap_or_else(PoisonError::into_inner);
    let memory = deks.protection().to_owned();
    drop(deks);
    Ok(HealthReport {
        known_answer: vault.keys.known_answer(&mut worker.session),
        state_sound: vault.state.is_sound(),
        started: vault.started,
        mode: if vault.single_domain { Mode::SingleDomain } else { Mode::TwoDomain },
        calls: vault.counters.calls(),
        refusals: vault.counters.refusals(),
        connections: vault.counters.connections(),
        state_version: vault.state.current().state.version,
        memory,
        sandbox: vault.confined.clone(),
        logins: vault.recovery.logins(),
        token_starts: vault.recovery.starts(),
    })
}
