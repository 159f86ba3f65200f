//! Public keys as JWKs, and the agent's identity key.

mod secret;

use std::fmt;

use secp256k1::ecdsa::Signature;
use secp256k1::{Message, PublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::b64;

pub use secret::IdentitySecret;

/// A key or a signature that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    #[error("the key is not an EC key on {0}")]
    WrongKind(&'static str),
    #[error("the key carries a private part")]
    Private,
    #[error("the key's coordinates are malformed or not on the curve")]
    BadPoint,
    #[error("the key's kid is not its RFC 7638 thumbprint")]
    WrongKid,
    #[error("the key's alg or use does not fit")]
    WrongUse,
    #[error("the private scalar is out of range")]
    BadScalar,
    #[error("r or s is out of range")]
    SignatureRange,
    #[error("the signature does not verify")]
    BadSignature,
}

/// An elliptic-curve public key, RFC 7517 and RFC 7518 §6.2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    pub crv: String,
    pub kty: String,
    pub x: String,
    pub y: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    pub key_use: Option<String>,
    /// A private member: noticed so that it can be refused, never kept.
    #[serde(default, skip_serializing, deserialize_with = "present")]
    pub(crate) d: bool,
}

pub(crate) fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl Jwk {
    /// The four members that make the key, and no more. `point` is `04 ‖ x ‖ y`.
    pub(crate) fn from_point(crv: &'static str, point: &[u8; 65]) -> Self {
        Self {
            crv: crv.to_owned(),
            kty: "EC".to_owned(),
            x: b64::encode(&point[1..33]),
            y: b64::encode(&point[33..]),
            alg: None,
            kid: None,
            key_use: None,
            d: false,
        }
    }

    /// RFC 7638: SHA-256 over the required members in lexical order. Of a key whose coordinates were checked:
    /// then each has one text.
    pub(crate) fn thumbprint(&self) -> String {
        let mut digest = Sha256::new();
        for part in [r#"{"crv":""#, &self.crv, r#"","kty":"EC","x":""#, &self.x, r#"","y":""#, &self.y, r#""}"#] {
            digest.update(part);
        }
        b64::encode(&digest.finalize())
    }

    /// `04 ‖ x ‖ y` of a key on `crv` whose optional members do not contradict `alg`.
    pub(crate) fn to_point(&self, crv: &'static str, alg: &str) -> Result<[u8; 65], KeyError> {
        if self.kty != "EC" || self.crv != crv {
            return Err(KeyError::WrongKind(crv));
        }
        if self.d {
            return Err(KeyError::Private);
        }
        if self.alg.as_deref().is_some_and(|it| it != alg) || self.key_use.as_deref().is_some_and(|it| it != "sig") {
            return Err(KeyError::WrongUse);
        }
        let mut point = [4u8; 65];
        point[1..33].copy_from_slice(&b64::decode_exact::<32>(&self.x).ok_or(KeyError::BadPoint)?);
        point[33..].copy_from_slice(&b64::decode_exact::<32>(&self.y).ok_or(KeyError::BadPoint)?);
        Ok(point)
    }
}

/// An agent's public identity key on secp256k1.
#[derive(Clone)]
pub struct IdentityKey {
    key: PublicKey,
    keyid: String,
}

impl IdentityKey {
    const CRV: &'static str = "secp256k1";
    const ALG: &'static str = "ES256K";

    pub fn from_jwk(jwk: &Jwk) -> Result<Self, KeyError> {
        let point = jwk.to_point(Self::CRV, Self::ALG)?;
        let key = PublicKey::from_byte_array_uncompressed(point).map_err(|_| KeyError::BadPoint)?;
        let key = Self { key, keyid: jwk.thumbprint() };
        match &jwk.kid {
            Some(kid) if *kid != key.keyid => Err(KeyError::WrongKid),
            _ => Ok(key),
        }
    }

    /// A compressed (33 bytes) or uncompressed (65 bytes) SEC1 point.
    pub fn from_sec1(sec1: &[u8]) -> Result<Self, KeyError> {
        // libsecp256k1 also reads the hybrid encodings 06 and 07, which SEC1 users do not expect.
        match (sec1.len(), sec1.first()) {
            (33, Some(2 | 3)) | (65, Some(4)) => {}
            _ => return Err(KeyError::BadPoint),
        }
        let key = PublicKey::from_slice(sec1).map_err(|_| KeyError::BadPoint)?;
        Ok(Self { key, keyid: Jwk::from_point(Self::CRV, &key.serialize_uncompressed()).thumbprint() })
    }

    /// The compressed point.
    pub fn to_sec1(&self) -> [u8; 33] {
        self.key.serialize()
    }

