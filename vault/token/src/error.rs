//! What goes wrong, by blame. A failed call names the C function and the CKR value.

use std::path::PathBuf;

use cryptoki::error::{Error, RvError};

/// Why the token did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    // The caller.
    /// The ciphertext is not one of this key over this context. The token itself works.
    #[error("ciphertext refused: not sealed by {label} for this context")]
    Sealed { label: String },
    /// The key is of another kind than the operation needs.
    #[error("{label} is not a key for {operation}")]
    WrongKey { label: String, operation: &'static str },
    /// The data to be MACed begin like the known answer's: its value is published.
    #[error("data to be maced by {label} begin like the key check")]
    ReservedData { label: String },
    /// The version object only grows.
    #[error("the version in the token is {held} and cannot become {asked}")]
    VersionBack { held: u64, asked: u64 },

    // The operator.
    /// A PIN file that cannot be used; the file's content is not in the text.
    #[error("pin file {path}: {why}")]
    PinFile { path: PathBuf, why: String },
    /// The token said no to the PIN. It was asked once and will not be asked again by this process.
    #[error(
        "the token refused the pin (C_Login: {ckr}), which is not tried again\n  hint: some tokens lock after three"
    )]
    PinRefused { ckr: String },
    /// Provisioning found a label taken. Nothing was made.
    #[error("the token has {label} already\n  hint: keys are made once; a new deployment needs a token of its own")]
    LabelTaken { label: String },
    /// The token made a key otherwise than asked.
    #[error("{label}: {attribute} is {found}, not {expected}")]
    Attribute { label: String, attribute: &'static str, expected: bool, found: String },
    /// The token does what it must not, so that its keys' attributes are no evidence.
    #[error("the token failed its self-test: {what}")]
    SelfTest { what: &'static str },
    /// The key answers, and not as the pinned one does.
    #[error("{label} is not the key that was pinned")]
    KeyChanged { label: String },
    /// No token, or more than one, with this label.
    #[error("{count} tokens with label {label} in {module}")]
    TokenNotFound { module: PathBuf, label: String, count: usize },

    // The token.
    /// The module could not be loaded.
    #[error("pkcs#11 module {module}: {why}")]
    Module { module: PathBuf, why: String },
    /// Another process holds the lock under which tokens are started.
    #[error("start lock {path}: {why}")]
    StartLock { path: PathBuf, why: String },
    /// A call failed.
    #[error("{function}: {ckr}")]
    Call { function: String, ckr: String },
    /// The token shows no object of ours at all: it was never provisioned, or its storage has gone
    /// (SoftHSM then answers every search with "nothing"). Never a reason to make keys.
    #[error("the token shows none of our objects: not provisioned, or its storage has gone")]
    Vanished,
    /// The token is there and this object is not.
    #[error("the token has no {label}")]
    NotFound { label: String },
    /// More than one object where one is meant.
    #[error("the token has {count} objects {label}")]
    Ambiguous { label: String, count: usize },
    /// The token was lost and has not come back yet.
    #[error("the token is away: {why}")]
    Away { why: String },

    // A bug: ours, or the token's.
    /// The token's answer is not of the form that the standard gives it.
    #[error("{function}: {what}")]
    Answer { function: &'static str, what: String },
    /// One process, one C_Initialize.
    #[error("this process has a token open already")]
    AlreadyOpen,
    /// The kernel gave no random octets.
    #[error("random octets: {0}")]
    Random(std::io::Error),
}

impl TokenError {
    /// Whether the token is what failed, so that [`crate::Token::recover`] may help. False for what
    /// a caller or an operator has to change.
    pub fn token_failed(&self) -> bool {
        match self {
            TokenError::Module { .. }
            | TokenError::StartLock { .. }
            | TokenError::Call { .. }
            | TokenError::Vanished
            | TokenError::NotFound { .. }
            | TokenError::TokenNotFound { .. }
            | TokenError::Away { .. }
            | TokenError::Answer { .. }
            | TokenError::Random(_) => true,
            TokenError::Sealed { .. }
            | TokenError::WrongKey { .. }
            | TokenError::ReservedData { .. }
            | TokenError::VersionBack { .. }
            | TokenError::PinFile { .. }
            | TokenError::PinRefused { .. }
            | TokenError::LabelTaken { .. }
            | TokenError::Attribute { .. }
            | TokenError::KeyChanged { .. }
            | TokenError::SelfTest { .. }
            | TokenError::Ambiguous { .. }
            | TokenError::AlreadyOpen => false,
        }
    }

    pub(crate) fn is_call(&self, name: &str) -> bool {
        matches!(self, TokenError::Call { function, .. } if function == name)
    }
}

/// The one place that maps what `cryptoki` says.
impl From<Error> for TokenError {
    fn from(error: Error) -> Self {
        match error {
            Error::Pkcs11(rv, function) => TokenError::Call { function: format!("C_{function:?}"), ckr: ckr(rv) },
            other => TokenError::Answer { function: "PKCS#11", what: other.to_string() },
        }
    }
}

/// `CKR_PIN_INCORRECT` for `PinIncorrect`.
pub(crate) fn ckr(rv: RvError) -> String {
    match rv {
        RvError::VendorDefined(code) => format!("CKR_VENDOR_DEFINED ({code:#x})"),
        RvError::UnknownErrorCode(code) => format!("CKR {code:#x}"),
        named => {
            let mut text = String::from("CKR");
            for letter in format!("{named:?}").chars() {
                if letter.is_ascii_uppercase() {
                    text.push('_');
                }
                text.push(letter.to_ascii_uppercase());
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    #[test]
    fn a_failed_call_names_the_c_function_and_the_ckr() {
        let error = TokenError::from(Error::Pkcs11(RvError::KeyFunctionNotPermitted, Function::SignInit));
        assert_eq!(error.to_string(), "C_SignInit: CKR_KEY_FUNCTION_NOT_PERMITTED");
        let error = TokenError::from(Error::Pkcs11(RvError::VendorDefined(0x8000_0001), Function::GetSlotList));
        assert_eq!(error.to_string(), "C_GetSlotList: CKR_VENDOR_DEFINED (0x80000001)");
        assert_eq!(ckr(RvError::FipsSelfTestFailed), "CKR_FIPS_SELF_TEST_FAILED");
    }
}
