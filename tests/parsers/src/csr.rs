//! Certificate requests (PEM, or DER to be wrapped), operators' keys, and the certificates of peers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tgp::http::peer::Peer;
use tgp_authority::{CertificateRequest, OperatorKey};
use tgp_request::name::TrustDomain;
use x509_cert::der::{Decode as _, Encode as _};

pub fn check(data: &[u8]) -> bool {
    let pem = match std::str::from_utf8(data) {
        Ok(text) if text.trim_start().starts_with("-----BEGIN") => text.to_owned(),
        _ => wrapped(data),
    };
    let request = request(&pem);
    let key = OperatorKey::from_spki_der(data);
    if let Ok(key) = &key {
        assert_eq!(key.to_spki_der(), data, "a key has one encoding");
        assert_eq!(OperatorKey::from_pem(&key.to_pem()).as_ref(), Ok(key));
    }
    request || key.is_ok() || peer(data)
}

fn wrapped(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n", lines.join("\n"))
}

/// Whoever sent an accepted request holds its key, which has its one encoding.
fn request(pem: &str) -> bool {
    let Ok(request) = CertificateRequest::parse(pem) else { return false };
    let der = request.key().to_spki_der();
    assert_eq!(OperatorKey::from_spki_der(&der).as_ref(), Ok(request.key()));
    let read = <x509_cert::request::CertReq as x509_cert::der::DecodePem>::from_pem(pem.trim()).expect("PKCS#10");
    assert_eq!(read.info.public_key.to_der().expect("it was read"), der, "the key is the one in the request");
    true
}

/// A certificate that a peer presented names one of ours or nobody.
fn peer(der: &[u8]) -> bool {
    let domain: TrustDomain = "tgp.example".parse().expect("a trust domain");
    let chain = [der.into()];
    let Peer::Certified(certificate) = Peer::of(Some(&chain), &domain) else { return false };
    assert_eq!(certificate.id.trust_domain, domain);
    let text = certificate.id.to_string();
    assert!(der.windows(text.len()).any(|window| window == text.as_bytes()), "{text} stands in the certificate");
    let whole = x509_cert::Certificate::from_der(der).expect("it was read");
    let spki = whole.tbs_certificate().subject_public_key_info().to_der().expect("it was read");
    assert_eq!(certificate.spki, spki);
    true
}
