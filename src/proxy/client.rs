//! The connection to a tool's upstream: pooled, HTTP/1.1 or 2, through the guard. Redirects are
//! answers like any other: they are returned, never followed.
//!
//! Connections that may reach private addresses are kept in a pool of their own: one that a tool
//! with that permission has opened can never serve a tool without it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::net::TcpStream;

use super::client_certificate::{CertifiedPools, ClientCertificate, Lent, Owner};
use super::guard::{Guard, GuardError, Reach};
use super::upload::{Content, Progress};
use super::upstream::Upstream;
use crate::config;

/// How an exchange with the upstream failed before its reply began.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    #[error("the address of the upstream is not allowed: {0}")]
    Guard(String),
    #[error("the upstream takes no connection: {0}")]
    Connect(String),
    #[error("the upstream broke off: {0}")]
    Broken(String),
    #[error("the upstream did not answer in time")]
    Timeout,
}

#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error(transparent)]
    Guard(#[from] GuardError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("no connection in time")]
    Timeout,
}

pub(super) type Pool = Client<HttpsConnector<Connector>, Content>;

/// All pools.
pub struct Upstreams {
    guard: Arc<Guard>,
    public: Pool,
    private: Pool,
    certified: CertifiedPools,
    making: Making,
    reply_timeout: Duration,
    idle_timeout: Duration,
}

/// What a pool is made of.
struct Making {
    roots: Arc<rustls::RootCertStore>,
    connect_timeout: Duration,
    keep: Duration,
}

impl Upstreams {
    /// Fails when `ca_file` cannot be read.
    pub fn new(config: &config::Upstream, guard: Guard) -> io::Result<Self> {
        let guard = Arc::new(guard);
        let config::Upstream { connect_timeout, keep, reply_timeout, .. } = *config;
        let making = Making { roots: Arc::new(trust(config)?), connect_timeout, keep };
        let pool = |reach| {
            let tls = making.tls().with_no_client_auth();
            making.pool(tls, &guard, reach)
        };
        let (public, private) = (pool(Reach::Public), pool(Reach::Private));
        let (certified, idle_timeout) = (CertifiedPools::default(), config.idle_timeout);
        Ok(Self { guard, public, private, certified, making, reply_timeout, idle_timeout })
    }

    /// Tells an operator early what each connection will be told again. A name that does not resolve
    /// now may do so later.
    pub async fn check(&self, upstream: &Upstream, reach: Reach) -> Result<(), GuardError> {
        match tokio::net::lookup_host((upstream.host(), upstream.port())).await {
            Ok(addresses) => self.guard.check_all(&addresses.collect::<Vec<_>>(), reach),
            Err(_) => Ok(()),
        }
    }

    /// Sends one request and waits for the head of the reply; `upload` is how its content comes along, where that is long.
    pub async fn send(
        &self,
        request: Request<Content>,
        reach: Reach,
        upload: Option<&mut Progress>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let pool = match reach {
            Reach::Public => &self.public,
            Reach::Private => &self.private,
        };
        self.sent(pool, request, upload).await
    }

    /// The same over a connection that shows a certificate and carries no other credential's calls.
    pub async fn send_certified(
        &self,
        request: Request<Content>,
        certificate: ClientCertificate,
        owner: &Owner,
        upload: Option<&mut Progress>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let pool = self.certified.of(owner, |lent| self.certified_pool(lent, owner.reach));
        let _loan = pool.lend(certificate);
        self.sent(&pool.pool, request, upload).await
    }

    pub(super) fn certified_pool(&self, lent: Arc<Lent>, reach: Reach) -> Pool {
        let mut tls = self.making.tls().with_client_cert_resolver(lent);
        // A session that is resumed shows no certificate: it would speak for one whose key nobody lends.
        tls.resumption = rustls::client::Resumption::disabled();
        self.making.pool(tls, &self.guard, reach)
    }

    async fn sent(
        &self,
        pool: &Pool,
        request: Request<Content>,
        upload: Option<&mut Progress>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        // The reply is waited for from the end of the content on.
        let patience = async {
            let sent = match upload {
                Some(upload) => upload.ended(self.idle_timeout).await,
                None => true,
            };
            if sent {
                tokio::time::sleep(self.reply_timeout).await;
            }
        };
        tokio::select! {
            replied = pool.request(request) => replied.map_err(|error| classify(&error)),
            () = patience => Err(UpstreamError::Timeout),
        }
    }
}

