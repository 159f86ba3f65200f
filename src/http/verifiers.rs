//! The endpoints of tools that ask, and what stands beside them: introspection, revocation, verify, forward-auth, the
//! status list and the metadata of a tool.

use axum::body::Body;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use serde_json::{Map, Value, json};
use tgp_request::name::Slug;

use super::agents::{AgentRoutes, Exchange, is_form};
use super::answer::{content, json as answer_json, path_and_query};
use super::problem;
use crate::admission::{Entry, Kind};
use crate::proxy::call::{known_agent, read_body};
use crate::refusal::{Code, Refusal};
use crate::verifier::forwarded::{self, Forwarded};
use crate::verifier::handed::{self, Handed};
use crate::verifier::login::Shown;
use crate::verifier::relay::{Allowed, Content, Relayed, relay};
use crate::verifier::{form, introspect, revoke, status};
use crate::verify::Denied;

pub const FORWARD_AUTH: &str = "/v1/forward-auth";
pub const TOOL_METADATA: &str = "/.well-known/oauth-protected-resource/t/";

/// One token and its hints.
const FORM_LIMIT: usize = 16 * 1024;

/// Who is no verifier is counted against his address; a store that is away is nobody's fault.
fn not_let_in(refusal: Refusal) -> Denied {
    if refusal.code == Code::VerifierRequired { Denied::counted(refusal) } else { Denied::settled(refusal) }
}

impl AgentRoutes {
    /// RFC 7662.
    pub(super) async fn introspect(&self, exchange: Exchange) -> Result<Response<Body>, Denied> {
        let gateway = &self.gateway;
        let Exchange { parts, body, .. } = exchange;
        let shown = Shown::in_authorization(&parts.headers).map_err(Denied::counted)?;
        let verifier = shown.verifier(gateway).await.map_err(not_let_in)?;
        let form = read_body(&parts.headers, body, FORM_LIMIT, gateway.config.limits.body_timeout).await;
        let form = form.and_then(|form| is_form(&parts).map(|()| form)).map_err(Denied::relayed)?;
        let token = form::token(&form).map_err(Denied::relayed)?;
        let answer = introspect::introspect(gateway, &verifier, &token).await.map_err(Denied::relayed)?;
        Ok(answer_json(StatusCode::OK, &answer))
    }

    /// RFC 7009.
    pub(super) async fn revoke(&self, exchange: Exchange) -> Result<Response<Body>, Denied> {
        let gateway = &self.gateway;
        let agent = exchange.connection.peer.agent(gateway.now()).map_err(Denied::counted)?;
        let agent = known_agent(gateway, agent).await?;
        let Exchange { request_id, parts, body, .. } = exchange;
        let entry = Entry {
            agent: Some(agent.id),
            method: Some(parts.method.to_string()),
            ..Entry::new(request_id, Kind::Revoke, agent.tenant)
        };
        let early = |refusal: Refusal| Denied::early(&entry, refusal);
        let form = read_body(&parts.headers, body, FORM_LIMIT, gateway.config.limits.body_timeout).await;
        let form = form.and_then(|form| is_form(&parts).map(|()| form)).map_err(early)?;
        let token = form::token(&form).map_err(early)?;
        revoke::revoke(gateway, &agent, &token, entry.clone()).await?;
        Ok(content(StatusCode::OK, "application/json", "{}"))
    }

