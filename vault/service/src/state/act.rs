//! One act upon the state: what it changes, as the journal keeps it.

use serde::{Deserialize, Serialize};
use tgp_authority::{Authorised, RecordKind, RosterDoc};
use tgp_vault_client::wire::{Refusal, RefusalCode};
use uuid::Uuid;

use super::tables::{Enrolment, State, Tables};
use crate::mark::Mark;
use crate::record::kind_text;

/// What an act changes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    Spent { nonce: String, until: i64 },
    Floor { kind: RecordKind, tenant: Uuid, id: String, floor: u32 },
    Enrolled { agent: Uuid, enrolment: Enrolment },
    Horizon { horizon: i64 },
    Mark { mark: Mark },
    Roster { roster: RosterDoc },
    ServerChain { pem: String },
}

/// One act, as the journal keeps it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// One more than the version before.
    pub version: u64,
    /// When it was done: what had ended by then is forgotten.
    pub at: i64,
    pub changes: Vec<Change>,
}

impl Entry {
    /// Does the act to the head.
    pub(super) fn advance(&self, state: &mut State) {
        state.version = self.version;
        state.forgotten_until = state.forgotten_until.max(self.at);
        for change in &self.changes {
            match change {
                Change::Horizon { horizon } => state.horizon = state.horizon.max(*horizon),
                Change::Mark { mark } => state.mark.clone_from(mark),
                Change::Roster { roster } => state.roster.clone_from(roster),
                Change::ServerChain { pem } => state.server_chain_pem.clone_from(pem),
                Change::Spent { .. } | Change::Floor { .. } | Change::Enrolled { .. } => {}
            }
        }
    }

    /// Does it to the tables.
    pub(super) fn apply(self, tables: &mut Tables) {
        tables.forget(self.at);
        for change in self.changes {
            match change {
                Change::Spent { nonce, until } => tables.spent.insert(nonce, until),
                Change::Floor { kind, tenant, id, floor } => tables.floors.set(kind, tenant, &id, floor),
                Change::Enrolled { agent, enrolment } => {
                    tables.enrolled.insert(agent);
                    tables.enrolments.insert(agent, enrolment);
                }
                Change::Horizon { .. } | Change::Mark { .. } | Change::Roster { .. } | Change::ServerChain { .. } => {}
            }
        }
    }
}

/// An act while it is being decided. It sees the state that it will be done to: no other is decided
/// meanwhile. One that is refused leaves nothing behind.
pub(crate) struct Act<'s> {
    before: &'s State,
    tables: &'s Tables,
    now: i64,
    changes: Vec<Change>,
}

impl<'s> Act<'s> {
    pub(super) fn on(before: &'s State, tables: &'s Tables, now: i64) -> Self {
        Act { before, tables, now: now.max(before.forgotten_until), changes: Vec::new() }
    }

    /// Its entry; `None` where it changes nothing.
    pub(super) fn entry(self) -> Option<Entry> {
        let Act { before, tables: _, now, changes } = self;
        (!changes.is_empty()).then(|| Entry { version: before.version + 1, at: now, changes })
    }

    pub(crate) fn roster_version(&self) -> u32 {
        self.before.roster.version
    }

    /// Spends the nonces of an operation, all or none.
    pub(crate) fn spend(&mut self, authorised: &Authorised) -> Result<(), Refusal> {
        for (nonce, until) in authorised.nonces() {
            // Another act may have forgotten this nonce since the statement was checked.
            if *until <= self.now {
                return Err(Refusal::new(RefusalCode::StatementInvalid, "this statement has expired; sign a new one"));
            }
            // The roster's check has seen to it that no nonce stands twice in one order.
            if self.tables.spent.find(nonce, self.now).is_some() {
                return Err(Refusal::new(
                    RefusalCode::StatementReplayed,
                    "this statement was carried out before; sign a new one",
                ));
            }
            self.changes.push(Change::Spent { nonce: nonce.clone(), until: *until });
        }
        Ok(())
    }

    /// A new version takes the place of all before it. One that was made or revoked before is not made again, whoever
    /// signs it: two records of one version could be exchanged by whoever holds the database.
    pub(crate) fn supersede(&mut self, kind: RecordKind, tenant: Uuid, id: &str, version: u32) -> Result<(), Refusal> {
        if let Some(newest) = self.tables.floors.find(kind, tenant, id).filter(|newest| version <= *newest) {
            return Err(Refusal::new(
                RefusalCode::RecordStale,
                format!("version {newest} of this {} was made or revoked; sign a higher one", kind_text(kind)),
            ));
        }
        self.changes.push(Change::Floor { kind, tenant, id: id.to_owned(), floor: version });
        Ok(())
    }

    /// Revokes every version there is; answers the floor.
    pub(crate) fn revoke(&mut self, kind: RecordKind, tenant: Uuid, id: &str) -> u32 {
        // Versions end one below the greatest number, so that there is always a floor above them.
        let floor = self.tables.floor(kind, tenant, id).saturating_add(1);
        self.changes.push(Change::Floor { kind, tenant, id: id.to_owned(), floor });
        floor
    }

    /// As [`Tables::check_floor`], [`Tables::enrolment`] and [`Tables::was_enrolled`].
    pub(crate) fn tables(&self) -> &'s Tables {
        self.tables
    }

    /// An invitation's use that has not been forgotten.
    pub(crate) fn enrolment(&self, agent: Uuid) -> Option<&'s Enrolment> {
        self.tables.enrolment(agent, self.now)
    }

    pub(crate) fn enrol(&mut self, agent: Uuid, enrolment: Enrolment) {
        self.changes.push(Change::Enrolled { agent, enrolment });
    }

    pub(crate) fn raise_horizon(&mut self, horizon: i64) {
        if horizon > self.before.horizon {
            self.changes.push(Change::Horizon { horizon });
        }
    }

    pub(crate) fn set_mark(&mut self, mark: Mark) {
        self.changes.push(Change::Mark { mark });
    }

    pub(crate) fn set_roster(&mut self, roster: RosterDoc) {
        self.changes.push(Change::Roster { roster });
    }

    pub(crate) fn set_server_chain(&mut self, pem: String) {
        self.changes.push(Change::ServerChain { pem });
    }
}
