//! The gateway's way to ask the vault. A vault that has just started holds no data encryption keys:
//! when it says which one it lacks, the wrapped key is loaded from the store and the call is made
//! once more.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tgp_vault_client::wire::{Call, LoadDek, Refusal as VaultRefusal, RefusalCode, WrappedDek};
use tgp_vault_client::{CallError, Client};
use uuid::Uuid;

use crate::refusal::{Code, Refusal};
use crate::store::{Store, StoreError};

/// Keys that one call may lack one after the other: its records may lie under several.
const DEKS_PER_CALL: usize = 4;

/// Cheap to clone; clones share the connections.
#[derive(Clone)]
pub struct Vault {
    client: Client,
    store: Store,
    // Loading the same key for a thousand waiting calls would be a thousand slow calls: when each was loaded last.
    loading: Arc<tokio::sync::Mutex<HashMap<Uuid, Instant>>>,
}

/// A call that brought no reply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the store has no wrapped key for the vault: {0}")]
    Store(#[from] StoreError),
    #[error("the store does not know data encryption key {0}")]
    DekMissing(Uuid),
}

impl Vault {
    pub async fn connect(socket: &Path, uid: Option<u32>, store: Store) -> Result<Self, VaultError> {
        let client = Client::connect(socket, uid).await?;
        Ok(Self { client, store, loading: Arc::default() })
    }

    /// A call that touches no data encryption key.
    pub async fn ask<C: Call>(&self, call: C) -> Result<C::Reply, VaultError> {
        Ok(self.client.call(call).await?)
    }

    /// A call over sealed things of `tenant`. `make` builds it anew for each attempt, since calls may
    /// hold secrets and are not cloned.
    pub async fn call<C: Call>(&self, tenant: Uuid, make: impl Fn() -> C) -> Result<C::Reply, VaultError> {
        for _ in 0..DEKS_PER_CALL {
            let begun = Instant::now();
            match self.client.call(make()).await {
                Err(CallError::DekUnknown(dek)) => self.load(tenant, dek, begun).await?,
                answer => return Ok(answer?),
            }
        }
        Ok(self.client.call(make()).await?)
    }

    /// For a call that began at `begun`: a key that was loaded since is there.
    async fn load(&self, tenant: Uuid, id: Uuid, begun: Instant) -> Result<(), VaultError> {
        let mut loaded = self.loading.lock().await;
        if loaded.get(&id).is_some_and(|at| *at > begun) {
            return Ok(());
        }
        let dek = self.store.dek(tenant, id).await?.ok_or(VaultError::DekMissing(id))?;
        let wrapped = unpack(tenant, id, dek.purpose, &dek.wrapped).ok_or(VaultError::DekMissing(id))?;
        self.client.call(LoadDek { dek: wrapped }).await?;
        loaded.insert(id, Instant::now());
        Ok(())
    }
}

/// The column holds the KEK's version (4 bytes, big-endian) and what that KEK made.
pub fn pack(dek: &WrappedDek) -> Vec<u8> {
    let mut column = dek.kek_version.to_be_bytes().to_vec();
    column.extend_from_slice(&dek.wrapped);
    column
}

fn unpack(tenant: Uuid, id: Uuid, purpose: String, column: &[u8]) -> Option<WrappedDek> {
    let (version, wrapped) = column.split_first_chunk::<4>()?;
    Some(WrappedDek { id, tenant, purpose, kek_version: u32::from_be_bytes(*version), wrapped: wrapped.to_vec() })
}

impl From<VaultError> for Refusal {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Call(CallError::Refused(refused)) => refused_by_vault(refused),
            VaultError::Call(CallError::Unavailable(reason)) => {
                tracing::warn!(%reason, "the vault is unavailable");
                Self::vault_unavailable()
            }
            VaultError::Store(error) => error.into(),
            other => Self::internal(&other),
        }
    }
}

fn refused_by_vault(refused: VaultRefusal) -> Refusal {
    let VaultRefusal { code, detail } = refused;
    let code = match code {
        // These pass through under their own names.
        RefusalCode::RequestMalformed
        | RefusalCode::SignatureMissing
        | RefusalCode::SignatureInvalid
        | RefusalCode::SignatureExpired
        | RefusalCode::SignatureReplayed
        | RefusalCode::DigestMismatch
        | RefusalCode::PathNotCanonical
        | RefusalCode::TokenMissing
        | RefusalCode::TokenInvalid
        | RefusalCode::ScopeInsufficient
        | RefusalCode::ResourceRefused
        | RefusalCode::DelegationRefused
        | RefusalCode::GrantMissing
        | RefusalCode::CodeInvalid
        | RefusalCode::CodeUsed
        | RefusalCode::CodeExpired => Code::from_text(code.as_str()).unwrap_or(Code::Internal),
        RefusalCode::MasterKeyInvalid | RefusalCode::AssertionInvalid => Code::CodeInvalid,
        RefusalCode::CsrInvalid | RefusalCode::OutOfRange => Code::RequestMalformed,
        RefusalCode::StatementInvalid
        | RefusalCode::StatementExpired
        | RefusalCode::StatementReplayed
        | RefusalCode::QuorumMissing
        | RefusalCode::SecretMismatch
        | RefusalCode::DekRefused => Code::StatementRefused,
        // The record was withdrawn or replaced: what is in the database is not what holds.
        RefusalCode::RecordStale => Code::Conflict,
        _ => {
            tracing::error!(code = code.as_str(), %detail, "the vault refused what the gateway should not have asked");
            return Refusal::new(
                Code::Internal,
                "the vault refused the gateway's call; its log names it by request_id",
            );
        }
    };
    Refusal::new(code, detail)
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(reason) => {
                tracing::warn!(%reason, "the store is unavailable");
                Self::store_unavailable()
            }
            StoreError::Conflict(conflict) => Self::new(Code::Conflict, conflict.to_string()),
            StoreError::NotFound => Self::new(Code::NotFound, "there is no such thing in this tenant"),
            other => Self::internal(&other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_key_comes_back_from_its_column() {
        let dek = WrappedDek {
            id: Uuid::new_v4(),
            tenant: Uuid::new_v4(),
            purpose: "record".into(),
            kek_version: 7,
            wrapped: vec![1, 2, 3],
        };
        assert_eq!(unpack(dek.tenant, dek.id, "record".into(), &pack(&dek)), Some(dek));
        assert_eq!(unpack(Uuid::nil(), Uuid::nil(), "record".into(), &[0, 0]), None);
    }

    #[test]
    fn a_protocol_refusal_passes_through_and_an_unexpected_one_is_ours() {
        let refusal = |code| Refusal::from(VaultError::Call(CallError::Refused(VaultRefusal::new(code, "x"))));
        assert_eq!(refusal(RefusalCode::CodeExpired).code, Code::CodeExpired);
        assert_eq!(refusal(RefusalCode::MasterKeyInvalid).code, Code::CodeInvalid);
        assert_eq!(refusal(RefusalCode::QuorumMissing).code, Code::StatementRefused);
        assert_eq!(refusal(RefusalCode::WrongDoor).code, Code::Internal);
    }
}
