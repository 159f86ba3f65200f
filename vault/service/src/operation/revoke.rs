//! `revoke`: the floor of a record rises above every version there is.

use tgp_authority::{Operation, Revoke as RevokeOrder};
use tgp_vault_client::wire::{Revoke, Revoked};

use super::not_this_operation;
use crate::failure::Failure;
use crate::vault::Worker;

pub(super) fn revoke(worker: &mut Worker<'_>, call: Revoke, now: i64) -> Result<Revoked, Failure> {
    let Revoke { statements } = call;
    let vault = worker.vault;
    let order = vault.order(&statements, now)?;
    let Operation::Revoke(RevokeOrder { tenant, kind, id }) = order.authorised.operation() else {
        return Err(not_this_operation());
    };
    vault.state.commit(&mut worker.session, now, |state| {
        order.spend(state)?;
        // The floor is the newest version that was seen, so the next one is above all.
        let floor = state.floor(*kind, *tenant, id).saturating_add(1);
        state.raise_floor(*kind, *tenant, id, floor);
        Ok(Revoked { floor })
    })
}
