//! The private half of an identity key. It has no Debug, no Clone and no serde.

use k256::ecdsa::SigningKey;
use k256::ecdsa::signature::Signer as _;
use k256::elliptic_curve::Generate as _;
use zeroize::Zeroizing;

use super::{IdentityKey, KeyError};

/// A secp256k1 private scalar that signs. k256 wipes it on drop.
pub struct IdentitySecret {
    key: SigningKey,
    public: IdentityKey,
}

impl IdentitySecret {
    /// A new key from the system's generator.
    pub fn generate() -> Self {
        Self::from_key(SigningKey::generate())
    }

    /// A scalar from 1 to n−1, big-endian.
    pub fn from_bytes(scalar: &[u8; 32]) -> Result<Self, KeyError> {
        Ok(Self::from_key(SigningKey::from_slice(scalar).map_err(|_| KeyError::BadScalar)?))
    }

    fn from_key(key: SigningKey) -> Self {
        let point = key.verifying_key().to_sec1_point(false);
        let public = IdentityKey::from_sec1(point.as_bytes()).expect("k256 makes points that libsecp256k1 reads");
        Self { key, public }
    }

    /// The scalar itself, for the one place that stores it.
    pub fn dangerous_to_bytes(&self) -> Zeroizing<[u8; 32]> {
        let mut field = self.key.to_bytes();
        let scalar = Zeroizing::new(field.into());
        zeroize::Zeroize::zeroize(field.as_mut_slice());
        scalar
    }

    pub fn public(&self) -> &IdentityKey {
        &self.public
    }

    /// ECDSA with SHA-256, deterministic (RFC 6979), low s; r‖s.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature: k256::ecdsa::Signature = self.key.sign(message);
        signature.normalize_s().to_bytes().into()
    }
}
