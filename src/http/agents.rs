//! The gateway's listener, for agents: metadata, keys, tokens, enrolment, certificates, the catalogue and
//! the proxy.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::{admissible, content, finish, json as answer_json, path_and_query, secret_json};
use super::failures::FailureLimit;
use super::listen::{Answer, Connection};
use super::metrics::Metrics;
use super::problem;
use crate::admission::{Entry, Kind};
use crate::gateway::Gateway;
use crate::issue::basic::Presented;
use crate::issue::enrol::{self, Signed};
use crate::issue::form::{Asked, Way};
use crate::issue::{self, OauthError, OauthRefusal};
use crate::proxy::call::{self, Call, known_agent, read_body};
use crate::refusal::{Advice, Code, Refusal};
use crate::store::agent::Agent;
use crate::verify::Denied;

/// Forms, statements and certificate requests are small.
const BODY_LIMIT: usize = 64 * 1024;

pub struct AgentRoutes {
    pub gateway: Arc<Gateway>,
    pub failures: FailureLimit,
    pub metrics: Arc<Metrics>,
}

/// One request, its caller and its number.
pub(super) struct Exchange {
    pub(super) request_id: Uuid,
    connection: Arc<Connection>,
    pub(super) parts: Parts,
    body: Incoming,
}

impl Answer for AgentRoutes {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, connection: Arc<Connection>) -> Response<Body> {
        let request_id = Uuid::new_v4();
        let remote = connection.remote.ip();
        let now = self.gateway.now();
        let (parts, body) = request.into_parts();
        // Whatever goes wrong below it is told in RFC 6749's terms.
        let of_oauth = parts.uri.path().starts_with("/oauth2/");
        let exchange = Exchange { request_id, connection, parts, body };
        let answered = match self.failures.check(remote, now) {
            Ok(()) => self.route(exchange).await,
            Err(refusal) => Err(Denied::counted(refusal)),
        };
        let response = match answered {
            Ok(response) => response,
            Err(denied) => {
                if denied.counts_against_address() {
                    self.failures.note(remote, now);
                }
                let refusal = denied.settle(&self.gateway.admission).await;
                tracing::info!(%request_id, code = %refusal.code, detail = %refusal.detail, "refused");
                if of_oauth {
                    problem::oauth(OauthRefusal::name(refusal.code, None), request_id, &refusal)
                } else {
                    problem::problem(&self.gateway.config.issuer, request_id, &refusal)
                }
            }
        };
        self.metrics.answered("gateway", response.status().as_u16());
        finish(response, request_id)
    }
}

impl AgentRoutes {
    async fn route(&self, mut exchange: Exchange) -> Result<Response<Body>, Denied> {
        let config = &self.gateway.config;
        let admissible = admissible(&mut exchange.parts, &exchange.connection, &config.limits, &config.issuer);
        let path = exchange.parts.uri.path().to_owned();
        if path.starts_with("/t/") {
            return self.proxy(exchange, admissible).await;
        }
        if let Err(refusal) = admissible {
            return Err(self.refuse(&exchange, refusal).await);
        }
        let method = exchange.parts.method.clone();
        match (path.as_str(), &method) {
            ("/.well-known/oauth-authorization-server", &Method::GET | &Method::HEAD) => Ok(self.metadata()),
            ("/oauth2/jwks", &Method::GET | &Method::HEAD) => Ok(self.jwks()),
            ("/oauth2/token", &Method::POST) => Ok(self.token(exchange).await),
            ("/v1/enrol", &Method::POST) => self.enrol(exchange).await,
            ("/v1/certificates", &Method::POST) => self.certificates(exchange).await,
            ("/v1/tools", &Method::GET | &Method::HEAD) => self.catalogue(exchange, None).await,
            (path, method) => match (path.strip_prefix("/v1/tools/"), method) {
                (Some(slug), &Method::GET | &Method::HEAD) if !slug.contains('/') => {
                    self.catalogue(exchange, Some(slug)).await
                }
                _ => Err(self.refuse(&exchange, nowhere(path)).await),
            },
        }
    }