    /// kty, crv, x and y: what an enrolment sends.
    pub fn to_jwk(&self) -> Jwk {
        Jwk::from_point(Self::CRV, &self.key.serialize_uncompressed())
    }

    /// With alg and kid: what a token's `cnf` carries.
    pub fn to_cnf_jwk(&self) -> Jwk {
        Jwk { alg: Some(Self::ALG.to_owned()), kid: Some(self.keyid.clone()), ..self.to_jwk() }
    }

    /// RFC 7638 SHA-256 thumbprint, unpadded base64url.
    pub fn keyid(&self) -> &str {
        &self.keyid
    }

    /// ECDSA with SHA-256 over `message`; `signature` is r‖s. A high s verifies like its low twin,
    /// so nothing may be keyed on signature bytes.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), KeyError> {
        let mut parsed = Signature::from_compact(signature).map_err(|_| KeyError::SignatureRange)?;
        parsed.normalize_s();
        let digest = Message::from_digest(Sha256::digest(message).into());
        parsed.verify(digest, &self.key).map_err(|_| KeyError::BadSignature)
    }
}

impl PartialEq for IdentityKey {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for IdentityKey {}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IdentityKey").field(&self.keyid).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> IdentitySecret {
        IdentitySecret::from_bytes(&[7; 32]).unwrap()
    }

    #[test]
    fn a_jwk_that_says_something_else_is_refused() {
        let good = secret().public().to_cnf_jwk();
        assert!(IdentityKey::from_jwk(&good).is_ok());
        let with = |change: fn(&mut Jwk)| {
            let mut jwk = good.clone();
            change(&mut jwk);
            IdentityKey::from_jwk(&jwk).unwrap_err()
        };
        assert_eq!(with(|jwk| jwk.kty = "OKP".to_owned()), KeyError::WrongKind("secp256k1"));
        assert_eq!(with(|jwk| jwk.crv = "P-256".to_owned()), KeyError::WrongKind("secp256k1"));
        assert_eq!(with(|jwk| jwk.d = true), KeyError::Private);
        assert_eq!(with(|jwk| jwk.alg = Some("ES256".to_owned())), KeyError::WrongUse);
        assert_eq!(with(|jwk| jwk.key_use = Some("enc".to_owned())), KeyError::WrongUse);
        assert_eq!(with(|jwk| jwk.kid = Some("x".to_owned())), KeyError::WrongKid);
        assert_eq!(with(|jwk| jwk.x.push('=')), KeyError::BadPoint);
        assert_eq!(with(|jwk| jwk.x.truncate(42)), KeyError::BadPoint);
        assert_eq!(with(|jwk| std::mem::swap(&mut jwk.x, &mut jwk.y)), KeyError::BadPoint);
    }

    #[test]
    fn a_private_member_is_noticed_and_not_kept() {
        let text = serde_json::to_string(&secret().public().to_jwk()).unwrap();
        let private = text.replacen('{', "{\"d\":\"AAAA\",", 1);
        let jwk: Jwk = serde_json::from_str(&private).unwrap();
        assert_eq!(IdentityKey::from_jwk(&jwk).unwrap_err(), KeyError::Private);
        assert_eq!(serde_json::to_string(&jwk).unwrap(), text);
    }

    #[test]
    fn sec1_is_compressed_or_uncompressed_and_never_hybrid() {
        let key = secret().public().clone();
        let point = key.key.serialize_uncompressed();
        assert_eq!(IdentityKey::from_sec1(&key.to_sec1()).unwrap(), key);
        assert_eq!(IdentityKey::from_sec1(&point).unwrap(), key);
        let mut hybrid = point;
        hybrid[0] = 6 | (point[64] & 1);
        for bad in [&hybrid[..], &point[..64], &point[1..], &[0], &[]] {
            assert_eq!(IdentityKey::from_sec1(bad).unwrap_err(), KeyError::BadPoint);
        }
    }

    #[test]
    fn the_signer_emits_low_s() {
        for message in 0u8..64 {
            let signature = secret().sign(&[message]);
            // Half the order begins with 0x7f.
            assert!(signature[32] < 0x80);
            secret().public().verify(&[message], &signature).unwrap();
        }
    }

    #[test]
    fn a_scalar_out_of_range_is_refused() {
        assert!(IdentitySecret::from_bytes(&[0; 32]).is_err());
        assert!(IdentitySecret::from_bytes(&[0xff; 32]).is_err());
    }

    #[test]
    fn generated_keys_differ() {
        assert_ne!(IdentitySecret::generate().public(), IdentitySecret::generate().public());
    }
}
