//! Handshakes in memory, between our configuration and a rustls server with certificates made here.

use std::time::Duration;

use p256::ecdsa::{DerSignature, SigningKey};
use p256::elliptic_curve::Generate as _;
use p256::pkcs8::EncodePrivateKey as _;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use rustls::{ClientConnection, ServerConfig, ServerConnection};
use x509_cert::TbsCertificate;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder as _, CertificateBuilder};
use x509_cert::der::Encode as _;
use x509_cert::der::asn1::Ia5String;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};
use x509_cert::ext::{Extension, ToExtension as _};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfo, SubjectPublicKeyInfoRef};
use x509_cert::time::Validity;

use super::*;

const CA_NAME: &str = "CN=test CA";

enum Profile {
    Ca,
    Server(&'static str),
}

impl BuilderProfile for Profile {
    fn get_issuer(&self, _subject: &Name) -> Name {
        CA_NAME.parse().unwrap()
    }

    fn get_subject(&self) -> Name {
        match self {
            Self::Ca => CA_NAME.parse().unwrap(),
            Self::Server(_) => Name::default(),
        }
    }

    fn build_extensions(
        &self,
        _spk: SubjectPublicKeyInfoRef<'_>,
        _issuer: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        let subject = tbs.subject();
        Ok(vec![match self {
            Self::Ca => BasicConstraints { ca: true, path_len_constraint: Some(0) }.to_extension(subject, &[])?,
            Self::Server(name) => {
                let name = GeneralName::DnsName(Ia5String::new(name).unwrap());
                SubjectAltName(vec![name]).to_extension(subject, &[])?
            }
        }])
    }
}

fn certify(profile: Profile, key: &SigningKey, by: &SigningKey, life: Duration) -> CertificateDer<'static> {
    let spki = SubjectPublicKeyInfo::from_key(key.verifying_key()).unwrap();
    let validity = Validity::from_now(life).unwrap();
    let builder = CertificateBuilder::new(profile, SerialNumber::from(7u32), validity, spki).unwrap();
    CertificateDer::from(builder.build::<_, DerSignature>(by).unwrap().to_der().unwrap())
}

struct Ca {
    key: SigningKey,
    certificate: CertificateDer<'static>,
}

impl Ca {
    fn new() -> Self {
        let key = SigningKey::generate();
        let certificate = certify(Profile::Ca, &key, &key, Duration::from_secs(3600));
        Self { key, certificate }
    }

    fn pin(&self) -> Trust {
        Trust::Pinned(Pin(spki_sha256(&self.certificate).unwrap()))
    }

    fn issue(&self, name: &'static str, key: &SigningKey) -> CertificateDer<'static> {
        certify(Profile::Server(name), key, &self.key, Duration::from_secs(60))
    }
}

/// A server that shows one chain and signs with one key, fitting or not.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _hello: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

fn handshake(trust: &Trust, chain: Vec<CertificateDer<'static>>, key: &SigningKey) -> Result<(), Error> {
    let key = PrivatePkcs8KeyDer::from(key.to_pkcs8_der().unwrap().as_bytes().to_vec());
    let key = provider().key_provider.load_private_key(PrivateKeyDer::Pkcs8(key)).unwrap();
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Shows(Arc::new(CertifiedKey::new(chain, key)))));
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let config = Arc::new(client_config(trust, None).unwrap());
    let mut client = ClientConnection::new(config, "gw.example".try_into().unwrap()).unwrap();
    while client.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut sent = wire.as_slice();
        while !sent.is_empty() {
            server.read_tls(&mut sent).unwrap();
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut sent = wire.as_slice();
        while !sent.is_empty() {
            client.read_tls(&mut sent).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok(())
}

#[test]
fn the_pinned_ca_vouches_for_its_server() {
    let (ca, key) = (Ca::new(), SigningKey::generate());
    let chain = vec![ca.issue("gw.example", &key), ca.certificate.clone()];
    handshake(&ca.pin(), chain, &key).unwrap();
}

#[test]
fn a_chain_without_the_pinned_ca_is_refused() {
    let (ca, other, key) = (Ca::new(), Ca::new(), SigningKey::generate());
    let theirs = vec![other.issue("gw.example", &key), other.certificate.clone()];
    assert!(matches!(handshake(&ca.pin(), theirs, &key), Err(Error::InvalidCertificate(_))));
    let leaf_alone = vec![ca.issue("gw.example", &key)];
    assert!(matches!(handshake(&ca.pin(), leaf_alone, &key), Err(Error::InvalidCertificate(_))));
}

#[test]
fn the_pinned_ca_shown_beside_another_cas_leaf_vouches_for_nothing() {
    let (ca, other, key) = (Ca::new(), Ca::new(), SigningKey::generate());
    let chain = vec![other.issue("gw.example", &key), ca.certificate.clone(), other.certificate.clone()];
    assert!(matches!(handshake(&ca.pin(), chain, &key), Err(Error::InvalidCertificate(_))));
}

#[test]
fn the_server_must_have_the_name_that_was_dialled() {
    let (ca, key) = (Ca::new(), SigningKey::generate());
    let chain = vec![ca.issue("elsewhere.example", &key), ca.certificate.clone()];
    assert!(matches!(handshake(&ca.pin(), chain, &key), Err(Error::InvalidCertificate(_))));
}

#[test]
fn an_expired_server_certificate_is_refused() {
    let (ca, key) = (Ca::new(), SigningKey::generate());
    let leaf = certify(Profile::Server("gw.example"), &key, &ca.key, Duration::ZERO);
    std::thread::sleep(Duration::from_secs(2));
    assert!(matches!(
        handshake(&ca.pin(), vec![leaf, ca.certificate.clone()], &key),
        Err(Error::InvalidCertificate(_))
    ));
}

#[test]
fn a_server_that_cannot_sign_for_its_certificate_is_refused() {
    let (ca, key) = (Ca::new(), SigningKey::generate());
    let chain = vec![ca.issue("gw.example", &key), ca.certificate.clone()];
    let stolen_chain = handshake(&ca.pin(), chain, &SigningKey::generate());
    assert!(stolen_chain.is_err(), "{stolen_chain:?}");
}

#[test]
fn an_enrolled_agent_trusts_its_own_ca_and_no_other() {
    let (ca, other, key) = (Ca::new(), Ca::new(), SigningKey::generate());
    let pem = pem(&ca.certificate);
    let trust = Trust::Bundle(pem);
    handshake(&trust, vec![ca.issue("gw.example", &key)], &key).unwrap();
    assert!(handshake(&trust, vec![other.issue("gw.example", &key), other.certificate.clone()], &key).is_err());
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    use x509_cert::der::{Decode as _, EncodePem as _};
    let certificate = x509_cert::Certificate::from_der(certificate).unwrap();
    certificate.to_pem(x509_cert::der::pem::LineEnding::LF).unwrap()
}
