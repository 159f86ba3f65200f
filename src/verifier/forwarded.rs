//! `/v1/forward-auth`: a request as the proxy in front of a tool describes it, in header fields. They are believed because
//! a verifier key came with them; whatever the proxy does not set itself its clients can, so that sources must agree, and
//! what is not said is taken for the worst.

use http::header::HeaderMap;
use http::{HeaderValue, Method};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tgp_request::name::TrustDomain;
use uuid::Uuid;

use super::handed::{agent_of, method_of};
use crate::http::peer::Peer;
use crate::refusal::{Code, Refusal};

/// What becomes of the request's content, `TGP-Content`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// All of it comes with this request.
    Passed,
    /// The tool does not get any, whatever the client sent.
    Dropped,
}

/// The request that the proxy received.
#[derive(Debug)]
pub struct Forwarded {
    pub method: Method,
    /// As received there.
    pub path_and_query: String,
    /// The agent of the client certificate, and when that ends, as far as is known.
    pub certified: Option<(Uuid, i64)>,
    pub content: Content,
}

impl Forwarded {
    /// `method` and `below` are of the request to us: some proxies put the original path behind ours.
    pub fn parse(
        method: &Method,
        below: &str,
        headers: &HeaderMap,
        trust_domain: &TrustDomain,
        now: i64,
    ) -> Result<Self, Refusal> {
        let below = Some(below).filter(|below| !below.is_empty() && !below.starts_with('?'));
        let targets = [
            field(headers, "x-original-uri")?,
            field(headers, "x-original-url")?.map(path_of_url).transpose()?,
            field(headers, "x-forwarded-uri")?,
            below,
        ];
        let own = below.map(|_| method.as_str());
        let methods = [field(headers, "x-original-method")?, field(headers, "x-forwarded-method")?, own];
        let target = agreed(targets, "X-Original-URI or X-Forwarded-Uri")?;
        if !target.starts_with('/') {
            return Err(malformed("the original target is a path, as it was received"));
        }
        let method = agreed(methods, "X-Original-Method or X-Forwarded-Method")?;
        let method = method_of(method).ok_or_else(|| malformed("the original method is none"))?;
        let certified = match field(headers, "x-forwarded-client-cert")? {
            Some(value) => certified(value, trust_domain, now)?,
            None => None,
        };
        let content = match field(headers, "tgp-content")? {
            Some("passed") => Content::Passed,
            Some("dropped") => Content::Dropped,
            _ => {
                let detail = "the proxy must say what becomes of the body: TGP-Content: passed, or dropped";
                return Err(Refusal::new(Code::BodyRequired, detail));
            }
        };
        Ok(Self { method, path_and_query: target.to_owned(), certified, content })
    }
}

fn malformed(detail: &str) -> Refusal {
    Refusal::new(Code::RequestMalformed, detail)
}

/// The one value of a field: of two, nobody knows which the proxy set.
fn field<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Option<&'h str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            let text = HeaderValue::to_str(value).map_err(|_| malformed(&format!("{name} is not visible ASCII")))?;
            Ok(Some(text).filter(|text| !text.is_empty()))
        }
        (Some(_), Some(_)) => Err(malformed(&format!("{name} came twice"))),
    }
}

/// What all say that say anything: one of them may be the client's own.
fn agreed<'h>(said: impl IntoIterator<Item = Option<&'h str>>, names: &str) -> Result<&'h str, Refusal> {
    let mut said = said.into_iter().flatten();
    let first = said.next().ok_or_else(|| malformed(&format!("the proxy must set {names}")))?;
    if said.all(|other| other == first) {
        return Ok(first);
    }
    Err(malformed("fields about the original request differ; the proxy must set or remove each of them"))
}

/// Which origin it was is the tool's own to say, never a field's.
fn path_of_url(url: &str) -> Result<&str, Refusal> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let rest = rest.ok_or_else(|| malformed("x-original-url is not a URL"))?;
    Ok(rest.find('/').map_or("/", |slash| &rest[slash..]))
}

/// Envoy's `X-Forwarded-Client-Cert`: one element, of whose pairs `URI` and `Cert` count. No certificate is an empty
/// `Cert`.
fn certified(value: &str, trust_domain: &TrustDomain, now: i64) -> Result<Option<(Uuid, i64)>, Refusal> {
    let mut found: Option<(Uuid, i64)> = None;
    let (mut uris, mut certificates) = (0, 0);
    for (key, value) in pairs(value)? {
        let (agent, not_after) = if key.eq_ignore_ascii_case("uri") {
            uris += 1;
            (agent_of(&value, trust_domain)?, i64::MAX)
        } else if key.eq_ignore_ascii_case("cert") {
            certificates += 1;
            if value.is_empty() {
                continue;
            }
            of_pem(&value, trust_domain, now)?
        } else {
            continue;
        };
        if found.is_some_and(|(other, _)| other != agent) {
            return Err(malformed("x-forwarded-client-cert names two agents"));
        }
        found = Some((agent, found.map_or(not_after, |(_, end)| end.min(not_after))));
    }
    if uris > 1 || certificates > 1 || uris + certificates == 0 {
        return Err(malformed("x-forwarded-client-cert has one URI or one Cert"));
    }
    Ok(found)
}

