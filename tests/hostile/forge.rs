//! What only somebody who holds the token could make: tokens and certificates with the deployment's own keys, by
//! `pkcs11-tool` on the test's SoftHSM; and a certificate authority of the attacker's own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr as _;
use std::time::{Duration, UNIX_EPOCH};

use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use p256::elliptic_curve::Generate as _;
use p256::pkcs8::{EncodePrivateKey as _, LineEnding};
use sha2::{Digest as _, Sha256};
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder as _, CertificateBuilder};
use x509_cert::der::asn1::{BitString, Ia5String, ObjectIdentifier};
use x509_cert::der::{DecodePem as _, EncodePem as _};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, SubjectAltName};
use x509_cert::ext::{Extension, ToExtension as _};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{
    AlgorithmIdentifierOwned, DynSignatureAlgorithmIdentifier, SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef,
};
use x509_cert::time::{Time, Validity};
use x509_cert::{Certificate as X509, TbsCertificate};

use crate::support::Deployment;
use crate::wire::Certificate;

const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");

pub struct Forge {
    root: PathBuf,
    ca: X509,
    /// Labels of the token's private keys and their ids: the tool signs by id.
    ids: Vec<(String, String)>,
}

/// Who signs a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Issuer {
    /// The deployment's `agent-ca`.
    Ours,
    /// A CA of the same name with a key of its own.
    Foreign,
    /// The certificate's own key.
    Itself,
}

/// A certificate before it is signed: change what you like.
pub struct Draft {
    pub issuer: Issuer,
    pub uris: Vec<String>,
    pub dns: Vec<String>,
    /// Seconds from now.
    pub validity: (i64, i64),
    pub ca: bool,
    pub server: bool,
}

impl Forge {
    pub fn of(deployment: &Deployment) -> Self {
        let pem = std::fs::read_to_string(deployment.path("d/ca.pem")).expect("ca.pem");
        let root = deployment.path("d");
        let objects = tool(&root, &["--list-objects", "--type", "privkey"]);
        let after = |line: &str, name: &str| line.trim().strip_prefix(name).map(|rest| rest.trim().to_owned());
        let labels = objects.lines().filter_map(|line| after(line, "label:"));
        let ids = labels.zip(objects.lines().filter_map(|line| after(line, "ID:"))).collect();
        Self { root, ca: X509::from_pem(pem).expect("the CA's certificate"), ids }
    }

    /// r‖s over the SHA-256 of `message`, by a key of the deployment's token.
    pub fn sign(&self, label: &str, message: &[u8]) -> [u8; 64] {
        let (input, output) = (self.root.join("forge.in"), self.root.join("forge.out"));
        std::fs::write(&input, Sha256::digest(message)).expect("written");
        let id = self.ids.iter().find(|(other, _)| other == label).map(|(_, id)| id.as_str()).expect("a key");
        let args = ["--sign", "--mechanism", "ECDSA", "--id", id];
        tool(&self.root, &[&args[..], &["--input-file", text(&input), "--output-file", text(&output)]].concat());
        std::fs::read(&output).expect("a signature").try_into().expect("64 octets")
    }

