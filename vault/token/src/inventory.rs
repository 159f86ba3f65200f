//! Every key of the token as the token describes it.

use std::fmt::Write;

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use crate::attribute::REPORTED;
use crate::error::TokenError;
use crate::key::{Algorithm, KeyRef, PublicKey, Role};
use crate::object::{self, Read};

/// DER of the named curves' object identifiers; RFC 8410 §3 for Ed25519.
pub(crate) const P256_OID: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
pub(crate) const ED25519_OID: [u8; 5] = [0x06, 0x03, 0x2b, 0x65, 0x70];

/// One key object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyReport {
    /// CKA_LABEL.
    pub label: String,
    /// CKA_ID, hexadecimal.
    pub id: String,
    /// `private-key`, `public-key` or `secret-key`.
    pub class: String,
    /// Algorithm and size.
    pub kind: String,
    /// SHA-256 of the SPKI, or the check value of a secret key of ours; hexadecimal. Empty where
    /// neither is to be had.
    pub fingerprint: String,
    /// `CKA_…` and value, in the order they were read; `None` where the token has no such
    /// attribute, which is not "false".
    pub attributes: Vec<(String, Option<String>)>,
}

impl KeyReport {
    /// A boolean attribute; `None` where it is absent or no boolean.
    pub fn flag(&self, name: &str) -> Option<bool> {
        let (_, value) = self.attributes.iter().find(|(of, _)| of == name)?;
        match value.as_deref() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => None,
        }
    }

    /// The reference of a secret key that carries one of our labels.
    pub(crate) fn secret_key_of_ours(&self) -> Option<KeyRef> {
        let (role, version) = Role::parse_label(&self.label)?;
        let algorithm = [Algorithm::Aes256, Algorithm::HmacSha256].into_iter().find(|a| a.as_str() == self.kind)?;
        let expected = match role {
            Role::Kek => Algorithm::Aes256,
            Role::MasterRoot | Role::StateMac | Role::BlindIndex => Algorithm::HmacSha256,
            Role::TokenSigning | Role::AgentCa | Role::ServerTls | Role::LogSigning => return None,
        };
        let id: Option<Vec<u8>> =
            (0..self.id.len()).step_by(2).map(|at| u8::from_str_radix(self.id.get(at..at + 2)?, 16).ok()).collect();
        (self.class == "secret-key" && algorithm == expected).then_some(KeyRef {
            role,
            version,
            label: self.label.clone(),
            id: id?,
            algorithm,
        })
    }
}

/// Reads every key object; the check values are left to the caller.
pub(crate) fn read(session: &Session) -> Result<Vec<KeyReport>, TokenError> {
    let mut reports = Vec::new();
    for (class, name) in [
        (ObjectClass::PRIVATE_KEY, "private-key"),
        (ObjectClass::PUBLIC_KEY, "public-key"),
        (ObjectClass::SECRET_KEY, "secret-key"),
    ] {
        for object in session.find_objects(&[Attribute::Token(true), Attribute::Class(class)])? {
            reports.push(report(session, object, name)?);
        }
    }
    // The version object is the witness: without it, what was found is not the whole.
    object::read_version(session)?;
    // A pair's fingerprint is its public half's, whichever of its objects is looked at.
    let publics: Vec<_> = reports.iter().filter(|r| r.class == "public-key").cloned().collect();
    for private in reports.iter_mut().filter(|r| r.class == "private-key") {
        let mut halves = publics.iter().filter(|public| public.label == private.label && public.id == private.id);
        if let (Some(public), None) = (halves.next(), halves.next()) {
            private.fingerprint.clone_from(&public.fingerprint);
        }
    }
    reports.sort_by(|a, b| (&a.label, &a.class).cmp(&(&b.label, &b.class)));
    Ok(reports)
}

