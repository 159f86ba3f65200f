//! The form of a signed request: header limits, single fields, the one signature with our tag.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, TRANSFER_ENCODING};
use sfv::BareItemFromInput;

use super::input::{Input, Parameter, parse_inputs, parse_signatures};
use super::{MAX_AHEAD, MAX_HEADER_FIELDS, MAX_HEADER_OCTETS, MAX_WINDOW, Tag};
use crate::b64;
use crate::refusal::{Code, Refusal};

pub(super) const SIGNATURE_INPUT: &str = "signature-input";
pub(super) const SIGNATURE: &str = "signature";

/// Refuses what no reading of the fields can be safe about.
pub(super) fn check_fields(headers: &HeaderMap) -> Result<(), Refusal> {
    // ": " and the line's end count as they would on the wire.
    let octets: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if headers.len() > MAX_HEADER_FIELDS || octets > MAX_HEADER_OCTETS {
        return Err(Refusal::new(Code::HeadersTooLarge, "send at most 128 header fields and 64 KiB of them"));
    }
    for name in [AUTHORIZATION, CONTENT_TYPE, CONTENT_LENGTH] {
        if headers.get_all(&name).iter().nth(1).is_some() {
            return Err(Refusal::malformed(format!("send one {name} field")));
        }
    }
    if headers.contains_key(CONTENT_LENGTH) && headers.contains_key(TRANSFER_ENCODING) {
        return Err(Refusal::malformed("send content-length or transfer-encoding, not both"));
    }
    Ok(())
}

/// The token of the one `Authorization: Bearer` field.
pub(super) fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let missing = || Refusal::new(Code::TokenMissing, "send an access token as authorization: Bearer");
    let value = headers.get(AUTHORIZATION).ok_or_else(missing)?;
    let value = value
        .to_str()
        .map_err(|_| Refusal::malformed("the authorization field holds octets that are not visible ASCII"))?;
    let (scheme, token) = value.trim().split_once(' ').ok_or_else(missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(missing());
    }
    Ok(token.trim_start_matches(' '))
}

/// All lines of a field as one value, RFC 9110 §5.2. `None` when absent.
pub(super) fn combined<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<Cow<'h, str>>, NotAscii> {
    let mut lines = headers.get_all(name).iter();
    let Some(first) = lines.next() else { return Ok(None) };
    let mut value = Cow::Borrowed(text(first)?);
    for line in lines {
        let owned = value.to_mut();
        owned.push_str(", ");
        owned.push_str(text(line)?);
    }
    Ok(Some(value))
}

/// A field value that is not visible ASCII.
pub(super) struct NotAscii;

/// RFC 9421 §2.1: without leading and trailing whitespace.
fn text(value: &HeaderValue) -> Result<&str, NotAscii> {
    value.to_str().map(|text| text.trim_matches([' ', '\t'])).map_err(|_| NotAscii)
}

/// The two signature fields.
pub(super) struct Fields<'h> {
    input: Cow<'h, str>,
    signature: Cow<'h, str>,
}

impl<'h> Fields<'h> {
    pub fn of(headers: &'h HeaderMap) -> Result<Self, Refusal> {
        let field = |name: &str| {
            combined(headers, name).map_err(|NotAscii| Refusal::signature(format!("{name} is not a structured field")))
        };
        match (field(SIGNATURE_INPUT)?, field(SIGNATURE)?) {
            (Some(input), Some(signature)) => Ok(Self { input, signature }),
            (None, None) => Err(Refusal::new(Code::SignatureMissing, "sign the request (RFC 9421)")),
            (Some(_), None) => Err(Refusal::signature("signature-input came without signature")),
            (None, Some(_)) => Err(Refusal::signature("signature came without signature-input")),
        }
    }

    /// The one signature with this tag, and its bytes. Other labels have no meaning here.
    pub fn find(&self, tag: Tag) -> Result<(Input<'_>, [u8; 64]), Refusal> {
        let inputs = parse_inputs(&self.input).map_err(Refusal::signature)?;
        let signatures = parse_signatures(&self.signature).map_err(Refusal::signature)?;

        let mut ours = inputs.into_iter().filter(|input| has_tag(input, tag));
        let Some(input) = ours.next() else {
            let detail = format!("sign the request with tag \"{}\"", tag.as_str());
            return Err(Refusal::new(Code::SignatureMissing, detail));
        };
        if ours.next().is_some() {
            return Err(Refusal::signature(format!("send one signature with tag \"{}\"", tag.as_str())));
        }
        if !input.is_list {
            return Err(Refusal::signature("the signature's input is not a list of components"));
        }
        let Some((_, bytes)) = signatures.into_iter().find(|(label, _)| *label == input.label) else {
            return Err(Refusal::signature("the label of signature-input is missing from signature"));
        };
        let bytes = bytes
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| Refusal::signature("the signature is not 64 bytes, r and s"))?;
        Ok((input, bytes))
    }
}

