//! X.509 certificates: the CA's own and the leaves it issues.
//!
//! Nothing of a certificate request is used but its key: names, constraints, usages and dates are
//! decided here. The CA carries no name constraints (verifiers in use fail every URI SAN under a
//! CA that has them); whoever verifies checks the trust domain.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use p256::ecdsa::VerifyingKey;
use p256::pkcs8::EncodePublicKey;
use sha2::{Digest, Sha256};
use tgp_request::name::{SpiffeId, TrustDomain};
use tgp_vault_client::wire;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder, CertificateBuilder};
use x509_cert::der::asn1::{BitString, Ia5String, ObjectIdentifier, OctetString};
use x509_cert::der::flagset::FlagSet;
use x509_cert::der::{Decode, DecodePem, Encode, EncodePem, pem::LineEnding};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
    SubjectKeyIdentifier,
};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{
    AlgorithmIdentifierOwned, DynSignatureAlgorithmIdentifier, SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef,
};
use x509_cert::time::{Time, Validity};
use x509_cert::{Certificate, TbsCertificate};

/// Clocks of relying parties may be this much behind.
const BACKDATED_S: i64 = 60;
const DAY_S: i64 = 24 * 60 * 60;
const CA_DAYS: i64 = 3652;
/// Agents' and operators' certificates: 24 hours and no more, the backdating included.
const CLIENT_S: i64 = DAY_S - BACKDATED_S;
const SERVER_S: i64 = 90 * DAY_S;

// RFC 5758 §3.2 and RFC 5280 §4.2.1.12.
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

/// What goes wrong while a certificate is made: an encoding that cannot be, or the signer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError<S> {
    #[error("the certificate cannot be encoded: {0}")]
    Encoding(String),
    #[error(transparent)]
    Signer(S),
}

