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
use tgp_request::name::Slug;
use uuid::Uuid;

use super::answer::{admissible, content, finish, json as answer_json, path_and_query, secret_json, to_the_end};
use super::catalogue::Turns;
use super::failures::{Caller, FailureLimit};
use super::listen::{Answer, Connection};
use super::metrics::Metrics;
use super::problem;
use super::verifiers;
use crate::admission::{Entry, Kind};
use crate::gateway::Gateway;
use crate::issue::client::Presented;
use crate::issue::enrol::{self, Signed};
use crate::issue::exchange::HandedOver;
use crate::issue::form::{ACCESS_TOKEN, Asked, Form, GrantType, Way};
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
    pub turns: Turns,
}

/// One request, its caller and its number.
pub(super) struct Exchange {
    pub(super) request_id: Uuid,
    pub(super) connection: Arc<Connection>,
    pub(super) parts: Parts,
    pub(super) body: Incoming,
}

impl Answer for AgentRoutes {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, connection: Arc<Connection>) -> Response<Body> {
        let request_id = Uuid::new_v4();
        let now = self.gateway.now();
        let caller = match connection.peer.agent(now) {
            Ok(agent) => Caller::Named(agent),
            Err(_) => Caller::at(connection.remote.ip()),
        };
        let (mut parts, body) = request.into_parts();
        // Whatever goes wrong below it is told in RFC 6749's terms.
        let of_oauth = parts.uri.path().starts_with("/oauth2/");
        let framed = connection.verdict.check(&mut parts);
        let of_forward_auth = verifiers::is_forward_auth(parts.uri.path());
        let tool = tool_of(parts.uri.path());
        let exchange = Exchange { request_id, connection, parts, body };
        let answered = match (framed, self.failures.check(caller, now)) {
            // Nothing that follows on this connection is read, so it closes whatever else there is to say.
            (Err(refusal), _) => Err(self.refuse(&exchange, refusal).await),
            (Ok(()), Err(refusal)) => Err(Denied::counted(refusal)),
            (Ok(()), Ok(())) => self.route(exchange, caller).await,
        };
        let response = match answered {
            Ok(response) => response,
            Err(denied) => {
                if denied.counts_against_caller() {
                    self.failures.note(caller, now);
                }
                let refusal = denied.settle(&self.gateway.admission).await;
                tracing::info!(%request_id, code = %refusal.code, detail = %refusal.detail, "refused");
                if of_oauth {
                    problem::oauth(OauthRefusal::name(refusal.code, None), request_id, &refusal)
                } else if of_forward_auth {
                    problem::forwarded(&self.gateway.config.issuer, request_id, &refusal)
                } else {
                    let response = problem::problem(&self.gateway.config.issuer, request_id, &refusal);
                    self.naming_metadata(response, tool.as_deref())
                }
            }
        };
        self.metrics.answered("gateway", response.status().as_u16());
        finish(response, request_id)
    }
}

