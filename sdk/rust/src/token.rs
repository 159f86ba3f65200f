//! Access tokens: how one is asked for, and the memory of those that are still good.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::json;
use tgp_request::assertion;
use tgp_request::jwk::IdentitySecret;
use tgp_request::name::{ActionName, ResourcePattern, Slug};
use tgp_request::token::AuthorizationDetail;
use uuid::Uuid;
use zeroize::{Zeroize as _, Zeroizing};

use crate::{ClientError, random};

/// A token is not used in its last seconds: it must still be good when the gateway reads it.
const MARGIN: i64 = 10;
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// An access token. It is bound to the agent's key, but it is printed nowhere by accident.
pub struct Token {
    text: Zeroizing<String>,
    /// Unix seconds by the agent's clock.
    pub expires: i64,
}

impl Token {
    /// The JWT.
    pub fn expose_text(&self) -> &str {
        &self.text
    }

    fn is_good(&self, now: i64) -> bool {
        now + MARGIN < self.expires
    }
}

/// The token endpoint's answer, RFC 6749 §5.1.
#[derive(Deserialize)]
pub(crate) struct TokenReply {
    access_token: String,
    token_type: String,
    expires_in: i64,
}

impl TokenReply {
    pub(crate) fn into_token(mut self, now: i64) -> Result<Token, ClientError> {
        let text = Zeroizing::new(std::mem::take(&mut self.access_token));
        if !self.token_type.eq_ignore_ascii_case("bearer") {
            return Err(ClientError::Answer(format!("a token of type {:?}", self.token_type)));
        }
        Ok(Token { text, expires: now.saturating_add(self.expires_in) })
    }
}

/// What is asked for: one tool, one action or several.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    pub(crate) tool: Slug,
    actions: Vec<ActionName>,
    resources: Vec<ResourcePattern>,
    may_act: Option<Uuid>,
}

impl Wanted {
    /// These actions, on all that the agent may touch there.
    pub fn new(tool: &Slug, actions: &[ActionName]) -> Self {
        let mut actions = actions.to_vec();
        actions.sort();
        actions.dedup();
        Self { tool: tool.clone(), actions, resources: Vec::new(), may_act: None }
    }

    /// On these resources only.
    #[must_use]
    pub fn on(mut self, resources: &[ResourcePattern]) -> Self {
        self.resources = resources.to_vec();
        self.resources.sort();
        self.resources.dedup();
        self
    }

    /// For another agent, which may exchange the token for one of its own: [`Agent::exchange`](crate::Agent::exchange).
    #[must_use]
    pub fn made_out_to(mut self, agent: Uuid) -> Self {
        self.may_act = Some(agent);
        self
    }

    /// The form of RFC 6749 §4.4.2 with RFC 8707's `resource`, or with RFC 9396's details where only these can say it.
    pub(crate) fn form(&self, resource: &str) -> String {
        format!("grant_type=client_credentials&{}", self.asked(resource))
    }

    /// RFC 8693 §2.1, for the token that another agent handed over.
    pub(crate) fn exchange_form(&self, resource: &str, subject_token: &str) -> String {
        let (grant, kind) = (form_encode(EXCHANGE), form_encode(ACCESS_TOKEN));
        let subject = form_encode(subject_token);
        let asked = self.asked(resource);
        format!("grant_type={grant}&subject_token={subject}&subject_token_type={kind}&{asked}")
    }

    fn asked(&self, resource: &str) -> String {
        let may_act = self.may_act.map_or(String::new(), |agent| format!("&may_act={agent}"));
        if !self.resources.is_empty() {
            let details = json!([{
                "type": AuthorizationDetail::TYPE,
                "identifier": self.tool,
                "locations": [resource],
                "actions": self.actions,
                "resources": self.resources,
            }]);
            let details = form_encode(&details.to_string());
            return format!("authorization_details={details}{may_act}");
        }
        let scopes: Vec<String> = self.actions.iter().map(|action| format!("{}:{action}", self.tool)).collect();
        let (scope, resource) = (form_encode(&scopes.join(" ")), form_encode(resource));
        format!("scope={scope}&resource={resource}{may_act}")
    }
}