/// Whom a leaf speaks for.
pub(crate) enum Subject<'a> {
    /// An agent or an operator.
    Client(&'a SpiffeId),
    /// The gateway, under these DNS names and addresses.
    Server(&'a [String]),
}

/// The certificate authority: its certificate, and the key in the token that signs.
#[derive(Clone)]
pub(crate) struct Authority {
    certificate: Certificate,
    key: VerifyingKey,
}

impl Authority {
    /// Makes the CA's own certificate.
    pub(crate) fn create<S>(
        trust_domain: &TrustDomain,
        sec1: &[u8],
        serial: [u8; 16],
        now: i64,
        sign: impl FnOnce(&[u8; 32]) -> Result<[u8; 64], S>,
    ) -> Result<Self, CertificateError<S>> {
        let key = VerifyingKey::from_sec1_bytes(sec1).map_err(encoding)?;
        // A trust domain is letters, digits, dots and dashes: nothing to escape.
        let name = Name::from_str(&format!("CN=TGP agent CA {trust_domain}")).map_err(encoding)?;
        let profile = Profile { issuer: name.clone(), subject: name, kind: Kind::Authority };
        let validity = validity(now, CA_DAYS * DAY_S)?;
        let certificate = build(profile, spki(&key)?, &key, serial, validity, sign)?;
        Ok(Authority { certificate, key })
    }

    /// The CA as the state file keeps it.
    pub(crate) fn from_pem(pem: &str) -> Result<Self, String> {
        let certificate = Certificate::from_pem(pem).map_err(|e| e.to_string())?;
        let spki = certificate.tbs_certificate().subject_public_key_info();
        let point = spki.subject_public_key.as_bytes().unwrap_or_default();
        let key = VerifyingKey::from_sec1_bytes(point).map_err(|e| e.to_string())?;
        Ok(Authority { certificate, key })
    }

    pub(crate) fn pem(&self) -> String {
        to_pem(&self.certificate)
    }

    /// The public key, `04 ‖ x ‖ y`.
    pub(crate) fn sec1(&self) -> Vec<u8> {
        self.key.to_sec1_point(false).as_bytes().to_vec()
    }

    /// Issues a leaf for a key, given as SubjectPublicKeyInfo.
    pub(crate) fn issue<S>(
        &self,
        subject: &Subject<'_>,
        spki_der: &[u8],
        serial: [u8; 16],
        now: i64,
        sign: impl FnOnce(&[u8; 32]) -> Result<[u8; 64], S>,
    ) -> Result<wire::Certificate, CertificateError<S>> {
        let (lifetime, usage, names) = match subject {
            Subject::Client(id) => (CLIENT_S, CLIENT_AUTH, vec![uri(&id.to_string())?]),
            Subject::Server(names) => {
                let names = names.iter().map(|name| host(name)).collect::<Result<_, _>>()?;
                (SERVER_S, SERVER_AUTH, names)
            }
        };
        let profile = Profile {
            issuer: self.certificate.tbs_certificate().subject().clone(),
            subject: Name::default(),
            kind: Kind::Leaf { usage, names },
        };
        let spki = SubjectPublicKeyInfoOwned::from_der(spki_der).map_err(encoding)?;
        let validity = validity(now, lifetime)?;
        let leaf = build(profile, spki, &self.key, serial, validity, sign)?;
        let der = leaf.to_der().map_err(encoding)?;
        Ok(wire::Certificate {
            chain: to_pem(&leaf) + &self.pem(),
            serial: hex(leaf.tbs_certificate().serial_number().as_bytes()),
            sha256: Sha256::digest(&der).into(),
            not_before: now - BACKDATED_S,
            not_after: now + lifetime,
        })
    }
}

/// SubjectPublicKeyInfo of a P-256 point.
pub(crate) fn spki_der(sec1: &[u8]) -> Result<Vec<u8>, String> {
    let key = VerifyingKey::from_sec1_bytes(sec1).map_err(|e| e.to_string())?;
    let document = key.to_public_key_der().map_err(|e| e.to_string())?;
    Ok(document.into_vec())
}

/// r‖s as the DER structure that X.509 and TLS carry.
pub(crate) fn der_signature(raw: &[u8; 64]) -> Result<Vec<u8>, String> {
    let signature = p256::ecdsa::Signature::from_slice(raw).map_err(|e| e.to_string())?;
    Ok(signature.to_der().as_bytes().to_vec())
}

pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

enum Kind {
    Authority,
    Leaf { usage: ObjectIdentifier, names: Vec<GeneralName> },
}

struct Profile {
    issuer: Name,
    subject: Name,
    kind: Kind,
}

impl BuilderProfile for Profile {
    fn get_issuer(&self, _subject: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        key: SubjectPublicKeyInfoRef<'_>,
        issuer_key: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        let subject = tbs.subject();
        let own = SubjectKeyIdentifier(key_identifier(&key)?);
        let issuer = AuthorityKeyIdentifier {
            key_identifier: Some(key_identifier(&issuer_key)?),
            ..AuthorityKeyIdentifier::default()
        };
        let mut all = vec![(&own).to_extension(subject, &[])?, (&issuer).to_extension(subject, &[])?];
        match &self.kind {
            Kind::Authority => {
                let constraints = BasicConstraints { ca: true, path_len_constraint: Some(0) };
                let usage = KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign);
                all.push((true, &constraints).to_extension(subject, &[])?);
                all.push((&usage).to_extension(subject, &[])?);
            }
            Kind::Leaf { usage, names } => {
                let constraints = BasicConstraints { ca: false, path_len_constraint: None };
                let bits = KeyUsage(FlagSet::from(KeyUsages::DigitalSignature));
                all.push((true, &constraints).to_extension(subject, &[])?);
                all.push((&bits).to_extension(subject, &[])?);
                all.push((&ExtendedKeyUsage(vec![*usage])).to_extension(subject, &[])?);
                // The subject is empty, so the SAN is critical: RFC 5280 §4.2.1.6.
                all.push((true, &SubjectAltName(names.clone())).to_extension(subject, &[])?);
            }
        }
        Ok(all)
    }
}

/// RFC 7093 §2 method 1: the first 160 bits of SHA-256 over the key's bit string.
fn key_identifier(key: &SubjectPublicKeyInfoRef<'_>) -> x509_cert::der::Result<OctetString> {
    let digest = Sha256::digest(key.subject_public_key.raw_bytes());
    OctetString::new(&digest[..20])
}

