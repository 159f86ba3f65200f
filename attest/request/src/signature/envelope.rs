//! A signed request's head as a list of fields: how it travels to a verifier that is not the HTTP
//! server, such as the vault.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use sfv::BareItemFromInput;

use super::Tag;
use super::form::{Fields, SIGNATURE, SIGNATURE_INPUT};
use crate::refusal::{Code, Refusal};

/// The lines of the fields that a verifier of this tag's signature needs, and no others.
pub fn proof_fields(headers: &HeaderMap, tag: Tag) -> Result<Vec<(String, String)>, Refusal> {
    let fields = Fields::of(headers)?;
    let (input, _) = fields.find(tag)?;
    let covered = |name: &HeaderName| {
        input.components.iter().any(|it| matches!(&it.name, BareItemFromInput::String(text) if text.as_str() == name))
    };
    headers
        .iter()
        .filter(|(name, _)| covered(name) || *name == SIGNATURE || *name == SIGNATURE_INPUT)
        .map(|(name, value)| match value.to_str() {
            Ok(value) => Ok((name.as_str().to_owned(), value.to_owned())),
            Err(_) => Err(Refusal::signature(format!("the covered field {name} is not visible ASCII"))),
        })
        .collect()
}

/// Header fields from a list, in its order, repeated names kept.
pub fn header_map<N: AsRef<str>, V: AsRef<str>>(fields: &[(N, V)]) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::with_capacity(fields.len().min(super::MAX_HEADER_FIELDS));
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_ref().as_bytes())
            .map_err(|_| Refusal::malformed("a header field has a malformed name"))?;
        let value = HeaderValue::from_str(value.as_ref())
            .map_err(|_| Refusal::malformed(format!("the header field {name} has a malformed value")))?;
        // A map holds 32768 lines; more would panic.
        headers
            .try_append(name, value)
            .map_err(|_| Refusal::new(Code::HeadersTooLarge, "send at most 128 header fields and 64 KiB of them"))?;
    }
    Ok(headers)
}
