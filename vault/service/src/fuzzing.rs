//! For `tests/parsers` alone: the parsers of this crate, on octets and with keys that the test brings.
//!
//! Nothing here reaches a running vault or a token.

use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use uuid::Uuid;

use crate::certificate::{Authority, Subject, spki_der};
use crate::envelope::{self, Fresh, Place};
use crate::record::{self, AgentRecord, CredentialRecord, GrantRecord, Label, Record};
use crate::state;

const ID: Uuid = Uuid::from_u128(77);

fn fixed() -> Fresh {
    Fresh { salt: [1; 32], nonce: [2; 12] }
}

/// Opens a record of kind 1 (agent), 2 (grant) or 3 (credential); answers its encoding.
pub fn open_record(kind: u8, dek: &[u8; 32], octets: &[u8]) -> Option<Vec<u8>> {
    match kind {
        1 => open::<AgentRecord>(dek, octets),
        2 => open::<GrantRecord>(dek, octets),
        3 => open::<CredentialRecord>(dek, octets),
        _ => None,
    }
}

fn open<R: Record>(dek: &[u8; 32], octets: &[u8]) -> Option<Vec<u8>> {
    let label = Label::parse(R::KIND, octets).ok()?;
    let record: R = label.open(dek).ok()?;
    postcard::to_stdvec(&record).ok()
}

/// Seals octets that are a record's plaintext; answers the record and its encoding.
pub fn seal_record(kind: u8, dek: &[u8; 32], plaintext: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    match kind {
        1 => seal::<AgentRecord>(dek, plaintext),
        2 => seal::<GrantRecord>(dek, plaintext),
        3 => seal::<CredentialRecord>(dek, plaintext),
        _ => None,
    }
}

fn seal<R: Record>(dek: &[u8; 32], plaintext: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let record: R = postcard::from_bytes(plaintext).ok()?;
    let encoded = postcard::to_stdvec(&record).ok()?;
    Some((record::seal(dek, ID, fixed(), &record), encoded))
}

fn place<'a>([table, column, key]: [&'a str; 3]) -> Place<'a> {
    Place { tenant: Uuid::from_u128(1), table, column, key, version: 1 }
}

/// Seals a value for a table, column and key.
pub fn seal_envelope(dek: &[u8; 32], parts: [&str; 3], plaintext: &[u8]) -> Vec<u8> {
    envelope::seal(dek, ID, place(parts), fixed(), plaintext)
}

/// Opens a value in a table, column and key.
pub fn open_envelope(dek: &[u8; 32], parts: [&str; 3], sealed: &[u8]) -> Option<Vec<u8>> {
    envelope::open(dek, place(parts), sealed).ok().map(|opened| opened.to_vec())
}

/// Reads a state file whose MAC is taken for good; answers the file as it would be written.
pub fn state_file(text: &str) -> Option<String> {
    state::reread(text)
}

/// Whether the server's key would sign it.
pub fn is_handshake(message: &[u8]) -> bool {
    crate::operation::is_handshake(message)
}

/// A client certificate in DER, of a CA with this key, for this key.
///
/// # Panics
/// When the id is not a SPIFFE ID.
pub fn client_certificate(id: &str, key: &SigningKey) -> Vec<u8> {
    let sign = |digest: &[u8; 32]| {
        let signature: p256::ecdsa::Signature = key.sign_prehash(digest).map_err(|e| e.to_string())?;
        Ok::<[u8; 64], String>(signature.to_bytes().into())
    };
    let id: tgp_request::name::SpiffeId = id.parse().expect("a SPIFFE ID");
    let point = key.verifying_key().to_sec1_point(false);
    let ca = Authority::create(&id.trust_domain, point.as_bytes(), [1; 16], 1_800_000_000, sign).expect("a CA");
    let spki = spki_der(point.as_bytes()).expect("a point");
    let issued = ca.issue(&Subject::Client(&id), &spki, [2; 16], 1_800_000_000, sign).expect("a certificate");
    let leaf = x509_cert::Certificate::load_pem_chain(issued.chain.as_bytes()).expect("PEM");
    x509_cert::der::Encode::to_der(&leaf[0]).expect("it was built")
}
