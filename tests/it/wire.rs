//! A client that sends exactly what it is told to, over a connection of its own each time: what the SDK would never send
//! is what most tests need. It shares only the signing of `tgp-request` with the product.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tgp_request::jwk::IdentitySecret;
use tgp_request::signature::{Params, Tag, sign_request};
use tokio::net::TcpStream;

pub const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A certificate and its key, or none.
#[derive(Clone)]
pub struct Certificate {
    pub chain: PathBuf,
    pub key: PathBuf,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// `code` of a problem, or `tgp_code` of an OAuth error.
    pub fn code(&self) -> String {
        let json = self.json();
        let code = json.get("code").or_else(|| json.get("tgp_code")).and_then(Value::as_str);
        code.unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{}", String::from_utf8_lossy(&self.body));
    }

    #[track_caller]
    pub fn ok(&self) -> &Self {
        assert!((200..300).contains(&self.status), "{} {}", self.status, String::from_utf8_lossy(&self.body));
        self
    }
}

/// One listener of one gateway.
#[derive(Clone)]
pub struct Wire {
    pub port: u16,
    pub issuer: String,
    pub ca: PathBuf,
    pub http2: bool,
}

impl Wire {
    pub fn tls(&self, certificate: Option<&Certificate>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for der in CertificateDer::pem_file_iter(&self.ca).expect("ca file") {
            roots.add(der.expect("ca certificate")).expect("a root");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some(Certificate { chain, key }) => {
                let chain =
                    CertificateDer::pem_file_iter(chain).expect("chain").collect::<Result<_, _>>().expect("chain");
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).expect("key")).expect("client")
            }
        };
        config.alpn_protocols = vec![if self.http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        config
    }

    /// Sends one request on a connection of its own. `Err` when there is no answer (a refused handshake, say).
    pub async fn send(
        &self,
        certificate: Option<&Certificate>,
        method: &str,
        target: &str,
        headers: HeaderMap,
        body: &[u8],
    ) -> Result<Reply, String> {
        let connector = tokio_rustls::TlsConnector::from(Arc::new(self.tls(certificate)));
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await.map_err(|e| e.to_string())?;
        tcp.set_nodelay(true).expect("nodelay");
        let name = ServerName::try_from("localhost").expect("a name");
        let io = TokioIo::new(connector.connect(name, tcp).await.map_err(|e| e.to_string())?);
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).expect("method"));
        request = if self.http2 {
            request.uri(format!("{}{target}", self.issuer))
        } else {
            request.uri(target).header("host", "localhost")
        };
        let mut request = request.body(Full::new(Bytes::copy_from_slice(body))).expect("a request");
        for (name, value) in &headers {
            request.headers_mut().append(name, value.clone());
        }
        let response = if self.http2 {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io)
                    .await
                    .map_err(|e| e.to_string())?;
            tokio::spawn(connection);
            sender.send_request(request).await.map_err(|e| e.to_string())?
        } else {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(io).await.map_err(|e| e.to_string())?;
            tokio::spawn(connection);
            sender.send_request(request).await.map_err(|e| e.to_string())?
        };
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
        Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

/// A connection that stays open between requests.
pub struct Live(SendRequest<Full<Bytes>>, tokio::task::JoinHandle<hyper::Result<()>>);

impl Live {
    pub async fn open(wire: &Wire, certificate: Option<&Certificate>) -> Result<Self, String> {
        let connector = tokio_rustls::TlsConnector::from(Arc::new(wire.tls(certificate)));
        let tcp = TcpStream::connect(("127.0.0.1", wire.port)).await.map_err(|e| e.to_string())?;
        let name = ServerName::try_from("localhost").expect("a name");
        let io = TokioIo::new(connector.connect(name, tcp).await.map_err(|e| e.to_string())?);
        let (sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(|e| e.to_string())?;
        Ok(Self(sender, tokio::spawn(connection)))
    }

    pub async fn send(&mut self, draft: &Draft) -> Reply {
        self.try_send(draft).await.expect("an answer")
    }

    /// `Err` when there is no answer: TLS 1.3 tells of a refused certificate only then.
    pub async fn try_send(&mut self, draft: &Draft) -> Result<Reply, String> {
        let mut request =
            Request::builder().method(draft.method.as_str()).uri(&draft.target).header("host", "localhost");
        for (name, value) in &draft.headers {
            request.headers_mut().expect("no error yet").append(name, value.clone());
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(&draft.body))).expect("a request");
        let answered = async {
            self.0.ready().await?;
            let (parts, body) = self.0.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok::<_, hyper::Error>(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
        };
        match answered.await {
            Ok(reply) => Ok(reply),
            // The connection's own end tells more than the request's.
            Err(error) => match (&mut self.1).await {
                Ok(Err(error)) => Err(std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string)),
                _ => Err(error.to_string()),
            },
        }
    }
}

/// An enrolled agent, with everything it has in hand.
pub struct TestAgent {
    pub directory: PathBuf,
    pub id: String,
    pub certificate: Certificate,
    pub identity: IdentitySecret,
    pub master_key: String,
}

/// A request before it is sent: change what you like.
pub struct Draft {
    pub method: String,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Draft {
    pub fn set(&mut self, name: &'static str, value: &str) {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header value"));
    }
}

#[expect(clippy::disallowed_methods, reason = "an agent signs with its own clock")]
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("a date")
}

