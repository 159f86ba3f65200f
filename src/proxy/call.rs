//! One call of a tool, from the request that arrived to the reply that goes back. The order of the
//! checks is PROTOCOL.md's: form, window, token, certificate against token, signature, then tool, `aud`,
//! action, decision, admission; then the credential, and only then the upstream.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::HeaderMap;
use http::{Method, Response};
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use sha2::{Digest as _, Sha256};
use tgp_policy::Permit;
use tgp_request::signature::{Tag, UnverifiedRequest, VerifiedHead, accept_signature};
use tgp_request::target::EscapedSlash;
use tgp_request::token::VerifiedToken;
use uuid::Uuid;

use super::exchange;
use super::reply::Reply;
use super::upload::Received;
use crate::admission::{AdmissionError, Ending, Entry, Kind, Recorded, Spend};
use crate::gateway::Gateway;
use crate::refusal::{Advice, Code, Refusal};
use crate::store::agent::Agent;
use crate::verify::Denied;
use crate::verify::decide::{self, Asked};
use crate::verify::denied::not_admitted;
use crate::verify::tools::ReadyTool;

/// How often a decision is made again because its ground had moved.
const DECISIONS: usize = 4;

/// A request below `/t/`, from a connection that an agent's certificate opened.
pub struct Call<B = Incoming> {
    pub request_id: Uuid,
    /// Whom the certificate names.
    pub agent: Arc<Agent>,
    /// When the certificate ends: the body may take longer than it lasts.
    pub certificate_not_after: i64,
    /// What the listener found of bounds and framing.
    pub admissible: Result<(), Refusal>,
    pub method: Method,
    /// As received.
    pub path_and_query: String,
    pub headers: HeaderMap,
    pub body: B,
}

/// The parts of `/t/<slug><rest>`.
struct Place<'a> {
    slug: &'a str,
    /// Empty, or begins with a slash.
    rest: &'a str,
    query: Option<&'a str>,
}

impl<'a> Place<'a> {
    fn of(path_and_query: &'a str) -> Option<Self> {
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path_and_query, None),
        };
        let below = path.strip_prefix("/t/")?;
        let end = below.find('/').unwrap_or(below.len());
        let (slug, rest) = below.split_at(end);
        Some(Self { slug, rest, query })
    }

    /// The path that templates are matched against.
    fn path(&self) -> &'a str {
        if self.rest.is_empty() { "/" } else { self.rest }
    }
}

