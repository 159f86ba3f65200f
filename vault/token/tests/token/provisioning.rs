//! Keys are made once, whole, and by order.

use cryptoki::object::{Attribute as A, ObjectClass};
use tgp_token::{KeyOps, Role, Token, TokenError};

use crate::scene::{alone, objects, raw};

alone! {
    fn provisioning_makes_one_key_per_role_and_says_which(scene) {
        let (token, mut session) = scene.empty();
        let made = token.dangerous_provision().unwrap().keys;
        assert_eq!(made.iter().map(|key| key.role()).collect::<Vec<_>>(), Role::ALL);
        for key in &made {
            assert_eq!(session.find(key.role(), 1).unwrap(), *key);
            assert_eq!(key.version(), 1);
        }
        assert_eq!(session.read_version().unwrap(), 0);
    }

    fn provisioning_twice_refuses_and_changes_nothing(scene) {
        let (token, mut session) = scene.provisioned();
        session.write_version(5).unwrap();
        let before = session.inventory().unwrap();
        assert!(matches!(token.dangerous_provision(), Err(TokenError::LabelTaken { .. })));
        assert_eq!(session.inventory().unwrap(), before);
        assert_eq!(session.read_version().unwrap(), 5);
        drop((session, token));
        let token = Token::open(&scene.config()).unwrap();
        assert!(matches!(token.dangerous_provision(), Err(TokenError::LabelTaken { .. })));
    }

    fn one_label_that_is_taken_keeps_all_from_being_made(scene) {
        let (token, mut session) = scene.empty();
        // The last to be made, and not even a key.
        raw(&token).create_object(&[
            A::Class(ObjectClass::DATA), A::Token(true), A::Label(b"log-signing.1".to_vec()), A::Value(vec![1]),
        ]).unwrap();
        assert!(matches!(token.dangerous_provision(), Err(TokenError::LabelTaken { label }) if label == "log-signing.1"));
        let raw = raw(&token);
        for role in Role::ALL {
            assert_eq!(objects(&raw, &role.label(1)).len(), usize::from(role == Role::LogSigning), "{role}");
        }
        assert!(matches!(session.find(Role::Kek, 1), Err(TokenError::Vanished)));
    }

    fn a_new_token_is_no_token_with_an_empty_inventory(scene) {
        let (_token, mut session) = scene.empty();
        assert!(matches!(session.inventory(), Err(TokenError::Vanished)));
        assert!(matches!(session.find(Role::StateMac, 1), Err(TokenError::Vanished)));
        assert!(matches!(session.read_version(), Err(TokenError::Vanished)));
        assert!(matches!(session.write_version(1), Err(TokenError::Vanished)));
    }

    fn a_second_key_under_a_label_is_ambiguous_not_a_choice(scene) {
        let (token, mut session) = scene.provisioned();
        let raw = raw(&token);
        raw.create_object(&[
            A::Class(ObjectClass::SECRET_KEY), A::KeyType(cryptoki::object::KeyType::AES), A::Token(true),
            A::Label(b"kek.1".to_vec()), A::Value(vec![6; 32]), A::Encrypt(true), A::Decrypt(true),
        ]).unwrap();
        assert!(matches!(session.find(Role::Kek, 1), Err(TokenError::Ambiguous { count: 2, .. })));
    }

    fn a_key_put_under_the_label_of_another_is_not_used_for_it(scene) {
        let (token, mut session) = scene.provisioned();
        let kek = session.find(Role::Kek, 1).unwrap();
        session.seal(&kek, b"", b"x").unwrap();
        let raw = raw(&token);
        for object in objects(&raw, "kek.1") {
            raw.destroy_object(object).unwrap();
        }
        raw.create_object(&[
            A::Class(ObjectClass::SECRET_KEY), A::KeyType(cryptoki::object::KeyType::AES), A::Token(true),
            A::Label(b"kek.1".to_vec()), A::Id(vec![1; 16]), A::Value(vec![6; 32]), A::Encrypt(true), A::Decrypt(true),
        ]).unwrap();
        // The handle that the session has is gone with the object, and the error costs the session; the next
        // one searches anew, and the reference knows its CKA_ID.
        assert!(matches!(session.seal(&kek, b"", b"x"), Err(TokenError::Call { .. })));
        assert!(matches!(session.seal(&kek, b"", b"x"), Err(TokenError::NotFound { .. })));
    }
}
