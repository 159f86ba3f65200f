//! An agent that makes requests as fast as it is let: the same bytes as the SDK's, without its caution.

use std::path::Path;
use std::sync::{Arc, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use rustls::ClientConfig;
use tgp_request::jwk::IdentitySecret;
use tgp_request::signature::{Params, Tag, sign_request};

use crate::Failure;
use crate::connection::{Connection, Protocol, client_config};
use crate::faults::traffic::Sent;

pub struct LoadAgent {
    pub id: String,
    pub port: u16,
    issuer: String,
    identity: IdentitySecret,
    basic: HeaderValue,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    bearer: RwLock<Option<HeaderValue>>,
}

/// What a connection is asked to do again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A token for `mail:list`.
    Token,
    /// A token for `mail:list` and `mail:send`, to call with.
    MailToken,
    /// GET through the proxy.
    List,
    /// POST with a small body through the proxy.
    Send,
    /// A token for the tool `probe`, which the faults' traffic calls.
    ProbeToken,
}

const FORM: &str = "application/x-www-form-urlencoded";
const MESSAGE: &[u8] = br#"{"to":"ada","subject":"the analytical engine","text":"it weaves algebraical patterns"}"#;

impl LoadAgent {
    /// The agent that lives in `directory`; it calls the gateway on `port` and signs for `issuer`, which it need not be.
    pub fn load(directory: &Path, ca: &Path, issuer: String, port: u16) -> Result<Self, Failure> {
        let about: serde_json::Value = serde_json::from_slice(&std::fs::read(directory.join("agent.json"))?)?;
        let id = about["agent"].as_str().ok_or("agent.json names no agent")?.to_owned();
        let (dir, _) = tgp_client::AgentDir::open(directory)?;
        let master_key = std::fs::read_to_string(directory.join("master-key"))?;
        let basic = STANDARD.encode(format!("{id}:{}", master_key.trim()));
        let (chain, key) = (directory.join("chain.pem"), directory.join("tls.key"));
        Ok(Self {
            issuer,
            port,
            identity: dir.identity()?,
            basic: HeaderValue::from_str(&format!("Basic {basic}"))?,
            http1: client_config(ca, &chain, &key, Protocol::Http1)?,
            http2: client_config(ca, &chain, &key, Protocol::Http2)?,
            bearer: RwLock::new(None),
            id,
        })
    }

    pub async fn connect(&self, protocol: Protocol) -> Result<Connection, Failure> {
        let config = match protocol {
            Protocol::Http1 => &self.http1,
            Protocol::Http2 => &self.http2,
        };
        Connection::open(self.port, Arc::clone(config), protocol).await
    }

    /// Takes a token for `mail`, list and send, and keeps it.
    pub async fn take_token(&self, connection: &mut Connection) -> Result<(), Failure> {
        let request = self.request(Work::MailToken, connection.protocol())?;
        let (status, _, body) = connection.exchange(request).await?;
        if status != StatusCode::OK {
            return Err(format!("no token: {status} {}", String::from_utf8_lossy(&body)).into());
        }
        self.keep_token(&body);
        Ok(())
    }

    /// The next request of this kind, ready to send.
    pub fn request(&self, work: Work, protocol: Protocol) -> Result<Request<Full<Bytes>>, Failure> {
        match work {
            Work::Token => self.token_request("mail", "mail:list", protocol),
            Work::MailToken => self.token_request("mail", "mail:list mail:send", protocol),
            Work::ProbeToken => self.token_request("probe", "probe:get", protocol),
            Work::List => self.signed(Method::GET, "/t/mail/messages", &[], protocol),
            Work::Send => self.signed(Method::POST, "/t/mail/messages", MESSAGE, protocol),
        }
    }

    /// A call of the tool `probe` that carries `number`.
    pub fn probe(&self, number: &str, protocol: Protocol) -> Result<Request<Full<Bytes>>, Failure> {
        self.signed(Method::GET, &format!("/t/probe/probe?n={number}"), &[], protocol)
    }

    /// The same request once more, byte for byte.
    pub fn again(&self, sent: &Sent, protocol: Protocol) -> Result<Request<Full<Bytes>>, Failure> {
        let target = sent.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        self.assemble(Method::GET, target, sent.headers.clone(), Bytes::new(), protocol)
    }

    pub fn has_token(&self) -> bool {
        self.bearer().is_some()
    }

    /// Keeps the token of this answer.
    pub fn keep_token(&self, reply: &[u8]) {
        let reply: serde_json::Value = serde_json::from_slice(reply).unwrap_or_default();
        let bearer = reply["access_token"].as_str().and_then(|t| HeaderValue::from_str(&format!("Bearer {t}")).ok());
        *self.bearer.write().expect("no holder of this lock panics") = bearer;
    }

    pub fn forget_token(&self) {
        *self.bearer.write().expect("no holder of this lock panics") = None;
    }

    fn bearer(&self) -> Option<HeaderValue> {
        self.bearer.read().expect("no holder of this lock panics").clone()
    }

    fn token_request(&self, tool: &str, scope: &str, protocol: Protocol) -> Result<Request<Full<Bytes>>, Failure> {
        let resource = format!("{}/t/{tool}", self.issuer).replace(':', "%3A").replace('/', "%2F");
        let scope = scope.replace(':', "%3A").replace(' ', "%20");
        let body = format!("grant_type=client_credentials&scope={scope}&resource={resource}");
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, self.basic.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(FORM));
        self.assemble(Method::POST, "/oauth2/token", headers, Bytes::from(body), protocol)
    }

    fn signed(
        &self,
        method: Method,
        target: &str,
        body: &'static [u8],
        protocol: Protocol,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, self.bearer().ok_or("no token yet")?);
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let uri = format!("{}{target}", self.issuer);
        let params = Params::new(tgp_client::unix_now(), tgp_client::random()?);
        sign_request(method.as_str(), &uri, &mut headers, body, Tag::Request, &self.identity, params, "sig")?;
        self.assemble(method, target, headers, Bytes::from_static(body), protocol)
    }

    fn assemble(
        &self,
        method: Method,
        target: &str,
        mut headers: HeaderMap,
        body: Bytes,
        protocol: Protocol,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let uri = match protocol {
            Protocol::Http1 => target.to_owned(),
            Protocol::Http2 => format!("{}{target}", self.issuer),
        };
        if protocol == Protocol::Http1 {
            headers.insert(HOST, HeaderValue::from_static("localhost"));
        }
        let mut request = Request::builder().method(method).uri(uri).body(Full::new(body))?;
        *request.headers_mut() = headers;
        Ok(request)
    }
}
