//! Searches, single attributes, and the data object that holds the version of the vault's state.
//!
//! "Nothing found" is two things: the object is not there, or the storage is not. The version object
//! is made first and stays, so a token that does not show it shows nothing.

use cryptoki::object::{Attribute, AttributeInfo, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use crate::error::TokenError;

/// CKA_LABEL of the data object.
pub(crate) const VERSION_LABEL: &str = "tgp.state-version";
const APPLICATION: &str = "tgp";

/// The one token object of this class and label, and of this CKA_ID where that is known.
pub(crate) fn one(
    session: &Session,
    class: ObjectClass,
    label: &str,
    id: Option<&[u8]>,
) -> Result<ObjectHandle, TokenError> {
    let mut template = vec![Attribute::Token(true), Attribute::Class(class), Attribute::Label(label.into())];
    template.extend(id.map(|id| Attribute::Id(id.to_vec())));
    let found = session.find_objects(&template)?;
    match found[..] {
        [handle] => Ok(handle),
        [] => Err(missing(session, label)?),
        _ => Err(TokenError::Ambiguous { label: label.to_owned(), count: found.len() }),
    }
}

/// What it means that a search for this label found nothing.
pub(crate) fn missing(session: &Session, label: &str) -> Result<TokenError, TokenError> {
    let witness = [Attribute::Token(true), Attribute::Class(ObjectClass::DATA), Attribute::Label(VERSION_LABEL.into())];
    Ok(match session.find_objects(&witness)?.is_empty() {
        true => TokenError::Vanished,
        false => TokenError::NotFound { label: label.to_owned() },
    })
}

/// An attribute as the token has it. Absent is not false.
pub(crate) enum Read {
    Value(Attribute),
    /// CKR_ATTRIBUTE_TYPE_INVALID, or CK_UNAVAILABLE_INFORMATION.
    Absent,
    /// CKR_ATTRIBUTE_SENSITIVE.
    Sensitive,
    /// There, and not to be understood.
    Unreadable(String),
}

/// One attribute by itself: a batch leaves absent ones out in silence, or fails whole on one that
/// cannot be parsed.
pub(crate) fn read(session: &Session, object: ObjectHandle, of: AttributeType) -> Result<Read, TokenError> {
    match session.get_attribute_info(object, &[of])?.first() {
        Some(AttributeInfo::Available(_)) => {}
        Some(AttributeInfo::Sensitive) => return Ok(Read::Sensitive),
        _ => return Ok(Read::Absent),
    }
    match session.get_attributes(object, &[of]) {
        Ok(mut values) => Ok(values.pop().map_or(Read::Absent, Read::Value)),
        Err(error @ cryptoki::error::Error::Pkcs11(..)) => Err(error.into()),
        Err(other) => Ok(Read::Unreadable(other.to_string())),
    }
}

/// The octets of an attribute that has to be there.
pub(crate) fn octets(session: &Session, object: ObjectHandle, of: AttributeType) -> Result<Vec<u8>, TokenError> {
    match read(session, object, of)? {
        Read::Value(
            Attribute::Id(value)
            | Attribute::Label(value)
            | Attribute::Value(value)
            | Attribute::EcPoint(value)
            | Attribute::EcParams(value),
        ) => Ok(value),
        _ => Err(TokenError::Answer { function: "C_GetAttributeValue", what: format!("no {of:?}") }),
    }
}

/// Makes the version object, with version 0.
pub(crate) fn create_version(session: &Session) -> Result<ObjectHandle, TokenError> {
    create(session, 0)
}

fn create(session: &Session, version: u64) -> Result<ObjectHandle, TokenError> {
    let template = [
        Attribute::Class(ObjectClass::DATA),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Modifiable(true),
        Attribute::Label(VERSION_LABEL.into()),
        Attribute::Application(APPLICATION.into()),
        Attribute::Value(version.to_be_bytes().to_vec()),
    ];
    Ok(session.create_object(&template)?)
}

/// Version objects and what they hold: one, or two where a write was cut short.
fn versions(session: &Session) -> Result<Vec<(ObjectHandle, u64)>, TokenError> {
    let template =
        [Attribute::Token(true), Attribute::Class(ObjectClass::DATA), Attribute::Label(VERSION_LABEL.into())];
    let found = session.find_objects(&template)?;
    if found.is_empty() {
        return Err(TokenError::Vanished);
    }
    let held = |object| {
        let value = octets(session, object, AttributeType::Value)?;
        let value = value.try_into().map_err(|value: Vec<u8>| TokenError::Answer {
            function: "C_GetAttributeValue",
            what: format!("{VERSION_LABEL} of {} octets", value.len()),
        })?;
        Ok((object, u64::from_be_bytes(value)))
    };
    found.into_iter().map(held).collect()
}

pub(crate) fn read_version(session: &Session) -> Result<u64, TokenError> {
    let held = versions(session)?.into_iter().map(|(_, version)| version).max();
    held.ok_or(TokenError::Vanished)
}

/// Writes a version that is not below the held one, and reads it back. SoftHSM lets nobody change the
/// value of a data object (CKR_ATTRIBUTE_READ_ONLY), so the new one is made before the old one goes:
/// whenever that is cut short, the highest counts.
pub(crate) fn write_version(session: &Session, asked: u64) -> Result<(), TokenError> {
    let held = read_version(session)?;
    if asked < held {
        return Err(TokenError::VersionBack { held, asked });
    }
    if asked > held {
        create(session, asked)?;
    }
    for (object, version) in versions(session)? {
        if version < asked {
            session.destroy_object(object)?;
        }
    }
    match read_version(session)? {
        found if found == asked => Ok(()),
        found => Err(TokenError::Answer {
            function: "C_CreateObject",
            what: format!("{VERSION_LABEL} is {found} after {asked} was written"),
        }),
    }
}
