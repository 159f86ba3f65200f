//! The tool behind the proxy while faults happen: counts how often each numbered request arrived, with the credential and
//! without. It answers at once and remembers everything.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::Failure;

#[derive(Clone, Default)]
pub struct Upstream(Arc<Mutex<HashMap<String, u32>>>);

impl Upstream {
    /// Serves on a port of its own choice as long as the runtime lives.
    pub async fn start(credential: &'static str) -> Result<(Self, SocketAddr), Failure> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let upstream = Self::default();
        let serving = upstream.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                let service = service_fn(move |request| {
                    let answer = serving.answer(&request, credential);
                    async move { Ok::<_, Infallible>(answer) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Ok((upstream, address))
    }

    /// How often each target arrived with the credential.
    pub fn arrivals(&self) -> HashMap<String, u32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answer(&self, request: &Request<Incoming>, credential: &str) -> Response<Full<Bytes>> {
        let expected = format!("Bearer {credential}");
        let mut response = Response::new(Full::new(Bytes::from_static(b"{\"done\":true}")));
        if request.headers().get(AUTHORIZATION).is_none_or(|value| value != expected.as_str()) {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            return response;
        }
        let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(target).or_default() += 1;
        response
    }
}
