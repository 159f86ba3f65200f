//! The signature base, RFC 9421 §2.5.
//!
//! Component identifiers and parameters are written in the order received, in the one serialisation
//! that RFC 9651 §4.1 gives the values received.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use sfv::{BareItemFromInput, Dictionary, FieldType as _, ItemSerializer, ListSerializer, Parser};

use super::Tag;
use super::form::{NotAscii, combined};
use super::input::{Component, Input};
use crate::refusal::Refusal;
use crate::target::Target;

/// No honest request covers more, and comparing each with each must stay cheap.
const MAX_COMPONENTS: usize = 128;

/// What a component's own parameters may be at most: `;req;key="…"` and the like are one or two.
const MAX_COMPONENT_PARAMETERS: usize = 4;

/// A component with parameters reads its field anew, whatever its length; no honest request has more of them.
const MAX_PARAMETERISED: usize = 8;

/// Fields known to be dictionaries, so that `;sf` can be computed.
const DICTIONARIES: [&str; 5] = ["content-digest", "repr-digest", "priority", "signature", "signature-input"];

/// The request as components are drawn from it.
pub(super) struct Message<'a> {
    pub method: &'a str,
    pub target_uri: &'a str,
    pub target: Target<'a>,
    pub headers: &'a HeaderMap,
}

/// Which components of the profile a signature covers, those with parameters of their own not counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Covered {
    pub method: bool,
    pub target_uri: bool,
    pub authorization: bool,
    pub content_digest: bool,
    pub content_type: bool,
}

impl Covered {
    fn note(&mut self, name: &str) {
        match name {
            "@method" => self.method = true,
            "@target-uri" => self.target_uri = true,
            "authorization" => self.authorization = true,
            "content-digest" => self.content_digest = true,
            "content-type" => self.content_type = true,
            _ => {}
        }
    }

    /// What the tag demands whatever the content is.
    pub fn check(&self, tag: Tag) -> Result<(), Refusal> {
        let Self { method, target_uri, authorization, content_digest, content_type } = *self;
        let is_call = tag == Tag::Request;
        for (covered, name) in [
            (method, "@method"),
            (target_uri, "@target-uri"),
            (authorization || !is_call, "authorization"),
            (content_digest || is_call, "content-digest"),
            (content_type || is_call, "content-type"),
        ] {
            if !covered {
                return Err(Refusal::signature(format!("the signature does not cover {name}")));
            }
        }
        Ok(())
    }
}

/// Writes the base of one signature and tells what it covers.
pub(super) fn build(message: &Message<'_>, input: &Input<'_>) -> Result<(String, Covered), Refusal> {
    if input.components.len() > MAX_COMPONENTS {
        return Err(Refusal::signature("the signature covers too many components"));
    }
    if input.components.iter().filter(|component| !component.parameters.is_empty()).count() > MAX_PARAMETERISED {
        return Err(Refusal::signature("the signature covers too many components with parameters"));
    }
    let mut base = String::with_capacity(2048);
    let mut covered = Covered::default();
    for (index, component) in input.components.iter().enumerate() {
        let name = check_identifier(component, &input.components[..index])?;
        write_identifier(&mut base, component);
        base.push_str(": ");
        write_value(&mut base, message, name, component)?;
        base.push('\n');
        if component.parameters.is_empty() {
            covered.note(name);
        }
    }
    base.push_str("\"@signature-params\": ");
    write_parameters(&mut base, input);
    Ok((base, covered))
}

/// A lower-case name, no repeated parameter, and no component before it that is the same.
fn check_identifier<'c>(component: &'c Component<'_>, earlier: &[Component<'_>]) -> Result<&'c str, Refusal> {
    let BareItemFromInput::String(name) = &component.name else {
        return Err(Refusal::signature("a component's name is not a string"));
    };
    let name = name.as_str();
    let plain = |text: &str| {
        text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    if !plain(name.strip_prefix('@').unwrap_or(name)) || name.is_empty() {
        return Err(Refusal::signature("a component's name is not a lower-case field name"));
    }
    let parameters = &component.parameters;
    if parameters.len() > MAX_COMPONENT_PARAMETERS {
        return Err(Refusal::signature(format!("the component {name} has too many parameters")));
    }
    for (index, (key, _)) in parameters.iter().enumerate() {
        if parameters[..index].iter().any(|(earlier, _)| earlier == key) {
            return Err(Refusal::signature(format!("a parameter of the component {name} is repeated")));
        }
    }
    // RFC 9421 §2: the order of parameters makes no difference between identifiers.
    let same = |other: &Component<'_>| {
        other.name == component.name
            && other.parameters.len() == parameters.len()
            && other.parameters.iter().all(|it| parameters.contains(it))
    };
    if earlier.iter().any(same) {
        return Err(Refusal::signature(format!("the component {name} is covered twice")));
    }
    Ok(name)
}

fn write_identifier(base: &mut String, component: &Component<'_>) {
    let parameters = component.parameters.iter().map(|(key, value)| (*key, value));
    let _: &mut String = ItemSerializer::with_buffer(base).bare_item(&component.name).parameters(parameters).finish();
}

/// RFC 9421 §2.3.
fn write_parameters(base: &mut String, input: &Input<'_>) {
    let mut list = ListSerializer::with_buffer(base);
    let mut components = list.inner_list();
    for component in &input.components {
        let parameters = component.parameters.iter().map(|(key, value)| (*key, value));
        let _: &mut String = components.bare_item(&component.name).parameters(parameters).finish();
    }
    let parameters = input.parameters.iter().map(|(key, value)| (*key, value));
    let _: &mut String = components.finish().parameters(parameters).finish();
}