/// Verifies, decides, records, forwards.
pub async fn call(gateway: &Gateway, call: Call) -> Result<Response<Body>, Denied> {
    let Call { request_id, agent, certificate_not_after, admissible, method, path_and_query, headers, body } = call;
    let place = Place::of(&path_and_query).ok_or_else(|| Denied::counted(tool_unknown("")))?;
    let now = gateway.now();
    let target_uri = format!("{}{path_and_query}", gateway.config.issuer);

    let mut entry = Entry {
        agent: Some(agent.id),
        method: Some(method.to_string()),
        target_sha256: Some(Sha256::digest(&target_uri).into()),
        tool: Some(place.slug.chars().take(63).collect()),
        ..Entry::new(request_id, Kind::Call, agent.tenant)
    };
    admissible.map_err(|refusal| Denied::early(&entry, refusal))?;

    // Form and window.
    let slash = escaped_slash(gateway, &method, &place).await;
    let unverified = UnverifiedRequest::parse_with(method.as_str(), &target_uri, &headers, Tag::Request, now, slash)
        .map_err(|refusal| Denied::early(&entry, with_advice(refusal.into(), has_content(&headers, &body))))?;

    // Token, then the certificate against it.
    let hash = *unverified.bearer_hash().expect("the tag tgp-request goes with a bearer token");
    let token = gateway
        .tokens
        .verify(unverified.bearer(), &hash, now)
        .map_err(|error| Denied::early(&entry, tgp_request::Refusal::from(error)))?;
    entry.jti = Some(token.claims().jti);
    if token.agent() != agent.id {
        let refusal = Refusal::new(Code::CertificateMismatch, "the certificate and the token name different agents");
        return Err(Denied::row(&entry, refusal));
    }

    // Signature, by the token's key, which must still be the agent's.
    let head = match unverified.verify(&token) {
        Ok(head) => head,
        Err(refusal) => return Err(outside(gateway, &entry, refusal.into(), &method, &place).await),
    };
    if agent.keyid.as_deref() != Some(token.keyid()) {
        let refusal = Refusal::new(Code::SignatureInvalid, "the key is not the agent's active identity key");
        return Err(Denied::row(&entry, refusal));
    }
    let streams = streams(gateway, &agent, &method, &place, &headers, &body).await;
    let received = Received::read(head, &headers, body, &gateway.config.limits, streams).await;
    let received = received.map_err(|refusal| Denied::row(&entry, refusal))?;

    // Tool, audience, action, decision, admission.
    let evidence = Evidence { received: &received, token: &token, certificate_not_after };
    // Watched from before it is admitted, so that no freeze falls between: what was admitted before the
    // freeze is cut by it. Declared before the ending, so that it outlives it.
    let mut watched = gateway.streams.watch(agent.id);
    // With the ending, however this ends is recorded.
    let Admitted { permit, ending, tool, agent } = admit(gateway, &evidence, agent, &place, entry).await?;
    let exchange = async {
        let credential = exchange::draw(gateway, permit, &agent, &tool, received.head(), &headers).await?;
        let to = exchange::Target { method: &method, rest: place.rest, query: place.query };
        exchange::send(&gateway.upstreams, credential, &tool, to, &headers, received).await
    };
    // A freeze ends the wait for a reply as it ends a reply.
    let replied = tokio::select! {
        replied = exchange => replied,
        code = watched.cut() => Err(Refusal::new(code, "the call was stopped while the tool was working")),
    };
    let ((head, body), upload) = match replied {
        Ok((reply, upload)) => (reply.into_parts(), upload),
        Err(refusal) => return Err(Denied::outcome(ending.failed(refusal.code.as_str()), refusal)),
    };
    let idle_timeout = gateway.config.upstream.idle_timeout;
    let body = Reply::new(body, head.status.as_u16(), ending, idle_timeout, watched, upload);
    Ok(Response::from_parts(head, Body::new(body)))
}

fn tool_unknown(slug: &str) -> Refusal {
    Refusal::new(Code::ToolUnknown, format!("there is no tool {slug:.63}"))
}

/// An agent whose certificate we signed and whom the store does not know was deleted behind our back.
pub async fn known_agent(gateway: &Gateway, id: Uuid) -> Result<Arc<Agent>, Denied> {
    let found = gateway.cache.agent(id).await.map_err(Denied::counted)?;
    found.ok_or_else(|| {
        Denied::counted(Refusal::new(Code::CertificateInvalid, "the certificate's agent is not known here"))
    })
}

/// `%2F` may stand in a path only where a template of the tool says so.
async fn escaped_slash(gateway: &Gateway, method: &Method, place: &Place<'_>) -> EscapedSlash {
    if !place.rest.contains("%2F") && !place.rest.contains("%2f") {
        return EscapedSlash::Refused;
    }
    match gateway.tools.find(place.slug).await {
        Ok(Some(tool)) if tool.manifest.takes_escaped_slash(method.as_str(), place.path()) => EscapedSlash::Allowed,
        _ => EscapedSlash::Refused,
    }
}

fn has_content<B: http_body::Body>(headers: &HeaderMap, body: &B) -> bool {
    !body.is_end_stream() || headers.contains_key(http::header::TRANSFER_ENCODING)
}

fn with_advice(refusal: Refusal, has_content: bool) -> Refusal {
    if refusal.code != Code::SignatureMissing {
        return refusal;
    }
    let value = accept_signature(Tag::Request, has_content);
    let text = value.to_str().unwrap_or_default().to_owned();
    refusal.advise(Advice::Signature(text))
}

