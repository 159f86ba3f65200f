//! How a tool shows who it is: a verifier key, in `Authorization` where that is the tool's own, or in `TGP-Verifier`
//! where `Authorization` is the agent's, passed on.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use tgp_request::VerifierKey;
use zeroize::Zeroizing;

use crate::gateway::Gateway;
use crate::issue::form::decode;
use crate::refusal::{Code, Refusal};
use crate::store::verifier::Verifier;

/// Where a proxy in front of a tool puts the key; a field of this name from its clients must not reach us, so it sets it.
pub const FIELD: &str = "tgp-verifier";

/// A key, and the tool that it is said to be of (the user of Basic).
pub struct Shown {
    key: VerifierKey,
    tool: Option<String>,
}

impl Shown {
    /// `Bearer <key>`, or `Basic` with the tool's slug as user, as OAuth clients do (RFC 6749 §2.3.1).
    pub fn in_authorization(headers: &HeaderMap) -> Result<Self, Refusal> {
        let value = the_one(headers, AUTHORIZATION.as_str())?;
        let (scheme, rest) = text(value)?.trim().split_once(' ').ok_or_else(required)?;
        let rest = rest.trim_start();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Ok(Self { key: VerifierKey::parse(rest).map_err(|_| required())?, tool: None });
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(required());
        }
        let pair = Zeroizing::new(STANDARD.decode(rest).map_err(|_| required())?);
        let (user, password) =
            std::str::from_utf8(&pair).ok().and_then(|pair| pair.split_once(':')).ok_or_else(required)?;
        let password = Zeroizing::new(decode(password).ok_or_else(required)?);
        let key = VerifierKey::parse(&password).map_err(|_| required())?;
        Ok(Self { key, tool: Some(decode(user).ok_or_else(required)?) })
    }

    pub fn in_field(headers: &HeaderMap) -> Result<Self, Refusal> {
        let key = VerifierKey::parse(text(the_one(headers, FIELD)?)?).map_err(|_| required())?;
        Ok(Self { key, tool: None })
    }

    /// The tool that the key is of. Asked of the database each time, so that a revocation holds on the next call.
    pub async fn verifier(&self, gateway: &Gateway) -> Result<Verifier, Refusal> {
        let found = gateway.store.verifier(&self.key.digest()).await?;
        found.filter(|verifier| self.tool.as_ref().is_none_or(|tool| *tool == verifier.tool)).ok_or_else(required)
    }
}

/// One of a kind, or none: of two, nobody knows which the proxy set.
fn the_one<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h HeaderValue, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        _ => Err(required()),
    }
}

fn text(value: &HeaderValue) -> Result<&str, Refusal> {
    value.to_str().map_err(|_| required())
}

/// One text for all of it: whoever guesses learns nothing from the way a key is wrong.
fn required() -> Refusal {
    Refusal::new(Code::VerifierRequired, "show a verifier key of this tool that is good; `tgp tool key` makes one")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, String)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).expect("a field value"));
        }
        headers
    }

    fn key() -> String {
        VerifierKey::new([0xff; 32]).expose_text().to_string()
    }

    #[test]
    fn a_key_is_read_from_each_of_its_places() {
        let digest = VerifierKey::new([0xff; 32]).digest();
        let bearer =
            Shown::in_authorization(&headers(&[("authorization", format!("BEARER {}", key()))])).expect("read");
        assert_eq!((bearer.key.digest(), bearer.tool), (digest, None));
        let pair = STANDARD.encode(format!("mail:{}", key().replace('_', "%5F")));
        let basic = Shown::in_authorization(&headers(&[("authorization", format!("Basic {pair}"))])).expect("read");
        assert_eq!((basic.key.digest(), basic.tool.as_deref()), (digest, Some("mail")));
        let field = Shown::in_field(&headers(&[(FIELD, key())])).expect("read");
        assert_eq!(field.key.digest(), digest);
    }

    #[test]
    fn none_two_or_another_thing_is_no_key() {
        for fields in [
            vec![],
            vec![("authorization", key())],
            vec![("authorization", format!("Bearer {}A", key()))],
            vec![("authorization", format!("Digest {}", key()))],
            vec![("authorization", format!("Basic {}", STANDARD.encode(key())))],
            vec![("authorization", format!("Bearer {}", key())), ("authorization", format!("Bearer {}", key()))],
        ] {
            let refused = Shown::in_authorization(&headers(&fields)).err().expect("refused");
            assert_eq!(refused.code, Code::VerifierRequired, "{fields:?}");
        }
        let two = headers(&[(FIELD, key()), (FIELD, key())]);
        assert!(Shown::in_field(&two).is_err());
        assert!(Shown::in_field(&headers(&[("authorization", format!("Bearer {}", key()))])).is_err());
    }
}
