//! What all connections share, and the checks that several operations make.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use http::HeaderMap;
use tgp_authority::{Authorised, Purpose, Signed};
use tgp_request::token::{TokenKeys, VerifiedToken};
use tgp_token::TokenSession;
use tgp_vault_client::wire::{RefusalCode, RequestEnvelope, StatementText};
use uuid::Uuid;

use crate::certificate::Authority;
use crate::clock::Clock;
use crate::counters::Counters;
use crate::dek::Deks;
use crate::envelope;
use crate::failure::Failure;
use crate::keyring::KeyRing;
use crate::operation::Retired;
use crate::proofs::{Proof, Proofs};
use crate::record::{AgentRecord, Label, Record};
use crate::recovery::Recovery;
use crate::state::{Act, InForce, StateStore};
use crate::token_cache::TokenCache;

pub(crate) struct Vault {
    pub keys: KeyRing,
    pub state: StateStore,
    pub deks: RwLock<Deks>,
    pub proofs: Mutex<Proofs>,
    pub tokens: Mutex<TokenCache>,
    pub token_keys: TokenKeys,
    pub retired: Mutex<Retired>,
    pub authority: Authority,
    pub counters: Counters,
    pub clock: Clock,
    pub started: i64,
    /// The kernel's id of this boot.
    pub boot: String,
    /// Whether a gateway may run as the vault's own user.
    pub single_domain: bool,
    /// What the process gave up, in words.
    pub confined: String,
    pub recovery: Recovery,
}

/// One connection's thread: it owns a session of its own.
pub(crate) struct Worker<'a> {
    pub vault: &'a Vault,
    pub session: TokenSession,
}

/// Statements that were checked against one version of the roster.
pub(crate) struct Order {
    pub authorised: Authorised,
    roster_version: u32,
}

impl Order {
    /// Spends it in the act that carries it out.
    pub(crate) fn spend(&self, act: &mut Act<'_>) -> Result<(), Failure> {
        if act.roster_version() != self.roster_version {
            return Err(Failure::refused(
                RefusalCode::StatementInvalid,
                "the roster changed while this was being checked; try again",
            ));
        }
        Ok(act.spend(&self.authorised)?)
    }
}

impl Vault {
    /// Checks operator statements against the roster in force.
    pub(crate) fn order(&self, statements: &[StatementText], now: i64) -> Result<Order, Failure> {
        let in_force = self.state.current();
        let InForce { state, roster } = &*in_force;
        let signed = statements.iter().map(|text| Signed::parse(text.0.as_bytes())).collect::<Result<Vec<_>, _>>()?;
        // Nonces are remembered across restarts: what counts is what has been forgotten.
        let since = state.forgotten_until;
        let authorised = roster.check(&signed, &state.deployment, &state.vault, now, since)?;
        Ok(Order { authorised, roster_version: roster.version() })
    }

    /// Opens a record that this vault sealed and that nothing newer has replaced.
    pub(crate) fn open_record<R: Record>(&self, octets: &[u8]) -> Result<R, Failure> {
        let label = Label::parse(R::KIND, octets)?;
        let dek =
            envelope::dek_id(label.sealed).map_err(|e| Failure::refused(RefusalCode::RecordInvalid, e.to_string()))?;
        let record: R = self.with_dek(dek, label.tenant, Purpose::Record, |key| Ok(label.open(key)?))?;
        self.state.tables().check_floor(R::KIND, label.tenant, label.id, label.version)?;
        Ok(record)
    }

    /// Refuses a token unless each agent on whose behalf it acts has a record in force: these, in the token's order.
    pub(crate) fn check_principals(
        &self,
        token: &VerifiedToken,
        records: &[Vec<u8>],
        tenant: Uuid,
    ) -> Result<(), Failure> {
        let mismatch = || Failure::refused(RefusalCode::RecordMismatch, "the records are not the token's principals'");
        if records.len() != token.principals().len() {
            return Err(mismatch());
        }
        for (agent, record) in token.principals().iter().zip(records) {
            let record: AgentRecord = self.open_record(record)?;
            if record.agent != *agent || record.tenant != tenant {
                return Err(mismatch());
            }
        }
        Ok(())
    }

    /// Uses a loaded key.
    pub(crate) fn with_dek<T>(
        &self,
        id: Uuid,
        tenant: Uuid,
        purpose: Purpose,
        act: impl FnOnce(&[u8; 32]) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        // A key is whole before it is found, so a panic elsewhere leaves the table usable.
        let deks = self.deks.read().unwrap_or_else(PoisonError::into_inner);
        act(deks.key(id, tenant, purpose)?)
    }

    pub(crate) fn proofs(&self) -> MutexGuard<'_, Proofs> {
        self.proofs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker<'_> {
    /// Spends a verified proof: it is new, and stays spent over a restart.
    pub(crate) fn spend_proof(&mut self, proof: &Proof<'_>, now: i64) -> Result<(), Failure> {
        // Nothing is written for one that is refused.
        self.vault.proofs().check_age(proof)?;
        let in_force = self.vault.state.current();
        let horizon = Proofs::horizon_for(proof.created, now, in_force.state.horizon);
        let moment = self.vault.clock.mark(&self.vault.boot);
        let marked = in_force.state.mark.covers(&moment);
        drop(in_force);
        if horizon.is_some() || !marked {
            let remember = |act: &mut Act<'_>| {
                if let Some(horizon) = horizon {
                    act.raise_horizon(horizon);
                }
                act.set_mark(moment);
                Ok(())
            };
            self.vault.state.commit(&mut self.session, now, remember)?;
        }
        self.vault.proofs().spend(proof, now)
    }
}

/// The proof in a verified head or request.
macro_rules! proof_of {
    ($verified:expr) => {
        $crate::proofs::Proof {
            keyid: $verified.keyid(),
            nonce_digest: $verified.nonce_digest(),
            created: $verified.created(),
            expires: $verified.expires(),
        }
    };
}
pub(crate) use proof_of;

/// A request's fields as the signature crate reads them.
pub(crate) fn headers(request: &RequestEnvelope) -> Result<HeaderMap, Failure> {
    Ok(tgp_request::signature::header_map(&request.headers)?)
}
