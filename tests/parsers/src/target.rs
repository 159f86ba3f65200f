//! Paths, path templates and audiences: a path, a template and an audience on a line each.

use tgp_request::target::{EscapedSlash, PathTemplate, canonical, canonical_with, within};

pub fn check(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let mut lines = text.split('\n');
    let target = lines.next().unwrap_or_default();
    let template = lines.next().unwrap_or_default();
    let aud = lines.next().unwrap_or_default();

    let strict = canonical(target).is_ok();
    let lenient = canonical_with(target, EscapedSlash::Allowed).is_ok();
    if lenient {
        allowed(target, strict);
    } else {
        assert!(!strict, "the mark only lets more through");
    }
    if within(aud, target) {
        let rest = &target[aud.len()..];
        assert!(target.starts_with(aud) && (rest.is_empty() || rest.starts_with(['/', '?'])));
    }
    let Ok(template) = template.parse::<PathTemplate>() else { return lenient };
    filled(&template);
    if let Some(values) = template.matches(target) {
        matched(&template, target, &values);
    }
    lenient
}

/// No form stands in it that two readers could read in two ways.
fn allowed(target: &str, strict: bool) {
    assert!(target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'));
    let (path, _) = target.split_once('?').unwrap_or((target, ""));
    for banned in ["//", "\\", ";", "/./", "/../", "\"", "<", ">", "[", "^", "`", "{", "|"] {
        assert!(!path.contains(banned), "{banned} in {path}");
    }
    assert!(!path.ends_with("/.") && !path.ends_with("/.."), "{path}");
    let lower = path.to_ascii_lowercase();
    for escape in ["%2e", "%5c", "%3b", "%25", "%00", "%0a", "%0d", "%7f", "%c0", "%c1", "%f5", "%61", "%5f"] {
        assert!(!lower.contains(escape), "{escape} in {path}");
    }
    assert!(!strict || !lower.contains("%2f"), "{path}");
    // Decoded it is text, and decoding it once more changes nothing.
    let decoded = decode(path).expect("well-formed");
    assert_eq!(decode(&decoded).as_deref(), Some(decoded.as_str()), "{path} has a second decoding");
    assert!(!decoded.chars().any(char::is_control), "{path}");
    // What http reads is what was written.
    if let Ok(uri) = target.parse::<http::Uri>() {
        assert_eq!(
            uri.path_and_query().map(|it| it.as_str().trim_end_matches('?')),
            Some(target.trim_end_matches('?'))
        );
    }
}

fn decode(text: &str) -> Option<String> {
    let mut octets = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'%' {
            let (digits, tail) = rest.split_first_chunk::<2>()?;
            octets.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = tail;
        } else {
            octets.push(byte);
        }
    }
    String::from_utf8(octets).ok()
}

/// A template prints what it was read from, can be called, and knows what it was filled with.
fn filled(template: &PathTemplate) {
    let text = template.as_str();
    assert_eq!(template.to_string().parse::<PathTemplate>().as_ref(), Ok(template));
    assert_eq!(template.specificity().len(), text[1..].split('/').count());
    let path = template.fill(|_| Some("x")).expect("every parameter has a value");
    canonical(&path).expect("a template can be called");
    let values = template.matches(&path).expect("it matches what it was filled with");
    assert!(values.iter().all(|(_, value)| *value == "x") && values.len() == template.parameters().count());
}

fn matched(template: &PathTemplate, target: &str, values: &[(&str, &str)]) {
    for (name, value) in values {
        assert!(!value.is_empty() && !value.contains('/'), "{name}={value}");
        let slash = value.to_ascii_lowercase().contains("%2f");
        assert!(!slash || template.takes_escaped_slash(), "{name}={value}");
    }
    let value = |name: &str| values.iter().find(|(it, _)| *it == name).map(|(_, value)| *value);
    assert_eq!(template.fill(value).as_deref(), Some(target), "the values are those of the path");
}
