//! Patterns over action names: what a grant allows.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tgp_request::name::ActionName;

use crate::error::AuthorityError;

const MAX_BYTES: usize = 128;
const MAX_STARS: usize = 8;

/// An action name in which `*` stands for any run of characters, also none.
///
/// `mail.send` covers itself, `mail.*` covers `mail.send` and `mail.draft.save` but not `mail`, `*`
/// covers all. There is no other special character: `*` is not part of any action name, everything
/// else matches itself, case matters. At most 128 bytes and eight stars, never two beside each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ActionPattern(String);

impl ActionPattern {
    /// The pattern that covers exactly `action`.
    #[must_use]
    pub fn exactly(action: &ActionName) -> Self {
        Self(action.to_string())
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `action` is one that this pattern means.
    #[must_use]
    pub fn covers(&self, action: &ActionName) -> bool {
        matches(self.0.as_bytes(), action.to_string().as_bytes())
    }
}

/// Greedy with one point of return: the last star takes one byte more each time the rest fails.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut last_star = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            last_star = Some((p + 1, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((after, taken)) = last_star {
            last_star = Some((after, taken + 1));
            p = after;
            t = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

impl FromStr for ActionPattern {
    type Err = AuthorityError;

    fn from_str(text: &str) -> Result<Self, AuthorityError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-*".contains(&byte);
        let refused = |why: &str| Err(AuthorityError::malformed("action pattern", why));
        if text.is_empty() || text.len() > MAX_BYTES {
            return refused("must be 1 to 128 characters");
        }
        if !text.bytes().all(allowed) {
            return refused("only letters, digits, _ . : - and * are allowed");
        }
        if text.contains("**") || text.bytes().filter(|&byte| byte == b'*').count() > MAX_STARS {
            return refused("too many stars");
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ActionPattern {
    type Error = AuthorityError;

    fn try_from(text: String) -> Result<Self, AuthorityError> {
        text.parse()
    }
}

impl From<ActionPattern> for String {
    fn from(pattern: ActionPattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for ActionPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stands_for_any_run_and_nothing_else_is_special() {
        for (pattern, action, covered) in [
            ("send", "send", true),
            ("send", "Send", false),
            ("send", "sender", false),
            ("send", "resend", false),
            ("*", "anything.at:all_-", true),
            ("mail.*", "mail.send", true),
            ("mail.*", "mail.draft.save", true),
            ("mail.*", "mail.", true),
            ("mail.*", "mail", false),
            ("mail.*", "mailXsend", false),
            ("mail.*", "email.send", false),
            ("*.read", "mail.read", true),
            ("*.read", "mail.read.all", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
        ] {
            let pattern: ActionPattern = pattern.parse().unwrap();
            assert_eq!(pattern.covers(&action.parse().unwrap()), covered, "{pattern} over {action}");
        }
    }

    #[test]
    fn patterns_outside_the_grammar_are_refused() {
        let long = "a".repeat(129);
        for text in ["", "**", "a**b", "a b", "a/b", "a?", "[a]", "é", "*a*a*a*a*a*a*a*a*", &long] {
            assert!(text.parse::<ActionPattern>().is_err(), "accepted: {text}");
        }
    }

    /// The definition, written the slow way.
    fn defined(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|taken| defined(rest, &text[taken..])),
            Some((byte, rest)) => text.first() == Some(byte) && defined(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_its_definition(pattern in "[ab.]{0,3}(\\*[ab.]{1,3}){0,3}\\*?", text in "[ab.]{0,10}") {
            prop_assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), defined(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
