//! Every usage flag of every key, set explicitly; the same table makes templates and checks keys.
//!
//! A flag that a template leaves out takes the token's default, which differs between tokens. All
//! private and secret keys are sensitive, not extractable, not modifiable and not copyable: a copy
//! may be given other flags, and CKA_DECRYPT or CKA_WRAP may be switched on later on what can be
//! modified.

use cryptoki::object::{Attribute, AttributeType as T};

use crate::key::Algorithm;

/// Which of a key's objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    /// The private key of a pair, or a secret key.
    Secret,
    /// The public key of a pair.
    Public,
}

/// A boolean attribute and what it has to be.
pub(crate) type Flag = (T, bool);

const PROTECTION: [Flag; 6] = [
    (T::Token, true),
    (T::Private, true),
    (T::Sensitive, true),
    (T::Extractable, false),
    (T::Modifiable, false),
    (T::Copyable, false),
];

const PAIR_PRIVATE: [Flag; 5] =
    [(T::Sign, true), (T::SignRecover, false), (T::Decrypt, false), (T::Unwrap, false), (T::Derive, false)];

const PAIR_PUBLIC: [Flag; 9] = [
    (T::Token, true),
    (T::Private, false),
    (T::Modifiable, false),
    (T::Copyable, false),
    (T::Verify, true),
    (T::VerifyRecover, false),
    (T::Encrypt, false),
    (T::Wrap, false),
    (T::Derive, false),
];

// A wrapped data encryption key is data: C_WrapKey and C_UnwrapKey stay off.
const KEK: [Flag; 7] = [
    (T::Encrypt, true),
    (T::Decrypt, true),
    (T::Sign, false),
    (T::Verify, false),
    (T::Wrap, false),
    (T::Unwrap, false),
    (T::Derive, false),
];

// Verify is off: some tokens' C_Verify takes a truncated MAC for the whole.
const MAC: [Flag; 7] = [
    (T::Encrypt, false),
    (T::Decrypt, false),
    (T::Sign, true),
    (T::Verify, false),
    (T::Wrap, false),
    (T::Unwrap, false),
    (T::Derive, false),
];

/// What only the token can say of a key: that it was made there and was never otherwise. A key that
/// was imported, or hardened after it had been extractable, fails at least one.
const ORIGIN: [Flag; 3] = [(T::Local, true), (T::AlwaysSensitive, true), (T::NeverExtractable, true)];

/// The flags to make a key with.
pub(crate) fn flags(algorithm: Algorithm, half: Half) -> Vec<Flag> {
    match (half, algorithm) {
        (Half::Public, _) => PAIR_PUBLIC.to_vec(),
        (Half::Secret, Algorithm::EcP256 | Algorithm::Ed25519) => [PROTECTION.as_slice(), &PAIR_PRIVATE].concat(),
        (Half::Secret, Algorithm::Aes256) => [PROTECTION.as_slice(), &KEK].concat(),
        (Half::Secret, Algorithm::HmacSha256) => [PROTECTION.as_slice(), &MAC].concat(),
    }
}

/// The flags that a key must show.
pub(crate) fn required(algorithm: Algorithm, half: Half) -> Vec<Flag> {
    let mut required = flags(algorithm, half);
    match half {
        Half::Secret => required.extend(ORIGIN),
        // SoftHSM 2.6.1 and others say of a public key only that it is local.
        Half::Public => required.push((T::Local, true)),
    }
    required
}

/// The template entry of a flag.
pub(crate) fn attribute((of, value): Flag) -> Attribute {
    match of {
        T::Token => Attribute::Token(value),
        T::Private => Attribute::Private(value),
        T::Sensitive => Attribute::Sensitive(value),
        T::Extractable => Attribute::Extractable(value),
        T::Modifiable => Attribute::Modifiable(value),
        T::Copyable => Attribute::Copyable(value),
        T::Sign => Attribute::Sign(value),
        T::SignRecover => Attribute::SignRecover(value),
        T::Verify => Attribute::Verify(value),
        T::VerifyRecover => Attribute::VerifyRecover(value),
        T::Encrypt => Attribute::Encrypt(value),
        T::Decrypt => Attribute::Decrypt(value),
        T::Wrap => Attribute::Wrap(value),
        T::Unwrap => Attribute::Unwrap(value),
        T::Derive => Attribute::Derive(value),
        other => unreachable!("{other:?} is in no table above"),
    }
}

/// What an inventory reads of each key, in this order. CKA_CHECK_VALUE is left out: of an AES key it
/// is a part of GCM's hash key.
pub(crate) const REPORTED: [(T, &str); 27] = [
    (T::Token, "CKA_TOKEN"),
    (T::Private, "CKA_PRIVATE"),
    (T::Sensitive, "CKA_SENSITIVE"),
    (T::AlwaysSensitive, "CKA_ALWAYS_SENSITIVE"),
    (T::Extractable, "CKA_EXTRACTABLE"),
    (T::NeverExtractable, "CKA_NEVER_EXTRACTABLE"),
    (T::Local, "CKA_LOCAL"),
    (T::KeyGenMechanism, "CKA_KEY_GEN_MECHANISM"),
    (T::Modifiable, "CKA_MODIFIABLE"),
    (T::Copyable, "CKA_COPYABLE"),
    (T::Destroyable, "CKA_DESTROYABLE"),
    (T::Sign, "CKA_SIGN"),
    (T::SignRecover, "CKA_SIGN_RECOVER"),
    (T::Verify, "CKA_VERIFY"),
    (T::VerifyRecover, "CKA_VERIFY_RECOVER"),
    (T::Encrypt, "CKA_ENCRYPT"),
    (T::Decrypt, "CKA_DECRYPT"),
    (T::Wrap, "CKA_WRAP"),
    (T::Unwrap, "CKA_UNWRAP"),
    (T::Derive, "CKA_DERIVE"),
    (T::WrapWithTrusted, "CKA_WRAP_WITH_TRUSTED"),
    (T::Trusted, "CKA_TRUSTED"),
    (T::AlwaysAuthenticate, "CKA_ALWAYS_AUTHENTICATE"),
    (T::AllowedMechanisms, "CKA_ALLOWED_MECHANISMS"),
    (T::ValueLen, "CKA_VALUE_LEN"),
    (T::EcParams, "CKA_EC_PARAMS"),
    (T::UniqueId, "CKA_UNIQUE_ID"),
];

/// `CKA_…` of a flag.
pub(crate) fn name(of: T) -> &'static str {
    REPORTED.iter().find(|(known, _)| *known == of).map_or("CKA_?", |(_, name)| name)
}
