//! The client of the operator listener: mutual TLS with the operator's certificate, which it gets and
//! renews by itself, and statements signed here, with a key that never leaves this machine.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tgp_authority::{CertifyOperator, Operation, OperatorSecret, Roster, RosterDoc, Signed, Statement};
pub use tgp_client::escape;
use tgp_client::{ClientIdentity, Leaf, Origin, Transport, Trust, random, unix_now};
use uuid::Uuid;

use super::CliError;
use super::context::{Deployment, OperatorArgs, OperatorDir};

/// How long a statement is good. The vault allows fifteen minutes; clocks may differ by some of it.
const STATEMENT_LIFETIME: i64 = 10 * 60;

/// `GET /v1/about`.
#[derive(Debug, Serialize, Deserialize)]
pub struct About {
    pub deployment: String,
    pub vault: String,
    pub issuer: String,
    pub trust_domain: String,
    pub roster: RosterDoc,
    pub ca_pem: String,
}

#[derive(Deserialize)]
struct ChainReply {
    chain: String,
}

/// An operator at work.
pub struct OperatorClient {
    pub deployment: Deployment,
    secret: OperatorSecret,
    transport: Transport,
}

impl OperatorClient {
    /// Loads the operator, with a certificate that holds for a while.
    pub async fn open(args: &OperatorArgs) -> Result<Self, CliError> {
        let dir = args.dir()?;
        let (secret, deployment) = (dir.secret()?, dir.deployment()?);
        let now = unix_now();
        let held = dir.certificate()?.filter(|chain| Leaf::of_chain(chain).is_ok_and(|leaf| !leaf.is_due(now)));
        let chain = match held {
            Some(chain) => chain,
            None => certify(&dir, &secret, &deployment).await?,
        };
        let identity = ClientIdentity::from_pem(&chain, &secret.dangerous_to_pem())?;
        let origin = Origin::parse(&deployment.url)?;
        let transport = Transport::new(origin, &Trust::Bundle(deployment.ca.clone()), Some(identity))?;
        Ok(Self { deployment, secret, transport })
    }

    /// Signs an operation for this deployment's vault, good for ten minutes.
    pub fn sign(&self, operation: &Operation) -> Result<Signed, CliError> {
        self.sign_until(operation, unix_now() + STATEMENT_LIFETIME)
    }

    /// The same, with an end of its own.
    pub fn sign_until(&self, operation: &Operation, not_after: i64) -> Result<Signed, CliError> {
        sign(&self.secret, &self.deployment, operation, not_after)
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        self.send(Method::GET, path, Bytes::new()).await
    }

    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CliError> {
        self.send(Method::POST, path, to_json(body)?).await
    }

    pub async fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CliError> {
        self.send(Method::PUT, path, to_json(body)?).await
    }

    /// Posts what is no JSON of ours.
    pub async fn post_octets<T: DeserializeOwned>(&self, path: &str, body: Bytes) -> Result<T, CliError> {
        self.send(Method::POST, path, body).await
    }

    pub async fn about(&self) -> Result<About, CliError> {
        self.get("/v1/about").await
    }

    async fn send<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, CliError> {
        send(&self.transport, method, path, body).await
    }
}

/// Gets a certificate for the operator's key: asked for without one, by a statement that the operator
/// signs, and issued only for a key in the roster.
pub async fn certify(dir: &OperatorDir, secret: &OperatorSecret, deployment: &Deployment) -> Result<String, CliError> {
    let order = CertifyOperator { operator: deployment.id, csr: secret.certificate_request() };
    let statement = sign(secret, deployment, &Operation::CertifyOperator(order), unix_now() + STATEMENT_LIFETIME)?;
    let trust = Trust::Bundle(deployment.ca.clone());
    let transport = Transport::new(Origin::parse(&deployment.url)?, &trust, None)?;
    let body = to_json(&json!({ "statement": statement }))?;
    let reply: ChainReply = send(&transport, Method::POST, "/v1/operator/certificates", body).await?;
    dir.write_certificate(&reply.chain)?;
    Ok(reply.chain)
}

/// What a deployment says of itself, over a connection that `trust` vouches for.
pub async fn about(url: &Origin, trust: &Trust) -> Result<About, CliError> {
    let transport = Transport::new(url.clone(), trust, None)?;
    let about: About = send(&transport, Method::GET, "/v1/about", Bytes::new()).await?;
    let roster = Roster::try_from(about.roster.clone())?;
    // Only the first roster can be compared; later ones are the vault's word.
    if roster.version() == 1 && roster.digest_text() != about.deployment {
        return Err(CliError::failed("the gateway names a deployment that its roster is not of"));
    }
    Ok(about)
}

fn sign(
    secret: &OperatorSecret,
    deployment: &Deployment,
    operation: &Operation,
    not_after: i64,
) -> Result<Signed, CliError> {
    operation.within_bounds()?;
    let Deployment { id, deployment, vault, .. } = deployment;
    Ok(Statement::new(operation, deployment, vault, *id, random::<16>()?, not_after).sign(secret)?)
}

async fn send<T: DeserializeOwned>(
    transport: &Transport,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<T, CliError> {
    let mut headers = HeaderMap::new();
    if !body.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let body = transport.send(method, path, headers, body).await?.own().await?;
    // 204 and such: nothing is `null`.
    let body = if body.is_empty() { Bytes::from_static(b"null") } else { body };
    serde_json::from_slice(&body).map_err(|e| CliError::failed(format!("the gateway's answer makes no sense: {e}")))
}

fn to_json(body: &impl Serialize) -> Result<Bytes, CliError> {
    Ok(serde_json::to_vec(body).map_err(|e| CliError::failed(e.to_string()))?.into())
}

/// A path, asked for in one tenant.
pub fn scoped(path: &str, tenant: Uuid) -> String {
    let sign = if path.contains('?') { '&' } else { '?' };
    format!("{path}{sign}tenant={tenant}")
}

/// The rows of a list: bare, or the one array in an object.
pub fn rows(value: &Value) -> &[Value] {
    let array = match value {
        Value::Array(rows) => Some(rows),
        Value::Object(members) => members.values().find_map(Value::as_array),
        _ => None,
    };
    array.map_or(&[], Vec::as_slice)
}

/// A member as text, however it is written; empty where it is absent.
pub fn member(value: &Value, name: &str) -> String {
    match &value[name] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A member that holds Unix seconds, as a date.
pub fn date(value: &Value, name: &str) -> String {
    value[name].as_i64().map(super::time::text).unwrap_or_default()
}

/// A member that holds a list of texts.
pub fn joined(value: &Value, name: &str) -> String {
    let texts = value[name].as_array().map(Vec::as_slice).unwrap_or_default();
    texts.iter().map(|text| text.as_str().map_or_else(|| text.to_string(), str::to_owned)).collect::<Vec<_>>().join(" ")
}

/// A member that must be a UUID.
pub fn uuid(value: &Value, name: &str) -> Result<Uuid, CliError> {
    let text = value[name].as_str().unwrap_or_default();
    text.parse().map_err(|_| CliError::failed(format!("the gateway's answer names no {name}")))
}

/// Unpadded base64url.
pub fn base64url(octets: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}
