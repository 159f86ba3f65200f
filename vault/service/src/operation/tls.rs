//! `tls_sign`: the server's handshake signatures, and no others.
//!
//! The key cannot sign anything that is not one of the two structures below, whoever asks. Whoever
//! holds the gateway can still answer handshakes while he is there.

use sha2::{Digest, Sha256};
use tgp_token::KeyOps;
use tgp_vault_client::wire::{RefusalCode, TlsSign};

use crate::certificate::der_signature;
use crate::failure::Failure;
use crate::vault::Worker;

const ECDSA_SECP256R1_SHA256: u16 = 0x0403;
/// RFC 8446 §4.4.3.
const TLS13_CONTEXT: &[u8] = b"TLS 1.3, server CertificateVerify\0";
const TLS13_PADDING: usize = 64;

pub(super) fn tls_sign(worker: &mut Worker<'_>, call: TlsSign, _now: i64) -> Result<Vec<u8>, Failure> {
    let TlsSign { scheme, message } = call;
    let refused = |what: &str| Failure::refused(RefusalCode::NotAHandshake, what);
    if scheme != ECDSA_SECP256R1_SHA256 {
        return Err(refused("the server's key signs ecdsa_secp256r1_sha256 only"));
    }
    if !is_handshake(&message) {
        return Err(refused("this is not what a TLS server signs"));
    }
    let key = &worker.vault.keys.server_tls;
    let raw = worker.session.sign_p256(key, &Sha256::digest(&message).into())?;
    der_signature(&raw).map_err(Failure::Unavailable)
}

/// One of the two structures that a TLS server signs.
pub(crate) fn is_handshake(message: &[u8]) -> bool {
    is_certificate_verify(message) || is_server_key_exchange(message)
}

/// TLS 1.3: 64 spaces, the server's context string, a transcript hash of SHA-256 or SHA-384.
fn is_certificate_verify(message: &[u8]) -> bool {
    message.split_at_checked(TLS13_PADDING).is_some_and(|(padding, rest)| {
        let hash = rest.strip_prefix(TLS13_CONTEXT);
        padding.iter().all(|octet| *octet == b' ') && hash.is_some_and(|hash| matches!(hash.len(), 32 | 48))
    })
}

/// TLS 1.2, RFC 8422 §5.4: both randoms, then a named curve and a point of that curve's length.
fn is_server_key_exchange(message: &[u8]) -> bool {
    let Some((_randoms, parameters)) = message.split_at_checked(64) else {
        return false;
    };
    let [3, high, low, length, point @ ..] = parameters else {
        return false;
    };
    let expected = match u16::from_be_bytes([*high, *low]) {
        0x001d => 32, // x25519
        0x0017 => 65, // secp256r1
        0x0018 => 97, // secp384r1
        _ => return false,
    };
    usize::from(*length) == expected && point.len() == expected
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verify(hash: usize) -> Vec<u8> {
        [&[b' '; 64][..], TLS13_CONTEXT, &vec![7; hash]].concat()
    }

    fn exchange(curve: [u8; 2], length: u8, point: usize) -> Vec<u8> {
        [&[9; 64][..], &[3], &curve, &[length], &vec![4; point]].concat()
    }

    #[test]
    fn handshake_structures_are_known() {
        assert!(is_certificate_verify(&verify(32)));
        assert!(is_certificate_verify(&verify(48)));
        assert!(is_server_key_exchange(&exchange([0, 0x1d], 32, 32)));
        assert!(is_server_key_exchange(&exchange([0, 0x17], 65, 65)));
    }

    #[test]
    fn whatever_is_not_a_handshake_structure_is_told_apart() {
        let client = String::from_utf8(verify(32)).expect("ASCII").replace("server", "client");
        let others = [
            Vec::new(),
            vec![b' '; 200],
            verify(31),
            verify(20),
            verify(64),
            verify(0),
            client.into_bytes(),
            exchange([0, 0x1d], 32, 33),
            exchange([0, 0x1d], 33, 33),
            exchange([1, 0], 32, 32),
            b"tgp op v1\0{}".to_vec(),
            b"eyJ0eXAiOiJhdCtqd3QifQ.eyJpc3MiOiJ4In0".to_vec(),
        ];
        for message in others {
            assert!(!is_certificate_verify(&message) && !is_server_key_exchange(&message), "{message:?}");
        }
    }
}