/// A target outside the token's audience: whether the tool exists comes first, then which scope it takes.
async fn outside(gateway: &Gateway, entry: &Entry, refusal: Refusal, method: &Method, place: &Place<'_>) -> Denied {
    if refusal.code != Code::ScopeInsufficient {
        return Denied::row(entry, refusal);
    }
    match find_tool(gateway, place.slug, entry.tenant).await {
        Err(refusal) => Denied::row(entry, refusal),
        Ok(tool) => match tool.manifest.action(method.as_str(), place.path()) {
            Some(action) => {
                let scope = format!("{}:{action}", tool.slug);
                Denied::row(entry, refusal.advise(Advice::Scope(scope)))
            }
            None => Denied::row(entry, refusal),
        },
    }
}

/// A tool of another tenant does not exist.
async fn find_tool(gateway: &Gateway, slug: &str, tenant: Uuid) -> Result<Arc<ReadyTool>, Refusal> {
    match gateway.tools.find(slug).await? {
        Some(tool) if tool.tool.tenant == tenant => Ok(tool),
        _ => Err(tool_unknown(slug)),
    }
}

/// Whether a content may be longer than what is read whole: the tool's manifest says it of the action. What is short enough
/// is read whole all the same, and judged before anything is decided.
async fn streams(
    gateway: &Gateway,
    agent: &Agent,
    method: &Method,
    place: &Place<'_>,
    headers: &HeaderMap,
    body: &Incoming,
) -> bool {
    let short = body.size_hint().upper().is_some_and(|length| length <= gateway.config.limits.body_bytes as u64);
    if short || !has_content(headers, body) {
        return false;
    }
    let tool = find_tool(gateway, place.slug, agent.tenant).await;
    tool.is_ok_and(|tool| tool.manifest.streams(method.as_str(), place.path()))
}

/// The whole content, within bounds of size and time.
pub async fn read_body<B>(headers: &HeaderMap, body: B, limit: usize, timeout: Duration) -> Result<Bytes, Refusal>
where
    B: http_body::Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let too_large =
        || Refusal::new(Code::BodyTooLarge, format!("the body is longer than {limit} bytes")).advise(Advice::Close);
    let declared = headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(timeout, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Refusal::new(Code::RequestMalformed, "the body broke off").advise(Advice::Close)),
        Err(_) => Err(Refusal::new(Code::RequestMalformed, "the body took too long").advise(Advice::Close)),
    }
}

/// The decision is on record, and was yes.
struct Admitted {
    permit: Recorded<Permit>,
    ending: Ending,
    tool: Arc<ReadyTool>,
    agent: Arc<Agent>,
}

/// What was verified, and until when it holds.
struct Evidence<'a> {
    received: &'a Received,
    token: &'a VerifiedToken,
    certificate_not_after: i64,
}

impl Evidence<'_> {
    /// Everything was in time when the request began; its body may have taken half a minute since.
    fn check_time(&self, now: i64) -> Result<(), Refusal> {
        let Self { received, token, certificate_not_after } = self;
        if now >= received.head().expires() {
            return Err(Refusal::new(Code::SignatureExpired, "the signature has expired; sign again"));
        }
        token.check_time(now).map_err(tgp_request::Refusal::from)?;
        if now >= *certificate_not_after {
            let detail = "the certificate has expired; renew it and connect again";
            return Err(Refusal::new(Code::CertificateInvalid, detail));
        }
        Ok(())
    }
}

