//! The token request (RFC 6749 §4.4.2 and §6).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request};
use tgp_authority::{ClientAuth, OAuth2, OAuth2Grant};
use zeroize::Zeroizing;

use crate::proxy::query::percent;
use crate::proxy::upload::Content;
use crate::proxy::upstream::Upstream;
use crate::refusal::Refusal;

/// `secret` is the client's; behind a line end stands the refresh token, where the grant is one.
pub fn token_request(oauth2: &OAuth2, secret: &[u8]) -> Result<Request<Content>, Refusal> {
    let OAuth2 { grant, token_endpoint, client_id, client_auth, scope } = oauth2;
    let (client_secret, refresh_token) = match grant {
        OAuth2Grant::RefreshToken => {
            let at = memchr::memchr(b'\n', secret);
            let at = at.ok_or_else(|| Refusal::internal(&"a credential without its refresh token"))?;
            (&secret[..at], Some(&secret[at + 1..]))
        }
        _ => (secret, None),
    };
    // Never outgrown, so that it leaves no copy behind.
    let room = 128 + 3 * (secret.len() + client_id.len() + scope.as_ref().map_or(0, String::len));
    let mut form = Zeroizing::new(String::with_capacity(room));
    form.push_str("grant_type=");
    form.push_str(grant.as_str());
    if let Some(token) = refresh_token {
        parameter(&mut form, "refresh_token", token);
    }
    if let Some(scope) = scope {
        parameter(&mut form, "scope", scope.as_bytes());
    }
    let mut authorization = None;
    match client_auth {
        ClientAuth::ClientSecretBasic => {
            // §2.3.1: both are form-encoded before they are made a pair.
            let mut pair = Zeroizing::new(String::with_capacity(3 * (client_id.len() + client_secret.len()) + 1));
            client_id.bytes().for_each(|octet| percent(octet, &mut pair));
            pair.push(':');
            client_secret.iter().for_each(|&octet| percent(octet, &mut pair));
            let value = Zeroizing::new(format!("Basic {}", Zeroizing::new(STANDARD.encode(&*pair)).as_str()));
            let mut value = HeaderValue::from_str(&value).map_err(|error| Refusal::internal(&error))?;
            value.set_sensitive(true);
            authorization = Some(value);
        }
        ClientAuth::ClientSecretPost => {
            parameter(&mut form, "client_id", client_id.as_bytes());
            parameter(&mut form, "client_secret", client_secret);
        }
        ClientAuth::None => parameter(&mut form, "client_id", client_id.as_bytes()),
        _ => return Err(Refusal::internal(&"a client authentication that this gateway does not know")),
    }
    let endpoint = Upstream::parse(token_endpoint).map_err(|error| Refusal::internal(&error))?;
    let mut request = Request::new(Content::from(Bytes::copy_from_slice(form.as_bytes())));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = endpoint.uri("", None).map_err(|error| Refusal::internal(&error))?;
    let fields = request.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    fields.insert(ACCEPT, HeaderValue::from_static("application/json"));
    fields.insert(USER_AGENT, HeaderValue::from_static("tgp"));
    if let Some(value) = authorization {
        fields.insert(AUTHORIZATION, value);
    }
    Ok(request)
}

fn parameter(form: &mut String, name: &str, value: &[u8]) {
    form.push('&');
    form.push_str(name);
    form.push('=');
    value.iter().for_each(|&octet| percent(octet, form));
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn oauth2(grant: OAuth2Grant, client_auth: ClientAuth) -> OAuth2 {
        OAuth2 {
            grant,
            token_endpoint: "https://auth.example/oauth2/token".into(),
            client_id: "a client".into(),
            client_auth,
            scope: Some("mail.read mail.send".into()),
        }
    }

    async fn sent(oauth2: &OAuth2, secret: &str) -> (Option<String>, String) {
        let request = token_request(oauth2, secret.as_bytes()).expect("a request");
        assert_eq!((request.method(), request.uri().to_string()), (&Method::POST, oauth2.token_endpoint.clone()));
        let field = request.headers().get(AUTHORIZATION).map(|value| value.to_str().expect("text").to_owned());
        let body = request.into_body().collect().await.expect("a body").to_bytes();
        (field, String::from_utf8(body.to_vec()).expect("text"))
    }

    #[tokio::test]
    async fn a_token_request_is_the_standards() {
        let own = oauth2(OAuth2Grant::ClientCredentials, ClientAuth::ClientSecretBasic);
        let (field, body) = sent(&own, "s/3:+ x").await;
        assert_eq!(body, "grant_type=client_credentials&scope=mail.read%20mail.send");
        let pair = STANDARD.decode(field.expect("a field").strip_prefix("Basic ").expect("basic")).expect("base64");
        assert_eq!(String::from_utf8(pair).expect("text"), "a%20client:s%2F3%3A%2B%20x");

        let refreshing = oauth2(OAuth2Grant::RefreshToken, ClientAuth::ClientSecretPost);
        let (field, body) = sent(&refreshing, "s3\nr/1").await;
        assert_eq!(field, None);
        assert_eq!(
            body,
            "grant_type=refresh_token&refresh_token=r%2F1&scope=mail.read%20mail.send&client_id=a%20client&client_secret=s3"
        );
        let public = OAuth2 { client_auth: ClientAuth::None, scope: None, ..refreshing };
        assert_eq!(sent(&public, "\nr1").await.1, "grant_type=refresh_token&refresh_token=r1&client_id=a%20client");
        assert!(token_request(&public, b"no refresh token").is_err());
    }
}
