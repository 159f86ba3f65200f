//! What the keys compute, and what they refuse.

use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::ecdsa::{Signature, VerifyingKey};
use tgp_token::{Algorithm, CHECK_BLOCK, KeyOps, PublicKey, Role, TokenError};

use crate::scene::alone;

alone! {
    fn a_signature_verifies_under_the_public_half(scene) {
        let (_token, mut session) = scene.provisioned();
        for role in [Role::TokenSigning, Role::AgentCa, Role::ServerTls] {
            let key = session.find(role, 1).unwrap();
            let point = session.public_sec1(&key).unwrap();
            let public = VerifyingKey::from_sec1_bytes(&point).unwrap();
            for digest in [[0; 32], [7; 32], [0xff; 32]] {
                let signature = Signature::from_slice(&session.sign_p256(&key, &digest).unwrap()).unwrap();
                public.verify_prehash(&digest, &signature).unwrap();
                assert!(public.verify_prehash(&[1; 32], &signature).is_err());
            }
        }
    }

    fn a_mac_has_32_octets_whatever_it_is_over(scene) {
        let (_token, mut session) = scene.provisioned();
        let key = session.find(Role::MasterRoot, 1).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for length in [0, 1, 31, 32, 33, 63, 64, 65, 1000, 100_000] {
            let data = vec![b'x'; length];
            let mac = session.hmac(&key, &data).unwrap();
            assert_eq!(mac, session.hmac(&key, &data).unwrap());
            assert!(seen.insert(mac), "{length}");
        }
    }

    fn no_mac_is_given_over_data_that_begin_like_the_key_check(scene) {
        let (_token, mut session) = scene.provisioned();
        let key = session.find(Role::StateMac, 1).unwrap();
        for data in [CHECK_BLOCK.to_vec(), [CHECK_BLOCK.as_slice(), b"state-mac.1"].concat()] {
            assert!(matches!(session.hmac(&key, &data), Err(TokenError::ReservedData { .. })));
        }
        session.hmac(&key, &CHECK_BLOCK[..15]).unwrap();
    }

    fn what_is_sealed_opens_under_its_context_only(scene) {
        let (_token, mut session) = scene.provisioned();
        let kek = session.find(Role::Kek, 1).unwrap();
        for plaintext in [vec![], vec![9; 32], vec![1; 5000]] {
            for aad in [b"".as_slice(), b"tenant|purpose"] {
                let sealed = session.seal(&kek, aad, &plaintext).unwrap();
                assert_eq!(sealed.len(), 12 + plaintext.len() + 16);
                assert_eq!(*session.open(&kek, aad, &sealed).unwrap(), plaintext);
                for other in [b"tenant|other".as_slice(), b"tenant|purpose ", b"x"] {
                    assert!(matches!(session.open(&kek, other, &sealed), Err(TokenError::Sealed { .. })));
                }
            }
        }
    }

    fn a_ciphertext_with_any_octet_changed_or_missing_is_refused_and_the_session_goes_on(scene) {
        let (_token, mut session) = scene.provisioned();
        let kek = session.find(Role::Kek, 1).unwrap();
        let sealed = session.seal(&kek, b"aad", &[9; 32]).unwrap();
        for at in 0..sealed.len() {
            let mut tampered = sealed.clone();
            tampered[at] ^= 0x80;
            assert!(matches!(session.open(&kek, b"aad", &tampered), Err(TokenError::Sealed { .. })), "octet {at}");
            let shortened = &sealed[..at];
            assert!(matches!(session.open(&kek, b"aad", shortened), Err(TokenError::Sealed { .. })), "{at} octets");
        }
        assert_eq!(*session.open(&kek, b"aad", &sealed).unwrap(), [9; 32]);
    }

    fn no_two_sealings_share_an_iv(scene) {
        let (_token, mut session) = scene.provisioned();
        let kek = session.find(Role::Kek, 1).unwrap();
        let mut seal = || session.seal(&kek, b"", b"").unwrap()[..12].to_vec();
        let ivs: std::collections::BTreeSet<_> = (0..500).map(|_| seal()).collect();
        assert_eq!(ivs.len(), 500);
    }

    fn random_octets_differ_each_time_and_fill_what_is_asked(scene) {
        let (_token, mut session) = scene.provisioned();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let mut out = [0; 48];
            session.random(&mut out).unwrap();
            assert!(out.chunks(16).all(|part| part != [0; 16]));
            assert!(seen.insert(out));
        }
        session.random(&mut []).unwrap();
    }

    fn a_key_is_refused_for_the_operation_of_another_kind(scene) {
        let (_token, mut session) = scene.provisioned();
        for role in Role::ALL {
            let key = session.find(role, 1).unwrap();
            let expected = match role {
                Role::TokenSigning | Role::AgentCa | Role::ServerTls => Algorithm::EcP256,
                Role::LogSigning => Algorithm::Ed25519,
                Role::Kek => Algorithm::Aes256,
                _ => Algorithm::HmacSha256,
            };
            assert_eq!(key.algorithm(), expected);
            let wrong = |done: Result<(), TokenError>, of: &[Algorithm]| {
                let wrong = matches!(done, Err(TokenError::WrongKey { .. }));
                assert_eq!(wrong, !of.contains(&expected), "{role}: {done:?}");
            };
            wrong(session.sign_p256(&key, &[1; 32]).map(|_| ()), &[Algorithm::EcP256]);
            wrong(session.sign_ed25519(&key, b"").map(|_| ()), &[Algorithm::Ed25519]);
            wrong(session.hmac(&key, b"").map(|_| ()), &[Algorithm::HmacSha256]);
            wrong(session.seal(&key, b"", b"").map(|_| ()), &[Algorithm::Aes256]);
            wrong(session.open(&key, b"", &[0; 28]).map(|_| ()).or_else(sealed), &[Algorithm::Aes256]);
            wrong(session.public_sec1(&key).map(|_| ()), &[Algorithm::EcP256]);
            wrong(session.check_value(&key).map(|_| ()), &[Algorithm::Aes256, Algorithm::HmacSha256]);
        }
    }

    fn fingerprints_and_check_values_are_each_keys_own_and_stay(scene) {
        let (token, mut session) = scene.provisioned();
        let mut other = token.session().unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for role in Role::ALL {
            let key = session.find(role, 1).unwrap();
            let fingerprint = session.fingerprint(&key).unwrap();
            assert_eq!(fingerprint, other.fingerprint(&key).unwrap(), "{role}");
            assert!(seen.insert(fingerprint), "{role}");
        }
    }

    fn the_known_answer_tells_a_pinned_key_from_another(scene) {
        let (_token, mut session) = scene.provisioned();
        for role in [Role::Kek, Role::StateMac] {
            let key = session.find(role, 1).unwrap();
            let pinned = session.check_value(&key).unwrap();
            session.known_answer(&key, &pinned).unwrap();
            let mut other = pinned;
            other[7] ^= 1;
            assert!(matches!(session.known_answer(&key, &other), Err(TokenError::KeyChanged { label }) if label == key.label()));
        }
    }

    fn a_key_that_is_not_there_is_named_and_never_made(scene) {
        let (_token, mut session) = scene.provisioned();
        let before = session.inventory().unwrap();
        assert!(matches!(session.find(Role::Kek, 2), Err(TokenError::NotFound { label }) if label == "kek.2"));
        assert_eq!(session.inventory().unwrap(), before);
    }

    fn the_spki_of_a_pair_is_what_other_software_makes_of_it(scene) {
        use p256::pkcs8::EncodePublicKey;
        let (_token, mut session) = scene.provisioned();
        let key = session.find(Role::AgentCa, 1).unwrap();
        let public = session.public_key(&key).unwrap();
        let PublicKey::P256(point) = public else { panic!("agent-ca is P-256") };
        let theirs = p256::PublicKey::from_sec1_bytes(&point).unwrap().to_public_key_der().unwrap();
        assert_eq!(public.spki_der(), theirs.as_bytes());
    }
}

/// That nothing opens is not what is asked.
fn sealed(error: TokenError) -> Result<(), TokenError> {
    match error {
        TokenError::Sealed { .. } => Ok(()),
        other => Err(other),
    }
}
