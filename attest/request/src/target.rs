//! The request target: canonical or refused, never normalised.

mod canonical;
mod template;

use crate::Refusal;

pub use canonical::{EscapedSlash, canonical, canonical_with};
pub use template::{PathTemplate, TemplateError};

/// Whether a target URI lies within a token's audience: equal to it, or it followed by `/` or `?`.
pub fn within(aud: &str, target_uri: &str) -> bool {
    match target_uri.strip_prefix(aud) {
        Some(rest) => rest.is_empty() || rest.starts_with(['/', '?']),
        None => false,
    }
}

/// The parts of an absolute target URI, undecoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub scheme: &'a str,
    pub authority: &'a str,
    pub path_and_query: &'a str,
    pub path: &'a str,
    pub query: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// `scheme://authority/path?query`; the verifier builds it from configuration and the received
    /// path and query.
    pub fn split(target_uri: &'a str) -> Result<Self, Refusal> {
        let error = || Refusal::malformed("the target is not an absolute http or https URI");
        let (scheme, rest) = target_uri.split_once("://").ok_or_else(error)?;
        if !matches!(scheme, "https" | "http") {
            return Err(error());
        }
        let slash = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path_and_query) = rest.split_at(slash);
        if authority.is_empty() || authority.contains('@') {
            return Err(error());
        }
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path_and_query, None),
        };
        Ok(Self { scheme, authority, path_and_query, path, query })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_within_its_audience_at_a_boundary_only() {
        let aud = "https://gw/t/mail";
        for inside in ["https://gw/t/mail", "https://gw/t/mail/", "https://gw/t/mail/x", "https://gw/t/mail?x"] {
            assert!(within(aud, inside), "{inside}");
        }
        for outside in ["https://gw/t/mail2", "https://gw/t/mail#x", "https://gw/t/mai", "https://gx/t/mail", ""] {
            assert!(!within(aud, outside), "{outside}");
        }
    }

    #[test]
    fn a_target_is_split_without_decoding() {
        let target = Target::split("https://gw:8443/a%20b?c?d=/").unwrap();
        assert_eq!((target.scheme, target.authority), ("https", "gw:8443"));
        assert_eq!((target.path, target.query), ("/a%20b", Some("c?d=/")));
        assert_eq!(target.path_and_query, "/a%20b?c?d=/");
        assert_eq!(Target::split("https://gw?a").unwrap().path, "");
    }
}
