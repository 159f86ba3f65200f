//! What all listeners have in common: the bounds on a request's head, its target, and how an answer is
//! finished.

use axum::body::Body;
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode, Version};
use serde::Serialize;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::config::{Limits, Origin};
use crate::issue::form;
use crate::proxy::headers;
use crate::refusal::{Advice, Code, Refusal};
use crate::verify::Denied;

/// The longest answer with a secret in it: a chain of certificates beside a master key.
const SECRET_ROOM: usize = 32 * 1024;

/// In octets.
const MAX_METHOD: usize = 32;

/// Does an act that has begun to its end, whether or not its caller stays to hear of it: what the vault has done is not left
/// without its row.
pub async fn to_the_end<T: Send + 'static>(
    act: impl Future<Output = Result<T, Denied>> + Send + 'static,
) -> Result<T, Denied> {
    match tokio::spawn(act).await {
        Ok(done) => done,
        Err(error) => Err(Denied::counted(Refusal::internal(&error))),
    }
}

/// Bounds and target. What was wrong with the framing is known before; see [`Verdict`](super::head::Verdict).
pub fn admissible(parts: &Parts, limits: &Limits, origin: &Origin) -> Result<(), Refusal> {
    let (bytes, fields) = headers::measure(&parts.headers);
    if bytes > limits.header_bytes || fields > limits.header_fields {
        let detail =
            format!("send at most {} fields and {} bytes of headers", limits.header_fields, limits.header_bytes);
        return Err(Refusal::new(Code::HeadersTooLarge, detail).advise(Advice::Close));
    }
    let two_hosts = parts.headers.get_all(header::HOST).iter().nth(1).is_some();
    if two_hosts || headers::framing_is_in_doubt(&parts.headers) {
        let detail = "send host, content-type and content-length once, and not content-length with transfer-encoding";
        return Err(Refusal::new(Code::RequestMalformed, detail).advise(Advice::Close));
    }
    // It goes on record; a manifest's actions have no longer ones.
    if parts.method.as_str().len() > MAX_METHOD {
        return Err(Refusal::new(Code::RequestMalformed, "no method is that long").advise(Advice::Close));
    }
    if parts.method == http::Method::CONNECT {
        return Err(Refusal::new(Code::MethodNotAllowed, "this is no forward proxy").advise(Advice::Close));
    }
    // RFC 9112 §3.2.2: an absolute-form target is accepted for this origin alone. In HTTP/2 every
    // request has an authority; like Host, it is ignored.
    if parts.version < Version::HTTP_2 && parts.uri.authority().is_some() {
        let same = parts.uri.scheme_str() == Some("https")
            && parts.uri.authority().is_some_and(|authority| authority.as_str() == origin.authority());
        if !same {
            return Err(Refusal::new(Code::RequestMalformed, format!("this origin is {origin}")));
        }
    }
    Ok(())
}

/// Path and query as received.
pub fn path_and_query(parts: &Parts) -> &str {
    parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str)
}

/// The query's pairs, decoded.
pub fn query(path_and_query: &str) -> Result<Vec<(String, String)>, Refusal> {
    let Some((_, query)) = path_and_query.split_once('?') else { return Ok(Vec::new()) };
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let pair = form::decode(name).zip(form::decode(value));
            // A NUL is no text to the store.
            pair.filter(|(name, value)| !name.contains('\0') && !value.contains('\0'))
                .ok_or_else(|| Refusal::new(Code::RequestMalformed, "the query is not form-encoded"))
        })
        .collect()
}

/// A JSON answer that nobody may keep.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(body) => content(status, "application/json", body),
        Err(error) => {
            tracing::error!(%error, "an answer does not serialise");
            content(StatusCode::INTERNAL_SERVER_ERROR, "application/json", b"{}".to_vec())
        }
    }
}

/// A JSON answer that holds a secret: its octets are wiped once they have been sent.
pub fn secret_json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    // Room for all of it, so that no outgrown copy stays behind.
    let mut body = Zeroizing::new(Vec::with_capacity(SECRET_ROOM));
    match serde_json::to_writer(&mut *body, value) {
        Ok(()) => content(status, "application/json", Bytes::from_owner(body)),
        Err(error) => {
            tracing::error!(%error, "an answer does not serialise");
            content(StatusCode::INTERNAL_SERVER_ERROR, "application/json", b"{}".to_vec())
        }
    }
}

