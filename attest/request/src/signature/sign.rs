//! Signing a request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};

use super::base::{self, Message};
use super::content::CONTENT_DIGEST;
use super::form::{SIGNATURE, SIGNATURE_INPUT, combined, is_nonce};
use super::input::parse_inputs;
use super::{MAX_WINDOW, Tag};
use crate::jwk::IdentitySecret;
use crate::target::Target;

/// The parameters that the signer chooses.
#[derive(Clone, Debug)]
pub struct Params {
    /// Unix seconds.
    pub created: i64,
    /// Unix seconds, 1 to 60 after `created`.
    pub expires: i64,
    /// Unpadded base64url of 16 to 64 random bytes, fresh for each request.
    pub nonce: String,
}

impl Params {
    /// A nonce of these random bytes, and the longest window that is allowed.
    pub fn new(created: i64, random: [u8; 16]) -> Self {
        Self { created, expires: created + MAX_WINDOW, nonce: crate::b64::encode(&random) }
    }
}

/// A request that cannot be signed: the caller's mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    #[error("the target is not an absolute http or https URI")]
    Target,
    #[error("set authorization before signing")]
    AuthorizationMissing,
    #[error("set content-type before signing")]
    ContentTypeMissing,
    #[error("a field to be signed is repeated or is not visible ASCII")]
    Field,
    #[error("expires is 1 to 60 seconds after created")]
    Window,
    #[error("the nonce is not unpadded base64url of 16 to 64 bytes")]
    Nonce,
    #[error("the label is taken or malformed")]
    Label,
}

/// Signs a request in place: adds `content-digest` (with content, or where the tag demands it) and
/// the label in `signature-input` and `signature`, beside the labels that are there.
///
/// `authorization` (for [`Tag::Request`]) and `content-type` (with content) must be set before.
#[expect(clippy::too_many_arguments, reason = "the parts of a request, a key and what it is for")]
pub fn sign_request(
    method: &str,
    target_uri: &str,
    headers: &mut HeaderMap,
    body: &[u8],
    tag: Tag,
    key: &IdentitySecret,
    params: Params,
    label: &str,
) -> Result<(), SignError> {
    let target = Target::split(target_uri).map_err(|_| SignError::Target)?;
    if !(1..=MAX_WINDOW).contains(&params.expires.saturating_sub(params.created)) {
        return Err(SignError::Window);
    }
    if !is_nonce(&params.nonce) {
        return Err(SignError::Nonce);
    }
    let is_call = tag == Tag::Request;
    let has_content = !body.is_empty() || !is_call;
    if is_call && !headers.contains_key(AUTHORIZATION) {
        return Err(SignError::AuthorizationMissing);
    }
    if has_content && !headers.contains_key(CONTENT_TYPE) {
        return Err(SignError::ContentTypeMissing);
    }
    for name in [AUTHORIZATION, CONTENT_TYPE] {
        if headers.get_all(&name).iter().nth(1).is_some() {
            return Err(SignError::Field);
        }
    }
    if has_content {
        headers.insert(HeaderName::from_static(CONTENT_DIGEST), content_digest(body));
    }

    let mut components = vec![r#""@method""#, r#""@target-uri""#];
    if has_content {
        components.extend([r#""content-type""#, r#""content-digest""#]);
    }
    if is_call {
        components.push(r#""authorization""#);
    }
    let Params { created, expires, nonce } = params;
    let input = format!(
        r#"{label}=({});created={created};expires={expires};nonce="{nonce}";keyid="{}";tag="{}""#,
        components.join(" "),
        key.public().keyid(),
        tag.as_str(),
    );
    let inputs = parse_inputs(&input).map_err(|_| SignError::Label)?;
    let [parsed] = inputs.as_slice() else { return Err(SignError::Label) };
    let message = Message { method, target_uri, target, headers };
    let (base, _) = base::build(&message, parsed).map_err(|_| SignError::Field)?;
    let signature = format!("{label}=:{}:", STANDARD.encode(key.sign(base.as_bytes())));

    // One line for all labels: some readers see only a field's first line.
    let input = append(headers, SIGNATURE_INPUT, &input)?;
    parse_inputs(input.to_str().map_err(|_| SignError::Field)?).map_err(|_| SignError::Label)?;
    let signature = append(headers, SIGNATURE, &signature)?;
    headers.insert(SIGNATURE_INPUT, input);
    headers.insert(SIGNATURE, signature);
    Ok(())
}

fn append(headers: &HeaderMap, name: &str, member: &str) -> Result<HeaderValue, SignError> {
    let text = match combined(headers, name).map_err(|_| SignError::Field)? {
        Some(earlier) => format!("{earlier}, {member}"),
        None => member.to_owned(),
    };
    HeaderValue::from_str(&text).map_err(|_| SignError::Field)
}

fn content_digest(body: &[u8]) -> HeaderValue {
    let text = format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)));
    HeaderValue::from_str(&text).expect("base64 is visible ASCII")
}

/// `Accept-Signature` (RFC 9421 §5.1) for an answer `signature-missing`: this request's components
/// and all parameters.
pub fn accept_signature(tag: Tag, has_content: bool) -> HeaderValue {
    let is_call = tag == Tag::Request;
    let mut components = String::from(r#""@method" "@target-uri""#);
    if has_content || !is_call {
        components.push_str(r#" "content-type" "content-digest""#);
    }
    if is_call {
        components.push_str(r#" "authorization""#);
    }
    let text = format!(r#"sig=({components});created;expires;nonce;keyid;tag="{}""#, tag.as_str());
    HeaderValue::from_str(&text).expect("names and tags are visible ASCII")
}
