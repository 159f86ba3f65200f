//! `POST /v1/verify`: a request as a tool received it, in JSON.

use http::{HeaderMap, Method};
use serde::Deserialize;
use tgp_request::name::{Kind, SpiffeId, TrustDomain};
use tgp_request::signature::header_map;
use uuid::Uuid;

use crate::json::Object;
use crate::refusal::{Code, Refusal};

/// Headers at their most, each octet escaped.
pub const BODY_LIMIT: usize = 512 * 1024;

const URI_LIMIT: usize = 32 * 1024;

/// It goes on record, and the longest that anybody registered has seventeen letters.
pub(super) fn method_of(text: &str) -> Option<Method> {
    Method::from_bytes(text.as_bytes()).ok().filter(|method| method.as_str().len() <= 32)
}

/// What a tool hands over. A member that is unknown here might change what is asked, and is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    method: String,
    uri: String,
    headers: Vec<(String, String)>,
    #[serde(default)]
    content_digest: Option<String>,
    #[serde(default)]
    certificate: Option<String>,
}

/// The same, read.
pub struct Handed {
    pub method: Method,
    /// The URL that was called.
    pub uri: String,
    pub headers: HeaderMap,
    /// A `Content-Digest` that the tool computed over what it received; none for no content.
    pub content_digest: Option<String>,
    /// The agent of the client certificate that the tool saw, where it saw one.
    pub certified: Option<Uuid>,
}

impl Handed {
    pub fn parse(body: &[u8], trust_domain: &TrustDomain) -> Result<Self, Refusal> {
        let bad = |detail: &str| Refusal::new(Code::RequestMalformed, detail);
        // The text of serde's error would repeat what was sent, and that holds a token.
        let Object(Body { method, uri, headers, content_digest, certificate }) = serde_json::from_slice(body)
            .map_err(|_| bad("the body is JSON: method, uri, headers as pairs, content_digest, certificate"))?;
        let method = method_of(&method).ok_or_else(|| bad("method is not a method"))?;
        if uri.len() > URI_LIMIT {
            return Err(bad("uri is longer than 32 KiB"));
        }
        let headers = header_map(&headers)?;
        let certified = certificate.map(|id| agent_of(&id, trust_domain)).transpose()?;
        Ok(Self { method, uri, headers, content_digest, certified })
    }
}

/// The agent that a SPIFFE ID of ours names.
pub(super) fn agent_of(id: &str, trust_domain: &TrustDomain) -> Result<Uuid, Refusal> {
    match id.parse::<SpiffeId>() {
        Ok(SpiffeId { trust_domain: of, kind: Kind::Agent(agent) }) if of == *trust_domain => Ok(agent),
        _ => Err(Refusal::new(Code::CertificateInvalid, "the certificate is not an agent's of this deployment")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<Handed, Code> {
        Handed::parse(body.as_bytes(), &"tgp.example".parse().expect("a name")).map_err(|refusal| refusal.code)
    }

    #[test]
    fn a_request_is_read_with_its_fields_in_order() {
        let handed = parse(
            r#"{"method":"GET","uri":"https://x/","headers":[["A","1"],["a","2"]],
                "certificate":"spiffe://tgp.example/agent/0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d"}"#,
        )
        .expect("read");
        assert_eq!(handed.headers.get_all("a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert!(handed.certified.is_some() && handed.content_digest.is_none());
    }

    #[test]
    fn what_two_readers_could_read_in_two_ways_is_refused() {
        for (body, code) in [
            ("", Code::RequestMalformed),
            (r#"["GET","https://x/",[]]"#, Code::RequestMalformed),
            (r#"{"method":"GET","method":"PUT","uri":"https://x/","headers":[]}"#, Code::RequestMalformed),
            (r#"{"method":"GET","uri":"https://x/","headers":[],"body":""}"#, Code::RequestMalformed),
            (&format!(r#"{{"method":"{}","uri":"https://x/","headers":[]}}"#, "M".repeat(33)), Code::RequestMalformed),
            (&format!(r#"{{"method":"GET","uri":"{}","headers":[]}}"#, "u".repeat(32769)), Code::RequestMalformed),
            (r#"{"method":"G T","uri":"https://x/","headers":[]}"#, Code::RequestMalformed),
            (r#"{"method":"GET","uri":"https://x/","headers":[["a b","1"]]}"#, Code::RequestMalformed),
            (r#"{"method":"GET","uri":"https://x/","headers":[["a","1\r\nb: 2"]]}"#, Code::RequestMalformed),
            (r#"{"method":"GET","uri":"https://x/","headers":[],"certificate":"CN=x"}"#, Code::CertificateInvalid),
        ] {
            assert_eq!(parse(body).err(), Some(code), "{body}");
        }
    }
}