pub fn content(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What a browser that strays here is told: speak TLS only, run, frame, guess and pass on nothing. The
/// origin is ours, so a tool's reply cannot say otherwise. HSTS: RFC 6797, two years.
const FOR_BROWSERS: [(HeaderName, HeaderValue); 5] = [
    (header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=63072000; includeSubDomains")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// Which software answers is nobody's business, an upstream's neither.
const BANNERS: [HeaderName; 3] =
    [header::SERVER, HeaderName::from_static("x-powered-by"), HeaderName::from_static("x-aspnet-version")];

/// Every answer on TLS names its request, as the audit does, and carries `FOR_BROWSERS`.
pub fn finish(mut response: Response<Body>, request_id: Uuid) -> Response<Body> {
    let headers = response.headers_mut();
    let id = request_id.hyphenated().to_string();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(HeaderName::from_static("tgp-request-id"), id);
    }
    for banner in &BANNERS {
        headers.remove(banner);
    }
    for (name, value) in FOR_BROWSERS {
        headers.insert(name, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(request: http::request::Builder) -> Parts {
        request.body(()).expect("a request").into_parts().0
    }

    fn code(request: http::request::Builder) -> Result<(), Code> {
        let config = crate::config::Config::parse(
            "issuer = \"https://gw.tgp.example\"\ntrust_domain = \"tgp.example\"\n[vault]\nsocket = \"v\"\n\
             [database]\nurl = \"postgres://a@b/c\"\nadmission_url = \"postgres://d@b/c\"",
            std::path::Path::new("/"),
        )
        .expect("a configuration");
        admissible(&parts(request), &config.limits, &config.issuer).map_err(|refusal| refusal.code)
    }

    #[test]
    fn an_absolute_target_is_accepted_for_this_origin_alone() {
        assert_eq!(code(Request::get("/t/mail/x").header("host", "anything")), Ok(()));
        assert_eq!(code(Request::get("https://gw.tgp.example/t/mail/x")), Ok(()));
        for other in ["https://gw.tgp.example:444/x", "http://gw.tgp.example/x", "https://evil.example/x"] {
            assert_eq!(code(Request::get(other)), Err(Code::RequestMalformed), "{other}");
        }
        let h2 = Request::get("https://whatever.example/x").version(Version::HTTP_2);
        assert_eq!(code(h2), Ok(()));
    }

    #[test]
    fn a_head_beyond_its_bounds_is_refused() {
        let many = (0..129).fold(Request::get("/"), |request, n| request.header(format!("x-{n}"), "v"));
        assert_eq!(code(many), Err(Code::HeadersTooLarge));
        assert_eq!(code(Request::get("/").header("x", "v".repeat(64 * 1024))), Err(Code::HeadersTooLarge));
        let twice = Request::post("/").header("content-type", "a/b").header("content-type", "a/b");
        assert_eq!(code(twice), Err(Code::RequestMalformed));
    }

    #[test]
    fn a_tools_reply_cannot_loosen_what_browsers_are_told_of_our_origin() {
        let reply = Response::builder()
            .header("strict-transport-security", "max-age=0")
            .header("content-security-policy", "default-src *")
            .header("content-security-policy", "script-src *")
            .header("referrer-policy", "unsafe-url")
            .header("server", "Tool/1.2.3")
            .header("x-powered-by", "PHP/5.6")
            .header("etag", "\"kept\"");
        let finished = finish(reply.body(Body::empty()).expect("a reply"), Uuid::nil());
        let headers = finished.headers();
        for (name, value) in FOR_BROWSERS {
            assert_eq!(headers.get_all(&name).iter().collect::<Vec<_>>(), [&value], "{name}");
        }
        assert!(BANNERS.iter().all(|banner| !headers.contains_key(banner)), "{headers:?}");
        assert_eq!(headers["etag"], "\"kept\"");
    }
}
