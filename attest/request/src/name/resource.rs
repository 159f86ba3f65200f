//! What a request touches inside a tool, and patterns over it.
//!
//! `repos/{owner}/{repo}` touches `octocat/hello`, an MCP `resources/read` touches a URI. Not to be confused with the
//! tool's own `resource` (RFC 8707), which is a token's `aud`. Nothing is normalised: what could be read in two ways is no
//! resource, and a pattern that covers nothing refuses.

use super::text_name;

/// A resource's longest text, in bytes.
const MAX_RESOURCE: usize = 1024;
/// A pattern's longest text, in bytes: sixteen of them leave room in a token.
const MAX_PATTERN: usize = 256;
/// Patterns in one grant or token.
pub const MAX_PATTERNS: usize = 16;

const ONE: &str = "*";
const REST: &str = "**";

text_name! {
    /// Segments with slashes between, as they were signed: visible ASCII without a backslash, escapes well-formed and of
    /// text, no dot segment however it is spelled. 1 to 1024 bytes.
    Resource, "resource", check_resource
}

text_name! {
    /// A resource in which a segment may be `*`, any one segment that is not empty, and the last may be `**`, all that
    /// is left and not empty. `octocat/*` covers `octocat/hello` and neither `octocat` nor `octocat/hello/issues`,
    /// which `octocat/**` covers. A star stands alone in its segment. 1 to 256 bytes.
    ResourcePattern, "resource pattern", check_pattern
}

impl ResourcePattern {
    /// Whether `resource` is one that this pattern means.
    pub fn covers(&self, resource: &Resource) -> bool {
        let mut rest = Some(resource.0.as_str());
        for segment in self.0.split('/') {
            let Some(text) = rest else { return false };
            if segment == REST {
                return !text.is_empty();
            }
            let (part, tail) = match text.split_once('/') {
                Some((part, tail)) => (part, Some(tail)),
                None => (text, None),
            };
            if !(segment == part || segment == ONE && !part.is_empty()) {
                return false;
            }
            rest = tail;
        }
        rest.is_none()
    }

    /// Whether every resource of this pattern is one of `wider`.
    pub fn is_within(&self, wider: &Self) -> bool {
        let mut narrow = self.0.split('/');
        for wide in wider.0.split('/') {
            let Some(segment) = narrow.next() else { return false };
            let fits = match wide {
                REST => return !segment.is_empty() || narrow.next().is_some(),
                ONE => !segment.is_empty() && segment != REST,
                literal => segment == literal,
            };
            if !fits {
                return false;
            }
        }
        narrow.next().is_none()
    }
}

/// Whether one of `patterns` covers what is touched. No patterns restrict nothing; patterns cover nothing where no
/// resource is known.
pub fn covered(patterns: &[ResourcePattern], touched: Option<&Resource>) -> bool {
    patterns.is_empty() || touched.is_some_and(|touched| patterns.iter().any(|pattern| pattern.covers(touched)))
}

/// Whether each of `narrow` lies within one of `wide`. No patterns are all resources, on both sides.
pub fn all_within(narrow: &[ResourcePattern], wide: &[ResourcePattern]) -> bool {
    let within = |one: &ResourcePattern| wide.iter().any(|wider| one.is_within(wider));
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(within))
}

fn check_resource(text: &str) -> Result<(), &'static str> {
    check(text, MAX_RESOURCE)
}

fn check_pattern(text: &str) -> Result<(), &'static str> {
    check(text, MAX_PATTERN)?;
    let last = text.split('/').count() - 1;
    for (index, segment) in text.split('/').enumerate() {
        match segment {
            ONE => {}
            REST if index == last => {}
            REST => return Err("** stands at its end alone"),
            _ if segment.contains('*') => return Err("a star stands alone in its segment"),
            _ => {}
        }
    }
    Ok(())
}

fn check(text: &str, longest: usize) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > longest {
        return Err("it is empty or too long");
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return Err("it has only visible ASCII characters and no backslash");
    }
    let decoded = unescaped(text).ok_or("it has a malformed escape")?;
    let decoded = String::from_utf8(decoded).map_err(|_| "its escapes are not UTF-8 text")?;
    if decoded.chars().any(char::is_control) {
        return Err("it escapes a control character");
    }
    // Whoever decodes it must not climb: `%2E%2e%2F` is `../` to a careless reader.
    if decoded.split(['/', '\\']).any(|segment| matches!(segment, "." | "..")) {
        return Err("it has a dot segment");
    }
    Ok(())
}

fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            octets.push(byte);
            continue;
        }
        let (digits, tail) = rest.split_first_chunk::<2>()?;
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        octets.push(digit(digits[0])? * 16 + digit(digits[1])?);
        rest = tail;
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> ResourcePattern {
        text.parse().unwrap()
    }

    fn resource(text: &str) -> Resource {
        text.parse().unwrap()
    }

    #[test]
    fn a_star_is_one_segment_and_two_are_the_rest() {
        for (text, touched, expected) in [
            ("octocat/hello", "octocat/hello", true),
            ("octocat/hello", "octocat/Hello", false),
            ("octocat/hello", "octocat/hello/", false),
            ("octocat/*", "octocat/hello", true),
            ("octocat/*", "octocat/hello%2Fworld", true),
            ("octocat/*", "octocat", false),
            ("octocat/*", "octocat/", false),
            ("octocat/*", "octocat/hello/issues", false),
            ("octocat/*", "octocat2/hello", false),
            ("*/hello", "octocat/hello", true),
            ("*/hello", "a/b/hello", false),
            ("*", "a", true),
            ("*", "a/b", false),
            ("**", "a/b/c", true),
            ("octocat/**", "octocat/hello/issues", true),
            ("octocat/**", "octocat/hello", true),
            ("octocat/**", "octocat", false),
            ("octocat/**", "octocat/", false),
            ("file:///project/**", "file:///project/src/main.rs", true),
            ("file:///project/**", "file:///projects/x", false),
            ("file:///*/x", "file:///a/x", true),
            ("file://*/a/x", "file:///a/x", false),
        ] {
            assert_eq!(pattern(text).covers(&resource(touched)), expected, "{text} over {touched}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_resource_and_no_pattern() {
        let long = "a".repeat(MAX_RESOURCE + 1);
        for text in [
            "",
            "a b",
            "a\\b",
            "é",
            "a\n",
            "a/../b",
            "..",
            "a/.",
            "%2e%2E/a",
            "a%2F..%2fb",
            "a%5C..",
            "%",
            "%4",
            "%zz",
            "%00",
            "a%0A",
            "%C0%AF",
            "%ff",
            &long,
        ] {
            assert!(text.parse::<Resource>().is_err(), "{text:?}");
            assert!(text.parse::<ResourcePattern>().is_err(), "{text:?}");
        }
        let long = "a".repeat(MAX_PATTERN + 1);
        for text in ["**/a", "a*", "*a/b", "a/***", "a/**b", "***", &long] {
            assert!(text.parse::<ResourcePattern>().is_err(), "{text:?}");
        }
        assert!("a*/b**".parse::<Resource>().is_ok(), "a star of a resource is a character of it");
    }

    #[test]
    fn patterns_cover_nothing_where_no_resource_is_known() {
        assert!(covered(&[], None));
        assert!(!covered(&[pattern("**")], None));
        assert!(covered(&[pattern("a"), pattern("b/*")], Some(&resource("b/c"))));
    }

    #[test]
    fn everything_is_within_nothing_but_everything() {
        assert!(all_within(&[], &[]));
        assert!(all_within(&[pattern("a")], &[]));
        assert!(!all_within(&[], &[pattern("**")]), "a token for all is wider than any pattern");
        assert!(all_within(&[pattern("a/b"), pattern("a/*")], &[pattern("x"), pattern("a/**")]));
        assert!(!all_within(&[pattern("a/b"), pattern("b")], &[pattern("a/**")]));
    }

    fn texts() -> impl Strategy<Value = Vec<&'static str>> {
        prop::collection::vec(prop::sample::select(vec!["a", "b", "", "*"]), 1..4)
    }

    proptest! {
        /// By the definition: within is a promise about every resource, here all short ones.
        #[test]
        fn what_a_narrow_pattern_covers_its_wider_one_covers(
            narrow in texts(), wide in texts(), narrow_rest: bool, wide_rest: bool
        ) {
            let text = |segments: &[&str], rest: bool| segments.join("/") + if rest { "/**" } else { "" };
            let parsed = (text(&narrow, narrow_rest).parse::<ResourcePattern>(), text(&wide, wide_rest).parse::<ResourcePattern>());
            let (Ok(narrow), Ok(wide)) = parsed else { return Ok(()) };
            let mut all_covered = true;
            let mut level = ["", "a", "b", "c"].map(str::to_owned).to_vec();
            for _ in 0..5 {
                for text in &level {
                    if let Ok(resource) = text.parse::<Resource>() && narrow.covers(&resource) {
                        all_covered &= wide.covers(&resource);
                    }
                }
                level = level.iter().flat_map(|head| ["", "a", "b", "c"].map(|tail| format!("{head}/{tail}"))).collect();
            }
            prop_assert_eq!(narrow.is_within(&wide), all_covered, "{} within {}", narrow, wide);
        }

        #[test]
        fn a_pattern_is_within_itself_and_within_everything(segments in texts(), rest: bool) {
            let text = segments.join("/") + if rest { "/**" } else { "" };
            if let Ok(parsed) = text.parse::<ResourcePattern>() {
                prop_assert!(parsed.is_within(&parsed));
                prop_assert!(parsed.is_within(&pattern("**")));
            }
        }
    }
}