    /// A refusal of what was sent, whoever sent it: on record when a certificate names an agent.
    async fn refuse(&self, exchange: &Exchange, refusal: Refusal) -> Denied {
        let Ok(id) = exchange.connection.peer.agent(self.gateway.now()) else { return Denied::counted(refusal) };
        let Ok(Some(agent)) = self.gateway.cache.agent(id).await else { return Denied::counted(refusal) };
        let kind = match exchange.parts.uri.path() {
            path if path.starts_with("/oauth2/") => Kind::Token,
            path if path.starts_with("/v1/tools") => Kind::Catalogue,
            path if path.starts_with("/v1/certificates") => Kind::Renew,
            path if path.starts_with("/v1/enrol") => Kind::Enrol,
            _ => Kind::Call,
        };
        let entry = Entry {
            agent: Some(agent.id),
            method: Some(exchange.parts.method.to_string()),
            ..Entry::new(exchange.request_id, kind, agent.tenant)
        };
        Denied::early(&entry, refusal)
    }

    /// RFC 8414.
    fn metadata(&self) -> Response<Body> {
        let issuer = &self.gateway.config.issuer;
        let metadata = json!({
            "issuer": issuer.as_str(),
            "token_endpoint": format!("{issuer}/oauth2/token"),
            "jwks_uri": format!("{issuer}/oauth2/jwks"),
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "authorization_details_types_supported": ["tgp_tool"],
        });
        cached(answer_json(StatusCode::OK, &metadata))
    }

    fn jwks(&self) -> Response<Body> {
        cached(content(StatusCode::OK, "application/json", self.gateway.deployment.jwks.clone()))
    }

    /// `/oauth2/*` answer in RFC 6749's terms.
    async fn token(&self, exchange: Exchange) -> Response<Body> {
        let (request_id, remote) = (exchange.request_id, exchange.connection.remote.ip());
        let mut way = None;
        match self.issue(exchange, &mut way).await {
            Ok(response) => response,
            Err((denied, name)) => {
                if denied.counts_against_address() {
                    self.failures.note(remote, self.gateway.now());
                }
                let code = denied.code();
                let refusal = denied.settle(&self.gateway.admission).await;
                // What could not be recorded is answered as that, whatever it was.
                let name = if refusal.code == code { name } else { None };
                let name = name.unwrap_or_else(|| OauthRefusal::name(refusal.code, way));
                tracing::info!(%request_id, code = %refusal.code, error = name.as_str(), detail = %refusal.detail, "no token");
                problem::oauth(name, request_id, &refusal)
            }
        }
    }