    /// The answer is about the request that is handed over; what is wrong with the question, or keeps us from judging, is
    /// a problem of its own.
    pub(super) async fn verify(&self, exchange: Exchange) -> Result<Response<Body>, Denied> {
        let gateway = &self.gateway;
        let Exchange { request_id, parts, body, .. } = exchange;
        let shown = Shown::in_authorization(&parts.headers).map_err(Denied::counted)?;
        let verifier = shown.verifier(gateway).await.map_err(not_let_in)?;
        let body = read_body(&parts.headers, body, handed::BODY_LIMIT, gateway.config.limits.body_timeout).await;
        let body = body.map_err(Denied::relayed)?;
        let handed = Handed::parse(&body, &gateway.config.trust_domain).map_err(Denied::relayed)?;
        let Handed { method, uri, headers, content_digest, certified } = handed;
        let tool = verifier.tool.clone();
        let relayed = Relayed {
            request_id,
            verifier,
            method,
            target_uri: uri,
            headers: &headers,
            certified: certified.map(|agent| (agent, i64::MAX)),
            content: content_digest.as_deref().map_or(Content::None, Content::Digest),
        };
        let verdict = match relay(gateway, relayed).await {
            Ok(allowed) => allowed_json(&allowed, &tool, request_id),
            Err(denied) => {
                let refusal = denied.settle(&gateway.admission).await;
                if problem::status(refusal.code).is_server_error() {
                    return Err(Denied::settled(refusal));
                }
                tracing::info!(%request_id, code = %refusal.code, detail = %refusal.detail, "refused at a tool");
                self.refused_json(&refusal, &tool, request_id)
            }
        };
        Ok(answer_json(StatusCode::OK, &verdict))
    }

    /// With the fields that a refusal should carry, for the tool to pass on.
    fn refused_json(&self, refusal: &Refusal, tool: &str, request_id: uuid::Uuid) -> Value {
        let response = problem::problem(&self.gateway.config.issuer, request_id, refusal);
        let response = self.naming_metadata(response, Some(tool));
        let passed_on = [header::WWW_AUTHENTICATE, HeaderName::from_static("accept-signature"), header::RETRY_AFTER];
        let fields: Map<String, Value> = passed_on
            .iter()
            .filter_map(|name| Some((name.to_string(), response.headers().get(name)?.to_str().ok()?.into())))
            .collect();
        json!({
            "allowed": false,
            "code": refusal.code.as_str(),
            "status": response.status().as_u16(),
            "detail": refusal.detail,
            "headers": fields,
            "request_id": request_id,
        })
    }

    /// For a proxy in front of a tool; `below` is what follows the endpoint's own path.
    pub(super) async fn forward_auth(&self, exchange: Exchange) -> Result<Response<Body>, Denied> {
        let gateway = &self.gateway;
        let Exchange { request_id, parts, body, .. } = exchange;
        let shown = Shown::in_field(&parts.headers).map_err(Denied::counted)?;
        let verifier = shown.verifier(gateway).await.map_err(not_let_in)?;
        let below = path_and_query(&parts).strip_prefix(FORWARD_AUTH).unwrap_or_default();
        let trust_domain = &gateway.config.trust_domain;
        let forwarded = Forwarded::parse(&parts.method, below, &parts.headers, trust_domain, gateway.now());
        let Forwarded { method, path_and_query, certified, content } = forwarded.map_err(Denied::relayed)?;
        let limits = &gateway.config.limits;
        let body = read_body(&parts.headers, body, limits.body_bytes, limits.body_timeout).await;
        let body = body.map_err(Denied::relayed)?;
        let tool = gateway.cache.tool(&verifier.tool).await.map_err(Denied::relayed)?;
        let resource = tool.as_ref().map_or("", |tool| tool.resource.as_str());
        let slug = verifier.tool.clone();
        let relayed = Relayed {
            request_id,
            verifier,
            method,
            target_uri: format!("{}{path_and_query}", origin_of(resource)),
            headers: &parts.headers,
            certified,
            content: match content {
                forwarded::Content::Passed => Content::Here(&body),
                forwarded::Content::Dropped => Content::None,
            },
        };
        let Allowed { action, agent, aan, .. } = match relay(gateway, relayed).await {
            Ok(allowed) => allowed,
            Err(denied) => {
                let refusal = denied.settle(&gateway.admission).await;
                tracing::info!(%request_id, code = %refusal.code, detail = %refusal.detail, "refused before a tool");
                let response = problem::forwarded(&gateway.config.issuer, request_id, &refusal);
                return Ok(self.naming_metadata(response, Some(&slug)));
            }
        };
        let mut response = Response::new(Body::empty());
        let facts = [("tgp-agent", agent.to_string()), ("tgp-aan", aan), ("tgp-tool", slug)];
        let facts = facts.into_iter().chain([("tgp-action", action.to_string())]);
        for (name, value) in facts {
            let value = HeaderValue::from_str(&value).map_err(|error| Denied::settled(Refusal::internal(&error)))?;
            response.headers_mut().insert(name, value);
        }
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }

