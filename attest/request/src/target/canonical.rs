//! Which paths are canonical. Two parsers that disagree on a path disagree on which action it is,
//! so whatever could be read in two ways is refused.

use crate::Refusal;

/// Whether `%2F` may stand in the path: only where the action's template marks a parameter for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EscapedSlash {
    Refused,
    Allowed,
}

/// Refuses a path that is not already canonical; see [`canonical_with`].
pub fn canonical(path_and_query: &str) -> Result<(), Refusal> {
    canonical_with(path_and_query, EscapedSlash::Refused)
}

/// Refuses a path with dot segments, `//`, `\`, `;`, octets that RFC 3986 forbids, malformed
/// escapes, or escapes of unreserved characters, of `/`, `\`, `;`, `%`, of controls or of bytes
/// that are not UTF-8. A query decides nothing and is forwarded as it is signed, so it need only be
/// visible ASCII with well-formed escapes.
pub fn canonical_with(path_and_query: &str, slash: EscapedSlash) -> Result<(), Refusal> {
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    check_path(path, slash)?;
    query.map_or(Ok(()), check_query)
}

fn check_path(path: &str, slash: EscapedSlash) -> Result<(), Refusal> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err(Refusal::path("the path does not start with a slash"));
    };
    let last = rest.split('/').count() - 1;
    for (index, segment) in rest.split('/').enumerate() {
        // A trailing slash leaves one empty segment at the end; `/` alone is one.
        if segment.is_empty() && index != last {
            return Err(Refusal::path("the path has an empty segment"));
        }
        if matches!(segment, "." | "..") {
            return Err(Refusal::path("the path has a dot segment"));
        }
        check_segment(segment, slash)?;
    }
    Ok(())
}

fn check_segment(segment: &str, slash: EscapedSlash) -> Result<(), Refusal> {
    let bytes = segment.as_bytes();
    let mut escaped_text = Vec::new();
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        if byte != b'%' {
            if !is_pchar(byte) {
                return Err(Refusal::path(format!("the path holds the octet 0x{byte:02X} unescaped")));
            }
            check_utf8(&mut escaped_text)?;
            index += 1;
            continue;
        }
        let Some(octet) = unescape(bytes, index) else {
            return Err(Refusal::path("the path has a malformed escape"));
        };
        let allowed = match octet {
            b'/' => slash == EscapedSlash::Allowed,
            b'\\' | b';' | b'%' => false,
            other => !is_unreserved(other) && !other.is_ascii_control(),
        };
        if !allowed {
            return Err(Refusal::path(format!("the path escapes the octet 0x{octet:02X}")));
        }
        if !octet.is_ascii() {
            escaped_text.push(octet);
        } else {
            check_utf8(&mut escaped_text)?;
        }
        index += 3;
    }
    check_utf8(&mut escaped_text)
}

/// A run of escaped octets beyond ASCII must be text: `%C0%AF` is a slash to a careless decoder.
fn check_utf8(run: &mut Vec<u8>) -> Result<(), Refusal> {
    if run.is_empty() {
        return Ok(());
    }
    match std::str::from_utf8(run) {
        Ok(text) if !text.chars().any(char::is_control) => {
            run.clear();
            Ok(())
        }
        _ => Err(Refusal::path("the path escapes octets that are not UTF-8 text")),
    }
}

fn check_query(query: &str) -> Result<(), Refusal> {
    let bytes = query.as_bytes();
    for (index, &byte) in bytes.iter().enumerate() {
        if !byte.is_ascii_graphic() || byte == b'#' {
            return Err(Refusal::path(format!("the query holds the octet 0x{byte:02X} unescaped")));
        }
        if byte == b'%' && unescape(bytes, index).is_none() {
            return Err(Refusal::path("the query has a malformed escape"));
        }
    }
    Ok(())
}

/// The octet of the escape that starts at `index`.
fn unescape(bytes: &[u8], index: usize) -> Option<u8> {
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    let octet = digit(index + 1)? * 16 + digit(index + 2)?;
    u8::try_from(octet).ok()
}

/// RFC 3986 §3.3, without the escapes and without `;`, which some servers cut parameters at.
pub(super) fn is_pchar(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,=:@".contains(&byte)
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_paths_pass() {
        for good in [
            "/",
            "/a",
            "/a/",
            "/a/b",
            "/.a/..a/a..",
            "/...",
            "/a%20b",
            "/%C3%A9",
            "/%c3%a9x%E2%82%AC",
            "/a:b@c",
            "/!$&'()*+,=~-._",
            "/%3A%40",
            "/%22",
            "/?",
            "/?a//b/../;%2F%25%41[]",
            "/a??",
        ] {
            assert!(canonical(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn every_octet_is_judged_escaped_and_not() {
        for octet in 0u8..=0x7f {
            let c = char::from(octet);
            let plain = canonical(&format!("/a{c}b")).is_ok();
            assert_eq!(plain, c.is_ascii_alphanumeric() || "-._~!$&'()*+,=:@/?".contains(c), "{c:?}");
            let escaped = canonical(&format!("/a%{octet:02X}b")).is_ok();
            let forbidden = c.is_ascii_alphanumeric() || c.is_ascii_control() || "-._~/\\;%".contains(c);
            assert_eq!(escaped, !forbidden, "escaped {c:?}");
        }
    }

    #[test]
    fn escaped_octets_that_are_no_text_are_refused() {
        for bad in ["/%FF", "/%C3", "/%C3a%A9", "/%A9", "/%C0%AE", "/%ED%A0%80", "/%C2%85", "/%C3/%A9", "/%C3%20"] {
            assert!(canonical(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_a_path_is_refused() {
        for bad in ["", "a", "*", "?a", "//", "//a", "/a//", "http://a/", "/é", "/?é", "/?a b", "/?%", "/?%4", "/?%4g"]
        {
            assert!(canonical(bad).is_err(), "{bad}");
        }
    }
}