    async fn issue(
        &self,
        exchange: Exchange,
        way: &mut Option<Way>,
    ) -> Result<Response<Body>, (Denied, Option<OauthError>)> {
        let gateway = &self.gateway;
        let Exchange { request_id, connection, parts, body } = exchange;
        let plain = |denied: Denied| (denied, None);
        let certified = connection.peer.agent(gateway.now()).map_err(|refusal| plain(Denied::counted(refusal)))?;
        let agent = known_agent(gateway, certified).await.map_err(plain)?;
        let entry = Entry {
            agent: Some(agent.id),
            method: Some(parts.method.to_string()),
            ..Entry::new(request_id, Kind::Token, agent.tenant)
        };
        // Until the vault has checked the master key, only the certificate speaks for the agent.
        let row = |refusal: Refusal| (Denied::early(&entry, refusal), None);
        let presented = Presented::parse(&parts.headers).map_err(row)?;
        if presented.agent != agent.id {
            let detail = "the certificate and the client credentials name different agents";
            return Err(row(Refusal::new(Code::CertificateMismatch, detail)));
        }
        let form =
            read_body(&parts.headers, body, BODY_LIMIT, gateway.config.limits.body_timeout).await.map_err(row)?;
        if !is_kind(&parts, "application/x-www-form-urlencoded") {
            return Err(row(Refusal::new(Code::RequestMalformed, "send application/x-www-form-urlencoded")));
        }
        let asked = Asked::parse(&form, &agent.id.to_string())
            .map_err(|OauthRefusal { error, refusal }| (Denied::early(&entry, refusal), Some(error)))?;
        *way = Some(asked.way);
        let entry = Entry {
            tool: Some(asked.tool.to_string()),
            action: Some(asked.actions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
            ..entry
        };
        let token = issue::token(gateway, agent, presented, &asked, entry).await.map_err(plain)?.into_inner();
        let reply = TokenReply {
            access_token: token.expose_text(),
            token_type: "Bearer",
            expires_in: token.expires_in,
            scope: &token.scope,
            authorization_details: (asked.way == Way::Details).then(|| {
                json!([{
                    "type": "tgp_tool",
                    "locations": [token.resource],
                    "actions": token.actions,
                    "identifier": token.tool,
                }])
            }),
        };
        let mut response = secret_json(StatusCode::OK, &reply);
        response.headers_mut().insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
        Ok(response)
    }

    async fn enrol(&self, exchange: Exchange) -> Result<Response<Body>, Denied> {
        let (signed, _) = self.read_signed(exchange).await.map_err(Denied::counted)?;
        let enrolled = enrol::enrol(&self.gateway, &signed.borrow()).await?;
        let reply = EnrolmentAnswer {
            agent: enrolled.facts.agent,
            aan: &enrolled.facts.aan,
            certificate_chain: &enrolled.certificate.chain,
            ca_bundle: &enrolled.ca_bundle,
            master_key: enrolled.master_key.expose_text().unwrap_or_default(),
        };
        Ok(secret_json(StatusCode::CREATED, &reply))
    }

    async fn certificates(&self, exchange: Exchange) -> Result<Response<Body>, Denied> {
        let agent = self.certified(&exchange).await?;
        let entry = Entry {
            agent: Some(agent.id),
            method: Some(exchange.parts.method.to_string()),
            ..Entry::new(exchange.request_id, Kind::Renew, agent.tenant)
        };
        let early = |refusal: Refusal| Denied::early(&entry, refusal);
        let (signed, _) = self.read_signed(exchange).await.map_err(early)?;
        let certificate = enrol::renew(&self.gateway, &agent, &signed.borrow()).await?;
        let reply = json!({
            "certificate_chain": certificate.chain,
            "ca_bundle": self.gateway.deployment.ca_pem,
        });
        Ok(answer_json(StatusCode::CREATED, &reply))
    }

    async fn proxy(&self, exchange: Exchange, admissible: Result<(), Refusal>) -> Result<Response<Body>, Denied> {
        let agent = self.certified(&exchange).await?;
        let Exchange { request_id, connection, parts, body } = exchange;
        let certificate_not_after = connection.peer.not_after();
        let path_and_query = path_and_query(&parts).to_owned();
        let Parts { method, headers, .. } = parts;
        let call = Call { request_id, agent, certificate_not_after, admissible, method, path_and_query, headers, body };
        call::call(&self.gateway, call).await
    }

    pub(super) async fn certified(&self, exchange: &Exchange) -> Result<Arc<Agent>, Denied> {
        let agent = exchange.connection.peer.agent(self.gateway.now()).map_err(Denied::counted)?;
        known_agent(&self.gateway, agent).await
    }

    async fn read_signed(&self, exchange: Exchange) -> Result<(OwnedSigned, Arc<Connection>), Refusal> {
        let Exchange { request_id, connection, parts, body } = exchange;
        let timeout = self.gateway.config.limits.body_timeout;
        let content = read_body(&parts.headers, body, BODY_LIMIT, timeout).await?;
        let target_uri = format!("{}{}", self.gateway.config.issuer, path_and_query(&parts));
        Ok((OwnedSigned { request_id, parts, target_uri, content }, connection))
    }
}

/// RFC 6749 §5.1; borrowed, so that the token is copied into nothing but the answer.
#[derive(Serialize)]
struct TokenReply<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: i64,
    scope: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_details: Option<Value>,
}

#[derive(Serialize)]
struct EnrolmentAnswer<'a> {
    agent: Uuid,
    aan: &'a str,
    certificate_chain: &'a str,
    ca_bundle: &'a str,
    master_key: &'a str,
}

struct OwnedSigned {
    request_id: Uuid,
    parts: Parts,
    target_uri: String,
    content: Bytes,
}

impl OwnedSigned {
    fn borrow(&self) -> Signed<'_> {
        Signed {
            request_id: self.request_id,
            method: self.parts.method.as_str(),
            target_uri: &self.target_uri,
            headers: &self.parts.headers,
            content: &self.content,
        }
    }
}

/// Another method, where there is one; nothing elsewhere.
fn nowhere(path: &str) -> Refusal {
    let allow = match path {
        "/.well-known/oauth-authorization-server" | "/oauth2/jwks" | "/v1/tools" => "GET, HEAD",
        "/oauth2/token" | "/v1/enrol" | "/v1/certificates" => "POST",
        path if path.strip_prefix("/v1/tools/").is_some_and(|slug| !slug.contains('/')) => "GET, HEAD",
        _ => return Refusal::new(Code::NotFound, "there is nothing at this path"),
    };
    Refusal::new(Code::MethodNotAllowed, format!("use {allow}")).advise(Advice::Allow(allow))
}

fn is_kind(parts: &Parts, kind: &str) -> bool {
    parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case(kind))
}

fn cached(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    response
}
