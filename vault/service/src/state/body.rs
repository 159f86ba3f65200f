//! What the state file says.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tgp_authority::{Authorised, RecordKind, RosterDoc};
use tgp_vault_client::wire::{Refusal, RefusalCode};
use uuid::Uuid;

use crate::record::kind_text;

/// A record whose floor is not written down has this one.
const IMPLICIT_FLOOR: u32 = 1;

/// Everything in the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    pub version: u64,
    /// base64url of SHA-256 of roster 1.
    pub deployment: String,
    /// This vault's name in statements.
    pub vault: String,
    pub roster: RosterDoc,
    pub ca_pem: String,
    pub server_chain_pem: String,
    pub pins: Vec<Pin>,
    /// `kind/tenant/id` to the lowest version that is accepted; of grants and credentials every one is here.
    pub floors: BTreeMap<String, u32>,
    /// Statement nonces and when each may be forgotten.
    pub spent: BTreeMap<String, i64>,
    /// Whatever ended by then has been forgotten, and is refused whatever the clock says later.
    pub forgotten_until: i64,
    /// Invitations in use, by agent.
    pub enrolments: BTreeMap<Uuid, Enrolment>,
    /// Every agent that was ever enrolled: its UUID is taken for good, in every tenant.
    pub enrolled: BTreeSet<Uuid>,
    /// Proofs created by then are refused after a restart.
    pub horizon: i64,
}

/// A key of the token, as it was when it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pin {
    pub label: String,
    /// CKA_ID, hexadecimal.
    pub id: String,
    /// SHA-256 of the SPKI, or the check value; hexadecimal.
    pub fingerprint: String,
}

/// An invitation's use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Enrolment {
    /// Of the statement, base64url.
    pub invitation: String,
    /// Thumbprint of the identity key.
    pub keyid: String,
    /// SHA-256 of the TLS key's SPKI, hexadecimal.
    pub tls_key: String,
    pub first_use: i64,
    pub forget_after: i64,
}

impl State {
    /// Drops what has expired.
    pub(super) fn forget(&mut self, now: i64) {
        self.spent.retain(|_, until| *until > now);
        self.enrolments.retain(|_, enrolment| enrolment.forget_after > now);
        self.forgotten_until = self.forgotten_until.max(now);
    }

    /// Spends the nonces of an operation, all or none.
    pub(crate) fn spend(&mut self, authorised: &Authorised) -> Result<(), Refusal> {
        for (nonce, until) in authorised.nonces() {
            // Another commit may have forgotten this nonce since the statement was checked.
            if *until <= self.forgotten_until {
                return Err(Refusal::new(RefusalCode::StatementInvalid, "this statement has expired; sign a new one"));
            }
            if self.spent.insert(nonce.clone(), *until).is_some() {
                return Err(Refusal::new(
                    RefusalCode::StatementReplayed,
                    "this statement was carried out before; sign a new one",
                ));
            }
        }
        Ok(())
    }

    /// The lowest version of a record that is accepted.
    pub(crate) fn floor(&self, kind: RecordKind, tenant: Uuid, id: &str) -> u32 {
        // Hot path: the table is empty but for what was changed or revoked.
        if self.floors.is_empty() {
            return IMPLICIT_FLOOR;
        }
        let floor = self.floors.get(&floor_key(kind, tenant, id));
        floor.copied().unwrap_or(IMPLICIT_FLOOR)
    }

    /// Refuses a version below the floor.
    pub(crate) fn check_floor(&self, kind: RecordKind, tenant: Uuid, id: &str, version: u32) -> Result<(), Refusal> {
        let floor = self.floor(kind, tenant, id);
        if version >= floor {
            return Ok(());
        }
        Err(Refusal::new(
            RefusalCode::RecordStale,
            format!(
                "version {version} of this {} was replaced or revoked; {floor} is the lowest accepted",
                kind_text(kind)
            ),
        ))
    }

    /// A new version takes the place of all before it. One that was made or revoked before is not made again, whoever
    /// signs it: two records of one version could be exchanged by whoever holds the database.
    pub(crate) fn supersede(&mut self, kind: RecordKind, tenant: Uuid, id: &str, version: u32) -> Result<(), Refusal> {
        let key = floor_key(kind, tenant, id);
        if let Some(newest) = self.floors.get(&key).filter(|newest| version <= **newest) {
            return Err(Refusal::new(
                RefusalCode::RecordStale,
                format!("version {newest} of this {} was made or revoked; sign a higher one", kind_text(kind)),
            ));
        }
        self.floors.insert(key, version);
        Ok(())
    }

    /// Revokes every version there is; answers the floor.
    pub(crate) fn revoke(&mut self, kind: RecordKind, tenant: Uuid, id: &str) -> u32 {
        // Versions end one below the greatest number, so that there is always a floor above them.
        let floor = self.floor(kind, tenant, id).saturating_add(1);
        self.floors.insert(floor_key(kind, tenant, id), floor);
        floor
    }
}

fn floor_key(kind: RecordKind, tenant: Uuid, id: &str) -> String {
    format!("{}/{tenant}/{id}", kind_text(kind))
}