impl Making {
    fn tls(&self) -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the suites of the versions that it is built with")
            .with_root_certificates(Arc::clone(&self.roots))
    }

    fn pool(&self, tls: rustls::ClientConfig, guard: &Arc<Guard>, reach: Reach) -> Pool {
        let resolve: Resolve = Arc::new(|host, port| Box::pin(system(host, port)));
        let connector = Connector { guard: Arc::clone(guard), resolve, reach, timeout: self.connect_timeout };
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(connector);
        Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(self.keep)
            .pool_max_idle_per_host(64)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .http1_max_headers(256)
            .http2_max_header_list_size(128 * 1024)
            .build(connector)
    }
}

/// Blame: ours to have refused, theirs to have refused, or theirs to have broken.
fn classify(error: &hyper_util::client::legacy::Error) -> UpstreamError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut last = error.to_string();
    while let Some(inner) = cause {
        if let Some(connect) = inner.downcast_ref::<ConnectError>() {
            return match connect {
                ConnectError::Guard(refused) => UpstreamError::Guard(refused.to_string()),
                ConnectError::Io(error) => UpstreamError::Connect(error.to_string()),
                ConnectError::Timeout => UpstreamError::Timeout,
            };
        }
        last = inner.to_string();
        cause = inner.source();
    }
    if error.is_connect() { UpstreamError::Connect(last) } else { UpstreamError::Broken(last) }
}

fn trust(config: &config::Upstream) -> io::Result<rustls::RootCertStore> {
    let mut roots = rustls::RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "a system trust anchor cannot be read");
    }
    roots.add_parsable_certificates(native.certs);
    if let Some(path) = &config.ca_file {
        for certificate in CertificateDer::pem_file_iter(path).map_err(io::Error::other)? {
            roots
                .add(certificate.map_err(io::Error::other)?)
                .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
        }
    }
    Ok(roots)
}

/// How a name becomes addresses: the system's way, or a test's.
type Resolve = Arc<dyn Fn(String, u16) -> Resolving + Send + Sync>;
type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

async fn system(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((host, port)).await?.collect())
}

/// Resolves once, checks, and connects to what was checked.
#[derive(Clone)]
pub(super) struct Connector {
    guard: Arc<Guard>,
    resolve: Resolve,
    reach: Reach,
    timeout: Duration,
}

