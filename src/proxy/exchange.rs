//! One exchange with a tool's upstream: the credential drawn for a recorded permit, the request with it,
//! and the reply without it.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use tgp_policy::Permit;
use tgp_request::name::Slug;
use tgp_request::signature::VerifiedHead;
use tgp_vault_client::wire::{Draw, RequestEnvelope};

use super::client::UpstreamError;
use super::client_certificate::Owner;
use super::credential::{Claim, Credential, Placed};
use super::mask::{self, Masked};
use super::needles::Needles;
use super::upload::{Arrived, Content, Progress};
use super::{headers, oauth2};
use crate::admission::Recorded;
use crate::gateway::Gateway;
use crate::refusal::{Code, Refusal};
use crate::store::access_token::Holder;
use crate::store::agent::Agent;
use crate::store::grant::Grant;
use crate::verify::tools::ReadyTool;

/// What is asked of the tool, as it was signed.
pub struct Target<'a> {
    pub method: &'a Method,
    /// Below the tool's prefix: empty, or begins with a slash.
    pub rest: &'a str,
    pub query: Option<&'a str>,
}

/// Sends the request with the credential in it; the reply comes back without.
pub async fn send(
    gateway: &Gateway,
    (credential, holder): (Credential, Holder),
    tool: &ReadyTool,
    target: Target<'_>,
    received: &HeaderMap,
    arrived: Arrived,
) -> Result<Replied, Refusal> {
    let (content, mut upload) = arrived.into_content();
    let (request, placed) = forward(credential, tool, target, received, content, gateway.now())?;
    let Placed { needles, certificate, serial } = placed;
    let sent = match certificate {
        None => gateway.upstreams.send(request, tool.reach, upload.as_mut()).await,
        Some(certificate) => {
            let owner = Owner { holder, reach: tool.reach };
            gateway.upstreams.send_certified(request, certificate, &owner, upload.as_mut()).await
        }
    };
    let replied = sent.map_err(|error| {
        // An upstream that was cut because the content is not what was signed did nothing wrong.
        let cut = upload.as_ref().and_then(Progress::failure);
        cut.unwrap_or_else(|| unreachable_upstream(&error))
    })?;
    if replied.status() == StatusCode::UNAUTHORIZED
        && let Some(serial) = serial
    {
        gateway.access_tokens.refused(gateway, serial).await;
    }
    Ok((reply(replied, needles)?, upload))
}

/// The reply, and what becomes of a content that may still be on its way.
pub type Replied = (Response<Masked<Incoming>>, Option<Progress>);

/// The reply as the agent may have it.
fn reply(reply: Response<Incoming>, needles: Option<Needles>) -> Result<Response<Masked<Incoming>>, Refusal> {
    let (parts, body) = reply.into_parts();
    if parts.status.is_informational() {
        return Err(Refusal::new(Code::UpstreamBroken, "the tool changed protocols, which nobody asked for"));
    }
    if needles.is_some() && !body.is_end_stream() && mask::is_coded(&parts.headers) {
        let detail = "the tool compressed its reply, which it was asked not to: what cannot be read is not passed on";
        return Err(Refusal::new(Code::UpstreamBroken, detail));
    }
    let mut body = Masked::new(body, needles, &parts.headers);
    let mut response = Response::new(());
    *response.status_mut() = parts.status;
    *response.headers_mut() = headers::downstream(parts.headers);
    body.mask_head(response.headers_mut());
    let (head, ()) = response.into_parts();
    Ok(Response::from_parts(head, body))
}

/// Origins are signed with the credential: a tool without one has nowhere to go.
pub fn no_credential(slug: &Slug, name: &str) -> Refusal {
    let detail = match name {
        "" => format!("{slug} has no credential yet; an operator sets one, of kind none if need be"),
        name => format!("{slug} has no credential {name}, which the grant names; an operator sets it"),
    };
    Refusal::new(Code::UpstreamRefused, detail)
}

/// The grant that a call is permitted under: what says whose credential it uses.
pub struct Under {
    pub record: Vec<u8>,
    /// The credential's name; empty for the unnamed one.
    pub credential: String,
}

impl Under {
    pub fn of(grant: &Grant) -> Self {
        Self { record: grant.record.clone(), credential: grant.credential.clone() }
    }
}

/// Who calls, on whose behalf, and by which grant.
pub struct By<'a> {
    pub agent: &'a Agent,
    pub principals: &'a [Arc<Agent>],
    pub under: &'a Under,
}

