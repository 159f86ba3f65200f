//! The operators' listener: what people do, each act recorded before it is answered. The gateway checks
//! who asks and what its own rules say; what gives power (invitations, grants, credentials, rosters,
//! certificates, keys) is signed by a person, and the vault checks that by itself.

mod agents;
mod deployment;
mod grants;
mod manifests;
mod records;
mod tools;
mod verifiers;

pub(crate) use tools::tool_body;

use std::sync::Arc;

use axum::body::Body;
use http::header::{self, HeaderMap};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tgp_authority::{Operation, Operator, Role, Roster, Signed, Tenants};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::answer::{admissible, finish, json as answer_json, path_and_query, query, to_the_end};
use super::failures::{Caller, FailureLimit};
use super::listen::{Answer, Connection};
use super::metrics::Metrics;
use super::problem;
use super::tls::ServerCertificate;
use crate::gateway::Gateway;
use crate::json::Object;
use crate::proxy::call::read_body;
use crate::refusal::{Code, Refusal};
use crate::store::tenant::DEFAULT;
use crate::store::{Entry, Kind};
use crate::verify::Denied;

/// A roster of 256 operators and its statements fit.
const BODY_LIMIT: usize = 1024 * 1024;

/// Manifests of thousands of actions, and documents that they are made from.
const MANIFEST_LIMIT: usize = 8 * 1024 * 1024;
const DOCUMENT_LIMIT: usize = crate::openapi::LONGEST_DOCUMENT;

/// What is read before anybody is authenticated: one certificate request and one statement.
const UNAUTHENTICATED_BODY_LIMIT: usize = 64 * 1024;

pub struct OperatorRoutes {
    pub gateway: Arc<Gateway>,
    pub certificate: Arc<ServerCertificate>,
    pub failures: FailureLimit,
    pub metrics: Arc<Metrics>,
}

/// One operator's request, authenticated and read.
struct Act {
    request_id: Uuid,
    operator: Operator,
    roster: Arc<Roster>,
    method: Method,
    query: Vec<(String, String)>,
    // It may hold a tool's credential.
    body: Zeroizing<Vec<u8>>,
}

/// An answer that is ready, or what is refused.
type Answered = Result<Response<Body>, Refusal>;

impl Answer for OperatorRoutes {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, connection: Arc<Connection>) -> Response<Body> {
        let request_id = Uuid::new_v4();
        let now = self.gateway.now();
        let caller = match connection.peer.operator(now) {
            Ok((operator, _)) => Caller::Named(operator),
            Err(_) => Caller::at(connection.remote.ip()),
        };
        let (mut parts, body) = request.into_parts();
        let framed = connection.verdict.check(&mut parts);
        let answered = match (framed, self.failures.check(caller, now)) {
            (Err(refusal), _) | (Ok(()), Err(refusal)) => Err(Denied::counted(refusal)),
            (Ok(()), Ok(())) => self.route(request_id, parts, body, &connection).await,
        };
        let response = match answered {
            Ok(response) => response,
            Err(denied) => {
                if denied.counts_against_caller() {
                    self.failures.note(caller, now);
                }
                let refusal = denied.settle(&self.gateway.admission).await;
                tracing::info!(%request_id, code = %refusal.code, detail = %refusal.detail, "refused an operator");
                problem::problem(&self.gateway.config.issuer, request_id, &refusal)
            }
        };
        self.metrics.answered("operators", response.status().as_u16());
        finish(response, request_id)
    }
}

