//! A credential in the query: whatever the agent wrote under that name is dropped, all else stays as it was signed.

use zeroize::Zeroizing;

use crate::issue::form;

/// The query with `name` in it once, as `secret`.
///
/// Names are compared without case and between semicolons too: there are servers that read both ways, and the agent's
/// own value must be read by none of them.
pub fn with_parameter(query: Option<&str>, name: &str, secret: &[u8]) -> Zeroizing<String> {
    let query = query.unwrap_or_default();
    let mut out = Zeroizing::new(String::with_capacity(query.len() + name.len() + 3 * secret.len() + 2));
    for piece in query.split_inclusive(['&', ';']) {
        let pair = piece.trim_end_matches(['&', ';']);
        let key = pair.split_once('=').map_or(pair, |(key, _)| key);
        let same = |key: &str| key.eq_ignore_ascii_case(name);
        if !same(key) && !form::decode(key).is_some_and(|key| same(&key)) {
            out.push_str(piece);
        }
    }
    if !out.is_empty() && !out.ends_with(['&', ';']) {
        out.push('&');
    }
    out.push_str(name);
    out.push('=');
    for &octet in secret {
        percent(octet, &mut out);
    }
    out
}

/// RFC 3986 §2.1: whatever is not unreserved is escaped. It is a value in a form as well, where a plus means a space.
pub fn percent(octet: u8, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
        out.push(char::from(octet));
    } else {
        out.push('%');
        out.push(char::from(DIGITS[usize::from(octet >> 4)]));
        out.push(char::from(DIGITS[usize::from(octet & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_own_copy_is_dropped_in_every_spelling_and_the_rest_stays() {
        for (query, expected) in [
            (None, "api_key=s3%2F%26"),
            (Some(""), "api_key=s3%2F%26"),
            (Some("a=1&b=%2F+x"), "a=1&b=%2F+x&api_key=s3%2F%26"),
            (Some("api_key=mine"), "api_key=s3%2F%26"),
            (Some("api_key"), "api_key=s3%2F%26"),
            (Some("a=1&api_key=mine&b=2"), "a=1&b=2&api_key=s3%2F%26"),
            (Some("a=1&API_KEY=mine"), "a=1&api_key=s3%2F%26"),
            (Some("a=1&%61pi%5Fkey=mine&api_key=again"), "a=1&api_key=s3%2F%26"),
            (Some("a=1;api_key=mine;b=2"), "a=1;b=2&api_key=s3%2F%26"),
            (Some("x_api_key=1&api_keys=2"), "x_api_key=1&api_keys=2&api_key=s3%2F%26"),
            (Some("a=api_key=1&&b"), "a=api_key=1&&b&api_key=s3%2F%26"),
            (Some("%zz=1&%ff=2"), "%zz=1&%ff=2&api_key=s3%2F%26"),
        ] {
            assert_eq!(with_parameter(query, "api_key", b"s3/&").as_str(), expected, "{query:?}");
        }
    }
}
