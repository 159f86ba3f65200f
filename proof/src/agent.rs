//! An agent that makes requests as fast as it is let: the same bytes as the SDK's, without its caution.

use std::path::Path;
use std::sync::{Arc, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::Full;
use rustls::ClientConfig;
use tgp_request::jwk::IdentitySecret;
use tgp_request::signature::{Params, Tag, sign_request};

use crate::Failure;
use crate::connection::{Connection, Protocol, client_config};

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
    /// GET through the proxy.
    List,
    /// POST with a small body through the proxy.
    Send,
}

const FORM: &str = "application/x-www-form-urlencoded";
const MESSAGE: &[u8] = br#"{"to":"ada","subject":"the analytical engine","text":"it weaves algebraical patterns"}"#;

impl LoadAgent {
    pub fn load(directory: &Path, ca: &Path, port: u16) -> Result<Self, Failure> {
        let about: serde_json::Value = serde_json::from_slice(&std::fs::read(directory.join("agent.json"))?)?;
        let id = about["agent"].as_str().ok_or("agent.json names no agent")?.to_owned();
        let (dir, _) = tgp_client::AgentDir::open(directory)?;
        let master_key = std::fs::read_to_string(directory.join("master-key"))?;
        let basic = STANDARD.encode(format!("{id}:{}", master_key.trim()));
        let (chain, key) = (directory.join("chain.pem"), directory.join("tls.key"));
        Ok(Self {
            issuer: format!("https://localhost:{port}"),
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
        let request = self.token_request("mail:list mail:send", connection.protocol())?;
        let (status, body) = connection.send(request).await?;
        if status != 200 {
            return Err(format!("no token: {status} {}", String::from_utf8_lossy(&body)).into());
        }
        let reply: serde_json::Value = serde_json::from_slice(&body)?;
        let token = reply["access_token"].as_str().ok_or("no access_token in the reply")?;
        let bearer = HeaderValue::from_str(&format!("Bearer {token}"))?;
        *self.bearer.write().expect("no holder of this lock panics") = Some(bearer);
        Ok(())
    }

    /// The next request of this kind, ready to send.
    pub fn request(&self, work: Work, protocol: Protocol) -> Result<Request<Full<Bytes>>, Failure> {
        match work {
            Work::Token => self.token_request("mail:list", protocol),
            Work::List => self.signed(Method::GET, "/t/mail/messages", &[], protocol),
            Work::Send => self.signed(Method::POST, "/t/mail/messages", MESSAGE, protocol),
        }
    }

    fn token_request(&self, scope: &str, protocol: Protocol) -> Result<Request<Full<Bytes>>, Failure> {
        let resource = format!("{}/t/mail", self.issuer).replace(':', "%3A").replace('/', "%2F");
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
        let bearer = self.bearer.read().expect("no holder of this lock panics").clone();
        headers.insert(AUTHORIZATION, bearer.ok_or("no token yet")?);
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