/// 24 random bytes as text.
pub fn nonce() -> String {
    let bytes: Vec<u8> =
        uuid::Uuid::new_v4().into_bytes().into_iter().chain(uuid::Uuid::new_v4().into_bytes()).collect();
    URL_SAFE_NO_PAD.encode(bytes)
}

impl TestAgent {
    /// Asks for a token as the protocol says.
    pub async fn ask(&self, wire: &Wire, tool: &str, action: &str) -> Reply {
        self.ask_with(wire, &self.master_key, &format!("{tool}:{action}"), &format!("{}/t/{tool}", wire.issuer)).await
    }

    pub async fn ask_with(&self, wire: &Wire, master_key: &str, scope: &str, resource: &str) -> Reply {
        let mut headers = HeaderMap::new();
        let basic = STANDARD.encode(format!("{}:{master_key}", self.id));
        headers.insert("authorization", HeaderValue::from_str(&format!("Basic {basic}")).expect("a header"));
        headers.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
        let encode = |text: &str| text.replace(':', "%3A").replace('/', "%2F").replace(' ', "%20");
        let body = format!("grant_type=client_credentials&scope={}&resource={}", encode(scope), encode(resource));
        wire.send(Some(&self.certificate), "POST", "/oauth2/token", headers, body.as_bytes()).await.expect("an answer")
    }

    /// Asks with a form of one's own, its values as they are.
    pub async fn ask_form(&self, wire: &Wire, form: &[(&str, &str)]) -> Reply {
        let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", self.id, self.master_key)));
        self.post_form(wire, Some(&basic), form).await
    }

    /// The same with this authorization, or none.
    pub async fn post_form(&self, wire: &Wire, authorization: Option<&str>, form: &[(&str, &str)]) -> Reply {
        self.post_form_as(wire, true, authorization, form).await
    }

    /// The same with its certificate, or without.
    pub async fn post_form_as(
        &self,
        wire: &Wire,
        certified: bool,
        authorization: Option<&str>,
        form: &[(&str, &str)],
    ) -> Reply {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert("authorization", HeaderValue::from_str(value).expect("a header"));
        }
        headers.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
        let escape = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let pairs: Vec<String> = form.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
        let body = pairs.join("&").into_bytes();
        let certificate = certified.then_some(&self.certificate);
        wire.send(certificate, "POST", "/oauth2/token", headers, &body).await.expect("an answer")
    }

    /// A token for these actions, made out to another agent.
    pub async fn made_out(&self, wire: &Wire, scope: &str, resource: &str, to: &str) -> String {
        let form = [("grant_type", "client_credentials"), ("scope", scope), ("resource", resource), ("may_act", to)];
        let reply = self.ask_form(wire, &form).await;
        reply.ok().json()["access_token"].as_str().expect("a token").to_owned()
    }

    /// Exchanges a token that another agent had made out to this one; `more` narrows it or names the next.
    pub async fn exchange(&self, wire: &Wire, handed: &str, more: &[(&str, &str)]) -> Reply {
        let base = [("grant_type", EXCHANGE), ("subject_token", handed), ("subject_token_type", ACCESS_TOKEN)];
        self.ask_form(wire, &[&base[..], more].concat()).await
    }

    pub async fn token(&self, wire: &Wire, tool: &str, action: &str) -> String {
        let reply = self.ask(wire, tool, action).await;
        reply.ok().json()["access_token"].as_str().expect("a token").to_owned()
    }

    /// A request with its token, not signed.
    pub fn draft(&self, token: &str, method: &str, target: &str, body: &[u8]) -> Draft {
        let mut draft = Draft {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: HeaderMap::new(),
            body: body.to_vec(),
        };
        draft.set("authorization", &format!("Bearer {token}"));
        if !body.is_empty() {
            draft.set("content-type", "application/json");
        }
        draft
    }

    /// Signs the draft as it is now.
    pub fn sign(&self, wire: &Wire, draft: &mut Draft) {
        let created = now();
        self.sign_at(wire, draft, created, created + 60);
    }

    pub fn sign_at(&self, wire: &Wire, draft: &mut Draft, created: i64, expires: i64) {
        let uri = format!("{}{}", wire.issuer, draft.target);
        let params = Params { created, expires, nonce: nonce() };
        sign_request(&draft.method, &uri, &mut draft.headers, &draft.body, Tag::Request, &self.identity, params, "sig")
            .expect("signable");
    }

    pub fn signed(&self, wire: &Wire, token: &str, method: &str, target: &str, body: &[u8]) -> Draft {
        let mut draft = self.draft(token, method, target, body);
        self.sign(wire, &mut draft);
        draft
    }

    pub async fn send(&self, wire: &Wire, draft: &Draft) -> Reply {
        let Draft { method, target, headers, body } = draft;
        wire.send(Some(&self.certificate), method, target, headers.clone(), body).await.expect("an answer")
    }

    /// The whole thing: token, signature, call.
    pub async fn call(&self, wire: &Wire, tool: &str, action: &str, method: &str, path: &str, body: &[u8]) -> Reply {
        let token = self.token(wire, tool, action).await;
        self.send(wire, &self.signed(wire, &token, method, &format!("/t/{tool}{path}"), body)).await
    }
}

/// A file of the agent's directory, as text.
pub fn read(directory: &Path, name: &str) -> String {
    std::fs::read_to_string(directory.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}
