//! `set_grant`: a grant that a granter signed, sealed.

use tgp_authority::{Grant, Operation, Purpose, RecordKind};
use tgp_vault_client::wire::{SealedGrant, SetGrant};

use super::not_this_operation;
use crate::envelope::Fresh;
use crate::failure::Failure;
use crate::record::{self, GrantRecord};
use crate::vault::Worker;

pub(super) fn set_grant(worker: &mut Worker<'_>, call: SetGrant, now: i64) -> Result<SealedGrant, Failure> {
    let SetGrant { statement, dek } = call;
    let vault = worker.vault;
    let order = vault.order(&[statement], now)?;
    let Operation::Grant(grant) = order.authorised.operation() else {
        return Err(not_this_operation());
    };
    let Grant { grant, version, tenant, agent, tool, resource, actions, resources, not_before, not_after, credential } =
        grant.clone();
    let record = GrantRecord {
        grant,
        version,
        tenant,
        agent,
        tool,
        resource,
        actions,
        not_before,
        not_after,
        granter: order.authorised.signers()[0],
        credential,
        resources,
    };
    let fresh = Fresh::random()?;
    let sealed = vault.with_dek(dek, tenant, Purpose::Record, |key| Ok(record::seal(key, dek, fresh, &record)))?;
    let id = grant.to_string();
    vault.state.commit(&mut worker.session, now, |act| {
        order.spend(act)?;
        Ok(act.supersede(RecordKind::Grant, tenant, &id, version)?)
    })?;
    Ok(SealedGrant { record: sealed, facts: record.facts() })
}
