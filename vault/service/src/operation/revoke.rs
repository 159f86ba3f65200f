//! `revoke`: the floor of a record rises above every version there is.

use std::sync::PoisonError;

use tgp_authority::{Operation, RecordKind, Revoke as RevokeOrder};
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
    let revoked = vault.state.commit(&mut worker.session, now, |act| {
        order.spend(act)?;
        Ok(Revoked { floor: act.revoke(*kind, *tenant, id) })
    })?;
    if *kind == RecordKind::Agent
        && let Ok(agent) = id.parse()
    {
        vault.retired.lock().unwrap_or_else(PoisonError::into_inner).add(agent, now);
    }
    Ok(revoked)
}