    /// Who is stopped, signed; see `tgp_request::status`.
    pub(super) async fn status_list(&self) -> Result<Response<Body>, Denied> {
        let list = self.gateway.status_lists.current(&self.gateway).await.map_err(Denied::settled)?;
        let mut response = content(StatusCode::OK, "application/jwt", list.text.clone());
        let age = format!("public, max-age={}", status::FRESH);
        if let Ok(age) = HeaderValue::from_str(&age) {
            response.headers_mut().insert(header::CACHE_CONTROL, age);
        }
        Ok(response)
    }

    /// RFC 9728. Public, as the names of tools and actions are.
    pub(super) async fn tool_metadata(&self, slug: &str) -> Result<Response<Body>, Denied> {
        let unknown = || Denied::counted(Refusal::new(Code::ToolUnknown, format!("there is no tool {slug:.63}")));
        let slug: Slug = slug.parse().map_err(|_| unknown())?;
        let tool = self.gateway.cache.tool(slug.as_str()).await.map_err(Denied::counted)?.ok_or_else(unknown)?;
        let scopes: Vec<String> = tool.actions.iter().map(|action| format!("{slug}:{}", action.name)).collect();
        let issuer = &self.gateway.config.issuer;
        let metadata = json!({
            "resource": tool.resource,
            "resource_name": slug,
            "authorization_servers": [issuer.as_str()],
            "scopes_supported": scopes,
            "bearer_methods_supported": ["header"],
            "authorization_details_types_supported": ["tgp_tool"],
        });
        let mut response = answer_json(StatusCode::OK, &metadata);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
        Ok(response)
    }
}

fn allowed_json(allowed: &Allowed, tool: &str, request_id: uuid::Uuid) -> Value {
    let Allowed { permit, action, agent, principals, aan, jti, expires } = allowed;
    json!({
        "allowed": true,
        "agent": agent,
        "on_behalf_of": principals,
        "aan": aan,
        "tool": tool,
        "action": action,
        "grant": permit.as_ref().grant(),
        "jti": jti,
        "expires": expires,
        "request_id": request_id,
    })
}

/// `https://host[:port]` of a resource: where the tool is called, whatever `Host` says.
fn origin_of(resource: &str) -> &str {
    let host = resource.find("://").map_or(0, |at| at + 3);
    let end = resource[host..].find('/').map_or(resource.len(), |at| host + at);
    &resource[..end]
}

/// Whether a path is forward-auth's: the original path may stand behind it.
pub fn is_forward_auth(path: &str) -> bool {
    path.strip_prefix(FORWARD_AUTH).is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

/// The methods of these routes, where the path is one of them.
pub fn methods_of(path: &str) -> Option<&'static str> {
    match path {
        "/oauth2/introspect" | "/oauth2/revoke" | "/v1/verify" => Some("POST"),
        "/v1/status-list" => Some("GET, HEAD"),
        path if path.starts_with(TOOL_METADATA) => Some("GET, HEAD"),
        _ => None,
    }
}

pub fn is_read(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_is_the_resources_own() {
        assert_eq!(origin_of("https://mail.example:8443/v1"), "https://mail.example:8443");
        assert_eq!(origin_of("https://mail.example"), "https://mail.example");
    }

    #[test]
    fn only_forward_auths_own_path_and_what_is_below_it_are_its() {
        assert!(is_forward_auth("/v1/forward-auth") && is_forward_auth("/v1/forward-auth/t/x"));
        assert!(!is_forward_auth("/v1/forward-authx") && !is_forward_auth("/v1/forward"));
    }
}
