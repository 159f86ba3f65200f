//! PKCS#10 certification requests with a P-256 key.
//!
//! Only the key is read: subject, attributes and extensions are ignored, the issuer decides them.

use p256::ecdsa::{DerSignature, VerifyingKey, signature::Verifier};
use x509_cert::builder::Builder;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{DecodePem, Encode, EncodePem, pem::LineEnding};
use x509_cert::name::Name;
use x509_cert::request::{CertReq, RequestBuilder};

use crate::error::AuthorityError;
use crate::key::{OperatorKey, OperatorSecret};

const MAX_PEM_BYTES: usize = 8 * 1024;
/// ecdsa-with-SHA256, RFC 5758 §3.2.
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");

/// A request whose own signature verified: who sent it holds the key.
#[derive(Clone, Debug)]
pub struct CertificateRequest {
    key: OperatorKey,
}

impl CertificateRequest {
    /// Read a `CERTIFICATE REQUEST` PEM block and check its signature (RFC 2986 §4.2).
    ///
    /// # Errors
    /// Over 8 KiB, not PEM, not PKCS#10, not a P-256 key, signed otherwise than with
    /// ecdsa-with-SHA256 by the key inside.
    pub fn parse(pem: &str) -> Result<Self, AuthorityError> {
        let refused = |why: &dyn std::fmt::Display| AuthorityError::malformed("certificate request", why);
        if pem.len() > MAX_PEM_BYTES {
            return Err(refused(&"longer than 8 KiB"));
        }
        let request = CertReq::from_pem(pem.trim()).map_err(|error| refused(&error))?;
        let spki = request.info.public_key.to_der().map_err(|error| refused(&error))?;
        let key = OperatorKey::from_spki_der(&spki)?;
        if request.algorithm.oid != ECDSA_WITH_SHA256 {
            return Err(refused(&"must be signed with ecdsa-with-SHA256"));
        }
        let signed = request.info.to_der().map_err(|error| refused(&error))?;
        let signature = request.signature.as_bytes().ok_or_else(|| refused(&"signature has loose bits"))?;
        let signature = DerSignature::from_bytes(signature).map_err(|error| refused(&error))?;
        let point = &spki[spki.len() - 65..];
        VerifyingKey::from_sec1_bytes(point)
            .and_then(|key| key.verify(&signed, &signature))
            .map_err(|_| refused(&"not signed by the key inside"))?;
        Ok(Self { key })
    }

    /// The key that the certificate is asked for.
    #[must_use]
    pub fn key(&self) -> &OperatorKey {
        &self.key
    }
}

impl OperatorSecret {
    /// A PKCS#10 request for this key in PEM, with an empty subject.
    #[must_use]
    pub fn certificate_request(&self) -> String {
        RequestBuilder::new(Name::default())
            .and_then(|builder| builder.build::<_, DerSignature>(self.signing_key()))
            .and_then(|request| Ok(request.to_pem(LineEnding::LF)?))
            .expect("an empty subject and a P-256 key always encode")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_proves_its_own_key() {
        let secret = OperatorSecret::generate();
        let request = CertificateRequest::parse(&secret.certificate_request()).unwrap();
        assert_eq!(request.key(), &secret.public());
    }

    #[test]
    fn a_request_with_another_key_put_in_is_refused() {
        let (secret, other) = (OperatorSecret::generate(), OperatorSecret::generate());
        let mut request = CertReq::from_pem(secret.certificate_request()).unwrap();
        request.info.public_key = CertReq::from_pem(other.certificate_request()).unwrap().info.public_key;
        let error = CertificateRequest::parse(&request.to_pem(LineEnding::LF).unwrap()).unwrap_err();
        assert!(error.to_string().contains("not signed by the key inside"), "{error}");
    }

    #[test]
    fn what_is_not_a_request_is_refused() {
        let secret = OperatorSecret::generate();
        for text in ["", "hello", &secret.public().to_pem(), &"A".repeat(9000)] {
            assert!(CertificateRequest::parse(text).is_err());
        }
    }
}