/// A tag that is spelled as a token, or twice, is still meant as ours; it is refused as malformed later.
fn has_tag(input: &Input<'_>, tag: Tag) -> bool {
    input.parameters.iter().any(|(key, value)| {
        key.as_str() == "tag"
            && match value {
                BareItemFromInput::String(text) => text.as_str() == tag.as_str(),
                BareItemFromInput::Token(token) => token.as_str() == tag.as_str(),
                _ => false,
            }
    })
}

/// The parameters that the profile knows, all present and well-formed.
/// Five are required; each is compared with all before it.
const MAX_PARAMETERS: usize = 32;

#[derive(Debug)]
pub(super) struct Parameters {
    pub created: i64,
    pub expires: i64,
    pub nonce: String,
    pub keyid: String,
}

impl Parameters {
    pub fn check(parameters: &[Parameter<'_>]) -> Result<Self, Refusal> {
        if parameters.len() > MAX_PARAMETERS {
            return Err(Refusal::signature(format!("a signature has at most {MAX_PARAMETERS} parameters")));
        }
        let (mut created, mut expires, mut nonce, mut keyid, mut tag) = (None, None, None, None, None);
        for (index, (key, value)) in parameters.iter().enumerate() {
            let key = key.as_str();
            if parameters[..index].iter().any(|(earlier, _)| earlier.as_str() == key) {
                return Err(Refusal::signature(format!("the parameter {key} is repeated")));
            }
            match key {
                "created" => created = Some(integer(key, value)?),
                "expires" => expires = Some(integer(key, value)?),
                "nonce" => nonce = Some(string(key, value)?),
                "keyid" => keyid = Some(string(key, value)?),
                "tag" => tag = Some(string(key, value)?),
                // RFC 9421 §3.3.7: the algorithm comes from the registered key.
                "alg" => return Err(Refusal::signature("leave out the parameter alg")),
                _ => {}
            }
        }
        let missing = |key: &str| Refusal::signature(format!("the parameter {key} is missing"));
        tag.ok_or_else(|| missing("tag"))?;
        let nonce = nonce.ok_or_else(|| missing("nonce"))?;
        if !is_nonce(&nonce) {
            return Err(Refusal::signature("the nonce is not unpadded base64url of 16 to 64 bytes"));
        }
        Ok(Self {
            created: created.ok_or_else(|| missing("created"))?,
            expires: expires.ok_or_else(|| missing("expires"))?,
            nonce,
            keyid: keyid.ok_or_else(|| missing("keyid"))?,
        })
    }

    pub fn check_window(&self, now: i64) -> Result<(), Refusal> {
        // Structured integers have at most fifteen digits, so nothing here overflows.
        if !(1..=MAX_WINDOW).contains(&(self.expires - self.created)) {
            return Err(Refusal::signature("expires is not 1 to 60 seconds after created"));
        }
        if self.created - now > MAX_AHEAD {
            return Err(Refusal::signature("created is more than 30 seconds ahead; set the clock"));
        }
        // Seconds are whole: once the clock shows `expires`, that instant is reached.
        if now >= self.expires {
            return Err(Refusal::new(Code::SignatureExpired, "the signature has expired; sign again"));
        }
        Ok(())
    }
}

pub(super) fn is_nonce(text: &str) -> bool {
    // 64 bytes are 86 characters.
    text.len() <= 86 && b64::decode(text).is_some_and(|bytes| (16..=64).contains(&bytes.len()))
}

fn integer(key: &str, value: &BareItemFromInput<'_>) -> Result<i64, Refusal> {
    match value.as_integer() {
        Some(integer) => Ok(integer.into()),
        None => Err(Refusal::signature(format!("the parameter {key} is not an integer"))),
    }
}

fn string(key: &str, value: &BareItemFromInput<'_>) -> Result<String, Refusal> {
    match value.as_string() {
        Some(string) => Ok(string.as_str().to_owned()),
        None => Err(Refusal::signature(format!("the parameter {key} is not a string"))),
    }
}
