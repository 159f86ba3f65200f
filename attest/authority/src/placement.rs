//! Where the proxy puts a tool's credential.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::AuthorityError;

/// How the upstream wants its credential. Signed together with the credential, so that whoever holds
/// the gateway cannot have it sent in another way.
///
/// JSON: `{"kind":"bearer"}`, `{"kind":"header","name":"x-api-key"}`. In formats that do not describe
/// themselves: the text of `Display`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Placement {
    /// The upstream wants none.
    None,
    /// `Authorization: Bearer <secret>` (RFC 6750 §2.1).
    Bearer,
    /// `<name>: <secret>`; the name is in lower case.
    Header {
        /// The field's name, in lower case.
        name: String,
    },
    /// `Authorization: Basic <base64 of secret>`; the secret is `user:password` (RFC 7617).
    Basic,
}

// Fields that frame the message, route it or speak for the proxy: no credential belongs there.
const NOT_FOR_CREDENTIALS: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl Placement {
    /// Header placement under `name`, which is put in lower case.
    ///
    /// # Errors
    /// Not a field name (RFC 9110 §5.1), longer than 64, or one that frames or routes the message.
    pub fn header(name: &str) -> Result<Self, AuthorityError> {
        let name = name.to_ascii_lowercase();
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(token) {
            return Err(AuthorityError::malformed("placement", "not a header name"));
        }
        if NOT_FOR_CREDENTIALS.contains(&name.as_str()) {
            return Err(AuthorityError::malformed("placement", format!("{name} cannot carry a credential")));
        }
        Ok(Self::Header { name })
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("none"),
            Self::Bearer => formatter.write_str("bearer"),
            Self::Header { name } => write!(formatter, "header:{name}"),
            Self::Basic => formatter.write_str("basic"),
        }
    }
}

impl FromStr for Placement {
    type Err = AuthorityError;

    fn from_str(text: &str) -> Result<Self, AuthorityError> {
        match text {
            "none" => Ok(Self::None),
            "bearer" => Ok(Self::Bearer),
            "basic" => Ok(Self::Basic),
            _ => match text.strip_prefix("header:") {
                Some(name) => Self::header(name),
                None => Err(AuthorityError::malformed("placement", "must be none, bearer, basic or header:<name>")),
            },
        }
    }
}

// Empty braces, not unit variants: serde ignores unknown fields beside the tag of a unit variant.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum Tagged {
    None {},
    Bearer {},
    Header { name: String },
    Basic {},
}

impl Serialize for Placement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        match self {
            Self::None => Tagged::None {},
            Self::Bearer => Tagged::Bearer {},
            Self::Header { name } => Tagged::Header { name: name.clone() },
            Self::Basic => Tagged::Basic {},
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Placement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom);
        }
        match Tagged::deserialize(deserializer)? {
            Tagged::None {} => Ok(Self::None),
            Tagged::Bearer {} => Ok(Self::Bearer),
            Tagged::Header { name } => Self::header(&name).map_err(serde::de::Error::custom),
            Tagged::Basic {} => Ok(Self::Basic),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_placement_survives_both_of_its_forms() {
        let all = [Placement::None, Placement::Bearer, Placement::Basic, Placement::header("X-Api-Key").unwrap()];
        for placement in all {
            assert_eq!(placement.to_string().parse::<Placement>().unwrap(), placement);
            let json = serde_json::to_string(&placement).unwrap();
            assert_eq!(serde_json::from_str::<Placement>(&json).unwrap(), placement);
        }
        let header = serde_json::to_string(&Placement::header("X-Api-Key").unwrap()).unwrap();
        assert_eq!(header, r#"{"kind":"header","name":"x-api-key"}"#);
    }

    #[test]
    fn placements_outside_the_form_are_refused() {
        for json in [
            r#"{"kind":"bearer","name":"x"}"#,
            r#"{"kind":"none","extra":1}"#,
            r#"{"kind":"header"}"#,
            r#"{"kind":"header","name":""}"#,
            r#"{"kind":"header","name":"a b"}"#,
            r#"{"kind":"query"}"#,
            r#"{"kind":"header","name":"Host"}"#,
            r#"{"kind":"header","name":"content-length"}"#,
            r#""bearer""#,
        ] {
            assert!(serde_json::from_str::<Placement>(json).is_err(), "accepted: {json}");
        }
    }
}
