//! The version of the vault's state that the token remembers.

use cryptoki::object::{Attribute as A, AttributeType as T, ObjectClass};
use cryptoki::session::Session;
use tgp_token::{KeyOps, Token, TokenError};

use crate::scene::{alone, objects, raw};

alone! {
    fn the_version_survives_and_is_seen_by_other_sessions(scene) {
        let (token, mut session) = scene.provisioned();
        let mut other = token.session().unwrap();
        for version in [1, 2, 300, u64::from(u32::MAX) + 1] {
            session.write_version(version).unwrap();
            assert_eq!(other.read_version().unwrap(), version);
        }
        drop((session, other, token));
        let token = Token::open(&scene.config()).unwrap();
        assert_eq!(token.session().unwrap().read_version().unwrap(), u64::from(u32::MAX) + 1);
    }

    fn the_version_never_goes_back(scene) {
        let (_token, mut session) = scene.provisioned();
        session.write_version(7).unwrap();
        session.write_version(7).unwrap();
        assert!(matches!(session.write_version(6), Err(TokenError::VersionBack { held: 7, asked: 6 })));
        assert_eq!(session.read_version().unwrap(), 7);
    }

    fn the_version_is_one_private_object_of_eight_octets(scene) {
        let (token, mut session) = scene.provisioned();
        session.write_version(257).unwrap();
        session.write_version(258).unwrap();
        let raw = raw(&token);
        let [object] = objects(&raw, VERSION)[..] else { panic!("one object") };
        assert_eq!(raw.get_attributes(object, &[T::Private]).unwrap(), [A::Private(true)]);
        assert_eq!(raw.get_attributes(object, &[T::Value]).unwrap(), [A::Value(vec![0, 0, 0, 0, 0, 0, 1, 2])]);
    }

    fn of_two_versions_that_a_write_cut_short_left_behind_the_higher_counts(scene) {
        let (token, mut session) = scene.provisioned();
        session.write_version(7).unwrap();
        put(&raw(&token), &8u64.to_be_bytes());
        assert_eq!(session.read_version().unwrap(), 8);
        assert_eq!(session.inventory().unwrap().len(), 12);
        // The same write again, or the next, tidies up.
        session.write_version(8).unwrap();
        assert_eq!(objects(&raw(&token), VERSION).len(), 1);
        put(&raw(&token), &6u64.to_be_bytes());
        assert_eq!(session.read_version().unwrap(), 8);
        session.write_version(9).unwrap();
        assert_eq!(objects(&raw(&token), VERSION).len(), 1);
        assert_eq!(session.read_version().unwrap(), 9);
    }

    fn a_version_object_of_another_form_is_an_error(scene) {
        let (token, mut session) = scene.provisioned();
        put(&raw(&token), &[1]);
        assert!(matches!(session.read_version(), Err(TokenError::Answer { .. })));
        assert!(matches!(session.write_version(1), Err(TokenError::Answer { .. })));
    }
}

const VERSION: &str = "tgp.state-version";

fn put(raw: &Session, value: &[u8]) {
    raw.create_object(&[
        A::Class(ObjectClass::DATA),
        A::Token(true),
        A::Private(true),
        A::Label(VERSION.into()),
        A::Value(value.to_vec()),
    ])
    .unwrap();
}
