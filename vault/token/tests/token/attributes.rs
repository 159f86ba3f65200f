//! The keys are what the table says, as the token itself has it, and stay so.

use std::collections::BTreeSet;

use cryptoki::mechanism::Mechanism as M;
use cryptoki::mechanism::elliptic_curve::{EcKdf, Ecdh1DeriveParams};
use cryptoki::object::{Attribute as A, AttributeInfo, AttributeType as T, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use tgp_token::{KeyOps, KeyReport, Role, TokenError};

use crate::scene::{alone, objects, raw};

const YES: Option<bool> = Some(true);
const NO: Option<bool> = Some(false);

/// Written out a second time, not taken from the code under test.
const PROTECTED: [(&str, Option<bool>); 9] = [
    ("CKA_TOKEN", YES),
    ("CKA_PRIVATE", YES),
    ("CKA_SENSITIVE", YES),
    ("CKA_ALWAYS_SENSITIVE", YES),
    ("CKA_EXTRACTABLE", NO),
    ("CKA_NEVER_EXTRACTABLE", YES),
    ("CKA_LOCAL", YES),
    ("CKA_MODIFIABLE", NO),
    ("CKA_COPYABLE", NO),
];
const USES: [&str; 9] = [
    "CKA_SIGN",
    "CKA_SIGN_RECOVER",
    "CKA_VERIFY",
    "CKA_VERIFY_RECOVER",
    "CKA_ENCRYPT",
    "CKA_DECRYPT",
    "CKA_WRAP",
    "CKA_UNWRAP",
    "CKA_DERIVE",
];

fn pair(role: Role) -> bool {
    matches!(role, Role::TokenSigning | Role::AgentCa | Role::ServerTls | Role::LogSigning)
}

fn uses(report: &KeyReport) -> Vec<&'static str> {
    USES.into_iter().filter(|name| report.flag(name) == YES).collect()
}