impl Connector {
    async fn connect(self, uri: Uri) -> Result<TokioIo<TcpStream>, ConnectError> {
        let host = uri.host().ok_or(GuardError::NoAddress)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(default);
        let addresses = (self.resolve)(host.to_owned(), port).await?;
        self.guard.check_all(&addresses, self.reach)?;
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(TokioIo::new(stream));
                }
                Err(error) => last = error,
            }
        }
        Err(last.into())
    }
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let timeout = connector.timeout;
            match tokio::time::timeout(timeout, connector.connect(uri)).await {
                Ok(result) => result.map_err(Into::into),
                Err(_) => Err(ConnectError::Timeout.into()),
            }
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Full};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    pub fn config() -> config::Upstream {
        config::Upstream {
            ca_file: None,
            connect_timeout: Duration::from_secs(2),
            reply_timeout: Duration::from_millis(500),
            idle_timeout: Duration::from_secs(2),
            keep: Duration::from_secs(2),
        }
    }

    fn get(uri: &str) -> Request<Content> {
        Request::get(uri).body(Bytes::new().into()).expect("a request")
    }

    /// A server that gives every connection the same reply, however often it is asked.
    async fn server(reply: &'static str) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {
                        let _ = stream.write_all(reply.as_bytes()).await;
                    }
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn a_pooled_private_connection_never_serves_a_tool_without_that_permission() {
        let address = server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        let upstreams = Upstreams::new(&config(), Guard::new(vec![])).expect("pools");
        let uri = format!("http://{address}/");
        let reply = upstreams.send(get(&uri), Reach::Private, None).await.expect("allowed");
        assert_eq!(reply.into_body().collect().await.expect("body").to_bytes(), "ok");
        let refused = upstreams.send(get(&uri), Reach::Public, None).await;
        assert!(matches!(refused, Err(UpstreamError::Guard(_))), "{refused:?}");
    }

    /// A name's addresses are asked for once a connection. Whatever it says the next time, the connection
    /// goes to what was checked; and what it says at the call is checked at the call.
    #[tokio::test]
    async fn a_name_that_changes_its_address_is_connected_to_where_it_was_checked() {
        let address = server("").await;
        let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
        let answers = Arc::clone(&asked);
        let metadata = SocketAddr::from(([169, 254, 169, 254], 80));
        // The first answer is what may be, every later one is not.
        let resolve: Resolve = Arc::new(move |host, _| {
            let mut asked = answers.lock().expect("not poisoned");
            asked.push(host);
            let answer = if asked.len() == 1 { address } else { metadata };
            Box::pin(std::future::ready(Ok(vec![answer])))
        });
        let timeout = Duration::from_secs(2);
        let connector = Connector { guard: Arc::new(Guard::new(vec![])), resolve, reach: Reach::Private, timeout };
        let uri: Uri = "http://rebinding.example/".parse().expect("a uri");
        let stream = connector.clone().connect(uri.clone()).await.expect("the first answer");
        assert_eq!(stream.inner().peer_addr().expect("connected"), address);
        assert_eq!(*asked.lock().expect("not poisoned"), ["rebinding.example"]);
        let refused = connector.connect(uri).await.expect_err("the second answer");
        assert!(matches!(refused, ConnectError::Guard(GuardError::LinkLocal(_))), "{refused}");
    }

    #[tokio::test]
    async fn a_redirect_is_returned_not_followed() {
        let address =
            server("HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n").await;
        let upstreams = Upstreams::new(&config(), Guard::new(vec![])).expect("pools");
        let reply = upstreams.send(get(&format!("http://{address}/")), Reach::Private, None).await.expect("302");
        assert_eq!(reply.status(), 302);
        assert_eq!(reply.headers()["location"], "http://169.254.169.254/");
    }

    #[tokio::test]
    async fn silence_is_a_timeout_and_garbage_is_broken_and_nobody_is_refused() {
        let upstreams = Upstreams::new(&config(), Guard::new(vec![])).expect("pools");
        let silent = server("").await;
        let result = upstreams.send(get(&format!("http://{silent}/")), Reach::Private, None).await;
        assert!(matches!(result, Err(UpstreamError::Timeout)), "{result:?}");
        let garbage = server("not http at all\r\n\r\n").await;
        let result = upstreams.send(get(&format!("http://{garbage}/")), Reach::Private, None).await;
        assert!(matches!(result, Err(UpstreamError::Broken(_))), "{result:?}");
        let nobody = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            listener.local_addr().expect("its address")
        };
        let result = upstreams.send(get(&format!("http://{nobody}/")), Reach::Private, None).await;
        assert!(matches!(result, Err(UpstreamError::Connect(_))), "{result:?}");
    }

    /// An HTTPS server that speaks HTTP/2 when asked to, and how many connections it took.
    async fn tls_server() -> (u16, Arc<std::sync::atomic::AtomicUsize>) {
        use rustls::pki_types::PrivateKeyDer;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(include_bytes!("testdata/upstream-chain.pem"))
            .collect::<Result<_, _>>()
            .expect("a chain");
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("testdata/upstream-key.pem")).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a certificate");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let connections = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                let service = hyper::service::service_fn(|request: Request<Incoming>| async move {
                    let seen = format!("{:?} {}", request.version(), request.uri().path());
                    Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(seen))))
                });
                tokio::spawn(async move {
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        (port, connections)
    }

    #[tokio::test]
    async fn an_upstream_that_offers_http_2_gets_it_over_one_connection() {
        let (port, connections) = tls_server().await;
        let ca = concat!(env!("CARGO_MANIFEST_DIR"), "/src/proxy/testdata/upstream-ca.pem");
        let config = config::Upstream { ca_file: Some(ca.into()), reply_timeout: Duration::from_secs(20), ..config() };
        let upstreams = Upstreams::new(&config, Guard::new(vec![])).expect("pools");
        for _ in 0..3 {
            let uri = format!("https://localhost:{port}/messages");
            let reply = upstreams.send(get(&uri), Reach::Private, None).await.expect("an answer");
            let seen = reply.into_body().collect().await.expect("a body").to_bytes();
            assert_eq!(seen, "HTTP/2.0 /messages");
        }
        assert_eq!(connections.load(std::sync::atomic::Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn an_upstream_whose_certificate_nobody_vouches_for_is_not_spoken_to() {
        let (port, _) = tls_server().await;
        let upstreams = Upstreams::new(&config(), Guard::new(vec![])).expect("pools");
        let result = upstreams.send(get(&format!("https://localhost:{port}/")), Reach::Private, None).await;
        assert!(matches!(result, Err(UpstreamError::Connect(_))), "{result:?}");
    }
}