impl AgentRoutes {
    async fn route(&self, exchange: Exchange, caller: Caller) -> Result<Response<Body>, Denied> {
        let config = &self.gateway.config;
        let admissible = admissible(&exchange.parts, &config.limits, &config.issuer);
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
            ("/oauth2/token", &Method::POST) => Ok(self.token(exchange, caller).await),
            ("/v1/enrol", &Method::POST) => self.enrol(exchange).await,
            ("/v1/certificates", &Method::POST) => self.certificates(exchange).await,
            ("/v1/tools", &Method::GET | &Method::HEAD) => self.catalogue(exchange, None).await,
            ("/oauth2/introspect", &Method::POST) => self.introspect(exchange).await,
            ("/oauth2/revoke", &Method::POST) => self.revoke(exchange).await,
            ("/v1/verify", &Method::POST) => self.verify(exchange).await,
            ("/v1/status-list", method) if verifiers::is_read(method) => self.status_list().await,
            (path, _) if verifiers::is_forward_auth(path) => self.forward_auth(exchange).await,
            (path, method) if verifiers::is_read(method) && path.starts_with(verifiers::TOOL_METADATA) => {
                self.tool_metadata(&path[verifiers::TOOL_METADATA.len()..]).await
            }
            (path, method) => match (path.strip_prefix("/v1/tools/"), method) {
                (Some(slug), &Method::GET | &Method::HEAD) if !slug.contains('/') => {
                    self.catalogue(exchange, Some(slug)).await
                }
                _ => Err(self.refuse(&exchange, nowhere(path)).await),
            },
        }
    }

    /// A refusal of a tool's says where the tool's metadata is (RFC 9728 §5.1).
    pub(super) fn naming_metadata(&self, response: Response<Body>, tool: Option<&str>) -> Response<Body> {
        let issuer = &self.gateway.config.issuer;
        match tool {
            Some(tool) => problem::name_metadata(response, &format!("{issuer}{}{tool}", verifiers::TOOL_METADATA)),
            None => response,
        }
    }

    /// A refusal of what was sent, whoever sent it: on record when a certificate names an agent.
    async fn refuse(&self, exchange: &Exchange, refusal: Refusal) -> Denied {
        let Ok(id) = exchange.connection.peer.agent(self.gateway.now()) else { return Denied::counted(refusal) };
        let Ok(Some(agent)) = self.gateway.cache.agent(id).await else { return Denied::counted(refusal) };
        let kind = match exchange.parts.uri.path() {
            "/oauth2/revoke" => Kind::Revoke,
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
            "introspection_endpoint": format!("{issuer}/oauth2/introspect"),
            "introspection_endpoint_auth_methods_supported": ["client_secret_basic"],
            "revocation_endpoint": format!("{issuer}/oauth2/revoke"),
            "revocation_endpoint_auth_methods_supported": ["tls_client_auth"],
            "grant_types_supported": ["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"],
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["ES256K"],
            "authorization_details_types_supported": ["tgp_tool"],
        });
        cached(answer_json(StatusCode::OK, &metadata))
    }

    fn jwks(&self) -> Response<Body> {
        cached(content(StatusCode::OK, "application/json", self.gateway.deployment.jwks.clone()))
    }

    /// `/oauth2/*` answer in RFC 6749's terms.
    async fn token(&self, exchange: Exchange, caller: Caller) -> Response<Body> {
        let request_id = exchange.request_id;
        let mut way = None;
        match self.issue(exchange, &mut way).await {
            Ok(response) => response,
            Err((denied, name)) => {
                if denied.counts_against_caller() {
                    self.failures.note(caller, self.gateway.now());
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
        // Until the vault has checked what it shows, only the certificate speaks for the agent.
        let row = |refusal: Refusal| (Denied::early(&entry, refusal), None);
        let named = |OauthRefusal { error, refusal }| (Denied::early(&entry, refusal), Some(error));
        let form =
            read_body(&parts.headers, body, BODY_LIMIT, gateway.config.limits.body_timeout).await.map_err(row)?;
        is_form(&parts).map_err(row)?;
        let mut form = Form::parse(&form).map_err(named)?;
        let presented = Presented::of(gateway, &parts.headers, &mut form, &agent).map_err(named)?;
        if presented.agent != agent.id {
            let detail = "the certificate and the client credentials name different agents";
            return Err(row(Refusal::new(Code::CertificateMismatch, detail)));
        }
        let (asked, handed) = match form.grant_type(agent.id).map_err(named)? {
            GrantType::ClientCredentials => (Asked::parse(form).map_err(named)?, None),
            GrantType::TokenExchange => {
                let (handed, asked) = HandedOver::of(gateway, form, agent.id).map_err(named)?;
                (asked, Some(handed))
            }
        };
        *way = Some(asked.way);
        let entry = Entry {
            tool: Some(asked.tool.to_string()),
            action: Some(asked.actions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
            ..entry
        };
        let request = issue::Request { presented, asked, handed };
        let token = issue::token(gateway, agent, &request, entry).await.map_err(plain)?.into_inner();
        let reply = TokenReply {
            access_token: token.expose_text(),
            token_type: "Bearer",
            expires_in: token.expires_in,
            scope: &token.scope,
            issued_token_type: request.handed.is_some().then_some(ACCESS_TOKEN),
            authorization_details: (request.asked.way == Way::Details).then(|| token.details()),
        };
        let mut response = secret_json(StatusCode::OK, &reply);
        response.headers_mut().insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
        Ok(response)
    }

    async fn enrol(&self, exchange: Exchange) -> Result<Response<Body>, Denied> {
        let (signed, _) = self.read_signed(exchange).await.map_err(Denied::counted)?;
        let gateway = Arc::clone(&self.gateway);
        let enrolled = to_the_end(async move { enrol::enrol(&gateway, &signed.borrow()).await }).await?;
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
        let gateway = Arc::clone(&self.gateway);
        let certificate = to_the_end(async move { enrol::renew(&gateway, &agent, &signed.borrow()).await }).await?;
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
    /// RFC 8693 §2.2.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
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
        path => match verifiers::methods_of(path) {
            Some(methods) => methods,
            None => return Refusal::new(Code::NotFound, "there is nothing at this path"),
        },
    };
    Refusal::new(Code::MethodNotAllowed, format!("use {allow}")).advise(Advice::Allow(allow))
}

pub(super) fn is_form(parts: &Parts) -> Result<(), Refusal> {
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|value| value.split(';').next()).map(str::trim);
    if kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")) {
        return Ok(());
    }
    Err(Refusal::new(Code::RequestMalformed, "send application/x-www-form-urlencoded"))
}

/// The tool that a path of the proxy names, whether or not there is one.
fn tool_of(path: &str) -> Option<String> {
    let below = path.strip_prefix("/t/")?;
    let slug: Slug = below.split('/').next()?.parse().ok()?;
    Some(slug.to_string())
}

fn cached(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    response
}