alone! {
    fn the_token_passes_its_self_test_and_nothing_of_it_stays(scene) {
        let (token, mut session) = scene.provisioned();
        let before = raw(&token).find_objects(&[]).unwrap().len();
        session.self_test().unwrap();
        assert_eq!(raw(&token).find_objects(&[]).unwrap().len(), before);
    }

    fn every_key_has_exactly_the_attributes_of_the_table(scene) {
        let (_token, mut session) = scene.provisioned();
        let reports = session.inventory().unwrap();
        let found: BTreeSet<_> = reports.iter().map(|r| format!("{} {} {}", r.label, r.class, r.kind)).collect();
        let expected: BTreeSet<_> = [
            "agent-ca.1 private-key EC P-256",
            "agent-ca.1 public-key EC P-256",
            "blind-index.1 secret-key generic secret 32 B",
            "kek.1 secret-key AES-256",
            "log-signing.1 private-key Ed25519",
            "log-signing.1 public-key Ed25519",
            "master-root.1 secret-key generic secret 32 B",
            "server-tls.1 private-key EC P-256",
            "server-tls.1 public-key EC P-256",
            "state-mac.1 secret-key generic secret 32 B",
            "token-signing.1 private-key EC P-256",
            "token-signing.1 public-key EC P-256",
        ].map(String::from).into();
        assert_eq!(found, expected);
        for report in &reports {
            let name = format!("{} {}", report.label, report.class);
            let used = uses(report);
            match report.class.as_str() {
                "public-key" => {
                    assert_eq!(used, ["CKA_VERIFY"], "{name}");
                    assert_eq!((report.flag("CKA_PRIVATE"), report.flag("CKA_MODIFIABLE")), (NO, NO), "{name}");
                    assert_eq!((report.flag("CKA_TOKEN"), report.flag("CKA_COPYABLE")), (YES, NO), "{name}");
                    continue;
                }
                "private-key" => assert_eq!(used, ["CKA_SIGN"], "{name}"),
                _ if report.label == "kek.1" => assert_eq!(used, ["CKA_ENCRYPT", "CKA_DECRYPT"], "{name}"),
                _ => assert_eq!(used, ["CKA_SIGN"], "{name}"),
            }
            for (attribute, expected) in PROTECTED {
                assert_eq!(report.flag(attribute), expected, "{name} {attribute}");
            }
        }
        for role in Role::ALL {
            let key = session.find(role, 1).unwrap();
            session.check_attributes(&key).unwrap();
        }
    }

    fn ids_are_random_and_the_halves_of_a_pair_share_theirs(scene) {
        let (_token, mut session) = scene.provisioned();
        let reports = session.inventory().unwrap();
        let ids: BTreeSet<_> = reports.iter().map(|report| &report.id).collect();
        assert_eq!(ids.len(), Role::ALL.len());
        assert!(ids.iter().all(|id| id.len() == 32 && **id != "0".repeat(32)));
        for role in Role::ALL {
            let halves: Vec<_> = reports.iter().filter(|r| r.label == role.label(1)).collect();
            assert_eq!(halves.len(), if pair(role) { 2 } else { 1 });
            let prints: BTreeSet<_> = halves.iter().map(|r| (&r.id, &r.fingerprint)).collect();
            assert_eq!(prints.len(), 1, "{role}");
            assert_eq!(halves[0].fingerprint.len(), if pair(role) { 64 } else { 16 }, "{role}");
        }
    }

    fn an_absent_attribute_is_not_reported_as_false(scene) {
        let (_token, mut session) = scene.provisioned();
        for report in session.inventory().unwrap() {
            let value = |name| report.attributes.iter().find(|(of, _)| of == name).unwrap().1.clone();
            // SoftHSM 2.6.1 has none; a key may be false, a missing attribute is neither.
            assert_eq!(value("CKA_UNIQUE_ID"), None, "{}", report.label);
            assert_eq!(report.flag("CKA_UNIQUE_ID"), None);
            match report.class.as_str() {
                "public-key" => assert_eq!(value("CKA_SENSITIVE"), None, "{}", report.label),
                "secret-key" => assert_eq!(value("CKA_SIGN_RECOVER"), None, "{}", report.label),
                _ => assert_eq!(value("CKA_ENCRYPT"), None, "{}", report.label),
            }
            assert_eq!(value("CKA_DERIVE").as_deref(), Some("false"), "{}", report.label);
        }
    }

    fn no_key_can_be_read_or_wrapped_out(scene) {
        let (token, _session) = scene.provisioned();
        let raw = raw(&token);
        let wrapping = raw.generate_key(&M::AesKeyGen, &[
            A::Token(false), A::Private(true), A::ValueLen(32.into()), A::Wrap(true), A::Encrypt(true),
        ]).unwrap();
        for role in Role::ALL {
            for object in secret_objects(&raw, role) {
                for of in [T::Value, T::PrivateExponent] {
                    let info = raw.get_attribute_info(object, &[of]).unwrap();
                    assert!(!matches!(info[..], [AttributeInfo::Available(_)]), "{role} {of:?}");
                    assert!(raw.get_attributes(object, &[of]).unwrap().is_empty(), "{role} {of:?}");
                }
                for mechanism in [M::AesKeyWrap, M::AesKeyWrapPad] {
                    let refused = raw.wrap_key(&mechanism, wrapping, object).unwrap_err();
                    assert!(refused.to_string().contains("marked as unextractable")
                        || format!("{refused:?}").contains("KeyUnextractable"), "{role}: {refused:?}");
                }
            }
        }
    }

    fn the_kek_wraps_no_key_object(scene) {
        let (token, _session) = scene.provisioned();
        let raw = raw(&token);
        let session_key = raw.generate_key(&M::AesKeyGen, &[
            A::Token(false), A::ValueLen(32.into()), A::Extractable(true), A::Sensitive(false),
        ]).unwrap();
        let kek = objects(&raw, "kek.1")[0];
        refused(raw.wrap_key(&M::AesKeyWrap, kek, session_key), "KeyFunctionNotPermitted");
        let unwrapped = raw.unwrap_key(&M::AesKeyWrap, kek, &[0; 40], &[
            A::Class(ObjectClass::SECRET_KEY), A::KeyType(KeyType::AES), A::Token(false),
        ]);
        refused(unwrapped, "KeyFunctionNotPermitted");
    }

    fn no_key_can_be_modified_or_copied(scene) {
        let (token, _session) = scene.provisioned();
        let raw = raw(&token);
        for role in Role::ALL {
            for object in objects(&raw, &role.label(1)) {
                for change in [
                    A::Extractable(true), A::Sensitive(false), A::Decrypt(true), A::Wrap(true), A::Derive(true),
                    A::Modifiable(true), A::Copyable(true), A::Label("another".into()), A::Id(vec![1]),
                ] {
                    assert!(raw.update_attributes(object, std::slice::from_ref(&change)).is_err(), "{role} {change:?}");
                }
                assert!(raw.copy_object(object, &[A::Modifiable(true)]).is_err(), "{role}");
                assert!(raw.copy_object(object, &[]).is_err(), "{role}");
            }
        }
        let mut session = token.session().unwrap();
        for role in Role::ALL {
            let key = session.find(role, 1).unwrap();
            session.check_attributes(&key).unwrap();
        }
    }

    fn no_key_does_another_kind_of_work(scene) {
        let (token, _session) = scene.provisioned();
        let raw = raw(&token);
        for role in Role::ALL {
            let object = secret_objects(&raw, role)[0];
            let iv = [7; 16];
            let mut works = Vec::new();
            let mut work = |name, done: bool| if done { works.push(name) };
            // A session that an error left behind serves no second call.
            let fresh = || crate::scene::raw(&token);
            work("ecdsa", fresh().sign(&M::Ecdsa, object, &[1; 32]).is_ok());
            work("hmac", fresh().sign(&M::Sha256Hmac, object, b"x").is_ok());
            work("verify", fresh().verify_init(&M::Sha256Hmac, object).is_ok());
            work("ecdsa verify", fresh().verify_init(&M::Ecdsa, object).is_ok());
            work("cmac", fresh().sign(&M::AesCMac, object, b"x").is_ok());
            work("encrypt", fresh().encrypt(&M::AesCbc(iv), object, &[0; 16]).is_ok());
            work("decrypt", fresh().decrypt(&M::AesCbc(iv), object, &[0; 16]).is_ok());
            work("derive", derives(&fresh(), object));
            let expected: &[_] = match role {
                Role::TokenSigning | Role::AgentCa | Role::ServerTls => &["ecdsa"],
                Role::Kek => &["encrypt", "decrypt"],
                Role::MasterRoot | Role::StateMac | Role::BlindIndex => &["hmac"],
                Role::LogSigning => &[],
            };
            assert_eq!(works, expected, "{role}");
        }
    }

    fn a_key_that_was_made_otherwise_is_refused_by_its_first_wrong_attribute(scene) {
        let (token, mut session) = scene.provisioned();
        let raw = raw(&token);
        let good = |version: u32| vec![
            A::Class(ObjectClass::SECRET_KEY), A::KeyType(KeyType::GENERIC_SECRET), A::Token(true), A::Private(true),
            A::Sensitive(true), A::Extractable(false), A::Modifiable(false), A::Copyable(false), A::Encrypt(false),
            A::Decrypt(false), A::Sign(true), A::Verify(false), A::Wrap(false), A::Unwrap(false), A::Derive(false),
            A::Label(Role::StateMac.label(version).into_bytes()), A::Id(vec![9; 16]),
        ];
        let made_with = |version, wrong: A| {
            let mut template = good(version);
            template.retain(|a| a.attribute_type() != wrong.attribute_type());
            template.extend([wrong, A::ValueLen(32.into())]);
            raw.generate_key(&M::GenericSecretKeyGen, &template).unwrap();
        };
        made_with(2, A::Extractable(true));
        made_with(3, A::Modifiable(true));
        made_with(4, A::Sensitive(false));
        made_with(5, A::Verify(true));
        made_with(6, A::Derive(true));
        made_with(7, A::Copyable(true));
        raw.create_object(&[good(8), vec![A::Value(vec![5; 32])]].concat()).unwrap();
        let mut wrong = |version| {
            let key = session.find(Role::StateMac, version).unwrap();
            match session.check_attributes(&key).unwrap_err() {
                TokenError::Attribute { label, attribute, .. } if label == key.label() => attribute,
                other => panic!("{other}"),
            }
        };
        let found: Vec<_> = (2..=8).map(&mut wrong).collect();
        assert_eq!(found, [
            "CKA_EXTRACTABLE", "CKA_MODIFIABLE", "CKA_SENSITIVE", "CKA_VERIFY", "CKA_DERIVE", "CKA_COPYABLE",
            // Imported, with every flag right: only its origin tells.
            "CKA_LOCAL",
        ]);
    }
}

