//! How a tool's upstream wants its credential.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::AuthorityError;
use crate::oauth2::OAuth2;

/// What is made of the secret, and where in the request it goes. Signed together with the secret's
/// digest, so that whoever holds the gateway cannot have it sent in another way.
///
/// JSON: `{"kind":"bearer"}`, `{"kind":"header","name":"x-api-key"}`. In formats that do not describe
/// themselves: that JSON as one text.
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
    /// `?<name>=<secret>`, beside whatever else the query says.
    Query {
        /// The parameter's name.
        name: String,
    },
    /// `Authorization: Basic <base64 of secret>`; the secret is `user:password` (RFC 7617).
    Basic,
    /// Signed with AWS Signature Version 4; the secret is `access-key-id:secret-access-key`, with
    /// `:session-token` behind it for temporary ones.
    AwsSigV4 {
        /// `eu-central-1`
        region: String,
        /// The service's signing name: `s3`, `execute-api`.
        service: String,
    },
    /// The TLS client certificate of the connection; the secret is its chain and key, PEM.
    ClientCertificate,
    /// An access token that is fetched with the secret goes as `Authorization: Bearer`. The secret is
    /// the client secret, and behind a line end the refresh token, where the grant is one.
    OAuth2(OAuth2),
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
            return Err(refused("not a header name"));
        }
        if NOT_FOR_CREDENTIALS.contains(&name.as_str()) {
            return Err(AuthorityError::malformed("placement", format!("{name} cannot carry a credential")));
        }
        Ok(Self::Header { name })
    }

    /// Query placement in the parameter `name`.
    ///
    /// # Errors
    /// Not 1 to 64 of RFC 3986's unreserved characters: a name that needs escapes has two spellings.
    pub fn query(name: &str) -> Result<Self, AuthorityError> {
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(unreserved) {
            return Err(refused("not a parameter's name: 1 to 64 letters, digits, - . _ ~"));
        }
        Ok(Self::Query { name: name.to_owned() })
    }

    /// AWS Signature Version 4 for a region and a service.
    ///
    /// # Errors
    /// Either is not 1 to 64 lower-case letters, digits and dashes.
    pub fn aws_sigv4(region: &str, service: &str) -> Result<Self, AuthorityError> {
        let name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let valid = |text: &str| (1..=64).contains(&text.len()) && text.bytes().all(name);
        if !valid(region) || !valid(service) {
            return Err(refused("region and service are lower-case letters, digits and dashes"));
        }
        Ok(Self::AwsSigV4 { region: region.to_owned(), service: service.to_owned() })
    }

    /// The `kind` of its JSON.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Bearer => "bearer",
            Self::Header { .. } => "header",
            Self::Query { .. } => "query",
            Self::Basic => "basic",
            Self::AwsSigV4 { .. } => "aws-sigv4",
            Self::ClientCertificate => "client-certificate",
            Self::OAuth2(_) => "oauth2",
        }
    }
}

fn refused(why: &str) -> AuthorityError {
    AuthorityError::malformed("placement", why)
}

/// For people.
impl fmt::Display for Placement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.kind())?;
        match self {
            Self::None | Self::Bearer | Self::Basic | Self::ClientCertificate => Ok(()),
            Self::Header { name } | Self::Query { name } => write!(formatter, " {name}"),
            Self::AwsSigV4 { region, service } => write!(formatter, " {region} {service}"),
            Self::OAuth2(OAuth2 { grant, token_endpoint, client_id, .. }) => {
                write!(formatter, " {} of {client_id} at {token_endpoint}", grant.as_str())
            }
        }
    }
}

// Empty braces, not unit variants: serde ignores unknown fields beside the tag of a unit variant.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum Tagged {
    None {},
    Bearer {},
    Header {
        name: String,
    },
    Query {
        name: String,
    },
    Basic {},
    #[serde(rename = "aws-sigv4")]
    AwsSigV4 {
        region: String,
        service: String,
    },
    ClientCertificate {},
    #[serde(rename = "oauth2")]
    OAuth2(OAuth2),
}

impl From<Placement> for Tagged {
    fn from(placement: Placement) -> Self {
        match placement {
            Placement::None => Self::None {},
            Placement::Bearer => Self::Bearer {},
            Placement::Header { name } => Self::Header { name },
            Placement::Query { name } => Self::Query { name },
            Placement::Basic => Self::Basic {},
            Placement::AwsSigV4 { region, service } => Self::AwsSigV4 { region, service },
            Placement::ClientCertificate => Self::ClientCertificate {},
            Placement::OAuth2(oauth2) => Self::OAuth2(oauth2),
        }
    }
}

