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

use super::peer::Peer;
use super::tls::Handshakes;
use crate::config::Limits;

/// What a request's connection says about its caller.
#[derive(Debug)]
pub struct Connection {
    pub peer: Peer,
    pub remote: SocketAddr,
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
    let builder = Arc::new(protocol(limits));
    let wrapping = Arc::new(wrapping);
    let slots = Arc::new(Semaphore::new(limits.connections));
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
        let _ = stream.set_nodelay(true);
        let task = Task {
            builder: Arc::clone(&builder),
            wrapping: Arc::clone(&wrapping),
            routes: Arc::clone(&routes),
            shutdown: shutdown.clone(),
            slot,
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

/// hyper's own limits stand above ours, so that ours are answered with a problem document.
fn protocol(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let header_bytes = limits.header_bytes.saturating_mul(2);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.header_fields.saturating_mul(2))
        .max_buf_size(header_bytes.max(16 * 1024))
        .half_close(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(128)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

struct Task<A> {
    builder: Arc<auto::Builder<TokioExecutor>>,
    wrapping: Arc<Wrapping>,
    routes: Arc<A>,
    shutdown: Shutdown,
    slot: OwnedSemaphorePermit,
}

impl<A: Answer> Task<A> {
    async fn run(self, stream: TcpStream, remote: SocketAddr) {
        match &*Arc::clone(&self.wrapping) {
            Wrapping::Plain => self.serve(stream, Connection { peer: Peer::Anonymous, remote }).await,
            Wrapping::Tls { handshakes, trust_domain } => {
                let Some(stream) = handshakes.accept(stream).await else { return };
                let peer = Peer::of(stream.get_ref().1.peer_certificates(), trust_domain);
                self.serve(stream, Connection { peer, remote }).await;
            }
        }
    }

    async fn serve<S>(mut self, stream: S, connection: Connection)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let connection = Arc::new(connection);
        let routes = self.routes;
        let service = service_fn(move |request| {
            let (routes, connection) = (Arc::clone(&routes), Arc::clone(&connection));
            async move { Ok::<_, Infallible>(routes.answer(request, connection).await) }
        });
        let serving = self.builder.serve_connection(TokioIo::new(stream), service);
        let mut serving = std::pin::pin!(serving);
        let ended = tokio::select! {
            ended = serving.as_mut() => ended,
            () = stopped(&mut self.shutdown) => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
        drop(self.slot);
    }
}
