//! Operators' keys: ECDSA over P-256 with SHA-256, signatures as 64 bytes r‖s.
//!
//! High-S signatures are accepted, since browsers and HSMs emit them; nothing is keyed on signature
//! bytes.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::{Signer, Verifier};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use p256::elliptic_curve::Generate;
use p256::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, LineEnding};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::error::AuthorityError;

/// An operator's public key. In JSON: unpadded base64url of its SubjectPublicKeyInfo in DER.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OperatorKey(VerifyingKey);

impl OperatorKey {
    /// From a SubjectPublicKeyInfo in DER, in the one encoding that [`Self::to_spki_der`] writes.
    ///
    /// # Errors
    /// Not a point on P-256, or another encoding of one.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, AuthorityError> {
        let key = VerifyingKey::from_public_key_der(der).map_err(key_error)?;
        let key = Self(key);
        if key.to_spki_der() != der {
            return Err(AuthorityError::Key("not the canonical encoding".to_owned()));
        }
        Ok(key)
    }

    /// From a `PUBLIC KEY` PEM block.
    ///
    /// # Errors
    /// Not PEM, or not a P-256 key.
    pub fn from_pem(pem: &str) -> Result<Self, AuthorityError> {
        VerifyingKey::from_public_key_pem(pem.trim()).map(Self).map_err(key_error)
    }

    /// The SubjectPublicKeyInfo in DER, with an uncompressed point.
    #[must_use]
    pub fn to_spki_der(&self) -> Vec<u8> {
        let document = self.0.to_public_key_der().expect("a valid point has an encoding");
        document.into_vec()
    }

    /// A `PUBLIC KEY` PEM block.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.0.to_public_key_pem(LineEnding::LF).expect("a valid point has an encoding")
    }

    /// Whether `signature` (r‖s) over SHA-256 of `message` is by this key.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        Signature::from_slice(signature).is_ok_and(|signature| self.0.verify(message, &signature).is_ok())
    }
}

impl Serialize for OperatorKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.to_spki_der()))
    }
}

impl<'de> Deserialize<'de> for OperatorKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let der = URL_SAFE_NO_PAD.decode(text).map_err(serde::de::Error::custom)?;
        Self::from_spki_der(&der).map_err(serde::de::Error::custom)
    }
}

/// An operator's private key. It lives on the operator's own machine and is overwritten on drop.
pub struct OperatorSecret(SigningKey);

impl OperatorSecret {
    /// A new key from the operating system's randomness.
    #[must_use]
    pub fn generate() -> Self {
        Self(SigningKey::generate())
    }

    /// From a `PRIVATE KEY` PEM block (PKCS#8).
    ///
    /// # Errors
    /// Not PKCS#8 in PEM, or not a P-256 key.
    pub fn from_pem(pem: &str) -> Result<Self, AuthorityError> {
        SigningKey::from_pkcs8_pem(pem.trim()).map(Self).map_err(key_error)
    }

    /// The private key itself, as a `PRIVATE KEY` PEM block (PKCS#8).
    #[must_use]
    pub fn dangerous_to_pem(&self) -> Zeroizing<String> {
        self.0.to_pkcs8_pem(LineEnding::LF).expect("a valid scalar has an encoding")
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> OperatorKey {
        OperatorKey(*self.0.verifying_key())
    }

    /// r‖s over SHA-256 of `message`, nonce by RFC 6979.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature: Signature = self.0.sign(message);
        signature.to_bytes().into()
    }

    pub(crate) fn signing_key(&self) -> &SigningKey {
        &self.0
    }
}

fn key_error(error: impl fmt::Display) -> AuthorityError {
    AuthorityError::Key(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_files() {
        let secret = OperatorSecret::generate();
        let again = OperatorSecret::from_pem(&secret.dangerous_to_pem()).unwrap();
        assert_eq!(again.public(), secret.public());
        assert_eq!(OperatorKey::from_pem(&secret.public().to_pem()).unwrap(), secret.public());
        assert_eq!(OperatorKey::from_spki_der(&secret.public().to_spki_der()).unwrap(), secret.public());
    }

    #[test]
    fn a_signature_holds_for_its_message_and_key_only() {
        let (secret, other) = (OperatorSecret::generate(), OperatorSecret::generate());
        let signature = secret.sign(b"message");
        assert!(secret.public().verifies(b"message", &signature));
        assert!(!secret.public().verifies(b"massage", &signature));
        assert!(!other.public().verifies(b"message", &signature));
        assert!(!secret.public().verifies(b"message", &[0; 64]));
        assert!(!secret.public().verifies(b"message", &[0xff; 64]));
    }

    #[test]
    fn a_second_encoding_of_a_key_is_refused() {
        let der = OperatorSecret::generate().public().to_spki_der();
        let mut trailing = der.clone();
        trailing.push(0);
        assert!(OperatorKey::from_spki_der(&trailing).is_err());
        // The same point compressed: 26-byte header with its lengths shortened by 32, then 02/03 ‖ x.
        let mut compressed = der[..26].to_vec();
        compressed[1] -= 32;
        compressed[24] -= 32;
        compressed.push(2 + (der[90] & 1));
        compressed.extend_from_slice(&der[27..59]);
        assert!(OperatorKey::from_spki_der(&compressed).is_err());
    }
}
