//! A request to a tool, and its signature.

use bytes::Bytes;
use http::{HeaderMap, Method};
use tgp_request::jwk::IdentitySecret;
use tgp_request::signature::{self, Params, Tag};

use crate::{ClientError, random};

/// How long a signature is good for. The protocol allows 60 s; a hop takes far less.
const LIFETIME: i64 = 30;

/// What to send to a tool.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    /// Path and query below the tool's resource, `/messages?unread=1`, exactly as they are to be
    /// sent: escaped, canonical. Empty for the resource itself.
    pub path_and_query: String,
    /// Fields of the caller's own; `authorization` and `signature` are added.
    pub headers: HeaderMap,
    /// With a body goes a `content-type`.
    pub body: Bytes,
}

impl Request {
    /// A request with neither fields nor body.
    pub fn new(method: Method, path_and_query: impl Into<String>) -> Self {
        Self { method, path_and_query: path_and_query.into(), headers: HeaderMap::new(), body: Bytes::new() }
    }
}

/// Adds a signature with `tag` to `headers`.
pub(crate) fn sign(
    headers: &mut HeaderMap,
    method: &Method,
    target_uri: &str,
    body: &[u8],
    tag: Tag,
    key: &IdentitySecret,
    now: i64,
) -> Result<(), ClientError> {
    let label = match tag {
        Tag::EnrolCode => "code",
        _ => "tgp",
    };
    let params = Params { created: now, expires: now + LIFETIME, nonce: nonce()? };
    signature::sign_request(method.as_str(), target_uri, headers, body, tag, key, params, label)
        .map_err(|e| ClientError::Input(format!("cannot sign the request: {e}")))
}

/// 16 random bytes in unpadded base64url.
fn nonce() -> Result<String, ClientError> {
    use base64::Engine as _;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random::<16>()?))
}

/// One segment of a path or one value of a query, escaped (RFC 3986 §2.3).
pub fn escape(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut escaped, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
        escaped
    })
}