fn report(session: &Session, object: ObjectHandle, class: &str) -> Result<KeyReport, TokenError> {
    let octets = |of| match object::read(session, object, of) {
        Ok(Read::Value(Attribute::Label(value) | Attribute::Id(value))) => Ok(value),
        Ok(_) => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    let label = String::from_utf8_lossy(&octets(AttributeType::Label)?).into_owned();
    let id = hex(&octets(AttributeType::Id)?);
    let algorithm = algorithm(session, object)?;
    let fingerprint = match algorithm {
        Ok(pair) if class == "public-key" && pair.is_pair() => hex(&public_key(session, object, pair)?.fingerprint()),
        _ => String::new(),
    };
    let mut attributes = Vec::with_capacity(REPORTED.len());
    for (of, name) in REPORTED {
        attributes.push((name.to_owned(), text(object::read(session, object, of)?)));
    }
    let kind = match algorithm {
        Ok(known) => known.as_str().to_owned(),
        Err(other) => other,
    };
    Ok(KeyReport { label, id, class: class.to_owned(), kind, fingerprint, attributes })
}

/// The algorithm of a key of a kind that we use, or the name of another.
fn algorithm(session: &Session, object: ObjectHandle) -> Result<Result<Algorithm, String>, TokenError> {
    let kind = match object::read(session, object, AttributeType::KeyType)? {
        Read::Value(Attribute::KeyType(kind)) => kind,
        _ => return Ok(Err("unknown".into())),
    };
    let length = match object::read(session, object, AttributeType::ValueLen)? {
        Read::Value(Attribute::ValueLen(length)) => Some(*length),
        _ => None,
    };
    let curve = match object::read(session, object, AttributeType::EcParams)? {
        Read::Value(Attribute::EcParams(curve)) => Some(curve),
        _ => None,
    };
    Ok(match (kind, length, curve.as_deref()) {
        (KeyType::EC, _, Some(curve)) if curve == P256_OID => Ok(Algorithm::EcP256),
        (KeyType::EC_EDWARDS, _, Some(curve)) if is_ed25519(curve) => Ok(Algorithm::Ed25519),
        (KeyType::AES, Some(32), _) => Ok(Algorithm::Aes256),
        (KeyType::GENERIC_SECRET, Some(32), _) => Ok(Algorithm::HmacSha256),
        (other, Some(length), _) => Err(format!("{other} {length} B")),
        (other, None, _) => Err(other.to_string()),
    })
}

/// As an object identifier, or as PKCS#11 3.0's PrintableString `edwards25519`.
fn is_ed25519(params: &[u8]) -> bool {
    params == ED25519_OID || params == b"\x13\x0cedwards25519"
}

/// CKA_EC_POINT: the point in a DER OCTET STRING; some tokens leave the wrapping out.
pub(crate) fn public_key(session: &Session, object: ObjectHandle, of: Algorithm) -> Result<PublicKey, TokenError> {
    let value = object::octets(session, object, AttributeType::EcPoint)?;
    let point = match value.as_slice() {
        [0x04, length, point @ ..] if usize::from(*length) == point.len() => point,
        bare => bare,
    };
    let odd = || TokenError::Answer {
        function: "C_GetAttributeValue",
        what: format!("a CKA_EC_POINT of {} octets", value.len()),
    };
    match of {
        Algorithm::EcP256 => match <[u8; 65]>::try_from(point) {
            Ok(point @ [0x04, ..]) => Ok(PublicKey::P256(point)),
            _ => Err(odd()),
        },
        Algorithm::Ed25519 => Ok(PublicKey::Ed25519(point.try_into().map_err(|_| odd())?)),
        Algorithm::Aes256 | Algorithm::HmacSha256 => Err(odd()),
    }
}

fn text(read: Read) -> Option<String> {
    let value = match read {
        Read::Absent => return None,
        Read::Sensitive => return Some("sensitive".into()),
        Read::Unreadable(why) => return Some(format!("unreadable: {why}")),
        Read::Value(value) => value,
    };
    Some(match value {
        Attribute::Token(b)
        | Attribute::Private(b)
        | Attribute::Sensitive(b)
        | Attribute::AlwaysSensitive(b)
        | Attribute::Extractable(b)
        | Attribute::NeverExtractable(b)
        | Attribute::Local(b)
        | Attribute::Modifiable(b)
        | Attribute::Copyable(b)
        | Attribute::Destroyable(b)
        | Attribute::Sign(b)
        | Attribute::SignRecover(b)
        | Attribute::Verify(b)
        | Attribute::VerifyRecover(b)
        | Attribute::Encrypt(b)
        | Attribute::Decrypt(b)
        | Attribute::Wrap(b)
        | Attribute::Unwrap(b)
        | Attribute::Derive(b)
        | Attribute::WrapWithTrusted(b)
        | Attribute::Trusted(b)
        | Attribute::AlwaysAuthenticate(b) => b.to_string(),
        Attribute::KeyGenMechanism(mechanism) => mechanism.to_string(),
        Attribute::AllowedMechanisms(allowed) => {
            let names: Vec<_> = allowed.iter().map(ToString::to_string).collect();
            format!("[{}]", names.join(", "))
        }
        Attribute::ValueLen(length) => length.to_string(),
        Attribute::EcParams(octets) | Attribute::UniqueId(octets) => hex(&octets),
        other => format!("{other:?}"),
    })
}

pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut text, octet| {
        write!(text, "{octet:02x}").expect("a String takes whatever is written to it");
        text
    })
}
