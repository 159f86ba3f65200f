//! What a token endpoint answers (RFC 6749 §5), read strictly: an object, each member once, and a bearer token.

use serde::Deserialize;
use tgp_vault_client::wire::WireSecret;

use crate::json::Object;

/// Longer than any token that a header field can carry.
const MAX_TOKEN: usize = 16 * 1024;
/// RFC 6749 §5.1 leaves it to the client where the server does not say.
const DEFAULT_LIFETIME_S: u32 = 300;

/// A token that was granted.
pub struct Granted {
    pub access_token: WireSecret,
    pub refresh_token: Option<WireSecret>,
    pub expires_in_s: u32,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReplyError {
    #[error("it is not the JSON of a token")]
    Form,
    #[error("its token is of another type than Bearer")]
    Type,
    #[error("its token is empty, too long, or holds what no token does")]
    Token,
}

// Other members are ignored: RFC 6749 §5.1.
#[derive(Deserialize)]
struct Members {
    access_token: String,
    token_type: String,
    #[serde(default)]
    expires_in: Option<Seconds>,
    #[serde(default)]
    refresh_token: Option<String>,
}

/// There are servers that write the number as a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(u64),
    Text(String),
}

impl Granted {
    /// Reads a reply of status 200.
    pub fn parse(body: &[u8]) -> Result<Self, ReplyError> {
        let Object(members) = serde_json::from_slice::<Object<Members>>(body).map_err(|_| ReplyError::Form)?;
        let Members { access_token, token_type, expires_in, refresh_token } = members;
        // RFC 6749 §5.1: the type's case is of no meaning.
        if !token_type.eq_ignore_ascii_case("bearer") {
            return Err(ReplyError::Type);
        }
        let expires_in_s = match expires_in {
            None => DEFAULT_LIFETIME_S,
            Some(Seconds::Number(seconds)) => u32::try_from(seconds).unwrap_or(u32::MAX),
            Some(Seconds::Text(text)) => text.parse().map_err(|_| ReplyError::Form)?,
        };
        let refresh_token = refresh_token.map(|token| secret(token, visible)).transpose()?;
        Ok(Self { access_token: secret(access_token, bearer)?, refresh_token, expires_in_s })
    }
}

fn secret(token: String, allowed: fn(u8) -> bool) -> Result<WireSecret, ReplyError> {
    let fits = (1..=MAX_TOKEN).contains(&token.len()) && token.bytes().all(allowed);
    let token = WireSecret::from(token);
    if fits { Ok(token) } else { Err(ReplyError::Token) }
}

/// RFC 6749 §A.12: a token is visible characters; RFC 6750 §2.1: in the field no space stands in one.
fn bearer(octet: u8) -> bool {
    octet.is_ascii_graphic()
}

fn visible(octet: u8) -> bool {
    octet == b' ' || octet.is_ascii_graphic()
}

/// The error code of a refusal, if it is one of RFC 6749 §5.2: other texts of a stranger are not passed on.
pub fn error_code(body: &[u8]) -> Option<&'static str> {
    #[derive(Deserialize)]
    struct Refused {
        error: String,
    }
    let Object(Refused { error }) = serde_json::from_slice(body).ok()?;
    [
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    ]
    .into_iter()
    .find(|code| *code == error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_granted_token_is_read_with_its_lifetime() {
        let read = |text: &str| Granted::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
        let full =
            read(r#"{"access_token":"a.b","token_type":"bearer","expires_in":60,"refresh_token":"r","scope":"x"}"#);
        assert_eq!((full.access_token.expose_secret(), full.expires_in_s), (&b"a.b"[..], 60));
        assert_eq!(full.refresh_token.expect("one").expose_secret(), b"r");
        let least = read(r#"{"token_type":"Bearer","access_token":"a"}"#);
        assert_eq!((least.expires_in_s, least.refresh_token.is_none()), (300, true));
        assert_eq!(read(r#"{"access_token":"a","token_type":"BEARER","expires_in":"7"}"#).expires_in_s, 7);
        let long = read(r#"{"access_token":"a","token_type":"Bearer","expires_in":99999999999}"#);
        assert_eq!(long.expires_in_s, u32::MAX);
    }

    #[test]
    fn what_is_no_bearer_token_is_refused() {
        let long = format!(r#"{{"access_token":"{}","token_type":"Bearer"}}"#, "x".repeat(MAX_TOKEN + 1));
        for (text, error) in [
            ("", ReplyError::Form),
            ("[]", ReplyError::Form),
            ("access_token=a&token_type=bearer", ReplyError::Form),
            (r#"{"access_token":"a"}"#, ReplyError::Form),
            (r#"{"token_type":"Bearer"}"#, ReplyError::Form),
            (r#"{"access_token":1,"token_type":"Bearer"}"#, ReplyError::Form),
            (r#"["a","Bearer"]"#, ReplyError::Form),
            (r#"{"access_token":"a","access_token":"b","token_type":"Bearer"}"#, ReplyError::Form),
            (r#"{"access_token":"a","token_type":"Bearer"} x"#, ReplyError::Form),
            (r#"{"access_token":"a","token_type":"Bearer","expires_in":-1}"#, ReplyError::Form),
            (r#"{"access_token":"a","token_type":"Bearer","expires_in":"soon"}"#, ReplyError::Form),
            (r#"{"access_token":"a","token_type":"Bearer","expires_in":1.5}"#, ReplyError::Form),
            (r#"{"access_token":"a","token_type":"mac"}"#, ReplyError::Type),
            (r#"{"access_token":"a","token_type":""}"#, ReplyError::Type),
            (r#"{"access_token":"","token_type":"Bearer"}"#, ReplyError::Token),
            (r#"{"access_token":"a b","token_type":"Bearer"}"#, ReplyError::Token),
            (r#"{"access_token":"a\r\nx: y","token_type":"Bearer"}"#, ReplyError::Token),
            (r#"{"access_token":"a","token_type":"Bearer","refresh_token":""}"#, ReplyError::Token),
            (&long, ReplyError::Token),
        ] {
            assert_eq!(Granted::parse(text.as_bytes()).err(), Some(error), "{text:.80}");
        }
    }

    #[test]
    fn of_a_refusal_only_the_standards_codes_are_passed_on() {
        assert_eq!(error_code(br#"{"error":"invalid_grant","error_description":"hush"}"#), Some("invalid_grant"));
        for text in ["", "{}", r#"{"error":"the secret is hunter2"}"#, r#"{"error":1}"#, "invalid_grant"] {
            assert_eq!(error_code(text.as_bytes()), None, "{text}");
        }
    }
}