/// What the builder asks of a signer before there is a signature.
struct Signer<'a>(&'a VerifyingKey);

impl p256::ecdsa::signature::Keypair for Signer<'_> {
    type VerifyingKey = VerifyingKey;

    fn verifying_key(&self) -> VerifyingKey {
        *self.0
    }
}

impl DynSignatureAlgorithmIdentifier for Signer<'_> {
    fn signature_algorithm_identifier(&self) -> x509_cert::spki::Result<AlgorithmIdentifierOwned> {
        Ok(AlgorithmIdentifierOwned { oid: ECDSA_WITH_SHA256, parameters: None })
    }
}

fn build<S>(
    profile: Profile,
    spki: SubjectPublicKeyInfoOwned,
    issuer: &VerifyingKey,
    mut serial: [u8; 16],
    validity: Validity,
    sign: impl FnOnce(&[u8; 32]) -> Result<[u8; 64], S>,
) -> Result<Certificate, CertificateError<S>> {
    // Positive and never shortened: RFC 5280 §4.1.2.2.
    serial[0] = (serial[0] & 0x3f) | 0x40;
    let serial = SerialNumber::new(&serial).map_err(encoding)?;
    let signer = Signer(issuer);
    let mut builder = CertificateBuilder::new(profile, serial, validity, spki).map_err(encoding)?;
    let tbs = builder.finalize(&signer).map_err(encoding)?;
    let raw = sign(&Sha256::digest(&tbs).into()).map_err(CertificateError::Signer)?;
    let der = der_signature(&raw).map_err(CertificateError::Encoding)?;
    let signature = BitString::from_bytes(&der).map_err(encoding)?;
    builder.assemble(signature, &signer).map_err(encoding)
}

fn spki<S>(key: &VerifyingKey) -> Result<SubjectPublicKeyInfoOwned, CertificateError<S>> {
    SubjectPublicKeyInfoOwned::from_key(key).map_err(encoding)
}

fn validity<S>(now: i64, lifetime: i64) -> Result<Validity, CertificateError<S>> {
    let time = |seconds: i64| -> Result<Time, CertificateError<S>> {
        let since = Duration::from_secs(u64::try_from(seconds).map_err(encoding)?);
        Time::try_from(std::time::UNIX_EPOCH + since).map_err(encoding)
    };
    Ok(Validity::new(time(now - BACKDATED_S)?, time(now + lifetime)?))
}

fn uri<S>(text: &str) -> Result<GeneralName, CertificateError<S>> {
    let text = Ia5String::new(text).map_err(encoding)?;
    Ok(GeneralName::UniformResourceIdentifier(text))
}

fn host<S>(name: &str) -> Result<GeneralName, CertificateError<S>> {
    match name.parse::<IpAddr>() {
        Ok(address) => Ok(GeneralName::from(address)),
        Err(_) => Ok(GeneralName::DnsName(Ia5String::new(name).map_err(encoding)?)),
    }
}

fn to_pem(certificate: &Certificate) -> String {
    certificate.to_pem(LineEnding::LF).expect("a certificate that was built or parsed encodes")
}

