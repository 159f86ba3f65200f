//! Sealed values: AES-256-GCM under a key of their own, committed to, bound to their place.
//!
//! ```text
//! header     = "TGPe" | version 1 | suite 1 | dek id 16 | salt 32 | commitment 32 | nonce 12
//! key, commitment = HKDF-SHA-256(ikm = DEK, salt = salt, info = "tgp envelope v1", 64 octets)
//! ciphertext = AES-256-GCM(key, nonce, plaintext, aad)
//! aad        = header | tenant | version u32 | table, column, key, each with its length before it
//! ```
//!
//! GCM alone opens one ciphertext under several keys; the commitment, compared first, names the
//! one. This module keeps no keys and knows no record: see [`crate::dek`] and [`crate::record`].

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use uuid::Uuid;
use zeroize::Zeroizing;

const MAGIC: &[u8; 4] = b"TGPe";
const VERSION: u8 = 1;
const SUITE_AES_256_GCM_HKDF_SHA256: u8 = 1;
const INFO: &[u8] = b"tgp envelope v1";

const DEK_AT: usize = 6;
const SALT_AT: usize = DEK_AT + 16;
const COMMITMENT_AT: usize = SALT_AT + 32;
const NONCE_AT: usize = COMMITMENT_AT + 32;
pub(crate) const HEADER_LEN: usize = NONCE_AT + 12;
const TAG_LEN: usize = 16;

/// Where a value stands. A value moved elsewhere does not open.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub tenant: Uuid,
    pub table: &'a str,
    pub column: &'a str,
    pub key: &'a str,
    pub version: u32,
}

/// Why an envelope did not open. Both look the same from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnvelopeError {
    #[error("not an envelope of a known version and suite")]
    Form,
    #[error("the envelope does not belong here")]
    Mismatch,
}

/// Fresh octets for one envelope; never used twice.
pub(crate) struct Fresh {
    pub salt: [u8; 32],
    pub nonce: [u8; 12],
}

impl Fresh {
    pub(crate) fn random() -> std::io::Result<Self> {
        let octets = crate::random::octets::<44>()?;
        let (salt, nonce) = octets.split_at(32);
        Ok(Fresh { salt: salt.try_into().expect("32 octets"), nonce: nonce.try_into().expect("12 octets") })
    }
}

/// The id of the key that sealed it, as its header claims.
pub(crate) fn dek_id(sealed: &[u8]) -> Result<Uuid, EnvelopeError> {
    let well_formed = sealed.len() >= HEADER_LEN + TAG_LEN
        && sealed.starts_with(MAGIC)
        && sealed[4] == VERSION
        && sealed[5] == SUITE_AES_256_GCM_HKDF_SHA256;
    if !well_formed {
        return Err(EnvelopeError::Form);
    }
    let id = sealed[DEK_AT..SALT_AT].try_into().expect("16 octets");
    Ok(Uuid::from_bytes(id))
}

/// Seals a value for its place.
pub(crate) fn seal(dek: &[u8; 32], id: Uuid, place: Place<'_>, fresh: Fresh, plaintext: &[u8]) -> Vec<u8> {
    let derived = derive(dek, &fresh.salt);
    let mut out = Vec::with_capacity(HEADER_LEN + plaintext.len() + TAG_LEN);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&[VERSION, SUITE_AES_256_GCM_HKDF_SHA256]);
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(&fresh.salt);
    out.extend_from_slice(&derived[32..]);
    out.extend_from_slice(&fresh.nonce);
    let aad = aad(&out, place);
    let ciphertext = encrypt(key(&derived), fresh.nonce, &aad, plaintext);
    out.extend_from_slice(&ciphertext.expect("a frame's plaintext is far below GCM's limit"));
    out
}

/// Opens what was sealed for this very place with this key.
pub(crate) fn open(dek: &[u8; 32], place: Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
    dek_id(sealed)?;
    let (header, ciphertext) = sealed.split_at(HEADER_LEN);
    let derived = derive(dek, &header[SALT_AT..COMMITMENT_AT]);
    let committed = derived[32..].ct_eq(&header[COMMITMENT_AT..NONCE_AT]);
    if !bool::from(committed) {
        return Err(EnvelopeError::Mismatch);
    }
    let nonce: [u8; 12] = header[NONCE_AT..].try_into().expect("12 octets");
    let opened = decrypt(key(&derived), nonce, &aad(header, place), ciphertext);
    opened.map(Zeroizing::new).map_err(|_| EnvelopeError::Mismatch)
}

fn derive(dek: &[u8; 32], salt: &[u8]) -> Zeroizing<[u8; 64]> {
    let mut okm = Zeroizing::new([0; 64]);
    Hkdf::<Sha256>::new(Some(salt), dek).expand(INFO, &mut *okm).expect("64 octets are within HKDF's limit");
    okm
}

fn key(derived: &[u8; 64]) -> &Key<Aes256Gcm> {
    derived[..32].try_into().expect("32 octets")
}

fn encrypt(key: &Key<Aes256Gcm>, nonce: [u8; 12], aad: &[u8], plaintext: &[u8]) -> aes_gcm::aead::Result<Vec<u8>> {
    Aes256Gcm::new(key).encrypt(&Nonce::from(nonce), Payload { msg: plaintext, aad })
}