pub async fn draw(
    gateway: &Gateway,
    permit: Recorded<Permit>,
    by: By<'_>,
    tool: &ReadyTool,
    request: &VerifiedHead,
    headers: &HeaderMap,
) -> Result<(Credential, Holder), Refusal> {
    let By { agent, principals, under } = by;
    let name = under.credential.as_str();
    let sealed = tool.tool.credential(name).ok_or_else(|| no_credential(&tool.slug, name))?;
    let record = agent.record.as_deref().ok_or_else(|| Refusal::internal(&"an active agent without a record"))?;
    let principals = records(principals)?;
    let envelope = RequestEnvelope {
        method: request.method().to_owned(),
        target_uri: request.target_uri().to_owned(),
        headers: signed_fields(headers),
        body: Vec::new(),
    };
    let claim = Claim {
        agent_record: record,
        grant_record: &under.record,
        principal_records: &principals,
        credential_record: &sealed.record,
        request: &envelope,
        draw: Draw::Secret,
    };
    let holder = Holder {
        tenant: tool.tool.tenant,
        tool: tool.tool.slug.clone(),
        credential: sealed.name.clone(),
        version: sealed.version,
    };
    let credential = if sealed.kind == oauth2::KIND {
        oauth2::draw(gateway, permit, claim, holder.clone(), tool.reach).await?
    } else {
        Credential::release(&gateway.vault, permit, claim).await?
    };
    Ok((credential, holder))
}

/// The vault's records of agents, in their order.
pub fn records(agents: &[Arc<Agent>]) -> Result<Vec<Vec<u8>>, Refusal> {
    let missing = || Refusal::internal(&"an agent that handed a token on has no record");
    agents.iter().map(|agent| agent.record.clone().ok_or_else(missing)).collect()
}

/// The signature's own fields and those that it names.
pub fn signed_fields(headers: &HeaderMap) -> Vec<(String, String)> {
    const ALWAYS: &[&str] = &["signature", "signature-input", "authorization", "content-digest", "content-type"];
    let inputs: Vec<&str> = headers.get_all("signature-input").iter().filter_map(|value| value.to_str().ok()).collect();
    let named =
        |name: &str| ALWAYS.contains(&name) || inputs.iter().any(|input| input.contains(&format!("\"{name}\"")));
    headers
        .iter()
        .filter(|(name, _)| named(name.as_str()))
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect()
}

/// The request that the tool will see, and what must not come back.
fn forward(
    credential: Credential,
    tool: &ReadyTool,
    target: Target<'_>,
    received: &HeaderMap,
    content: Content,
    now: i64,
) -> Result<(Request<Content>, Placed), Refusal> {
    let uri = tool.upstream.uri(target.rest, target.query).map_err(|error| Refusal::internal(&error))?;
    let (injected, searched) = (credential.field()?, credential.may_be_reflected());
    let mut fields = headers::upstream(received, &tool.headers, injected.as_ref(), searched);
    // RFC 9110 §7.6.3: an HTTP-to-HTTP gateway names itself to the upstream.
    fields.insert(HeaderName::from_static("via"), HeaderValue::from_static("1.1 tgp"));
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = target.method.clone();
    parts.uri = uri;
    parts.version = Version::HTTP_11;
    parts.headers = fields;
    let placed = credential.place(&tool.upstream, &mut parts, &content, now)?;
    Ok((Request::from_parts(parts, content), placed))
}

fn unreachable_upstream(error: &UpstreamError) -> Refusal {
    // The address is sealed: the caller learns what happened, the log learns where.
    tracing::warn!(%error, "the upstream did not answer");
    match error {
        UpstreamError::Guard(_) => {
            Refusal::new(Code::UpstreamRefused, "the tool's address is not one that this gateway connects to")
        }
        UpstreamError::Connect(_) => Refusal::new(Code::UpstreamRefused, "the tool takes no connection"),
        UpstreamError::Broken(_) => Refusal::new(Code::UpstreamBroken, "the tool broke off before it answered"),
        UpstreamError::Timeout => Refusal::new(Code::UpstreamTimeout, "the tool did not answer in time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vault_sees_the_signed_fields_and_no_others() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("signature-input", "sig=(\"@method\" \"x-signed\");created=1"),
            ("signature", "sig=:AA==:"),
            ("authorization", "Bearer t"),
            ("x-signed", "1"),
            ("x-unsigned", "2"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut names: Vec<_> = signed_fields(&headers).into_iter().map(|(name, _)| name).collect();
        names.sort();
        assert_eq!(names, ["authorization", "signature", "signature-input", "x-signed"]);
    }
}