/// Decides on current facts, and again when admission knows newer ones.
async fn admit(
    gateway: &Gateway,
    evidence: &Evidence<'_>,
    mut agent: Arc<Agent>,
    place: &Place<'_>,
    mut entry: Entry,
) -> Result<Admitted, Denied> {
    let Evidence { received, token, .. } = *evidence;
    let request = received.head();
    let spend = Spend::request(request.keyid(), request.nonce_digest(), request.created(), request.expires());
    for _ in 0..DECISIONS {
        evidence.check_time(gateway.now()).map_err(|refusal| Denied::row(&entry, refusal))?;
        let tool =
            find_tool(gateway, place.slug, agent.tenant).await.map_err(|refusal| Denied::row(&entry, refusal))?;
        entry.action = tool.manifest.action(request.method(), place.path()).map(ToString::to_string);
        let permit = permit(gateway, request, token, &agent, &tool, place)
            .await
            .map_err(|refusal| Denied::row(&entry, refusal))?;
        entry.grant = Some(permit.grant());
        match gateway.admission.admit_call(permit, entry.clone(), Some(spend.clone())).await {
            Ok((permit, ending)) => return Ok(Admitted { permit, ending, tool, agent }),
            Err(AdmissionError::Stale) => {
                gateway.cache.forget(agent.id, place.slug);
                agent = known_agent(gateway, agent.id).await?;
            }
            Err(error) => return Err(not_admitted(error)),
        }
    }
    Err(not_admitted(AdmissionError::Stale))
}

/// Audience, action, decision.
async fn permit(
    gateway: &Gateway,
    request: &VerifiedHead,
    token: &VerifiedToken,
    agent: &Agent,
    tool: &ReadyTool,
    place: &Place<'_>,
) -> Result<Permit, Refusal> {
    let action = tool.manifest.action(request.method(), place.path());
    if *token.tool() != tool.slug {
        let refusal = Refusal::new(Code::ScopeInsufficient, format!("the token is for {}", token.tool()));
        return Err(match action {
            Some(action) => refusal.advise(Advice::Scope(format!("{}:{action}", tool.slug))),
            None => refusal,
        });
    }
    let resource = &token.claims().aud;
    if *resource != tool.tool.resource {
        return Err(Refusal::new(Code::ResourceRefused, format!("the token is for {resource}, not for this tool")));
    }
    let Some(action) = action else {
        let detail = format!("{} {} is no action of {}", request.method(), place.path(), tool.slug);
        return Err(Refusal::new(Code::ActionUnknown, detail));
    };
    let asked =
        Asked { tool: &tool.slug, resource, actions: std::slice::from_ref(action), covered: Some(token.actions()) };
    let grants = gateway.cache.grants(agent.tenant, agent.id, &tool.tool.slug).await?;
    let (permit, _) = decide::decide(&asked, agent, Some(tool), &grants, gateway.now())
        .map_err(|denial| decide::refusal(&denial, &tool.slug))?;
    if tool.tool.credential.is_none() {
        return Err(exchange::no_credential(&tool.slug));
    }
    Ok(permit)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http_body_util::Full;

    use super::*;

    #[test]
    fn a_path_below_t_names_a_tool_and_the_rest() {
        let place = Place::of("/t/mail/messages/1?x=/y").expect("a place");
        assert_eq!((place.slug, place.rest, place.query), ("mail", "/messages/1", Some("x=/y")));
        let bare = Place::of("/t/mail").expect("a place");
        assert_eq!((bare.slug, bare.rest, bare.path()), ("mail", "", "/"));
        let query = Place::of("/t/mail?x").expect("a place");
        assert_eq!((query.slug, query.rest, query.query), ("mail", "", Some("x")));
        assert!(Place::of("/tool/mail").is_none());
    }

    #[tokio::test]
    async fn a_body_is_bounded_in_size_and_time() {
        let none = HeaderMap::new();
        let second = Duration::from_secs(1);
        assert_eq!(read_body(&none, Full::new(Bytes::from_static(b"1234")), 4, second).await.expect("fits"), "1234");
        let refused = read_body(&none, Full::new(Bytes::from_static(b"12345")), 4, second).await.expect_err("too long");
        assert_eq!(refused.code, Code::BodyTooLarge);
        let mut declared = HeaderMap::new();
        declared.insert("content-length", HeaderValue::from_static("5"));
        let body = Full::new(Bytes::new());
        assert_eq!(read_body(&declared, body, 4, second).await.expect_err("declared").code, Code::BodyTooLarge);
        let late = read_body(&none, Never, 4, Duration::from_millis(20)).await.expect_err("late");
        assert_eq!(late.code, Code::RequestMalformed);
    }

    /// A body whose sender says nothing.
    struct Never;

    impl http_body::Body for Never {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Pending
        }
    }
}