fn write_value(base: &mut String, message: &Message<'_>, name: &str, component: &Component<'_>) -> Result<(), Refusal> {
    let parameters = component.parameters.as_slice();
    match (name.strip_prefix('@'), parameters) {
        (Some(_), []) => write_derived(base, message, name),
        (Some("query-param"), [(key, BareItemFromInput::String(wanted))]) if key.as_str() == "name" => {
            write_query_param(base, message.target.query, wanted.as_str())
        }
        (Some(_), _) => Err(cannot(name)),
        (None, []) => write_field(base, message.headers, name),
        (None, [(key, value)]) => match (key.as_str(), value) {
            ("bs", BareItemFromInput::Boolean(true)) => write_bytes(base, message.headers, name),
            ("sf", BareItemFromInput::Boolean(true)) => write_strict(base, message.headers, name),
            ("key", BareItemFromInput::String(member)) => write_member(base, message.headers, name, member.as_str()),
            _ => Err(cannot(name)),
        },
        (None, _) => Err(cannot(name)),
    }
}

fn cannot(name: &str) -> Refusal {
    Refusal::signature(format!("the component {name} with these parameters is not known here"))
}

/// RFC 9421 §2.2.
fn write_derived(base: &mut String, message: &Message<'_>, name: &str) -> Result<(), Refusal> {
    let target = &message.target;
    match name {
        "@method" => base.push_str(message.method),
        "@target-uri" => base.push_str(message.target_uri),
        "@authority" => {
            let port = if target.scheme == "https" { ":443" } else { ":80" };
            let authority = target.authority.strip_suffix(port).unwrap_or(target.authority);
            base.extend(authority.chars().map(|c| c.to_ascii_lowercase()));
        }
        "@scheme" => base.push_str(target.scheme),
        "@request-target" => base.push_str(target.path_and_query),
        "@path" => base.push_str(target.path),
        "@query" => {
            base.push('?');
            base.push_str(target.query.unwrap_or_default());
        }
        _ => return Err(cannot(name)),
    }
    Ok(())
}

fn absent(name: &str) -> Refusal {
    Refusal::signature(format!("the covered field {name} is missing"))
}

fn write_field(base: &mut String, headers: &HeaderMap, name: &str) -> Result<(), Refusal> {
    match combined(headers, name) {
        Ok(Some(value)) => base.push_str(&value),
        Ok(None) => return Err(absent(name)),
        Err(NotAscii) => return Err(Refusal::signature(format!("the covered field {name} is not visible ASCII"))),
    }
    Ok(())
}

/// RFC 9421 §2.1.3: each line as a byte sequence.
fn write_bytes(base: &mut String, headers: &HeaderMap, name: &str) -> Result<(), Refusal> {
    let mut lines = headers.get_all(name).iter().peekable();
    if lines.peek().is_none() {
        return Err(absent(name));
    }
    for (index, line) in lines.enumerate() {
        base.push_str(if index == 0 { ":" } else { ", :" });
        STANDARD.encode_string(line.as_bytes().trim_ascii(), base);
        base.push(':');
    }
    Ok(())
}

fn dictionary(headers: &HeaderMap, name: &str) -> Result<Dictionary, Refusal> {
    let Ok(Some(value)) = combined(headers, name) else { return Err(absent(name)) };
    Parser::new(&*value)
        .parse()
        .map_err(|_| Refusal::signature(format!("the covered field {name} is not a structured dictionary")))
}

/// RFC 9421 §2.1.1, for fields whose type is known.
fn write_strict(base: &mut String, headers: &HeaderMap, name: &str) -> Result<(), Refusal> {
    if !DICTIONARIES.contains(&name) {
        return Err(cannot(name));
    }
    base.push_str(&dictionary(headers, name)?.serialize().unwrap_or_default());
    Ok(())
}

/// RFC 9421 §2.1.2.
fn write_member(base: &mut String, headers: &HeaderMap, name: &str, member: &str) -> Result<(), Refusal> {
    let dictionary = dictionary(headers, name)?;
    let Some(entry) = dictionary.get(member) else { return Err(absent(name)) };
    ListSerializer::with_buffer(base).members([entry]);
    Ok(())
}

/// RFC 9421 §2.2.8: the one parameter of this name, decoded and encoded again.
fn write_query_param(base: &mut String, query: Option<&str>, wanted: &str) -> Result<(), Refusal> {
    let mut values = query.unwrap_or_default().split('&').filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (!pair.is_empty() && form_encode(&form_decode(name)) == wanted).then_some(value)
    });
    match (values.next(), values.next()) {
        (Some(value), None) => base.push_str(&form_encode(&form_decode(value))),
        (None, _) => return Err(absent("@query-param")),
        (Some(_), Some(_)) => return Err(Refusal::signature("a covered query parameter is repeated")),
    }
    Ok(())
}

fn form_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|&b| char::from(b).to_digit(16));
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        match (byte, digit(index + 1), digit(index + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits are an octet"));
                index += 3;
                continue;
            }
            (b'+', ..) => decoded.push(b' '),
            _ => decoded.push(byte),
        }
        index += 1;
    }
    decoded
}

/// The set of `application/x-www-form-urlencoded`, a space as `%20`.
fn form_encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"*-._".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}
