//! The key of a TLS client certificate, P-256, and the requests for certificates it signs.

use p256::SecretKey;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::elliptic_curve::Generate as _;
use p256::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use x509_cert::builder::Builder as _;
use x509_cert::der::EncodePem as _;
use x509_cert::ext::pkix::{KeyUsage, KeyUsages};
use x509_cert::name::Name;
use x509_cert::request::RequestBuilder;
use zeroize::Zeroizing;

use crate::ClientError;

/// A P-256 private key for TLS client authentication. Wiped when dropped.
pub struct TlsKey(SecretKey);

impl TlsKey {
    /// A fresh key from the system's random numbers.
    pub fn generate() -> Self {
        Self(SecretKey::generate())
    }

    /// From PKCS#8 PEM.
    pub fn from_pem(pem: &str) -> Result<Self, ClientError> {
        let key = SecretKey::from_pkcs8_pem(pem);
        key.map(Self).map_err(|_| ClientError::Input("not a P-256 private key in PKCS#8 PEM".into()))
    }

    /// As PKCS#8 PEM: the secret itself.
    pub fn expose_pem(&self) -> Zeroizing<String> {
        // A scalar in range always encodes.
        self.0.to_pkcs8_pem(LineEnding::LF).expect("a P-256 key encodes as PKCS#8")
    }

    /// The public half, SubjectPublicKeyInfo in DER.
    pub fn spki(&self) -> Vec<u8> {
        let public = self.0.public_key().to_public_key_der();
        public.expect("a P-256 public key encodes as SPKI").into_vec()
    }

    /// The public half in PEM.
    pub fn public_pem(&self) -> String {
        let public = self.0.public_key().to_public_key_pem(LineEnding::LF);
        public.expect("a P-256 public key encodes as PEM")
    }

    /// A PKCS#10 request in PEM. The issuer takes the public key from it and nothing else.
    pub fn csr(&self) -> Result<String, ClientError> {
        let bug = |e: &dyn std::fmt::Display| ClientError::Bug(format!("no certificate request: {e}"));
        let mut builder = RequestBuilder::new(Name::default()).map_err(|e| bug(&e))?;
        // Never empty: an ExtensionRequest with no extension in it is malformed (RFC 5280 §4.1).
        builder.add_extension(&KeyUsage(KeyUsages::DigitalSignature.into())).map_err(|e| bug(&e))?;
        let signer = SigningKey::from(&self.0);
        let request = builder.build::<_, DerSignature>(&signer).map_err(|e| bug(&e))?;
        request.to_pem(LineEnding::LF).map_err(|e| bug(&e))
    }
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::VerifyingKey;
    use p256::ecdsa::signature::Verifier as _;
    use p256::pkcs8::DecodePublicKey as _;
    use x509_cert::der::{DecodePem as _, Encode as _};
    use x509_cert::request::CertReq;

    use super::*;

    #[test]
    fn a_request_for_a_certificate_is_signed_by_its_own_key() {
        let key = TlsKey::generate();
        let csr = CertReq::from_pem(key.csr().unwrap()).unwrap();
        let spki = csr.info.public_key.to_der().unwrap();
        assert_eq!(spki, key.spki());
        let verifier = VerifyingKey::from_public_key_der(&spki).unwrap();
        let signature = DerSignature::from_bytes(csr.signature.raw_bytes()).unwrap();
        verifier.verify(&csr.info.to_der().unwrap(), &signature).unwrap();
    }

    #[test]
    fn a_key_comes_back_from_its_pem() {
        let key = TlsKey::generate();
        let pem = key.expose_pem();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----"));
        assert_eq!(TlsKey::from_pem(&pem).unwrap().spki(), key.spki());
        assert!(TlsKey::from_pem("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").is_err());
    }
}
