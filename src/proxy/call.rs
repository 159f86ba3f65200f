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
use tgp_request::signature::{Tag, VerifiedHead, VerifiedRequest, accept_signature};
use tgp_request::target::{EscapedSlash, within};
use tgp_request::token::VerifiedToken;
use uuid::Uuid;

use super::exchange::{self, By, Under};
use super::genuine::{Caller, Genuine, Received, genuine};
use super::reply::Reply;
use super::upload::Arrived;
use crate::admission::{AdmissionError, Ending, Entry, Kind, Recorded, Spend};
use crate::gateway::Gateway;
use crate::refusal::{Advice, Code, Refusal};
use crate::store::agent::Agent;
use crate::verify::Denied;
use crate::verify::decide::{self, Asked};
use crate::verify::denied::not_admitted;
use crate::verify::manifest::Matched;
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

/// The parts of `/t/<slug><rest>`, or of what follows a tool's own resource.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) slug: &'a str,
    /// Empty, or begins with a slash.
    pub(crate) rest: &'a str,
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

    /// Where a target is below the resource of the tool `slug`; none outside.
    pub(crate) fn below(slug: &'a str, resource: &str, target_uri: &'a str) -> Option<Self> {
        let rest = target_uri.strip_prefix(resource).filter(|_| within(resource, target_uri))?;
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
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

    let received = Received {
        method: &method,
        target_uri: &target_uri,
        headers: &headers,
        has_content: has_content(&headers, &body),
        now,
    };
    let caller = Caller::Certified { agent };
    let Genuine { head, token, agent } = genuine(gateway, &mut entry, &received, Some(&place), caller).await?;
    let streams = streams(gateway, &agent, &method, &place, &headers, &body).await;
    let arrived = Arrived::read(head, &headers, body, &gateway.config.limits, streams).await;
    let arrived = arrived.map_err(|refusal| Denied::row(&entry, refusal))?;

    // Tool, audience, action, decision, admission.
    let evidence = Evidence::arrived(&arrived, &token, certificate_not_after);
    // Watched from before it is admitted, so that no freeze falls between: what was admitted before the
    // freeze is cut by it. Declared before the ending, so that it outlives it.
    let tokens: Vec<Uuid> = token.derived_from().iter().copied().chain([token.claims().jti]).collect();
    let mut watched = gateway.streams.watch(agent.id, token.principals(), &tokens);
    // With the ending, however this ends is recorded.
    let Admitted { recorded: (permit, ending), tool, agent, principals, under } =
        admit(gateway, &Proxy, &evidence, agent, &place, entry).await?;
    let exchange = async {
        let by = By { agent: &agent, principals: &principals, under: &under };
        let credential = exchange::draw(gateway, permit, by, &tool, arrived.head(), &headers).await?;
        let to = exchange::Target { method: &method, rest: place.rest, query: place.query };
        exchange::send(gateway, credential, &tool, to, &headers, arrived).await
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

/// Those on whose behalf a token acts, as they are now. One that the store does not know was deleted behind our back.
pub async fn known_principals(gateway: &Gateway, ids: &[Uuid]) -> Result<Vec<Arc<Agent>>, Refusal> {
    let mut principals = Vec::with_capacity(ids.len());
    for id in ids {
        let found = gateway.cache.agent(*id).await?;
        let unknown =
            || Refusal::new(Code::TokenInvalid, "the token acts on behalf of an agent that is not known here");
        principals.push(found.ok_or_else(unknown)?);
    }
    Ok(principals)
}

/// What the record says of a call that an agent makes for others.
pub fn on_behalf_of(principals: &[Uuid]) -> Option<serde_json::Value> {
    (!principals.is_empty()).then(|| serde_json::json!({ "on_behalf_of": principals }))
}

/// An agent whose certificate we signed and whom the store does not know was deleted behind our back.
pub async fn known_agent(gateway: &Gateway, id: Uuid) -> Result<Arc<Agent>, Denied> {
    let found = gateway.cache.agent(id).await.map_err(Denied::counted)?;
    found.ok_or_else(|| {
        Denied::counted(Refusal::new(Code::CertificateInvalid, "the certificate's agent is not known here"))
    })
}

/// `%2F` may stand in a path only where a template of the tool says so.
pub(super) async fn escaped_slash(gateway: &Gateway, method: &Method, place: &Place<'_>) -> EscapedSlash {
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

pub(super) fn with_advice(refusal: Refusal, has_content: bool) -> Refusal {
    if refusal.code != Code::SignatureMissing {
        return refusal;
    }
    let value = accept_signature(Tag::Request, has_content);
    let text = value.to_str().unwrap_or_default().to_owned();
    refusal.advise(Advice::Signature(text))
}

/// A target outside the token's audience: whether the tool exists comes first, then which scope it takes.
pub(super) async fn outside(
    gateway: &Gateway,
    entry: &Entry,
    refusal: Refusal,
    method: &Method,
    place: Option<&Place<'_>>,
) -> Denied {
    let Some(place) = place else { return Denied::row(entry, refusal) };
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

/// Where a request goes once it is admitted.
pub(crate) trait Door {
    type Recorded;

    /// What the tool must have for a call under this grant.
    fn ready(&self, tool: &ReadyTool, under: &Under) -> Result<(), Refusal>;

    /// Spends the nonce and makes the verdict durable.
    async fn admit(
        &self,
        gateway: &Gateway,
        permit: Permit,
        entry: Entry,
        spend: Spend,
    ) -> Result<Self::Recorded, AdmissionError>;
}

/// To the upstream.
struct Proxy;

impl Door for Proxy {
    /// How it ends is recorded, too.
    type Recorded = (Recorded<Permit>, Ending);

    fn ready(&self, tool: &ReadyTool, under: &Under) -> Result<(), Refusal> {
        match tool.tool.credential(&under.credential) {
            Some(_) => Ok(()),
            None => Err(exchange::no_credential(&tool.slug, &under.credential)),
        }
    }

    async fn admit(
        &self,
        gateway: &Gateway,
        permit: Permit,
        entry: Entry,
        spend: Spend,
    ) -> Result<Self::Recorded, AdmissionError> {
        gateway.admission.admit_call(permit, entry, Some(spend)).await
    }
}

/// The decision is on record, and was yes.
pub(crate) struct Admitted<R> {
    pub(crate) recorded: R,
    pub(crate) tool: Arc<ReadyTool>,
    pub(crate) agent: Arc<Agent>,
    /// On whose behalf it acts.
    pub(crate) principals: Vec<Arc<Agent>>,
    pub(crate) under: Under,
}

/// What was verified, and until when it holds.
pub(crate) struct Evidence<'a> {
    request: &'a VerifiedHead,
    token: &'a VerifiedToken,
    certificate_not_after: i64,
}

impl<'a> Evidence<'a> {
    /// Of a request that was verified content and all.
    pub(crate) fn whole(request: &'a VerifiedRequest, token: &'a VerifiedToken, certificate_not_after: i64) -> Self {
        Self { request: request.head(), token, certificate_not_after }
    }

    /// Of one whose content may be judged while it passes, the proxy seeing to it: no other door may.
    fn arrived(arrived: &'a Arrived, token: &'a VerifiedToken, certificate_not_after: i64) -> Self {
        Self { request: arrived.head(), token, certificate_not_after }
    }

    /// Everything was in time when the request began; its body may have taken half a minute since.
    fn check_time(&self, now: i64) -> Result<(), Refusal> {
        let Self { request, token, certificate_not_after } = self;
        if now >= request.expires() {
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
pub(crate) async fn admit<D: Door>(
    gateway: &Gateway,
    door: &D,
    evidence: &Evidence<'_>,
    mut agent: Arc<Agent>,
    place: &Place<'_>,
    mut entry: Entry,
) -> Result<Admitted<D::Recorded>, Denied> {
    let Evidence { request, token, .. } = *evidence;
    let spend = Spend::request(request.keyid(), request.nonce_digest(), request.created(), request.expires());
    for _ in 0..DECISIONS {
        evidence.check_time(gateway.now()).map_err(|refusal| Denied::row(&entry, refusal))?;
        let tool =
            find_tool(gateway, place.slug, agent.tenant).await.map_err(|refusal| Denied::row(&entry, refusal))?;
        entry.action = tool.manifest.action(request.method(), place.path()).map(ToString::to_string);
        let principals =
            known_principals(gateway, token.principals()).await.map_err(|refusal| Denied::row(&entry, refusal))?;
        let (permit, under) = permit(gateway, request, token, (&agent, &principals), &tool, place)
            .await
            .map_err(|refusal| Denied::row(&entry, refusal))?;
        door.ready(&tool, &under).map_err(|refusal| Denied::row(&entry, refusal))?;
        entry.grant = Some(permit.grant());
        match door.admit(gateway, permit, entry.clone(), spend.clone()).await {
            Ok(recorded) => return Ok(Admitted { recorded, tool, agent, principals, under }),
            Err(AdmissionError::Stale) => {
                for stale in token.principals().iter().chain([&agent.id]) {
                    gateway.cache.forget(*stale, place.slug);
                }
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
    (agent, principals): (&Agent, &[Arc<Agent>]),
    tool: &ReadyTool,
    place: &Place<'_>,
) -> Result<(Permit, Under), Refusal> {
    let matched = tool.manifest.matched(request.method(), place.path());
    if *token.tool() != tool.slug {
        let refusal = Refusal::new(Code::ScopeInsufficient, format!("the token is for {}", token.tool()));
        return Err(match matched {
            Some(Matched { action, .. }) => refusal.advise(Advice::Scope(format!("{}:{action}", tool.slug))),
            None => refusal,
        });
    }
    let resource = &token.claims().aud;
    if *resource != tool.tool.resource {
        return Err(Refusal::new(Code::ResourceRefused, format!("the token is for {resource}, not for this tool")));
    }
    let Some(Matched { action, resource: touched }) = matched else {
        // Without the path, which may hold what nobody should read in a log.
        let detail = format!("this method and path are no action of {}", tool.slug);
        return Err(Refusal::new(Code::ActionUnknown, detail));
    };
    let asked = Asked {
        tool: &tool.slug,
        resource,
        actions: std::slice::from_ref(action),
        covered: Some(token.actions()),
        resources: token.resources(),
        touched: touched.as_ref(),
    };
    let grants = gateway.cache.grants(agent.tenant, token.subject(), &tool.tool.slug).await?;
    let (permit, grant) = decide::decide(&asked, agent, principals, Some(tool), &grants, gateway.now())
        .map_err(|denial| decide::refusal(&denial, &tool.slug))?;
    Ok((permit, Under::of(grant)))
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
        let place = Place::below("mail", "https://mail.example/v1", "https://mail.example/v1/x?y").expect("below");
        assert_eq!((place.slug, place.rest, place.query), ("mail", "/x", Some("y")));
        assert!(Place::below("mail", "https://mail.example/v1", "https://mail.example/v12").is_none());
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
