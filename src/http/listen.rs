//! Accepting connections and serving HTTP/1.1 and HTTP/2 on them. TLS is done elsewhere
//! (`tls::Handshakes`); here are the bounds on connections, headers and time, and the orderly end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tgp_request::name::TrustDomain;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::activity::{Activity, Doing};
use super::addresses::{Addresses, Place};
use super::head::{Bounds, Strict, Verdict};
use super::peer::Peer;
use super::tls::Handshakes;
use crate::config::Limits;

/// What a request's connection says about its caller.
#[derive(Debug)]
pub struct Connection {
    pub peer: Peer,
    pub remote: SocketAddr,
    /// What the framing of its requests was found to be.
    pub verdict: Verdict,
}

/// One listener's routes.
pub trait Answer: Send + Sync + 'static {
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        connection: Arc<Connection>,
    ) -> impl Future<Output = Response<Body>> + Send;
}

/// True once the process is to stop.
pub type Shutdown = watch::Receiver<bool>;

/// How long open requests may take after the signal to stop.
const GRACE: Duration = Duration::from_secs(5);

/// How connections become streams: by TLS, or as they are.
pub enum Wrapping {
    Plain,
    Tls { handshakes: Handshakes, trust_domain: TrustDomain },
}

/// Serves until `shutdown`; returns when the last connection has ended or the grace is over.
pub async fn serve<A: Answer>(
    listener: TcpListener,
    wrapping: Wrapping,
    limits: &Limits,
    routes: Arc<A>,
    mut shutdown: Shutdown,
) {
    let protocols = Arc::new(Protocols::new(limits));
    let wrapping = Arc::new(wrapping);
    let slots = Arc::new(Semaphore::new(limits.connections));
    let addresses = Addresses::new(limits.connections_per_address);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut shutdown) => break,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors: wait for some to come back instead of spinning.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            tracing::warn!(%remote, "too many connections; this one is dropped");
            continue;
        };
        let Some(place) = addresses.enter(remote.ip()) else {
            tracing::debug!(%remote, "too many connections of one address; this one is dropped");
            continue;
        };
        let _ = stream.set_nodelay(true);
        let task = Task {
            protocols: Arc::clone(&protocols),
            wrapping: Arc::clone(&wrapping),
            routes: Arc::clone(&routes),
            shutdown: shutdown.clone(),
            _slot: slot,
            _place: place,
        };
        tokio::spawn(task.run(stream, remote));
    }
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    if tokio::time::timeout(GRACE, slots.acquire_many(all)).await.is_err() {
        tracing::info!("connections were cut at the end of the grace period");
    }
}

async fn stopped(shutdown: &mut Shutdown) {
    // A sender that has gone is a stop as well.
    let _ = shutdown.wait_for(|stop| *stop).await;
}

/// One builder per protocol: a builder for both would wait for the first octets to tell them apart, and
/// no timer runs meanwhile.
struct Protocols {
    http1: auto::Builder<TokioExecutor>,
    http2: auto::Builder<TokioExecutor>,
    /// How long a connection may have no exchange: hyper bounds the wait for each HTTP/1.1 header section,
    /// and neither HTTP/2's preface nor its silence.
    idle: Duration,
    /// How long a reply may be left unread.
    stall: Duration,
    bounds: Bounds,
}

impl Protocols {
    /// hyper's own limits stand above ours, so that ours are answered with a problem document.
    fn new(limits: &Limits) -> Self {
        let header_bytes = limits.header_bytes.saturating_mul(2);
        let mut http1 = auto::Builder::new(TokioExecutor::new()).http1_only();
        http1
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_headers(limits.header_fields.saturating_mul(2))
            .max_buf_size(header_bytes.max(16 * 1024))
            .half_close(false);
        let mut http2 = auto::Builder::new(TokioExecutor::new()).http2_only();
        http2
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
            .max_concurrent_streams(128)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20));
        let bounds = Bounds { bytes: limits.header_bytes, fields: limits.header_fields };
        Self { http1, http2, idle: limits.header_timeout, stall: limits.stall_timeout, bounds }
    }
}

/// What the handshake settled on (RFC 7301); HTTP/1.1 without it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    fn negotiated(alpn: Option<&[u8]>) -> Self {
        if alpn == Some(b"h2") { Self::Http2 } else { Self::Http1 }
    }
}

struct Task<A> {
    protocols: Arc<Protocols>,
    wrapping: Arc<Wrapping>,
    routes: Arc<A>,
    shutdown: Shutdown,
    _slot: OwnedSemaphorePermit,
    _place: Place,
}

impl<A: Answer> Task<A> {
    async fn run(self, stream: TcpStream, remote: SocketAddr) {
        match &*Arc::clone(&self.wrapping) {
            Wrapping::Plain => {
                let connection = Connection { peer: Peer::Anonymous, remote, verdict: Verdict::default() };
                self.serve(stream, Protocol::Http1, connection).await;
            }
            Wrapping::Tls { handshakes, trust_domain } => {
                let Some(stream) = handshakes.accept(stream).await else { return };
                let session = stream.get_ref().1;
                let peer = Peer::of(session.peer_certificates(), trust_domain);
                let protocol = Protocol::negotiated(session.alpn_protocol());
                self.serve(stream, protocol, Connection { peer, remote, verdict: Verdict::default() }).await;
            }
        }
    }

    async fn serve<S>(mut self, stream: S, protocol: Protocol, connection: Connection)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let verdict = connection.verdict.clone();
        let connection = Arc::new(connection);
        let routes = self.routes;
        let activity = Activity::new();
        let seen = Arc::clone(&activity);
        let service = service_fn(move |request| {
            let exchange = seen.begin();
            let (routes, connection) = (Arc::clone(&routes), Arc::clone(&connection));
            async move {
                let answer = routes.answer(request, connection).await;
                Ok::<_, Infallible>(answer.map(|body| exchange.reply(body)))
            }
        });
        let Protocols { http1, http2, idle, stall, bounds } = &*self.protocols;
        let builder = match protocol {
            Protocol::Http1 => http1,
            Protocol::Http2 => http2,
        };
        let stream = match protocol {
            Protocol::Http1 => Strict::new(stream, *bounds, verdict),
            Protocol::Http2 => Strict::open(stream, *bounds),
        };
        let serving = builder.serve_connection(TokioIo::new(stream), service);
        let mut serving = std::pin::pin!(serving);
        let mut look = tokio::time::interval((*idle).min(*stall) / 4);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Since when it has been asked to end.
        let mut ending: Option<Instant> = None;
        let ended = loop {
            tokio::select! {
                ended = serving.as_mut() => break ended,
                _ = look.tick() => match activity.doing(Instant::now(), *idle, *stall) {
                    Doing::Something => continue,
                    Doing::NothingMore if ending.is_none_or(|since| since.elapsed() < *stall) => {}
                    // It brought no request, does not read, or does not take the hint.
                    doing => {
                        tracing::debug!(?doing, "a connection is cut");
                        return;
                    }
                },
                () = stopped(&mut self.shutdown), if ending.is_none() => {}
            }
            if ending.is_none() {
                ending = Some(Instant::now());
                serving.as_mut().graceful_shutdown();
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}
