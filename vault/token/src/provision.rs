//! Making the keys: once per deployment, by a person's order, never because a search found nothing.

use cryptoki::context::Pkcs11;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::slot::Slot;

use crate::attribute::{self, Half};
use crate::error::TokenError;
use crate::inventory::{ED25519_OID, P256_OID};
use crate::key::{Algorithm, KeyRef, Role};
use crate::object::{self, Read, VERSION_LABEL};
use crate::ops::mixed_random;
use crate::session::Open;
use crate::token::{Connection, Token};

const ID_LENGTH: usize = 16;

/// What provisioning made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Provisioned {
    /// One key per role, version 1, in the order of [`Role::ALL`].
    pub keys: Vec<KeyRef>,
}

impl Token {
    /// Makes the version object and every key of [`Role::ALL`], version 1, and reads each key's
    /// attributes back from the token. What was made is destroyed again when anything fails.
    ///
    /// # Errors
    /// [`TokenError::LabelTaken`] when any of the labels is there already: nothing was made.
    pub fn dangerous_provision(&self) -> Result<Provisioned, TokenError> {
        let mut session = self.session()?;
        let keys = session.with(|open, connection| {
            let mut labels = vec![VERSION_LABEL.to_owned()];
            labels.extend(Role::ALL.map(|role| role.label(1)));
            for label in &labels {
                if !open.session.find_objects(&[Attribute::Label(label.as_str().into())])?.is_empty() {
                    return Err(TokenError::LabelTaken { label: label.clone() });
                }
            }
            let mut made = Vec::new();
            make_all(open, connection, &mut made).inspect_err(|_| {
                // Nobody has seen these keys yet. One that cannot be destroyed stays, and the next
                // attempt refuses because of it.
                for object in made {
                    let _ = open.session.destroy_object(object);
                }
            })
        })?;
        Ok(Provisioned { keys })
    }
}

fn make_all(open: &mut Open, connection: &Connection, made: &mut Vec<ObjectHandle>) -> Result<Vec<KeyRef>, TokenError> {
    // First: it tells that the storage is there at all, and is what later searches go by.
    made.push(object::create_version(&open.session)?);
    object::read_version(&open.session)?;
    let mut keys = Vec::with_capacity(Role::ALL.len());
    for role in Role::ALL {
        let algorithm = match role {
            Role::TokenSigning | Role::AgentCa | Role::ServerTls => Algorithm::EcP256,
            Role::Kek => Algorithm::Aes256,
            Role::MasterRoot | Role::StateMac | Role::BlindIndex => Algorithm::HmacSha256,
            Role::LogSigning => log_algorithm(&connection.context, connection.slot)?,
        };
        let key = make(&open.session, role, 1, algorithm, made)?;
        check(open, &key)?;
        keys.push(key);
    }
    Ok(keys)
}

/// Ed25519 where the token has it.
fn log_algorithm(context: &Pkcs11, slot: Slot) -> Result<Algorithm, TokenError> {
    let mechanisms = context.get_mechanism_list(slot)?;
    let has = |of| mechanisms.contains(&of);
    Ok(match has(MechanismType::ECC_EDWARDS_KEY_PAIR_GEN) && has(MechanismType::EDDSA) {
        true => Algorithm::Ed25519,
        false => Algorithm::EcP256,
    })
}

fn make(
    session: &Session,
    role: Role,
    version: u32,
    algorithm: Algorithm,
    made: &mut Vec<ObjectHandle>,
) -> Result<KeyRef, TokenError> {
    let label = role.label(version);
    let mut id = vec![0; ID_LENGTH];
    mixed_random(session, &mut id)?;
    let template = |half, more: Vec<Attribute>| {
        let mut template: Vec<_> = attribute::flags(algorithm, half).into_iter().map(attribute::attribute).collect();
        template.extend([Attribute::Label(label.as_str().into()), Attribute::Id(id.clone())]);
        template.extend(more);
        template
    };
    let pair = |mechanism, curve: &[u8]| {
        let public = template(Half::Public, vec![Attribute::EcParams(curve.to_vec())]);
        session.generate_key_pair(&mechanism, &public, &template(Half::Secret, Vec::new()))
    };
    let secret = |mechanism, kind| {
        let more = vec![Attribute::KeyType(kind), Attribute::ValueLen(32.into())];
        session.generate_key(&mechanism, &template(Half::Secret, more))
    };
    match algorithm {
        Algorithm::EcP256 => made.extend(<[_; 2]>::from(pair(Mechanism::EccKeyPairGen, &P256_OID)?)),
        Algorithm::Ed25519 => made.extend(<[_; 2]>::from(pair(Mechanism::EccEdwardsKeyPairGen, &ED25519_OID)?)),
        Algorithm::Aes256 => made.push(secret(Mechanism::AesKeyGen, KeyType::AES)?),
        Algorithm::HmacSha256 => made.push(secret(Mechanism::GenericSecretKeyGen, KeyType::GENERIC_SECRET)?),
    }
    Ok(KeyRef { role, version, label, id, algorithm })
}

/// Refuses a key that does not show every attribute that it must.
pub(crate) fn check(open: &mut Open, key: &KeyRef) -> Result<(), TokenError> {
    let objects: &[_] = match key.algorithm.is_pair() {
        true => &[(ObjectClass::PRIVATE_KEY, Half::Secret), (ObjectClass::PUBLIC_KEY, Half::Public)],
        false => &[(ObjectClass::SECRET_KEY, Half::Secret)],
    };
    for (class, half) in objects {
        let object = open.handle(*class, key)?;
        for (of, expected) in attribute::required(key.algorithm, *half) {
            let found = match object::read(&open.session, object, of)? {
                Read::Value(value) if value == attribute_of(of, expected) => continue,
                Read::Value(value) => format!("{value:?}"),
                Read::Absent => "absent".into(),
                Read::Sensitive => "sensitive".into(),
                Read::Unreadable(why) => why,
            };
            return Err(TokenError::Attribute {
                label: key.label.clone(),
                attribute: attribute::name(of),
                expected,
                found,
            });
        }
    }
    Ok(())
}

/// As [`attribute::attribute`], and the three that no template may contain.
fn attribute_of(of: cryptoki::object::AttributeType, value: bool) -> Attribute {
    use cryptoki::object::AttributeType as T;
    match of {
        T::Local => Attribute::Local(value),
        T::AlwaysSensitive => Attribute::AlwaysSensitive(value),
        T::NeverExtractable => Attribute::NeverExtractable(value),
        template => attribute::attribute((template, value)),
    }
}
