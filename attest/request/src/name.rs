//! Names on the wire, parsed once and valid from then on.
//!
//! Every type here has one text per value: parsing refuses what it would not print.

mod aan;
mod resource;
mod spiffe;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use aan::Aan;
pub use resource::{MAX_PATTERNS, Resource, ResourcePattern, all_within, covered};
pub use spiffe::{Kind, SpiffeId, TrustDomain};

/// Text that is not the name it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}: {why}")]
pub struct NameError {
    pub what: &'static str,
    pub why: &'static str,
}

/// A newtype over checked text: `$check` says why a text is refused.
macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::name::NameError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                match $check(&text) {
                    Ok(()) => Ok(Self(text)),
                    Err(why) => Err($crate::name::NameError { what: $what, why }),
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::name::NameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match $check(text) {
                    Ok(()) => Ok(Self(text.to_owned())),
                    Err(why) => Err($crate::name::NameError { what: $what, why }),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}
pub(crate) use text_name;

text_name!(
    /// A tool's name: `[a-z0-9][a-z0-9-]{0,62}`, unique in the deployment.
    Slug, "slug", check_slug
);

text_name!(
    /// An agent's name among people: the same grammar as a slug, unique in its tenant.
    Handle, "handle", check_slug
);

text_name!(
    /// One thing that a tool can do: `[A-Za-z0-9_.:-]{1,128}`, an OpenAPI operationId or an MCP tool name.
    ActionName, "action name", check_action
);

fn check_slug(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > 63 {
        return Err("it has 1 to 63 characters");
    }
    if text.starts_with('-') {
        return Err("it starts with a letter or a digit");
    }
    if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Err("it has only a-z, 0-9 and '-'");
    }
    Ok(())
}

fn check_action(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > 128 {
        return Err("it has 1 to 128 characters");
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b)) {
        return Err("it has only letters, digits and '_.:-'");
    }
    Ok(())
}

/// `<tool>:<action>`. A slug has no colon, so the first one divides.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope {
    pub tool: Slug,
    pub action: ActionName,
}

impl FromStr for Scope {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let Some((tool, action)) = text.split_once(':') else {
            return Err(NameError { what: "scope", why: "it is a tool and an action with a colon between" });
        };
        Ok(Self { tool: tool.parse()?, action: action.parse()? })
    }
}

impl TryFrom<String> for Scope {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.tool, self.action)
    }
}

/// Parses the one text of a UUID on our wire: hyphenated, lower case.
pub fn parse_uuid(text: &str) -> Result<Uuid, NameError> {
    let error = NameError { what: "uuid", why: "it is written hyphenated and in lower case" };
    let uuid = Uuid::try_parse(text).map_err(|_| error.clone())?;
    let mut buffer = Uuid::encode_buffer();
    if uuid.hyphenated().encode_lower(&mut buffer) != text {
        return Err(error);
    }
    Ok(uuid)
}

/// `#[serde(with = "tgp_request::name::uuid_text")]`: a UUID in its one text.
pub mod uuid_text {
    use serde::{Deserialize, Deserializer, Serializer};
    use uuid::Uuid;

    pub fn serialize<S: Serializer>(uuid: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        super::parse_uuid(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_keeps_to_its_grammar() {
        for good in ["a", "0", "crm", "a-b", "a--", &"a".repeat(63)] {
            assert!(good.parse::<Slug>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a_b", "a.b", "a:b", "a/b", "é", " a", &"a".repeat(64)] {
            assert!(bad.parse::<Slug>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_action_name_keeps_to_its_grammar() {
        for good in ["send", "Mail.send_v2:now-1", &"a".repeat(128)] {
            assert!(good.parse::<ActionName>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "a*", "é", &"a".repeat(129)] {
            assert!(bad.parse::<ActionName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_scope_without_tool_or_action_is_refused() {
        for bad in ["", "crm", ":search", "crm:", "CRM:search", "crm:a b", "crm: search"] {
            assert!(bad.parse::<Scope>().is_err(), "{bad}");
        }
        let scope: Scope = "crm:a:b".parse().unwrap();
        assert_eq!((scope.tool.as_str(), scope.action.as_str()), ("crm", "a:b"));
    }

    #[test]
    fn a_name_is_checked_when_it_is_deserialised() {
        assert!(serde_json::from_str::<Slug>("\"crm\"").is_ok());
        assert!(serde_json::from_str::<Slug>("\"CRM\"").is_err());
        assert!(serde_json::from_str::<Scope>("\"crm\"").is_err());
        assert!(serde_json::from_str::<Aan>("\"7284019953310474\"").is_err());
        let scope: Scope = "crm:search".parse().unwrap();
        assert_eq!(serde_json::to_string(&scope).unwrap(), "\"crm:search\"");
    }

    #[test]
    fn a_uuid_has_one_spelling() {
        let good = "0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d";
        assert_eq!(parse_uuid(good).unwrap().to_string(), good);
        for bad in [
            "0198F2C4-6D1E-7C3A-9B52-3F8E1A2B4C5D",
            "0198f2c46d1e7c3a9b523f8e1a2b4c5d",
            "{0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d}",
            "urn:uuid:0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d",
            "",
        ] {
            assert!(parse_uuid(bad).is_err(), "{bad}");
        }
    }
}