impl OperatorRoutes {
    async fn route(
        self: &Arc<Self>,
        request_id: Uuid,
        parts: Parts,
        body: Incoming,
        connection: &Connection,
    ) -> Result<Response<Body>, Denied> {
        let limits = &self.gateway.config.limits;
        admissible(&parts, limits, &self.gateway.config.issuer).map_err(Denied::counted)?;
        not_from_elsewhere(&parts.method, &parts.headers).map_err(Denied::counted)?;
        let path = parts.uri.path().to_owned();
        if path == "/v1/about" && parts.method == Method::GET {
            return Ok(self.about().await);
        }
        let reads = async |limit| {
            let body = read_body(&parts.headers, body, limit, limits.body_timeout).await;
            body.map(|body| Zeroizing::new(body.to_vec()))
        };
        if path == "/v1/operator/certificates" && parts.method == Method::POST {
            let body = reads(UNAUTHENTICATED_BODY_LIMIT).await.map_err(Denied::counted)?;
            let this = Arc::clone(self);
            return to_the_end(async move { this.certify_operator(request_id, &body).await }).await;
        }

        let (id, certificate) = connection.peer.operator(self.gateway.now()).map_err(Denied::counted)?;
        let roster = self.gateway.roster().await;
        let operator = match roster.operator_with_spki(&certificate.spki) {
            Some(operator) if operator.id == id => operator.clone(),
            _ => {
                let detail = "the certificate's key is not one of this operator's in the roster";
                return Err(Denied::counted(Refusal::new(Code::CertificateInvalid, detail)));
            }
        };
        let entry = Entry {
            operator: Some(operator.id),
            method: Some(parts.method.to_string()),
            detail: Some(json!({ "act": format!("{} {path}", parts.method) })),
            ..Entry::new(request_id, Kind::Operator, home(&operator))
        };
        let body = reads(body_limit(&parts.method, &path)).await.map_err(|refusal| Denied::row(&entry, refusal))?;
        let query = query(path_and_query(&parts)).map_err(|refusal| Denied::row(&entry, refusal))?;
        let act = Act { request_id, operator, roster, method: parts.method.clone(), query, body };
        let this = Arc::clone(self);
        to_the_end(async move { this.act(&path, &act).await.map_err(|refusal| Denied::row(&entry, refusal)) }).await
    }

    async fn act(&self, path: &str, act: &Act) -> Answered {
        let segments: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
        let method = act.method.as_str();
        match (method, segments.as_slice()) {
            ("POST", ["v1", "deks"]) => self.new_dek(act).await,
            ("GET", ["v1", "deks"]) => self.deks(act).await,
            ("POST", ["v1", "agents"]) => self.invite(act).await,
            ("GET", ["v1", "agents"]) => self.agents(act).await,
            ("GET", ["v1", "agents", name]) => self.agent(act, name).await,
            ("POST", ["v1", "agents", name, "freeze"]) => self.freeze(act, name).await,
            ("POST", ["v1", "agents", name, "unfreeze"]) => self.unfreeze(act, name).await,
            ("POST", ["v1", "agents", name, "retire"]) => self.retire(act, name).await,
            ("POST", ["v1", "tools"]) => self.add_tool(act).await,
            ("GET", ["v1", "tools"]) => self.tools(act).await,
            ("GET", ["v1", "tools", slug]) => self.tool(act, slug).await,
            ("GET", ["v1", "tools", slug, "manifest"]) => self.manifest(act, slug).await,
            ("PUT", ["v1", "tools", slug, "manifest"]) => self.replace_manifest(act, slug).await,
            ("POST", ["v1", "openapi"]) => self.import_openapi(act).await,
            ("PUT", ["v1", "tools", slug, "credential"]) => self.set_credential(act, slug).await,
            ("POST", ["v1", "tools", slug, "keys"]) => self.add_verifier_key(act, slug).await,
            ("GET", ["v1", "tools", slug, "keys"]) => self.verifier_keys(act, slug).await,
            ("POST", ["v1", "tools", slug, "keys", key, "revoke"]) => self.revoke_verifier_key(act, slug, key).await,
            ("POST", ["v1", "grants"]) => self.set_grant(act).await,
            ("GET", ["v1", "grants"]) => self.grants(act).await,
            ("POST", ["v1", "grants", id, "revoke"]) => self.revoke_grant(act, id).await,
            ("POST", ["v1", "roster"]) => self.set_roster(act).await,
            ("GET", ["v1", "roster"]) => self.roster(act),
            ("POST", ["v1", "server", "certificates"]) => self.certify_server(act).await,
            ("GET", ["v1", "keys"]) => self.keys().await,
            ("GET", ["v1", "audit"]) => self.audit(act).await,
            ("GET", ["v1", "audit", "outcomes"]) => self.outcomes(act).await,
            _ => Err(Refusal::new(Code::NotFound, "there is nothing at this path for this method")),
        }
    }
}

/// Where refusals of an operator's acts are on record: in a tenant that is his.
fn home(operator: &Operator) -> Uuid {
    match &operator.tenants {
        Tenants::Only(tenants) if !tenants.contains(&DEFAULT) => tenants.first().copied().unwrap_or(DEFAULT),
        _ => DEFAULT,
    }
}

fn body_limit(method: &Method, path: &str) -> usize {
    match (method.as_str(), path) {
        ("POST", "/v1/openapi") => DOCUMENT_LIMIT,
        ("POST", "/v1/tools") => MANIFEST_LIMIT,
        ("PUT", path) if path.starts_with("/v1/tools/") && path.ends_with("/manifest") => MANIFEST_LIMIT,
        _ => BODY_LIMIT,
    }
}

