//! Data encryption keys: made here, wrapped by the token's `kek`, unwrapped only in this process.
//!
//! Whatever the gateway says of a wrapped key — whose it is, what for — is the AAD that it was
//! wrapped with, so that a lie does not unwrap.

use std::collections::HashMap;

use tgp_authority::Purpose;
use tgp_token::{KeyOps, KeyRef, TokenError, TokenSession};
use tgp_vault_client::wire::{RefusalCode, WrappedDek};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::envelope::length_prefixed;
use crate::failure::Failure;
use crate::keyring::KeyRing;
use crate::memory::{Room, Slot};

const DOMAIN: &[u8] = b"tgp dek v1";
/// A vault holds a few per tenant.
const LIMIT: usize = 100_000;

/// The keys that were loaded since the start.
#[derive(Default)]
pub(crate) struct Deks {
    room: Room,
    by_id: HashMap<Uuid, Loaded>,
}

#[derive(Clone, Copy)]
struct Loaded {
    tenant: Uuid,
    purpose: Purpose,
    slot: Slot,
}

impl Deks {
    /// The key, if it is this tenant's and for this purpose.
    pub(crate) fn key(&self, id: Uuid, tenant: Uuid, purpose: Purpose) -> Result<&[u8; 32], Failure> {
        let loaded = self.by_id.get(&id).ok_or(Failure::DekUnknown(id))?;
        if loaded.tenant != tenant || loaded.purpose != purpose {
            return Err(Failure::refused(
                RefusalCode::DekRefused,
                "the data encryption key is of another tenant or purpose",
            ));
        }
        Ok(self.room.key(loaded.slot))
    }

    /// Keeps an unwrapped key.
    pub(crate) fn insert(&mut self, id: Uuid, tenant: Uuid, purpose: Purpose, key: &[u8; 32]) -> Result<(), Failure> {
        if self.by_id.contains_key(&id) {
            return Ok(());
        }
        if self.by_id.len() >= LIMIT {
            return Err(Failure::Unavailable("too many data encryption keys are loaded".into()));
        }
        let slot = self.room.put(key);
        let loaded = Loaded { tenant, purpose, slot };
        self.by_id.insert(id, loaded);
        Ok(())
    }

    pub(crate) fn protection(&self) -> &'static str {
        self.room.protection()
    }
}

/// Wraps a new key.
pub(crate) fn wrap(
    session: &mut TokenSession,
    kek: &KeyRef,
    kek_version: u32,
    deployment: &str,
    (tenant, purpose): (Uuid, Purpose),
    key: &[u8; 32],
) -> Result<WrappedDek, Failure> {
    let mut dek = WrappedDek {
        id: Uuid::from_bytes(crate::random::octets()?),
        tenant,
        purpose: purpose_text(purpose).to_owned(),
        kek_version,
        wrapped: Vec::new(),
    };
    dek.wrapped = session.seal(kek, &aad(deployment, &dek), key)?;
    Ok(dek)
}

/// Unwraps a key that this vault wrapped.
pub(crate) fn unwrap(
    session: &mut TokenSession,
    keys: &KeyRing,
    deployment: &str,
    dek: &WrappedDek,
) -> Result<(Purpose, Zeroizing<[u8; 32]>), Failure> {
    let refused =
        || Failure::refused(RefusalCode::DekRefused, "this is not a data encryption key that this vault wrapped");
    let purpose = purpose_of(&dek.purpose).ok_or_else(refused)?;
    if dek.kek_version != keys.current_kek {
        return Err(refused());
    }
    let opened = match session.open(&keys.kek, &aad(deployment, dek), &dek.wrapped) {
        // The token's crate has asked the known answer: the token works, the ciphertext is bad.
        Err(TokenError::Sealed { .. }) => return Err(refused()),
        other => other?,
    };
    let key: [u8; 32] = opened.as_slice().try_into().map_err(|_| refused())?;
    Ok((purpose, Zeroizing::new(key)))
}

fn aad(deployment: &str, dek: &WrappedDek) -> Vec<u8> {
    let WrappedDek { id, tenant, purpose, kek_version, wrapped: _ } = dek;
    let mut aad = Vec::with_capacity(128);
    for part in [
        DOMAIN,
        deployment.as_bytes(),
        id.as_bytes(),
        tenant.as_bytes(),
        purpose.as_bytes(),
        &kek_version.to_be_bytes(),
    ] {
        length_prefixed(&mut aad, part);
    }
    aad
}

fn purpose_text(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Record => "record",
        Purpose::Metadata => "metadata",
        _ => "unknown",
    }
}

fn purpose_of(text: &str) -> Option<Purpose> {
    [Purpose::Record, Purpose::Metadata].into_iter().find(|purpose| purpose_text(*purpose) == text)
}