    /// Makes the certificate and leaves it with its key in files.
    pub fn certificate(&self, name: &str, draft: &Draft) -> Certificate {
        let key = SigningKey::generate();
        let foreign = SigningKey::generate();
        let signer = match draft.issuer {
            Issuer::Ours => VerifyingKey::from_sec1_bytes(&point(&self.ca)).expect("the CA's key"),
            Issuer::Foreign => *foreign.verifying_key(),
            Issuer::Itself => *key.verifying_key(),
        };
        let sign = |tbs: &[u8]| -> [u8; 64] {
            let by = |key: &SigningKey| -> [u8; 64] {
                let signature: Signature = key.sign_prehash(&Sha256::digest(tbs)).expect("32 octets");
                signature.to_bytes().into()
            };
            match draft.issuer {
                Issuer::Ours => self.sign("agent-ca.1", tbs),
                Issuer::Foreign => by(&foreign),
                Issuer::Itself => by(&key),
            }
        };
        let at = |seconds: i64| {
            let since = u64::try_from(crate::wire::now() + seconds).expect("after 1970");
            Time::try_from(UNIX_EPOCH + Duration::from_secs(since)).expect("a date")
        };
        let issuer = match draft.issuer {
            Issuer::Itself => Name::from_str("CN=myself").expect("a name"),
            _ => self.ca.tbs_certificate().subject().clone(),
        };
        let profile = Profile { issuer, draft };
        let spki = SubjectPublicKeyInfoOwned::from_key(key.verifying_key()).expect("a key");
        let serial = SerialNumber::new(&[0x42; 16]).expect("a serial");
        let validity = Validity::new(at(draft.validity.0), at(draft.validity.1));
        let algorithm = Algorithm(signer);
        let mut builder = CertificateBuilder::new(profile, serial, validity, spki).expect("a builder");
        let tbs = builder.finalize(&algorithm).expect("a certificate");
        let signature = Signature::from_slice(&sign(&tbs)).expect("r and s").to_der();
        let signature = BitString::from_bytes(signature.as_bytes()).expect("octets");
        let leaf = builder.assemble(signature, &algorithm).expect("a certificate");

        let (chain, key_file) = (self.root.join(format!("{name}.crt")), self.root.join(format!("{name}.key")));
        let pem = leaf.to_pem(LineEnding::LF).expect("PEM") + &self.ca.to_pem(LineEnding::LF).expect("PEM");
        std::fs::write(&chain, pem).expect("written");
        std::fs::write(&key_file, key.to_pkcs8_pem(LineEnding::LF).expect("PEM").as_bytes()).expect("written");
        Certificate { chain, key: key_file }
    }
}

/// `pkcs11-tool`, logged in to the deployment's token.
fn tool(root: &Path, args: &[&str]) -> String {
    let module = tgp_vault::softhsm::module().expect("SoftHSM");
    let pin = std::fs::read_to_string(root.join("vault/pin")).expect("the PIN");
    let done = Command::new("pkcs11-tool")
        .args(["--module", text(&module), "--token-label", "tgp", "--login", "--pin", "env:FORGE_PIN"])
        .args(args)
        .env("FORGE_PIN", pin.trim())
        .env("SOFTHSM2_CONF", root.join("softhsm2.conf"))
        .output()
        .expect("pkcs11-tool (package opensc) is installed");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("utf-8")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("utf-8")
}

fn point(certificate: &X509) -> Vec<u8> {
    let spki = certificate.tbs_certificate().subject_public_key_info();
    spki.subject_public_key.as_bytes().expect("whole octets").to_vec()
}

struct Profile<'d> {
    issuer: Name,
    draft: &'d Draft,
}

impl BuilderProfile for Profile<'_> {
    fn get_issuer(&self, _: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        Name::default()
    }

    fn build_extensions(
        &self,
        _: SubjectPublicKeyInfoRef<'_>,
        _: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        let subject = tbs.subject();
        let ia5 = |text: &String| Ia5String::new(text).expect("ASCII");
        let uris = self.draft.uris.iter().map(|uri| GeneralName::UniformResourceIdentifier(ia5(uri)));
        let dns = self.draft.dns.iter().map(|name| GeneralName::DnsName(ia5(name)));
        let names: Vec<GeneralName> = uris.chain(dns).collect();
        let constraints = BasicConstraints { ca: self.draft.ca, path_len_constraint: None };
        let usage = if self.draft.server { SERVER_AUTH } else { CLIENT_AUTH };
        let mut all = vec![(true, &constraints).to_extension(subject, &[])?];
        all.push((&ExtendedKeyUsage(vec![usage])).to_extension(subject, &[])?);
        if !names.is_empty() {
            all.push((true, &SubjectAltName(names)).to_extension(subject, &[])?);
        }
        Ok(all)
    }
}

/// What the builder asks of a signer before there is a signature.
struct Algorithm(VerifyingKey);

impl p256::ecdsa::signature::Keypair for Algorithm {
    type VerifyingKey = VerifyingKey;

    fn verifying_key(&self) -> VerifyingKey {
        self.0
    }
}

impl DynSignatureAlgorithmIdentifier for Algorithm {
    fn signature_algorithm_identifier(&self) -> x509_cert::spki::Result<AlgorithmIdentifierOwned> {
        Ok(AlgorithmIdentifierOwned { oid: ECDSA_WITH_SHA256, parameters: None })
    }
}