fn decrypt(key: &Key<Aes256Gcm>, nonce: [u8; 12], aad: &[u8], ciphertext: &[u8]) -> aes_gcm::aead::Result<Vec<u8>> {
    Aes256Gcm::new(key).decrypt(&Nonce::from(nonce), Payload { msg: ciphertext, aad })
}

fn aad(header: &[u8], place: Place<'_>) -> Vec<u8> {
    let Place { tenant, table, column, key, version } = place;
    let mut aad = Vec::with_capacity(header.len() + 64 + table.len() + column.len() + key.len());
    aad.extend_from_slice(header);
    aad.extend_from_slice(tenant.as_bytes());
    aad.extend_from_slice(&version.to_be_bytes());
    for part in [table, column, key] {
        length_prefixed(&mut aad, part.as_bytes());
    }
    aad
}

/// Length before content: no two lists of parts give the same octets.
pub(crate) fn length_prefixed(out: &mut Vec<u8>, part: &[u8]) {
    // Whatever arrives here came in a frame, whose length fits u32.
    let length = u32::try_from(part.len()).expect("parts are shorter than a frame");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(part);
}

#[cfg(test)]
mod wycheproof;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEK: [u8; 32] = [7; 32];
    const ID: Uuid = Uuid::from_u128(9);

    fn place() -> Place<'static> {
        Place { tenant: Uuid::from_u128(1), table: "agent", column: "name", key: "a-1", version: 1 }
    }

    fn at([table, column, key]: &[String; 3], tenant: u128, version: u32) -> Place<'_> {
        Place { tenant: Uuid::from_u128(tenant), table, column, key, version }
    }

    fn fresh() -> Fresh {
        Fresh::random().expect("the kernel has random octets")
    }

    #[test]
    fn a_value_in_another_place_does_not_open() {
        let sealed = seal(&DEK, ID, place(), fresh(), b"Ada Lovelace");
        assert_eq!(dek_id(&sealed), Ok(ID));
        let here = place();
        let elsewhere = [
            ("tenant", Place { tenant: Uuid::from_u128(2), ..here }),
            ("table", Place { table: "tool", ..here }),
            ("column", Place { column: "names", ..here }),
            ("key", Place { key: "a-2", ..here }),
            ("version", Place { version: 2, ..here }),
            // The same octets, cut between other parts.
            ("shift", Place { table: "agentn", column: "ame", ..here }),
        ];
        assert_eq!(open(&DEK, here, &sealed).expect("opens").as_slice(), b"Ada Lovelace");
        for (what, other) in elsewhere {
            assert_eq!(open(&DEK, other, &sealed), Err(EnvelopeError::Mismatch), "{what}");
        }
    }

    #[test]
    fn another_key_is_noticed_before_anything_is_decrypted() {
        let sealed = seal(&DEK, ID, place(), fresh(), b"x");
        assert_eq!(open(&[8; 32], place(), &sealed), Err(EnvelopeError::Mismatch));
    }

    #[test]
    fn a_plaintext_sealed_twice_looks_different() {
        let one = seal(&DEK, ID, place(), fresh(), b"same");
        let two = seal(&DEK, ID, place(), fresh(), b"same");
        assert_ne!(one, two);
        assert!(!one.windows(4).any(|w| w == b"same"));
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens(plaintext in proptest::collection::vec(any::<u8>(), 0..2000),
                                dek: [u8; 32], key in ".{0,40}", version: u32) {
            let place = Place { key: &key, version, ..place() };
            let sealed = seal(&dek, ID, place, fresh(), &plaintext);
            prop_assert_eq!(sealed.len(), HEADER_LEN + plaintext.len() + TAG_LEN);
            let opened = open(&dek, place, &sealed).expect("opens");
            prop_assert_eq!(opened.as_slice(), plaintext.as_slice());
        }

        #[test]
        fn another_key_or_another_place_never_opens_it(plaintext: Vec<u8>, dek: [u8; 32], other: [u8; 32],
                                                       parts in proptest::array::uniform3(".{0,12}"),
                                                       others in proptest::array::uniform3(".{0,12}"),
                                                       tenant: u128, version: u32, moved: u128, newer: u32) {
            let here = at(&parts, tenant, version);
            let sealed = seal(&dek, ID, here, fresh(), &plaintext);
            prop_assert_eq!(open(&other, here, &sealed).is_ok(), other == dek);
            for (elsewhere, same) in [
                (at(&others, tenant, version), others == parts),
                (at(&parts, moved, version), moved == tenant),
                (at(&parts, tenant, newer), newer == version),
            ] {
                prop_assert_eq!(open(&dek, elsewhere, &sealed).is_ok(), same);
            }
        }

        #[test]
        fn one_flipped_bit_anywhere_closes_it(at: prop::sample::Index, bit in 0..8_u8) {
            let mut sealed = seal(&DEK, ID, place(), fresh(), b"a secret");
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            // A flip in the id only names another key; this key's commitment is bound all the same.
            prop_assert!(open(&DEK, place(), &sealed).is_err());
        }

        #[test]
        fn arbitrary_octets_are_refused_without_a_panic(octets: Vec<u8>) {
            prop_assert!(open(&DEK, place(), &octets).is_err());
        }
    }
}