/// The part of the form that is `private_key_jwt` (RFC 7523 §2.2).
pub(crate) fn assertion_form(agent: Uuid, issuer: &str, key: &IdentitySecret, now: i64) -> Result<String, ClientError> {
    let jti = URL_SAFE_NO_PAD.encode(random::<16>()?);
    let text = assertion::assert(agent, issuer, key, &jti, now);
    Ok(format!("&client_assertion_type={}&client_assertion={text}", form_encode(assertion::TYPE)))
}

/// The header fields of a token request that authenticates in its form.
pub(crate) fn plain_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    headers
}

/// The same with `client_secret_basic`, both halves form-encoded first (RFC 6749 §2.3.1).
pub(crate) fn headers(agent: Uuid, master_key: &str) -> Result<HeaderMap, ClientError> {
    let secret = Zeroizing::new(form_encode(master_key));
    let pair = Zeroizing::new(format!("{}:{}", form_encode(&agent.to_string()), *secret));
    let basic = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
    let mut value = HeaderValue::from_str(&basic).map_err(|e| ClientError::Bug(e.to_string()))?;
    value.set_sensitive(true);
    let mut headers = plain_headers();
    headers.insert(AUTHORIZATION, value);
    Ok(headers)
}

/// `application/x-www-form-urlencoded`, one value.
pub(crate) fn form_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => encoded.push(char::from(byte)),
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Tokens that are still good; in memory only.
#[derive(Default)]
pub(crate) struct Cache(Mutex<HashMap<Wanted, Arc<Token>>>);

impl Cache {
    pub(crate) fn find(&self, wanted: &Wanted, now: i64) -> Option<Arc<Token>> {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, token| token.is_good(now));
        tokens.get(wanted).cloned()
    }

    pub(crate) fn keep(&self, wanted: Wanted, token: Arc<Token>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(wanted, token);
    }

    /// Forgets a token that the gateway did not take.
    pub(crate) fn forget(&self, wanted: &Wanted) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(wanted);
    }
}

impl Drop for TokenReply {
    fn drop(&mut self) {
        self.access_token.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(actions: &[&str]) -> Wanted {
        let actions: Vec<ActionName> = actions.iter().map(|name| name.parse().unwrap()).collect();
        Wanted::new(&"mail".parse().unwrap(), &actions)
    }

    #[test]
    fn a_token_request_is_form_encoded_by_the_book() {
        let form = wanted(&["send"]).form("https://gw.example:8443/t/mail");
        assert_eq!(
            form,
            "grant_type=client_credentials&scope=mail%3Asend&resource=https%3A%2F%2Fgw.example%3A8443%2Ft%2Fmail"
        );
        let two = wanted(&["send", "list"]).form("x");
        assert_eq!(two, "grant_type=client_credentials&scope=mail%3Alist+mail%3Asend&resource=x");
        let on = wanted(&["send"]).on(&["a/*".parse().unwrap()]).made_out_to(Uuid::nil()).form("x");
        assert!(on.contains("a%2F*") && on.ends_with("&may_act=00000000-0000-0000-0000-000000000000"), "{on}");
    }

    #[test]
    fn both_halves_of_client_secret_basic_are_encoded_before_base64() {
        let agent = Uuid::from_u128(0x0198f2c4_6d1e_7c3a_9b52_3f8e1a2b4c5d);
        let headers = headers(agent, "tgpmk_a_1.1_b~+/").unwrap();
        let value = headers[AUTHORIZATION].to_str().unwrap();
        let pair = STANDARD.decode(value.strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(pair, b"0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d:tgpmk_a_1.1_b%7E%2B%2F");
        assert!(headers[AUTHORIZATION].is_sensitive());
        assert!(!format!("{headers:?}").contains("Basic"));
    }

    #[test]
    fn a_token_near_its_end_is_not_used_again() {
        let cache = Cache::default();
        let reply = TokenReply { access_token: "t".into(), token_type: "Bearer".into(), expires_in: 300 };
        cache.keep(wanted(&["send"]), Arc::new(reply.into_token(1000).unwrap()));
        assert!(cache.find(&wanted(&["send"]), 1289).is_some());
        assert!(cache.find(&wanted(&["list"]), 1000).is_none());
        assert!(cache.find(&wanted(&["send"]), 1290).is_none());
        assert!(cache.find(&wanted(&["send"]), 1000).is_none(), "it was dropped");
    }

    #[test]
    fn a_token_of_another_type_is_refused() {
        let reply = TokenReply { access_token: "t".into(), token_type: "DPoP".into(), expires_in: 300 };
        assert!(reply.into_token(0).is_err());
    }
}
