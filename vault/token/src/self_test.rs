//! What the vault relies on a token for, tried at start on session objects, which leave nothing behind.
//!
//! The attributes of our keys are evidence only where the token tells the truth about them: that an
//! imported key does not show as made there, that a sensitive value is not given out, and that what
//! is not modifiable is not modified. A token that refuses imports altogether is as good.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use zeroize::Zeroizing;

use crate::attribute::{self, Half};
use crate::error::TokenError;
use crate::key::Algorithm;
use crate::object::{self, Read};
use crate::ops::mixed_random;
use crate::session::TokenSession;

/// What was seen of one key that was made as hard as ours are.
#[derive(Clone, Copy)]
struct Seen {
    /// CKA_LOCAL; `None` where the token has no such attribute.
    local: Option<bool>,
    value_readable: bool,
    modified: bool,
}

impl TokenSession {
    /// Makes a key, and imports one, as session objects; tries on both what must not succeed.
    ///
    /// # Errors
    /// [`TokenError::SelfTest`] names the first thing that the token does otherwise.
    pub fn self_test(&mut self) -> Result<(), TokenError> {
        self.with(|open, _| {
            let session = &open.session;
            let generated = with_object(session, generate(session)?)?;
            // Refused is as good as marked.
            let imported = import(session)?.map(|object| with_object(session, object)).transpose()?;
            judge(generated, imported).map_err(|what| TokenError::SelfTest { what })
        })
    }
}

fn judge(generated: Seen, imported: Option<Seen>) -> Result<(), &'static str> {
    if generated.local != Some(true) {
        return Err("a key that the token made does not show CKA_LOCAL");
    }
    if imported.is_some_and(|imported| imported.local == Some(true)) {
        return Err("an imported key shows CKA_LOCAL: nothing tells it from one that the token made");
    }
    for seen in [Some(generated), imported].into_iter().flatten() {
        if seen.value_readable {
            return Err("the value of a sensitive key can be read");
        }
        if seen.modified {
            return Err("a key that is not modifiable was modified");
        }
    }
    Ok(())
}

/// Looks at an object and destroys it.
fn with_object(session: &Session, object: ObjectHandle) -> Result<Seen, TokenError> {
    let seen = look(session, object);
    // A session object ends with its session in any case.
    let _ = session.destroy_object(object);
    seen
}

fn look(session: &Session, object: ObjectHandle) -> Result<Seen, TokenError> {
    let local = match object::read(session, object, AttributeType::Local)? {
        Read::Value(Attribute::Local(local)) => Some(local),
        _ => None,
    };
    let value_readable = matches!(object::read(session, object, AttributeType::Value)?, Read::Value(_));
    // What an attacker would want switched on. The answer is not believed either way.
    let accepted = session.update_attributes(object, &[Attribute::Wrap(true)]).is_ok();
    let now = object::read(session, object, AttributeType::Wrap)?;
    let modified = accepted || !matches!(now, Read::Value(Attribute::Wrap(false)) | Read::Absent);
    Ok(Seen { local, value_readable, modified })
}

fn generate(session: &Session) -> Result<ObjectHandle, TokenError> {
    let mut template = hardened();
    template.extend([Attribute::KeyType(KeyType::GENERIC_SECRET), Attribute::ValueLen(32.into())]);
    Ok(session.generate_key(&Mechanism::GenericSecretKeyGen, &template)?)
}

/// `None` where the token does not import.
fn import(session: &Session) -> Result<Option<ObjectHandle>, TokenError> {
    let mut value = Zeroizing::new([0; 32]);
    mixed_random(session, &mut *value)?;
    let mut template = hardened();
    template.extend([
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Value(value.to_vec()),
    ]);
    match session.create_object(&template) {
        Ok(object) => Ok(Some(object)),
        Err(cryptoki::error::Error::Pkcs11(..)) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

/// The flags of a MAC key of ours, but that it goes with its session.
fn hardened() -> Vec<Attribute> {
    let flags = attribute::flags(Algorithm::HmacSha256, Half::Secret).into_iter();
    let session_object = |(of, value)| (of, value && of != AttributeType::Token);
    flags.map(session_object).map(attribute::attribute).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_less_hard_is_seen_to_be() {
        crate::softhsm::own_process("self_test::tests::a_key_that_is_less_hard_is_seen_to_be", |dir| {
            let start_lock = dir.join("start.lock");
            let module = crate::softhsm::module().expect("softhsm2 is installed");
            let (label, pin) = ("tgp-test", "1234-5678");
            let new = crate::softhsm::NewToken {
                module: module.clone(),
                label: label.into(),
                so_pin: "8765-4321".into(),
                pin: pin.into(),
                start_lock: start_lock.clone(),
            };
            crate::softhsm::dangerous_init_token(&new).expect("a token");
            let config = crate::TokenConfig { module, label: label.into(), pin: pin.into(), start_lock };
            let token = crate::Token::open(&config).expect("opens");
            let put = |template: &mut Vec<Attribute>, value: Attribute| {
                template.retain(|attribute| attribute.attribute_type() != value.attribute_type());
                template.push(value);
            };
            let seen = |soften: &dyn Fn(&mut Vec<Attribute>)| {
                let looked = token.session().expect("a session").with(|open, _| {
                    let mut template = hardened();
                    template.extend([Attribute::KeyType(KeyType::GENERIC_SECRET), Attribute::ValueLen(32.into())]);
                    soften(&mut template);
                    let key = open.session.generate_key(&Mechanism::GenericSecretKeyGen, &template)?;
                    with_object(&open.session, key)
                });
                looked.expect("looked at")
            };
            assert_eq!(judge(seen(&|_| {}), None), Ok(()));
            let modifiable = seen(&|template| put(template, Attribute::Modifiable(true)));
            assert!(modifiable.modified && !modifiable.value_readable);
            let readable = seen(&|template| {
                put(template, Attribute::Sensitive(false));
                put(template, Attribute::Extractable(true));
            });
            assert!(readable.value_readable && !readable.modified);
        });
    }

    const GENERATED: Seen = Seen { local: Some(true), value_readable: false, modified: false };
    const IMPORTED: Seen = Seen { local: Some(false), ..GENERATED };

    #[test]
    fn a_token_that_keeps_its_promises_passes_whether_it_imports_or_not() {
        assert_eq!(judge(GENERATED, Some(IMPORTED)), Ok(()));
        assert_eq!(judge(GENERATED, Some(Seen { local: None, ..IMPORTED })), Ok(()));
        assert_eq!(judge(GENERATED, None), Ok(()));
    }

    #[test]
    fn a_token_that_breaks_one_promise_is_told_which() {
        let cases = [
            (Seen { local: Some(false), ..GENERATED }, None, "made does not show"),
            (Seen { local: None, ..GENERATED }, None, "made does not show"),
            (GENERATED, Some(Seen { local: Some(true), ..IMPORTED }), "imported key shows"),
            (Seen { value_readable: true, ..GENERATED }, None, "can be read"),
            (GENERATED, Some(Seen { value_readable: true, ..IMPORTED }), "can be read"),
            (Seen { modified: true, ..GENERATED }, Some(IMPORTED), "was modified"),
            (GENERATED, Some(Seen { modified: true, ..IMPORTED }), "was modified"),
        ];
        for (generated, imported, expected) in cases {
            let why = judge(generated, imported).expect_err(expected);
            assert!(why.contains(expected), "{why}");
        }
    }
}