fn encoding<S>(error: impl std::fmt::Display) -> CertificateError<S> {
    CertificateError::Encoding(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use p256::ecdsa::signature::Verifier;
    use p256::ecdsa::signature::hazmat::PrehashSigner;
    use p256::ecdsa::{DerSignature, Signature, SigningKey};
    use p256::elliptic_curve::Generate;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn signer(key: &SigningKey) -> impl FnOnce(&[u8; 32]) -> Result<[u8; 64], Infallible> {
        |digest| {
            let signature: Signature = key.sign_prehash(digest).expect("32 octets");
            Ok(signature.to_bytes().into())
        }
    }

    fn point(key: &SigningKey) -> Vec<u8> {
        key.verifying_key().to_sec1_point(false).as_bytes().to_vec()
    }

    fn authority(key: &SigningKey) -> Authority {
        let domain = "tgp.example".parse().expect("a trust domain");
        Authority::create(&domain, &point(key), [0xff; 16], NOW, signer(key)).expect("builds")
    }

    fn first(chain: &str) -> Certificate {
        let end = chain.find("-----END CERTIFICATE-----").expect("PEM") + 26;
        Certificate::from_pem(&chain[..end]).expect("parses")
    }

    fn verify(certificate: &Certificate, key: &VerifyingKey) {
        let tbs = certificate.tbs_certificate().to_der().expect("encodes");
        let signature = certificate.signature().as_bytes().expect("whole octets");
        let signature = DerSignature::from_bytes(signature).expect("DER");
        key.verify(&tbs, &signature).expect("the CA's signature");
    }

    #[test]
    fn the_authority_signs_itself_and_may_sign_leaves_only() {
        let key = SigningKey::generate();
        let ca = authority(&key);
        let again = Authority::from_pem(&ca.pem()).expect("parses");
        assert_eq!(again.pem(), ca.pem());
        assert_eq!(again.sec1(), point(&key));
        verify(&ca.certificate, key.verifying_key());
        let tbs = ca.certificate.tbs_certificate();
        let (critical, constraints) = tbs.get_extension::<BasicConstraints>().expect("parses").expect("present");
        assert!(critical && constraints.ca);
        assert_eq!(constraints.path_len_constraint, Some(0));
        let name_constraints = tbs.get_extension::<x509_cert::ext::pkix::NameConstraints>().expect("parses");
        assert!(name_constraints.is_none());
    }

    #[test]
    fn a_client_leaf_has_one_uri_no_ca_bit_and_a_day_at_most() {
        let key = SigningKey::generate();
        let ca = authority(&key);
        let agent = SigningKey::generate();
        let spki = spki_der(&point(&agent)).expect("a point");
        let id: SpiffeId =
            "spiffe://tgp.example/agent/0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d".parse().expect("a SPIFFE ID");
        let issued = ca.issue(&Subject::Client(&id), &spki, [0; 16], NOW, signer(&key)).expect("issues");
        let leaf = first(&issued.chain);
        verify(&leaf, key.verifying_key());
        let tbs = leaf.tbs_certificate();
        let not_before = tbs.validity().not_before.to_unix_duration().as_secs();
        let not_after = tbs.validity().not_after.to_unix_duration().as_secs();
        assert_eq!(not_after - not_before, 86_400);
        assert_eq!(not_before, 1_800_000_000 - 60);
        let (critical, san) = tbs.get_extension::<SubjectAltName>().expect("parses").expect("present");
        assert!(critical);
        assert_eq!(san.0, [uri::<Infallible>(&id.to_string()).expect("ASCII")]);
        let (_, usage) = tbs.get_extension::<ExtendedKeyUsage>().expect("parses").expect("present");
        assert_eq!(usage.0, [CLIENT_AUTH]);
        let (_, constraints) = tbs.get_extension::<BasicConstraints>().expect("parses").expect("present");
        assert!(!constraints.ca);
        let carried = tbs.subject_public_key_info().to_der().expect("encodes");
        assert_eq!(carried, spki);
        assert_eq!(issued.serial.len(), 32);
        assert_eq!(issued.chain.matches("BEGIN CERTIFICATE").count(), 2);
    }

    #[test]
    fn a_server_leaf_carries_names_and_addresses() {
        let key = SigningKey::generate();
        let ca = authority(&key);
        let names = ["gateway.example".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let spki = spki_der(&point(&SigningKey::generate())).expect("a point");
        let issued = ca.issue(&Subject::Server(&names), &spki, [9; 16], NOW, signer(&key)).expect("issues");
        let leaf = first(&issued.chain);
        let (_, san) = leaf.tbs_certificate().get_extension::<SubjectAltName>().expect("parses").expect("present");
        assert!(matches!(san.0[0], GeneralName::DnsName(_)));
        assert!(matches!(&san.0[1], GeneralName::IpAddress(a) if a.as_bytes() == [127, 0, 0, 1]));
        assert!(matches!(&san.0[2], GeneralName::IpAddress(a) if a.as_bytes().len() == 16));
    }
}
