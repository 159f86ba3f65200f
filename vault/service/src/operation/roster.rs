//! `set_roster`: version n+1, signed by the quorum of version n.

use tgp_authority::{Operation, RosterChange};
use tgp_vault_client::wire::SetRoster;

use super::not_this_operation;
use crate::failure::Failure;
use crate::vault::Worker;

pub(super) fn set_roster(worker: &mut Worker<'_>, call: SetRoster, now: i64) -> Result<u32, Failure> {
    let SetRoster { statements } = call;
    let vault = worker.vault;
    // The check includes that this roster may follow the one in force.
    let order = vault.order(&statements, now)?;
    let Operation::Roster(RosterChange { roster }) = order.authorised.operation() else {
        return Err(not_this_operation());
    };
    vault.state.commit(&mut worker.session, now, |act| {
        order.spend(act)?;
        act.set_roster(roster.clone());
        Ok(roster.version)
    })
}
