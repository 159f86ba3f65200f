//! The few forms of URL that statements name, each with one spelling only.
//!
//! What is signed is compared byte for byte later on (a grant's resource with a token's audience, a
//! credential's origin with the upstream), so a second spelling of the same URL is refused here.

use std::net::{Ipv4Addr, Ipv6Addr};

/// An origin (RFC 6454 §6.2): `http` or `https`, host in lower case, the port only where it is not the
/// scheme's own. No user, no path.
#[must_use]
pub fn valid_origin(text: &str) -> bool {
    split(text).is_some_and(|(_, path)| path.is_empty())
}

/// A resource: an origin, then path segments of unreserved characters; no trailing slash, no query, no
/// fragment. At most 512 bytes.
#[must_use]
pub fn valid_resource(text: &str) -> bool {
    let Some((_, path)) = split(text) else { return false };
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let segment = |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(unreserved);
    text.len() <= 512 && (path.is_empty() || path[1..].split('/').all(segment))
}

/// A DNS name in lower case without trailing dot, or an IP address in its one shortest text.
#[must_use]
pub fn valid_host(host: &str) -> bool {
    if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    if host.contains(':') {
        return host.parse::<Ipv6Addr>().is_ok_and(|address| address.to_string() == host);
    }
    let byte_ok = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(byte_ok)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(label_ok)
}

/// Authority and path of a URL whose origin is well-formed; the path is empty or begins with `/`.
fn split(text: &str) -> Option<(&str, &str)> {
    let (rest, own_port) = match text.strip_prefix("https://") {
        Some(rest) => (rest, 443),
        None => (text.strip_prefix("http://")?, 80),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (host, after) = bracketed.split_once(']')?;
            (host.contains(':').then_some(host)?, after)
        }
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port_ok = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => {
            digits.parse::<u16>().is_ok_and(|number| number != own_port && number != 0 && number.to_string() == digits)
        }
    };
    (valid_host(host) && port_ok).then_some((authority, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_one_spelling() {
        for text in ["https://api.example", "http://localhost:3000", "https://10.0.0.1:8443", "http://[::1]:9000"] {
            assert!(valid_origin(text), "refused: {text}");
        }
        for text in [
            "https://api.example/",
            "https://API.example",
            "https://api.example:443",
            "http://a:80",
            "http://a:080",
            "https://user@a",
            "ftp://a",
            "https://",
            "https://a:",
            "https://a:0",
            "https://a:+1",
            "https://a:65536",
            "https://[::1",
            "https://[127.0.0.1]",
            "https://[0:0::1]",
            "https://::1",
            "https://256.1.1.1",
            "https://1.2.3",
            "https://a..b",
            "https://-a",
            "https://a?b",
            "https://a#b",
            "https://a b",
            "a",
            "",
            "https://a\u{e9}.example",
            "HTTPS://a",
        ] {
            assert!(!valid_origin(text), "accepted: {text}");
        }
    }

    #[test]
    fn a_resource_has_one_spelling() {
        for text in ["https://tgp.example/t/mail", "https://tgp.example", "https://localhost:8443/t/a-b"] {
            assert!(valid_resource(text), "refused: {text}");
        }
        for text in [
            "https://tgp.example/",
            "https://tgp.example/t/mail/",
            "https://tgp.example//t",
            "https://a/../b",
            "https://a/./b",
            "https://a/%41",
            "https://a/b?c",
            "https://a/b#c",
            "https://a/b;c",
            "https://a/b\\c",
            "/t/mail",
        ] {
            assert!(!valid_resource(text), "accepted: {text}");
        }
    }
}