impl TryFrom<Tagged> for Placement {
    type Error = AuthorityError;

    fn try_from(tagged: Tagged) -> Result<Self, AuthorityError> {
        match tagged {
            Tagged::None {} => Ok(Self::None),
            Tagged::Bearer {} => Ok(Self::Bearer),
            Tagged::Header { name } => Self::header(&name),
            Tagged::Query { name } => Self::query(&name),
            Tagged::Basic {} => Ok(Self::Basic),
            Tagged::AwsSigV4 { region, service } => Self::aws_sigv4(&region, &service),
            Tagged::ClientCertificate {} => Ok(Self::ClientCertificate),
            Tagged::OAuth2(oauth2) => oauth2.within_bounds().map(|()| Self::OAuth2(oauth2)),
        }
    }
}

impl Serialize for Placement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tagged = Tagged::from(self.clone());
        if serializer.is_human_readable() {
            return tagged.serialize(serializer);
        }
        let text = serde_json::to_string(&tagged).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Placement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tagged = if deserializer.is_human_readable() {
            Tagged::deserialize(deserializer)?
        } else {
            serde_json::from_str(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)?
        };
        Self::try_from(tagged).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth2::{ClientAuth, OAuth2Grant};

    #[test]
    fn every_placement_survives_both_of_its_forms() {
        let oauth2 = OAuth2 {
            grant: OAuth2Grant::RefreshToken,
            token_endpoint: "https://auth.example/oauth2/token".into(),
            client_id: "tgp".into(),
            client_auth: ClientAuth::ClientSecretPost,
            scope: Some("mail.read mail.send".into()),
        };
        for (placement, kind) in [
            (Placement::None, "none"),
            (Placement::Bearer, "bearer"),
            (Placement::Basic, "basic"),
            (Placement::header("X-Api-Key").unwrap(), "header"),
            (Placement::query("api_key").unwrap(), "query"),
            (Placement::aws_sigv4("eu-central-1", "s3").unwrap(), "aws-sigv4"),
            (Placement::ClientCertificate, "client-certificate"),
            (Placement::OAuth2(oauth2), "oauth2"),
        ] {
            let json = serde_json::to_string(&placement).unwrap();
            assert!(json.contains(&format!("\"kind\":\"{kind}\"")), "{json}");
            assert_eq!(
                (placement.kind(), serde_json::from_str::<Placement>(&json).unwrap()),
                (kind, placement.clone())
            );
            let octets = postcard::to_stdvec(&placement).unwrap();
            assert_eq!(postcard::from_bytes::<Placement>(&octets).unwrap(), placement);
        }
        let header = serde_json::to_string(&Placement::header("X-Api-Key").unwrap()).unwrap();
        assert_eq!(header, r#"{"kind":"header","name":"x-api-key"}"#);
    }

    #[test]
    fn placements_outside_the_form_are_refused() {
        let oauth2 = |member: &str| {
            r#"{"kind":"oauth2","grant":"client_credentials","token_endpoint":"https://a.example/token","client_id":"c","client_auth":"client_secret_basic"}"#
                .replace(r#""client_id":"c""#, member)
        };
        assert!(serde_json::from_str::<Placement>(&oauth2(r#""client_id":"c""#)).is_ok());
        for json in [
            r#"{"kind":"bearer","name":"x"}"#,
            r#"{"kind":"none","extra":1}"#,
            r#"{"kind":"header"}"#,
            r#"{"kind":"header","name":""}"#,
            r#"{"kind":"header","name":"a b"}"#,
            r#"{"kind":"header","name":"Host"}"#,
            r#"{"kind":"header","name":"content-length"}"#,
            r#"{"kind":"query"}"#,
            r#"{"kind":"query","name":""}"#,
            r#"{"kind":"query","name":"a&b"}"#,
            r#"{"kind":"query","name":"a%20b"}"#,
            r#"{"kind":"aws-sigv4","region":"eu-central-1"}"#,
            r#"{"kind":"aws-sigv4","region":"EU","service":"s3"}"#,
            r#"{"kind":"aws-sigv4","region":"eu/x","service":"s3"}"#,
            r#"{"kind":"aws-sigv4","region":"eu","service":""}"#,
            r#"{"kind":"client-certificate","key":"x"}"#,
            r#"{"kind":"oauth2"}"#,
            r#""bearer""#,
            &oauth2(r#""client_id":"c","x":1"#),
            &oauth2(r#""client_id":"""#),
            &oauth2("\"client_id\":\"\u{e9}\""),
            &oauth2(r#""client_id":"c","scope":"a  b""#),
        ] {
            assert!(serde_json::from_str::<Placement>(json).is_err(), "accepted: {json}");
        }
    }
}
