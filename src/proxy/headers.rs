//! Which header fields cross the proxy. Towards the tool an allow-list: what is not on it is
//! dropped, not refused. Towards the agent a deny-list: hop-by-hop fields, and those by which an
//! upstream would speak for the gateway's origin or hand out a session of its credential.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Content negotiation, content, conditional and range requests, tracing.
const UP: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "baggage",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-location",
    "content-type",
    "date",
    "depth",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-event-id",
    "mcp-protocol-version",
    "mcp-session-id",
    "pragma",
    "prefer",
    "range",
    "traceparent",
    "tracestate",
    "user-agent",
    "want-content-digest",
    "x-request-id",
];

/// RFC 9110 §7.6.1 and its like; also named by a `Connection` field.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// What no manifest can let through: the agent's proof and session, what says who asks or from where, what a server takes for
/// another method or target than the one that was judged, and what the next hop's framing rests on.
const NEVER_UP: &[&str] = &[
    "accept-signature",
    "authorization",
    "content-digest",
    "content-length",
    "cookie",
    "cookie2",
    "expect",
    "forwarded",
    "host",
    "max-forwards",
    "origin",
    "repr-digest",
    "signature",
    "signature-input",
    "via",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-real-ip",
];
const NEVER_UP_BEGINNINGS: &[&str] =
    &["proxy-", "sec-", "tgp-", "x-envoy-", "x-forwarded", "x-original-", "x-rewrite-", "x-client-"];

/// Asks for parts or codings of a reply, in which a reflected credential could not be found.
const NOT_UP_WITH_CREDENTIAL: &[&str] = &["accept-encoding", "if-range", "range"];

/// What an upstream may not say in the gateway's name.
const NOT_DOWN: &[&str] = &[
    "alt-svc",
    "authorization",
    "clear-site-data",
    "proxy-authentication-info",
    "public-key-pins",
    "set-cookie",
    "set-cookie2",
    "signature",
    "signature-input",
    "strict-transport-security",
    "tgp-reason",
    "tgp-status",
    "accept-signature",
];

/// Whether a field goes through, whatever the manifest names.
pub fn always_goes_up(name: &str) -> bool {
    UP.binary_search(&name).is_ok()
}

