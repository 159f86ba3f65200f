//! The statement that a person signs, and its bytes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::canonical::{MAX_INTEGER, canonical, parse_strict};
use crate::error::AuthorityError;
use crate::key::OperatorSecret;
use crate::operation::Operation;

/// What stands before the canonical JSON, so that no other signature of an operator's key is one of these.
pub const DOMAIN_PREFIX: &[u8] = b"tgp op v1\0";

/// The longest statement with its signature, in bytes of JSON: room for a roster of 256 operators.
pub(crate) const MAX_BYTES: usize = 256 * 1024;

/// One person's order. Signed over `"tgp op v1\0" ‖ JCS(statement)` (RFC 8785) with ECDSA P-256 SHA-256.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// base64url of SHA-256 of JCS of the deployment's first roster.
    pub deployment: String,
    /// The vault that shall carry it out.
    pub vault: String,
    /// An [`Op`](crate::Op) as text.
    pub op: String,
    /// The operation's arguments.
    #[serde(with = "params")]
    pub params: Value,
    /// The operator who signs.
    pub signer: Uuid,
    /// base64url of 16 random bytes; the vault accepts each once.
    pub nonce: String,
    /// Unix seconds; at this second the statement is no longer good.
    pub not_after: i64,
}

/// A statement with its signature: base64url of r‖s.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// What was signed.
    pub statement: Statement,
    /// base64url of the 64 bytes r‖s.
    pub signature: String,
}

impl Statement {
    /// A statement that orders `operation`.
    #[must_use]
    pub fn new(
        operation: &Operation,
        deployment: &str,
        vault: &str,
        signer: Uuid,
        nonce: [u8; 16],
        not_after: i64,
    ) -> Self {
        Self {
            deployment: deployment.to_owned(),
            vault: vault.to_owned(),
            op: operation.op().as_str().to_owned(),
            params: operation.params(),
            signer,
            nonce: URL_SAFE_NO_PAD.encode(nonce),
            not_after,
        }
    }

    /// The bytes that are signed.
    ///
    /// # Errors
    /// Params outside the subset of [`canonical`].
    pub fn signing_bytes(&self) -> Result<Vec<u8>, AuthorityError> {
        let json = serde_json::to_value(self).map_err(|error| AuthorityError::malformed("statement", error))?;
        let mut bytes = DOMAIN_PREFIX.to_vec();
        bytes.extend(canonical(&json)?);
        Ok(bytes)
    }

    /// Sign it.
    ///
    /// # Errors
    /// As [`Self::signing_bytes`].
    pub fn sign(self, secret: &OperatorSecret) -> Result<Signed, AuthorityError> {
        let signature = URL_SAFE_NO_PAD.encode(secret.sign(&self.signing_bytes()?));
        Ok(Signed { statement: self, signature })
    }

    /// The form of the fields that are not typed; what they mean is for [`Roster::check`](crate::Roster::check).
    pub(crate) fn well_formed(&self) -> Result<(), AuthorityError> {
        let Self { deployment, vault, op: _, params: _, signer: _, nonce, not_after } = self;
        let refused = |why: &str| Err(AuthorityError::malformed("statement", why));
        if decoded::<32>(deployment).is_none() {
            return refused("deployment is not base64url of 32 bytes");
        }
        if !valid_vault(vault) {
            return refused("vault is not a name");
        }
        if decoded::<16>(nonce).is_none() {
            return refused("nonce is not base64url of 16 bytes");
        }
        if !(0..=MAX_INTEGER).contains(not_after) {
            return refused("not_after is not a time");
        }
        Ok(())
    }
}

impl Signed {
    /// Read JSON text strictly: no unknown or duplicate member, one spelling of every value, ≤ 256 KiB.
    ///
    /// # Errors
    /// Anything else. The signature is not checked here.
    pub fn parse(text: &[u8]) -> Result<Self, AuthorityError> {
        let value = parse_strict(text, MAX_BYTES)?;
        let signed = Self::deserialize(&value).map_err(|error| AuthorityError::malformed("statement", error))?;
        if serde_json::to_value(&signed).ok().as_ref() != Some(&value) {
            return Err(AuthorityError::malformed("statement", "not in its one spelling"));
        }
        signed.statement.well_formed()?;
        signed.signature_bytes()?;
        Ok(signed)
    }

    /// SHA-256 of the bytes that were signed: names this statement whatever its signature's bytes are.
    ///
    /// # Errors
    /// As [`Statement::signing_bytes`].
    pub fn digest(&self) -> Result<[u8; 32], AuthorityError> {
        Ok(Sha256::digest(self.statement.signing_bytes()?).into())
    }

    pub(crate) fn signature_bytes(&self) -> Result<[u8; 64], AuthorityError> {
        decoded(&self.signature)
            .ok_or_else(|| AuthorityError::malformed("statement", "signature is not base64url of 64 bytes"))
    }
}

/// Letters, digits, `.`, `_`, `-`; 1 to 64 of them.
fn valid_vault(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Exactly `N` bytes of unpadded base64url, in its one spelling.
pub(crate) fn decoded<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() > N * 2 {
        return None;
    }
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// `params` in JSON is the value itself, read strictly; in formats that do not describe themselves it
/// is its canonical text.
mod params {
    use serde::de::{DeserializeSeed, Error};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};
    use serde_json::Value;

    use crate::canonical::{Strict, canonical, parse_strict};

    pub(super) fn serialize<S: Serializer>(params: &Value, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return params.serialize(serializer);
        }
        let text = canonical(params).map_err(ser::Error::custom)?;
        serializer.serialize_str(&String::from_utf8(text).map_err(ser::Error::custom)?)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        if deserializer.is_human_readable() {
            return Strict::top().deserialize(deserializer);
        }
        let text = String::deserialize(deserializer)?;
        parse_strict(text.as_bytes(), super::MAX_BYTES).map_err(D::Error::custom)
    }
}
