//! `new_dek` and `load_dek`.

use tgp_authority::{NewDek as DekOrder, Operation};
use tgp_token::KeyOps;
use tgp_vault_client::wire::{LoadDek, NewDek, WrappedDek};
use zeroize::Zeroizing;

use super::not_this_operation;
use crate::dek;
use crate::failure::Failure;
use crate::vault::{Vault, Worker};

pub(super) fn new_dek(worker: &mut Worker<'_>, call: NewDek, now: i64) -> Result<WrappedDek, Failure> {
    let NewDek { statement } = call;
    let vault = worker.vault;
    let order = vault.order(&[statement], now)?;
    let Operation::NewDek(DekOrder { tenant, purpose }) = order.authorised.operation() else {
        return Err(not_this_operation());
    };
    let (tenant, purpose) = (*tenant, *purpose);
    // Of the token and the kernel, mixed: either alone would do.
    let mut key = Zeroizing::new([0; 32]);
    worker.session.random(&mut *key)?;
    vault.state.commit(&mut worker.session, now, |act| order.spend(act))?;
    let deployment = &vault.state.current().state.deployment;
    let (kek, version) = (&vault.keys.kek, vault.keys.current_kek);
    let for_whom = (tenant, purpose);
    let wrapped = dek::wrap(&mut worker.session, kek, version, deployment, for_whom, &key)?;
    keep(vault, &wrapped, purpose, &key)?;
    Ok(wrapped)
}

pub(super) fn load_dek(worker: &mut Worker<'_>, call: LoadDek, _now: i64) -> Result<(), Failure> {
    let LoadDek { dek: wrapped } = call;
    let vault = worker.vault;
    let deployment = &vault.state.current().state.deployment;
    let (purpose, key) = dek::unwrap(&mut worker.session, &vault.keys, deployment, &wrapped)?;
    keep(vault, &wrapped, purpose, &key)
}

fn keep(vault: &Vault, wrapped: &WrappedDek, purpose: tgp_authority::Purpose, key: &[u8; 32]) -> Result<(), Failure> {
    let mut deks = vault.deks.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    deks.insert(wrapped.id, wrapped.tenant, purpose, key)
}
