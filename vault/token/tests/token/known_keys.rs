//! Keys whose value the test knows, imported under labels of ours: the token computes what other
//! software does.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use cryptoki::object::{Attribute as A, KeyType, ObjectClass};
use sha2::{Digest, Sha256};
use tgp_token::{CHECK_BLOCK, KeyOps, Role, Token};

use crate::scene::{alone, raw};

fn secret() -> Vec<u8> {
    (0..32).collect()
}

fn import(token: &Token, role: Role, kind: KeyType) {
    raw(token)
        .create_object(&[
            A::Class(ObjectClass::SECRET_KEY),
            A::KeyType(kind),
            A::Token(true),
            A::Private(true),
            A::Label(role.label(7).into_bytes()),
            A::Id(vec![7; 16]),
            A::Value(secret()),
            A::Sign(kind == KeyType::GENERIC_SECRET),
            A::Encrypt(kind == KeyType::AES),
            A::Decrypt(kind == KeyType::AES),
        ])
        .unwrap();
}

/// RFC 2104, for keys shorter than a block.
fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let pad = |with: u8| (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ with).collect::<Vec<_>>();
    let inner = Sha256::digest([pad(0x36), data.to_vec()].concat());
    Sha256::digest([pad(0x5c), inner.to_vec()].concat()).to_vec()
}

alone! {
    fn a_mac_is_hmac_sha_256_and_the_check_value_its_documented_beginning(scene) {
        let (token, mut session) = scene.provisioned();
        import(&token, Role::MasterRoot, KeyType::GENERIC_SECRET);
        let key = session.find(Role::MasterRoot, 7).unwrap();
        assert_eq!(session.hmac(&key, b"some data").unwrap().as_slice(), hmac(&secret(), b"some data"));
        let check = hmac(&secret(), &[CHECK_BLOCK.as_slice(), b"master-root.7"].concat());
        assert_eq!(session.check_value(&key).unwrap(), check[..8]);
    }

    fn what_the_token_seals_is_aes_256_gcm_with_iv_first_and_tag_last(scene) {
        let (token, mut session) = scene.provisioned();
        import(&token, Role::Kek, KeyType::AES);
        let key = session.find(Role::Kek, 7).unwrap();
        let cipher = Aes256Gcm::new_from_slice(&secret()).unwrap();
        let sealed = session.seal(&key, b"aad", b"plaintext").unwrap();
        let payload = Payload { msg: &sealed[12..], aad: b"aad" };
        let iv: [u8; 12] = sealed[..12].try_into().unwrap();
        assert_eq!(cipher.decrypt(&iv.into(), payload).unwrap(), b"plaintext");
        let theirs = cipher.encrypt(&[3; 12].into(), Payload { msg: b"other", aad: b"aad" }).unwrap();
        let opened = session.open(&key, b"aad", &[[3; 12].as_slice(), &theirs].concat()).unwrap();
        assert_eq!(*opened, b"other");
    }

    fn an_aes_keys_check_value_is_aes_of_the_check_block(scene) {
        let (token, mut session) = scene.provisioned();
        import(&token, Role::Kek, KeyType::AES);
        let key = session.find(Role::Kek, 7).unwrap();
        // printf 'tgp key check v1' | openssl enc -aes-256-ecb -nopad -K 000102…1f
        assert_eq!(session.check_value(&key).unwrap(), CHECK_OF_KNOWN_KEY);
    }
}

const CHECK_OF_KNOWN_KEY: [u8; 8] = [0xbd, 0xa0, 0xe6, 0x10, 0x70, 0x9f, 0xb8, 0x73];
