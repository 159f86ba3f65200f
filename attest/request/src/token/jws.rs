//! A compact JWS by one of the gateway's keys. The `typ` says what it is, and is compared: a key that signs two kinds of
//! statement must not have one taken for the other (RFC 8725 §3.11).

use serde::{Deserialize, Deserializer};

use super::{TokenError, TokenKeys};
use crate::b64;

/// The members that matter; others are ignored as RFC 7515 §4 says, except that `crit` names
/// extensions which we would have to understand.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    typ: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    alg: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    kid: std::borrow::Cow<'a, str>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// The payload of a JWS of this `typ`, once its signature has verified.
pub(crate) fn open(keys: &TokenKeys, text: &str, typ: &str) -> Result<Vec<u8>, TokenError> {
    let parts = TokenError::Malformed("it is not three parts of base64url");
    let (message, signature) = text.rsplit_once('.').ok_or(parts.clone())?;
    let (header, payload) = message.split_once('.').ok_or(parts.clone())?;
    // Checked here because jsonwebtoken answers an unreadable signature like a wrong one.
    b64::decode_exact::<64>(signature).ok_or(parts.clone())?;

    let header = b64::decode(header).ok_or(parts.clone())?;
    let header: Header<'_> =
        serde_json::from_slice(&header).map_err(|_| TokenError::Malformed("its header has no typ, alg and kid"))?;
    if header.typ != typ {
        return Err(TokenError::Malformed("its typ is another"));
    }
    if header.alg != "ES256" {
        return Err(TokenError::Malformed("its alg is not ES256"));
    }
    if header.crit {
        return Err(TokenError::Malformed("it has critical extensions"));
    }
    keys.find(&header.kid).ok_or(TokenError::UnknownKey)?.verify(message.as_bytes(), signature)?;
    b64::decode(payload).ok_or(parts)
}