/// A role's private or secret key.
fn secret_objects(raw: &Session, role: Role) -> Vec<ObjectHandle> {
    let class = if pair(role) { ObjectClass::PRIVATE_KEY } else { ObjectClass::SECRET_KEY };
    let found = raw.find_objects(&[A::Label(role.label(1).into_bytes()), A::Class(class)]).unwrap();
    assert_eq!(found.len(), 1, "{role}");
    found
}

fn derives(raw: &Session, object: ObjectHandle) -> bool {
    let template = [
        A::Class(ObjectClass::SECRET_KEY),
        A::KeyType(KeyType::GENERIC_SECRET),
        A::ValueLen(32.into()),
        A::Token(false),
        A::Extractable(true),
        A::Sensitive(false),
    ];
    // P-256's generator.
    let mut point = vec![0x04, 0x41, 0x04];
    point.extend(hex("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"));
    point.extend(hex("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"));
    let ecdh = M::Ecdh1Derive(Ecdh1DeriveParams::new(EcKdf::null(), &point));
    raw.derive_key(&ecdh, object, &template).is_ok()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn refused<T: std::fmt::Debug>(answer: cryptoki::error::Result<T>, rv: &str) {
    let error = answer.unwrap_err();
    assert!(format!("{error:?}").contains(rv), "{error:?}");
}
