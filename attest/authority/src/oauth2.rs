//! How an access token for an upstream is fetched (RFC 6749).

use serde::{Deserialize, Serialize};

use crate::error::AuthorityError;
use crate::url::valid_resource;

/// The part of a token request that is no secret. All of it is signed: the client's secret goes to this
/// token endpoint and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OAuth2 {
    /// What is exchanged for an access token.
    pub grant: OAuth2Grant,
    /// Where; a URL in its one spelling, without a query.
    pub token_endpoint: String,
    /// Who asks: 1 to 256 printable ASCII characters.
    pub client_id: String,
    /// How the client shows that it is the one.
    pub client_auth: ClientAuth,
    /// What is asked for: tokens with one space between them, at most 1024 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

/// RFC 6749's `grant_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OAuth2Grant {
    /// §4.4.
    ClientCredentials,
    /// §6.
    RefreshToken,
}

/// RFC 7591's `token_endpoint_auth_method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ClientAuth {
    /// RFC 6749 §2.3.1, in the `Authorization` field.
    ClientSecretBasic,
    /// The same, in the form.
    ClientSecretPost,
    /// A public client, which has no secret.
    None,
}

impl OAuth2Grant {
    /// The value of `grant_type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::RefreshToken => "refresh_token",
        }
    }
}

impl OAuth2 {
    /// Whether each member has its form, and they fit each other.
    ///
    /// # Errors
    /// The first that does not.
    pub fn within_bounds(&self) -> Result<(), AuthorityError> {
        let Self { grant, token_endpoint, client_id, client_auth, scope } = self;
        let require = |holds: bool, why: &str| {
            if holds { Ok(()) } else { Err(AuthorityError::malformed("placement", why)) }
        };
        // RFC 6749 appendix A: VSCHAR for the id, NQCHAR in scopes.
        let visible = |byte: u8| (0x20..=0x7e).contains(&byte);
        let scope_byte = |byte: u8| byte == 0x21 || (0x23..=0x5b).contains(&byte) || (0x5d..=0x7e).contains(&byte);
        let scope_token = |token: &str| !token.is_empty() && token.bytes().all(scope_byte);
        require(valid_resource(token_endpoint), "token_endpoint is not a URL in its one spelling")?;
        require((1..=256).contains(&client_id.len()) && client_id.bytes().all(visible), "client_id is not one")?;
        require(
            scope.as_ref().is_none_or(|scope| scope.len() <= 1024 && scope.split(' ').all(scope_token)),
            "scope is not tokens with one space between them",
        )?;
        require(
            (*grant, *client_auth) != (OAuth2Grant::ClientCredentials, ClientAuth::None),
            "a client without a secret cannot have a token for itself (RFC 6749 §4.4)",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oauth2() -> OAuth2 {
        OAuth2 {
            grant: OAuth2Grant::ClientCredentials,
            token_endpoint: "https://auth.example:8443/oauth2/token".into(),
            client_id: "tgp".into(),
            client_auth: ClientAuth::ClientSecretBasic,
            scope: None,
        }
    }

    #[test]
    fn the_client_secret_has_one_place_to_go() {
        assert_eq!(oauth2().within_bounds(), Ok(()));
        let bare = OAuth2 { token_endpoint: "https://auth.example".into(), ..oauth2() };
        assert_eq!(bare.within_bounds(), Ok(()));
        for token_endpoint in
            ["", "auth.example/token", "https://auth.example/token?x=1", "https://a@b/token", "ftp://a"]
        {
            let refused = OAuth2 { token_endpoint: token_endpoint.into(), ..oauth2() };
            assert!(refused.within_bounds().is_err(), "{token_endpoint}");
        }
    }

    #[test]
    fn a_public_client_refreshes_and_gets_no_token_for_itself() {
        let public = OAuth2 { client_auth: ClientAuth::None, ..oauth2() };
        assert!(public.within_bounds().is_err());
        let refreshing = OAuth2 { grant: OAuth2Grant::RefreshToken, ..public };
        assert_eq!(refreshing.within_bounds(), Ok(()));
    }
}
