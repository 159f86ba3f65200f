//! What the client reads in certificates: dates, key, SPIFFE ID. Whether a chain holds is for rustls.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::ClientError;

/// The leaf of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Unix seconds.
    pub not_before: i64,
    /// Unix seconds.
    pub not_after: i64,
    /// SubjectPublicKeyInfo, DER.
    pub spki: Vec<u8>,
    /// URI names, SPIFFE IDs among them.
    pub uris: Vec<String>,
}

impl Leaf {
    /// The first certificate of a PEM chain.
    pub fn of_chain(pem: &str) -> Result<Self, ClientError> {
        let chain = chain(pem)?;
        let certificate = parse(&chain[0])?;
        let tbs = certificate.tbs_certificate();
        let seconds =
            |time: &x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
        let names = tbs.get_extension::<SubjectAltName>().map_err(malformed)?;
        let uris = names.map(|(_, SubjectAltName(names))| names).unwrap_or_default().into_iter();
        Ok(Self {
            not_before: seconds(&tbs.validity().not_before),
            not_after: seconds(&tbs.validity().not_after),
            spki: tbs.subject_public_key_info().to_der().map_err(malformed)?,
            uris: uris
                .filter_map(|name| {
                    if let GeneralName::UniformResourceIdentifier(uri) = name { Some(uri.to_string()) } else { None }
                })
                .collect(),
        })
    }

    /// Whether it was valid and is no longer.
    pub fn is_expired(&self, now: i64) -> bool {
        now >= self.not_after
    }

    /// Whether less than a third of its life is left.
    pub fn is_due(&self, now: i64) -> bool {
        (self.not_after - now).saturating_mul(3) < self.not_after - self.not_before
    }
}

/// Every certificate of a PEM text; at least one.
pub(crate) fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let chain = chain.map_err(malformed)?;
    if chain.is_empty() {
        return Err(ClientError::Answer("there is no certificate in it".into()));
    }
    Ok(chain)
}

/// SHA-256 of a certificate's SubjectPublicKeyInfo.
pub(crate) fn spki_sha256(certificate: &CertificateDer<'_>) -> Result<[u8; 32], ClientError> {
    let spki = parse(certificate)?.tbs_certificate().subject_public_key_info().to_der().map_err(malformed)?;
    Ok(Sha256::digest(spki).into())
}

/// SHA-256 of the SubjectPublicKeyInfo of the first certificate in a PEM text.
pub fn spki_sha256_of_pem(pem: &str) -> Result<[u8; 32], ClientError> {
    spki_sha256(&chain(pem)?[0])
}

fn parse(certificate: &CertificateDer<'_>) -> Result<Certificate, ClientError> {
    Certificate::from_der(certificate).map_err(malformed)
}

fn malformed(error: impl std::fmt::Display) -> ClientError {
    ClientError::Answer(format!("a certificate is malformed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(not_before: i64, not_after: i64) -> Leaf {
        Leaf { not_before, not_after, spki: Vec::new(), uris: Vec::new() }
    }

    #[test]
    fn a_certificate_is_due_in_the_last_third_of_its_life() {
        let leaf = leaf(0, 90);
        assert!(!leaf.is_due(0) && !leaf.is_due(60));
        assert!(leaf.is_due(61) && leaf.is_due(90) && leaf.is_due(1000));
        assert!(!leaf.is_expired(89) && leaf.is_expired(90));
    }

    #[test]
    fn a_text_without_a_certificate_is_refused() {
        assert!(Leaf::of_chain("").is_err());
        assert!(Leaf::of_chain("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err());
    }
}
