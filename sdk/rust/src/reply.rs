//! A reply whose body is still coming.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use crate::{ClientError, Problem};

/// The gateway's own answers are below this; the longest is the manifest of a tool with thousands of actions.
const OWN_ANSWER: usize = 16 << 20;

/// A reply: status and header fields are there, the body streams.
#[derive(Debug)]
pub struct Reply(http::Response<Incoming>);

impl Reply {
    pub(crate) fn new(reply: http::Response<Incoming>) -> Self {
        Self(reply)
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// `HTTP/1.1` or `HTTP/2.0`.
    pub fn version(&self) -> http::Version {
        self.0.version()
    }

    /// The header fields.
    pub fn headers(&self) -> &HeaderMap {
        self.0.headers()
    }

    /// The next piece of the body; `None` at its end. A body that is cut is an error, not an end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let Some(frame) = self.0.body_mut().frame().await else { return Ok(None) };
            let frame = frame
                .map_err(|e| ClientError::Transport { what: "the reply broke off".into(), problem: e.to_string() })?;
            // Trailers carry nothing for us.
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// The rest of the body, if it has at most `limit` bytes.
    pub async fn bytes(&mut self, limit: usize) -> Result<Bytes, ClientError> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if whole.len() + chunk.len() > limit {
                return Err(ClientError::Answer(format!("it is longer than {limit} bytes")));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    /// The whole body of an answer of the gateway's own; a refusal becomes the error.
    pub async fn own(mut self) -> Result<Bytes, ClientError> {
        let status = self.status();
        let body = self.bytes(OWN_ANSWER).await?;
        if status.is_success() { Ok(body) } else { Err(ClientError::Refused(Problem::parse(status.as_u16(), &body))) }
    }

    /// The same, read as JSON.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let body = self.own().await?;
        serde_json::from_slice(&body).map_err(|e| ClientError::Answer(e.to_string()))
    }
}
