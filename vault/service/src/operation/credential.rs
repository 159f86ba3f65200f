//! `set_credential`: a secret whose digest a granter signed, sealed with the origins it may go to.

use subtle::ConstantTimeEq;
use tgp_authority::{Credential, Operation, Purpose, RecordKind, salted_secret_sha256};
use tgp_vault_client::wire::{RefusalCode, SealedCredential, SetCredential};

use super::not_this_operation;
use crate::envelope::Fresh;
use crate::failure::Failure;
use crate::record::{self, CredentialRecord, Record as _};
use crate::vault::Worker;

/// Without a salt the digest in a statement could be searched for; of another length, its end could be taken for the
/// secret's beginning.
const SALT: usize = 16;

pub(super) fn set_credential(
    worker: &mut Worker<'_>,
    call: SetCredential,
    now: i64,
) -> Result<SealedCredential, Failure> {
    let SetCredential { statement, salt, secret, dek } = call;
    let vault = worker.vault;
    let order = vault.order(&[statement], now)?;
    let Operation::Credential(credential) = order.authorised.operation() else {
        return Err(not_this_operation());
    };
    let Credential { tenant, tool, name, resource, version, origins, placement, secret_sha256 } = credential.clone();
    let digest = salted_secret_sha256(&salt, secret.expose_secret());
    let same = digest.as_bytes().ct_eq(secret_sha256.as_bytes());
    if salt.len() != SALT || !bool::from(same) {
        return Err(Failure::refused(
            RefusalCode::SecretMismatch,
            "salt and secret are not those whose digest was signed",
        ));
    }
    let record = CredentialRecord {
        tenant,
        tool,
        name,
        resource,
        version,
        origins,
        placement,
        secret: secret.expose_secret().to_vec(),
    };
    let fresh = Fresh::random()?;
    let sealed = vault.with_dek(dek, tenant, Purpose::Record, |key| Ok(record::seal(key, dek, fresh, &record)))?;
    let id = record.id();
    vault.state.commit(&mut worker.session, now, |act| {
        order.spend(act)?;
        Ok(act.supersede(RecordKind::Credential, tenant, &id, version)?)
    })?;
    Ok(SealedCredential {
        record: sealed,
        tenant,
        tool: record.tool.to_string(),
        name: record.name.as_ref().map(ToString::to_string),
        version,
        origins: record.origins.clone(),
    })
}