/// Whether a manifest may name this field as one that goes through.
pub fn may_be_named(name: &HeaderName) -> bool {
    let name = name.as_str();
    !NEVER_UP.contains(&name)
        && !HOP_BY_HOP.contains(&name)
        && !NEVER_UP_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

/// The fields of the agent's request that go to the tool, those that its manifest names among them. `injected` is the field
/// that will carry the credential: the agent's own copy never passes, whatever the lists say. `searched` says whether the
/// reply will be searched for it.
pub fn upstream(
    received: &HeaderMap,
    manifest: &[HeaderName],
    injected: Option<&HeaderName>,
    searched: bool,
) -> HeaderMap {
    let named = named_by_connection(received);
    let mut out = HeaderMap::with_capacity(received.len());
    for (name, value) in received {
        let listed = always_goes_up(name.as_str()) || manifest.contains(name) && may_be_named(name);
        if listed && Some(name) != injected && !named.contains(name) {
            out.append(name.clone(), value.clone());
        }
    }
    // A signed digest is a statement about this very content; the tool may check it too.
    for value in received.get_all("content-digest") {
        out.append(HeaderName::from_static("content-digest"), value.clone());
    }
    if searched {
        for name in NOT_UP_WITH_CREDENTIAL {
            out.remove(*name);
        }
        // RFC 9110 §12.5.3: where the field is missing, any coding will do.
        out.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    out
}

/// The fields of the tool's reply that go to the agent.
pub fn downstream(received: HeaderMap) -> HeaderMap {
    let named = named_by_connection(&received);
    let mut out = received;
    // RFC 9112 §6.3: transfer coding overrides the length, which the next hop would else believe.
    if out.contains_key(header::TRANSFER_ENCODING) {
        out.remove(header::CONTENT_LENGTH);
    }
    for name in HOP_BY_HOP.iter().chain(NOT_DOWN) {
        out.remove(*name);
    }
    for name in named {
        out.remove(name);
    }
    out
}

/// Fields that `Connection` declares to be for this hop only.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect()
}

/// Whether the framing is in doubt: a repeated `content-type`, or lengths that disagree
/// (hyper has refused most of the latter already).
pub fn framing_is_in_doubt(headers: &HeaderMap) -> bool {
    let several = |name: HeaderName| headers.get_all(name).iter().nth(1).is_some();
    several(header::CONTENT_TYPE)
        || several(header::CONTENT_LENGTH)
        || several(header::TRANSFER_ENCODING)
        || headers.contains_key(header::CONTENT_LENGTH) && headers.contains_key(header::TRANSFER_ENCODING)
}

/// Bytes and fields of a header section as RFC 9113 §10.5.1 counts them.
pub fn measure(headers: &HeaderMap) -> (usize, usize) {
    let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    (bytes, headers.len())
}

/// Sets the one field that carries the credential.
pub fn inject(headers: &mut HeaderMap, name: HeaderName, mut value: HeaderValue) {
    value.set_sensitive(true);
    headers.insert(name, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value"));
        }
        map
    }

    #[test]
    fn the_allow_list_is_sorted_for_its_search() {
        assert!(UP.is_sorted());
    }

    #[test]
    fn content_and_negotiation_pass_and_our_own_fields_do_not() {
        let received = map(&[
            ("accept", "text/html"),
            ("content-type", "application/json"),
            ("traceparent", "00-1-2-3"),
            ("authorization", "Bearer agent-token"),
            ("signature", "sig=:AA==:"),
            ("signature-input", "sig=()"),
            ("x-http-method-override", "DELETE"),
            ("x-original-url", "/admin"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-client-cert", "By=me"),
            ("cookie", "a=b"),
            ("host", "gw"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("content-digest", "sha-256=:AA==:"),
        ]);
        let out = upstream(&received, &[], None, false);
        let mut names: Vec<_> = out.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "content-digest", "content-type", "traceparent"]);
    }

    #[test]
    fn the_agents_copy_of_the_injected_header_is_dropped() {
        let received = map(&[("x-request-id", "agent"), ("accept", "*/*")]);
        let injected = HeaderName::from_static("x-request-id");
        let mut out = upstream(&received, &[], Some(&injected), true);
        assert!(!out.contains_key(&injected));
        inject(&mut out, injected.clone(), HeaderValue::from_static("secret"));
        assert_eq!(out.get_all(&injected).iter().count(), 1);
        assert!(!format!("{out:?}").contains("secret"));
    }

    #[test]
    fn what_the_manifest_names_passes_and_never_what_judges_or_proves() {
        let named = |name: &'static str| HeaderName::from_static(name);
        let manifest = [named("x-api-version"), named("authorization"), named("x-http-method-override")];
        let received = map(&[
            ("x-api-version", "2"),
            ("x-other", "1"),
            ("authorization", "Bearer agent-token"),
            ("x-http-method-override", "DELETE"),
        ]);
        assert_eq!(upstream(&received, &manifest, None, false), map(&[("x-api-version", "2")]));
        assert!(upstream(&received, &manifest, Some(&manifest[0]), true).get("x-api-version").is_none());
        for never in HOP_BY_HOP.iter().chain(NEVER_UP).chain(&["x-forwarded-for", "x-original-url", "sec-fetch-site"]) {
            assert!(!may_be_named(&named(never)), "{never}");
        }
    }

    #[test]
    fn with_a_credential_the_tool_is_asked_for_the_whole_in_plain() {
        let received =
            map(&[("accept-encoding", "gzip"), ("range", "bytes=0-5"), ("if-range", "\"1\""), ("accept", "*/*")]);
        let out = upstream(&received, &[], None, true);
        assert_eq!(out, map(&[("accept", "*/*"), ("accept-encoding", "identity")]));
        assert_eq!(upstream(&received, &[], None, false), received);
    }

    #[test]
    fn what_connection_names_is_dropped_both_ways() {
        let received = map(&[("connection", "close, Accept"), ("accept", "x"), ("range", "bytes=0-1")]);
        assert!(!upstream(&received, &[], None, false).contains_key("accept"));
        assert!(!downstream(received).contains_key("accept"));
    }

    #[test]
    fn a_reply_loses_hop_by_hop_fields_and_cookies_and_keeps_the_rest() {
        let received = map(&[
            ("content-type", "text/event-stream"),
            ("location", "https://elsewhere.example/"),
            ("etag", "\"1\""),
            ("set-cookie", "session=of-the-credential"),
            ("strict-transport-security", "max-age=0"),
            ("transfer-encoding", "chunked"),
            ("keep-alive", "timeout=5"),
            ("alt-svc", "h3=\":443\""),
        ]);
        let out = downstream(received);
        let mut names: Vec<_> = out.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "etag", "location"]);
    }

    #[test]
    fn a_reply_with_a_transfer_coding_loses_its_length() {
        let chunked = map(&[("transfer-encoding", "chunked"), ("content-length", "3")]);
        assert!(downstream(chunked).is_empty());
        assert!(downstream(map(&[("content-length", "3")])).contains_key("content-length"));
    }

    #[test]
    fn repeated_content_type_or_conflicting_lengths_are_in_doubt() {
        assert!(framing_is_in_doubt(&map(&[("content-type", "a/b"), ("content-type", "a/b")])));
        assert!(framing_is_in_doubt(&map(&[("content-length", "3"), ("transfer-encoding", "chunked"),])));
        assert!(!framing_is_in_doubt(&map(&[("content-type", "a/b"), ("content-length", "3")])));
    }
}