/// The pairs of the one element, quotes taken off.
fn pairs(text: &str) -> Result<Vec<(&str, String)>, Refusal> {
    let bad = || malformed("x-forwarded-client-cert is not one element of key=value pairs");
    let mut pairs = Vec::new();
    let mut rest = text;
    loop {
        let (key, after) = rest.split_once('=').ok_or_else(bad)?;
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err(bad());
        }
        let mut value = String::new();
        let after = match after.strip_prefix('"') {
            Some(quoted) => {
                let mut octets = quoted.char_indices();
                loop {
                    match octets.next().ok_or_else(bad)? {
                        (_, '\\') => value.push(octets.next().ok_or_else(bad)?.1),
                        (at, '"') => break &quoted[at + 1..],
                        (_, other) => value.push(other),
                    }
                }
            }
            None => {
                let end = after.find([';', ',', '"']).unwrap_or(after.len());
                value.push_str(&after[..end]);
                &after[end..]
            }
        };
        pairs.push((key, value));
        match after.strip_prefix(';') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(pairs),
            // A second element is a second proxy's, or a client's.
            None => return Err(bad()),
        }
    }
}

/// A certificate in escaped PEM. That its chain was verified is the proxy's word.
fn of_pem(escaped: &str, trust_domain: &TrustDomain, now: i64) -> Result<(Uuid, i64), Refusal> {
    let invalid = || Refusal::new(Code::CertificateInvalid, "the forwarded certificate does not parse");
    // A plus is itself here, and a space in a form.
    let pem = crate::issue::form::decode(&escaped.replace('+', "%2B")).ok_or_else(invalid)?;
    let leaf = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| invalid())?;
    let peer = Peer::of(Some(&[leaf]), trust_domain);
    Ok((peer.agent(now)?, peer.not_after()))
}

#[cfg(test)]
mod tests {
    use http::header::HeaderName;

    use super::*;

    const AGENT: &str = "spiffe://tgp.example/agent/0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d";
    const OTHER: &str = "spiffe://tgp.example/agent/0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5e";

    fn parse(below: &str, fields: &[(&'static str, &str)]) -> Result<Forwarded, Code> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"));
        }
        let trust_domain = "tgp.example".parse().expect("a trust domain");
        Forwarded::parse(&Method::GET, below, &headers, &trust_domain, 0).map_err(|refusal| refusal.code)
    }

    #[test]
    fn each_kind_of_proxy_says_what_was_asked() {
        for (below, fields) in [
            ("", &[("x-original-method", "GET"), ("x-original-uri", "/a?b")][..]),
            ("", &[("x-forwarded-method", "GET"), ("x-forwarded-uri", "/a?b"), ("x-forwarded-host", "evil")]),
            ("", &[("x-original-method", "GET"), ("x-original-url", "https://any.example/a?b")]),
            ("/a?b", &[]),
        ] {
            let fields = [fields, &[("tgp-content", "dropped")]].concat();
            let forwarded = parse(below, &fields).unwrap_or_else(|code| panic!("{fields:?}: {code}"));
            assert_eq!((forwarded.method, forwarded.path_and_query.as_str()), (Method::GET, "/a?b"));
        }
    }

    #[test]
    fn what_a_client_adds_is_refused_or_changes_nothing() {
        let base = [("x-original-method", "GET"), ("x-original-uri", "/a"), ("tgp-content", "dropped")];
        let with = |more: &[(&'static str, &'static str)]| parse("", &[&base, more].concat()).map(|_| ());
        assert_eq!(with(&[]), Ok(()));
        assert_eq!(with(&[("x-forwarded-uri", "/a")]), Ok(()));
        for more in [
            ("x-forwarded-uri", "/b"),
            ("x-forwarded-method", "DELETE"),
            ("x-original-url", "https://x/b"),
            ("x-original-uri", "/b"),
            ("x-original-method", "DELETE"),
            ("tgp-content", "passed"),
        ] {
            assert_eq!(with(&[more]), Err(Code::RequestMalformed), "{more:?}");
        }
        assert_eq!(parse("", &base[..2]).err(), Some(Code::BodyRequired), "nothing is said of the body");
        assert_eq!(parse("", &base[1..]).err(), Some(Code::RequestMalformed), "no method");
        assert_eq!(parse("", &[base[0], base[2]]).err(), Some(Code::RequestMalformed), "no target");
    }

    #[test]
    fn a_certificate_is_named_by_one_element() {
        let said = |xfcc: &str| {
            let fields = [("tgp-content", "dropped"), ("x-forwarded-client-cert", xfcc)];
            parse("/a", &fields).map(|forwarded| forwarded.certified.map(|(agent, _)| agent.to_string()))
        };
        let agent = || Some(AGENT.rsplit('/').next().expect("a uuid").to_owned());
        assert_eq!(said(&format!("By=spiffe://x/y;Hash=ab;URI={AGENT}")), Ok(agent()));
        assert_eq!(said(&format!("Subject=\"CN=a;\\\"URI={OTHER}\\\",x\";URI={AGENT}")), Ok(agent()));
        assert_eq!(said(&format!("uri=\"{AGENT}\"")), Ok(agent()));
        assert_eq!(said("Cert=\"\""), Ok(None));
        for (bad, code) in [
            (format!("URI={AGENT};URI={AGENT}"), Code::RequestMalformed),
            (format!("URI={AGENT},URI={OTHER}"), Code::RequestMalformed),
            ("Hash=ab".to_owned(), Code::RequestMalformed),
            (format!("URI=\"{AGENT}"), Code::RequestMalformed),
            (format!("URI={}", AGENT.replace("agent", "operator")), Code::CertificateInvalid),
            (format!("URI={}", AGENT.replace("tgp.example", "evil.example")), Code::CertificateInvalid),
            ("Cert=\"x\"".to_owned(), Code::CertificateInvalid),
        ] {
            assert_eq!(said(&bad), Err(code), "{bad}");
        }
    }
}
