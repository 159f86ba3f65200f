//! The sample tool: a small mail service that wants a bearer credential and keeps a journal of what it saw, so that the
//! demonstration can compare. It knows nothing of TGP.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use secrecy::{ExposeSecret as _, SecretString};

/// What the tool saw of one request.
#[derive(Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
}

/// The tool's state, shared with whoever wants to look into its journal.
#[derive(Clone)]
pub struct SampleTool(Arc<Inner>);

struct Inner {
    secret: SecretString,
    messages: Mutex<BTreeMap<u64, Bytes>>,
    journal: Mutex<Vec<Seen>>,
}

/// Requests that the journal remembers.
const JOURNAL: usize = 100;

impl SampleTool {
    /// A tool that answers only to `Authorization: Bearer <secret>`.
    pub fn new(secret: SecretString) -> Self {
        Self(Arc::new(Inner { secret, messages: Mutex::default(), journal: Mutex::default() }))
    }

    /// What it saw so far, oldest first.
    pub fn journal(&self) -> Vec<Seen> {
        self.0.journal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Serves on `address` until the task is dropped.
    pub async fn serve(self, address: SocketAddr) -> std::io::Result<()> {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let router = Router::new()
            .route("/messages", get(list).post(send))
            .route("/messages/{id}", get(read).delete(remove))
            .route("/events", get(events))
            .layer(middleware::from_fn_with_state(self.clone(), authenticate))
            .with_state(self);
        axum::serve(listener, router).await
    }
}

async fn authenticate(State(tool): State<SampleTool>, request: Request, next: Next) -> Response {
    let expected = format!("Bearer {}", tool.0.secret.expose_secret());
    let authenticated = request.headers().get(header::AUTHORIZATION).is_some_and(|value| value == expected.as_str());
    {
        let mut journal = tool.0.journal.lock().unwrap_or_else(PoisonError::into_inner);
        if journal.len() == JOURNAL {
            journal.remove(0);
        }
        let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        journal.push(Seen { method: request.method().to_string(), path, headers: request.headers().clone() });
    }
    if !authenticated {
        return (StatusCode::UNAUTHORIZED, "the sample tool wants its credential\n").into_response();
    }
    next.run(request).await
}

async fn list(State(tool): State<SampleTool>) -> Response {
    let messages = tool.0.messages.lock().unwrap_or_else(PoisonError::into_inner);
    json(StatusCode::OK, &serde_json::json!({ "messages": messages.keys().collect::<Vec<_>>() }))
}

async fn send(State(tool): State<SampleTool>, body: Bytes) -> Response {
    let mut messages = tool.0.messages.lock().unwrap_or_else(PoisonError::into_inner);
    let id = messages.keys().last().map_or(1, |last| last + 1);
    if messages.len() == JOURNAL {
        messages.pop_first();
    }
    messages.insert(id, body);
    json(StatusCode::CREATED, &serde_json::json!({ "id": id, "sent": true }))
}

async fn read(State(tool): State<SampleTool>, Path(id): Path<u64>) -> Response {
    let messages = tool.0.messages.lock().unwrap_or_else(PoisonError::into_inner);
    messages
        .get(&id)
        .map_or_else(not_there, |body| ([(header::CONTENT_TYPE, "application/json")], body.clone()).into_response())
}

async fn remove(State(tool): State<SampleTool>, Path(id): Path<u64>) -> Response {
    let removed = tool.0.messages.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    removed.map_or_else(not_there, |_| StatusCode::NO_CONTENT.into_response())
}

/// Three server-sent events, each sent when it is there.
async fn events() -> Response {
    let (sender, receiver) = tokio::sync::mpsc::channel::<u8>(1);
    tokio::spawn(async move {
        for n in 1..=3 {
            if sender.send(n).await.is_err() {
                return; // the caller went away
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::new(Ticks(receiver))).into_response()
}

struct Ticks(tokio::sync::mpsc::Receiver<u8>);

impl http_body::Body for Ticks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|n| n.map(|n| Ok(http_body::Frame::data(Bytes::from(format!("data: {n}\n\n"))))))
    }
}

fn not_there() -> Response {
    json(StatusCode::NOT_FOUND, &serde_json::json!({ "error": "no such message" }))
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}
