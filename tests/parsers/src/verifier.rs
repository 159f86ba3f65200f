//! What tools send: a request that they received, in JSON; what the proxy in front of one says, a request line and fields
//! (`METHOD /v1/forward-auth…`); the form of introspection and revocation; a verifier key.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::json;
use tgp::verifier::form::token;
use tgp::verifier::forwarded::{Content, Forwarded};
use tgp::verifier::handed::Handed;
use tgp::verifier::login::Shown;
use tgp_request::VerifierKey;
use tgp_request::name::{SpiffeId, TrustDomain};

use crate::vectors::NOW;

const ENDPOINT: &str = "/v1/forward-auth";

pub fn check(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let first = text.lines().next().unwrap_or_default();
    match first.split_once(' ') {
        Some((method, target)) if target.starts_with(ENDPOINT) => forwarded(method, &target[ENDPOINT.len()..], text),
        _ if text.starts_with('{') => handed(data),
        _ if text.starts_with("tgpvk_") => key(text),
        _ => form(text),
    }
}

fn trust_domain() -> TrustDomain {
    "tgp.example".parse().expect("a trust domain")
}

fn handed(data: &[u8]) -> bool {
    let Ok(handed) = Handed::parse(data, &trust_domain()) else { return false };
    let Handed { method, uri, headers, content_digest, certified } = handed;
    let pairs: Option<Vec<_>> =
        headers.iter().map(|(name, value)| Some(json!([name.as_str(), value.to_str().ok()?]))).collect();
    // A value that is no text has no place in JSON, and was never read from it.
    let Some(pairs) = pairs else { return true };
    let id = certified.map(|agent| SpiffeId::agent(trust_domain(), agent));
    let again = json!({
        "method": method.as_str(), "uri": uri, "headers": pairs, "content_digest": content_digest, "certificate": id,
    });
    let again = Handed::parse(again.to_string().as_bytes(), &trust_domain()).expect("our own spelling");
    assert_eq!((again.method, again.uri, again.headers, again.certified), (method, uri, headers, certified));
    assert_eq!(again.content_digest, content_digest);
    true
}

fn forwarded(method: &str, below: &str, text: &str) -> bool {
    let Ok(method) = Method::from_bytes(method.as_bytes()) else { return false };
    let mut headers = HeaderMap::new();
    for (name, value) in text.lines().skip(1).filter_map(|line| line.split_once(": ")) {
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) else {
            return false;
        };
        if headers.try_append(name, value).is_err() {
            return false;
        }
    }
    let read = |headers: &HeaderMap| Forwarded::parse(&method, below, headers, &trust_domain(), NOW);
    let Ok(Forwarded { method: original, path_and_query, certified: _, content }) = read(&headers) else {
        return false;
    };
    assert!(path_and_query.starts_with('/'));
    // Whatever says anything says the same: one more that says otherwise, from a client, say, is never believed.
    for (name, other) in [
        ("x-original-uri", format!("{path_and_query}x")),
        ("x-forwarded-uri", format!("{path_and_query}x")),
        ("x-original-url", format!("https://any.example{path_and_query}x")),
        ("x-original-method", format!("{original}X")),
        ("x-forwarded-method", format!("{original}X")),
        ("tgp-content", "other".to_owned()),
    ] {
        let Ok(value) = HeaderValue::from_str(&other) else { continue };
        let mut more = headers.clone();
        more.append(name, value);
        assert!(read(&more).is_err(), "{name}: {other}");
    }
    let said = headers.get("tgp-content").expect("it was said");
    assert_eq!(said, if content == Content::Passed { "passed" } else { "dropped" });
    true
}

fn form(text: &str) -> bool {
    let Ok(read) = token(text.as_bytes()) else { return false };
    let escaped: String = read.bytes().map(|byte| format!("%{byte:02x}")).collect();
    assert_eq!(token(format!("token={escaped}").as_bytes()).expect("our own spelling"), read);
    assert!(token(format!("{text}&token=x").as_bytes()).is_err(), "one token");
    true
}

fn key(text: &str) -> bool {
    let Ok(key) = VerifierKey::parse(text) else { return false };
    assert_eq!(key.expose_text().as_str(), text);
    let bearer = HeaderValue::from_str(&format!("Bearer {text}")).expect("visible ASCII");
    let mut headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, bearer.clone())]);
    assert!(Shown::in_authorization(&headers).is_ok());
    headers.append(http::header::AUTHORIZATION, bearer);
    assert!(Shown::in_authorization(&headers).is_err(), "one of two");
    true
}
