//! One origin, one pool of TLS connections. Sends what it is given, byte for byte; follows nothing.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tower::Service;

use crate::reply::Reply;
use crate::trust::{self, Trust};
use crate::{ClientError, Origin, certificate};

/// Until a TCP connection stands.
const TCP: Duration = Duration::from_secs(10);
/// Until its TLS handshake is over too. The gateway gives a handshake 10 s.
const CONNECT: Duration = Duration::from_secs(20);
/// Until the reply's header fields are there. The gateway gives an upstream 60 s by default.
const REPLY: Duration = Duration::from_secs(300);

/// A client certificate and its private key. Never printed.
pub struct ClientIdentity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl ClientIdentity {
    /// From PEM texts.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, ClientError> {
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|_| ClientError::Input("the private key is not in PEM".into()))?;
        Ok(Self { chain: certificate::chain(chain)?, key })
    }
}

/// A connector that gives up: hyper's own timeout ends with the TCP connection.
#[derive(Clone)]
struct Deadline(HttpsConnector<HttpConnector>);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for Deadline {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(async move {
            let connected = tokio::time::timeout(CONNECT, connecting).await;
            connected.map_err(|_| "no TLS connection within 20 seconds")?
        })
    }
}

/// Connections to one origin.
#[derive(Clone)]
pub struct Transport {
    client: Client<Deadline, Full<Bytes>>,
    origin: Origin,
}

impl Transport {
    /// Connects when the first request is sent.
    pub fn new(origin: Origin, trust: &Trust, identity: Option<ClientIdentity>) -> Result<Self, ClientError> {
        let tls = trust::client_config(trust, identity)?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(TCP));
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_all_versions();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .build(Deadline(connector.wrap_connector(tcp)));
        Ok(Self { client, origin })
    }

    /// Where it connects to.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Sends one request; resolves when the reply's header fields are there.
    pub async fn send(
        &self,
        method: Method,
        path_and_query: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Reply, ClientError> {
        let target = self.origin.join(path_and_query);
        let uri: Uri =
            target.parse().map_err(|e| ClientError::Input(format!("{path_and_query:?} is not a path: {e}")))?;
        // What is signed is the text; hyper sends what it parsed. They must be the same.
        if uri.path_and_query().is_none_or(|sent| sent.as_str() != path_and_query) {
            return Err(ClientError::Input(format!("{path_and_query:?} would not be sent as it is written")));
        }
        let mut request = http::Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let sending = tokio::time::timeout(REPLY, self.client.request(request));
        let reply = sending.await.map_err(|_| self.failed(&"no answer within five minutes"))?;
        Ok(Reply::new(reply.map_err(|e| self.explain(&e))?))
    }

    fn failed(&self, problem: &dyn std::fmt::Display) -> ClientError {
        ClientError::Transport { what: format!("cannot reach {}", self.origin), problem: problem.to_string() }
    }

    /// Finds what is behind hyper's "client error (Connect)".
    fn explain(&self, error: &hyper_util::client::legacy::Error) -> ClientError {
        let mut innermost: &(dyn std::error::Error + 'static) = error;
        loop {
            let nested = innermost.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
            if let Some(nested) = nested {
                innermost = nested;
            } else if let Some(source) = innermost.source() {
                innermost = source;
            } else {
                break;
            }
        }
        match innermost.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::InvalidCertificate(why)) => ClientError::Untrusted(format!("{}: {why}", self.origin)),
            Some(rustls::Error::AlertReceived(alert)) => {
                self.failed(&format!("the gateway ended the handshake: {alert:?}"))
            }
            _ => self.failed(&innermost),
        }
    }
}