impl Act {
    fn entry(&self, tenant: Uuid, act: &str) -> Entry {
        Entry {
            operator: Some(self.operator.id),
            method: Some(self.method.to_string()),
            detail: Some(json!({ "act": act })),
            ..Entry::new(self.request_id, Kind::Operator, tenant)
        }
    }

    fn body<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        parse(&self.body)
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str) -> Result<Option<i64>, Refusal> {
        self.parameter(name).map(|text| text.parse().map_err(|_| malformed(&format!("{name} is a number")))).transpose()
    }

    /// The tenant that is asked for, which must be one of the operator's.
    fn tenant(&self) -> Result<Uuid, Refusal> {
        let tenant = match self.parameter("tenant") {
            Some(text) => text.parse().map_err(|_| malformed("tenant is a UUID"))?,
            None => DEFAULT,
        };
        self.may_see(tenant)?;
        Ok(tenant)
    }

    fn may_see(&self, tenant: Uuid) -> Result<(), Refusal> {
        if self.operator.acts_in(Some(tenant)) {
            return Ok(());
        }
        Err(Refusal::new(Code::RoleInsufficient, "the roster gives this operator no role in this tenant"))
    }

    /// For acts that need no signature: a role that fits, in that tenant.
    fn needs(&self, tenant: Uuid, roles: &[Role]) -> Result<(), Refusal> {
        self.may_see(tenant)?;
        if roles.iter().any(|role| self.operator.has_role(*role)) {
            return Ok(());
        }
        Err(Refusal::new(Code::RoleInsufficient, "the roster gives this operator no role for this act"))
    }
}

/// A browser presents an operator's certificate with whatever request any page makes; only what the browser itself says
/// of the request's origin tells them apart (Fetch Metadata, and RFC 6454's `Origin`). Other clients say neither.
fn not_from_elsewhere(method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
    if [Method::GET, Method::HEAD].contains(method) {
        return Ok(()); // reads; no page of another origin gets to see the answer
    }
    let sites: Vec<&[u8]> = headers.get_all("sec-fetch-site").iter().map(|value| value.as_bytes()).collect();
    match sites[..] {
        [b"same-origin"] => Ok(()),
        [] if !headers.contains_key(header::ORIGIN) => Ok(()),
        _ => Err(malformed("an act is not taken from a page of another origin")),
    }
}

fn malformed(detail: &str) -> Refusal {
    Refusal::new(Code::RequestMalformed, detail)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    // The text of serde's error would repeat what was sent, and that may be a secret.
    let parsed: Result<Object<T>, _> = serde_json::from_slice(body);
    parsed.map(|Object(value)| value).map_err(|error| {
        malformed(&format!(
            "the body is not the JSON that this path takes (line {}, column {})",
            error.line(),
            error.column()
        ))
    })
}

/// `{statement}` and what it orders.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneStatement {
    statement: Signed,
}

/// What a signed statement orders; whether the signature holds is for the vault.
fn operation(signed: &Signed) -> Result<Operation, Refusal> {
    Operation::parse(&signed.statement.op, &signed.statement.params)
        .map_err(|error| Refusal::new(Code::StatementRefused, error.to_string()))
}

fn other_statement(wanted: &str) -> Refusal {
    Refusal::new(Code::StatementRefused, format!("this path takes a statement that orders {wanted}"))
}

fn to_value(signed: &impl serde::Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(signed).map_err(|error| Refusal::internal(&error))
}

fn created(value: &Value) -> Response<Body> {
    answer_json(StatusCode::CREATED, value)
}

fn ok(value: &Value) -> Response<Body> {
    answer_json(StatusCode::OK, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_pair_by_pair() {
        let pairs = query("/v1/grants?agent=a%20b&tool=&x").expect("pairs");
        assert_eq!(
            pairs,
            [("agent".into(), "a b".into()), ("tool".into(), String::new()), ("x".into(), String::new())]
        );
        assert!(query("/x?%").is_err());
    }

    #[test]
    fn a_body_that_does_not_parse_is_not_repeated() {
        #[derive(Debug, Deserialize)]
        struct Numbers {
            #[serde(rename = "n")]
            _n: u8,
        }
        let refused = parse::<Numbers>(br#"{"n":"hunter2"}"#).expect_err("not a number");
        assert!(!refused.detail.contains("hunter2"), "{}", refused.detail);
    }
}
