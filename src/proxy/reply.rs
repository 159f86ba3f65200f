//! The upstream's reply on its way to the agent: passed on as it comes, counted and digested, cut when
//! the agent is frozen. When it ends, however it ends, its outcome is recorded.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, Sleep};
use uuid::Uuid;

use super::streams::Watched;
use crate::admission::{Admission, Outcome};
use crate::refusal::{Code, Refusal};
use crate::verify::Denied;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a reply was cut.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error("the agent may no longer act")]
    Agent,
    #[error("the upstream sent nothing for too long")]
    Idle,
    #[error("the upstream broke off")]
    Broken(#[source] BoxError),
}

/// How a forwarded request ends: recorded once, at its end, or when it is dropped before. It begins
/// when the decision is on record, so that no allowed request is left without an outcome because its
/// caller went away.
pub struct Ending {
    admission: Admission,
    request_id: Uuid,
    tenant: Uuid,
    status: Option<u16>,
    bytes: u64,
    digest: Sha256,
    recorded: bool,
}

impl Ending {
    pub fn new(admission: Admission, request_id: Uuid, tenant: Uuid) -> Self {
        Self { admission, request_id, tenant, status: None, bytes: 0, digest: Sha256::new(), recorded: false }
    }

    /// The request failed before its reply began: what is due before the refusal is answered.
    pub fn failed(mut self, refusal: Refusal) -> Denied {
        self.recorded = true;
        let outcome = Outcome {
            request_id: self.request_id,
            tenant: self.tenant,
            status: None,
            bytes: 0,
            digest: None,
            error: Some(refusal.code.as_str()),
        };
        Denied::outcome(outcome, refusal)
    }

    fn end(&mut self, error: Option<&'static str>) {
        if std::mem::replace(&mut self.recorded, true) {
            return;
        }
        let digest = self.status.map(|_| std::mem::take(&mut self.digest).finalize().into());
        let outcome = Outcome {
            request_id: self.request_id,
            tenant: self.tenant,
            status: self.status,
            bytes: self.bytes,
            digest,
            error,
        };
        record(self.admission.clone(), outcome);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        // The agent went away, or the connection did: what it got until then is on record.
        self.end(Some("agent-gone"));
    }
}

/// Spawned: whoever reads the reply does not wait for its record.
fn record(admission: Admission, outcome: Outcome) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    runtime.spawn(async move {
        let request_id = outcome.request_id;
        if let Err(error) = admission.outcome(outcome).await {
            tracing::error!(%request_id, %error, "an outcome was not recorded");
        }
    });
}

/// The reply's body.
pub struct Reply<B> {
    inner: B,
    ending: Ending,
    idle: Pin<Box<Sleep>>,
    idle_timeout: Duration,
    watched: Watched,
    cut: bool,
}

impl<B: Body> Reply<B> {
    pub fn new(inner: B, status: u16, mut ending: Ending, idle_timeout: Duration, watched: Watched) -> Self {
        ending.status = Some(status);
        // Nobody polls a body that has ended before it began.
        if inner.is_end_stream() {
            ending.end(None);
        }
        Self { inner, ending, idle: Box::pin(tokio::time::sleep(idle_timeout)), idle_timeout, watched, cut: false }
    }

    fn cut(&mut self, code: Code, cut: Cut) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.cut = true;
        self.ending.end(Some(code.as_str()));
        Poll::Ready(Some(Err(cut.into())))
    }
}

impl<B> Body for Reply<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.cut {
            return Poll::Ready(None);
        }
        if let Poll::Ready(code) = this.watched.poll_cut(cx) {
            return this.cut(code, Cut::Agent);
        }
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let deadline = Instant::now() + this.idle_timeout;
                this.idle.as_mut().reset(deadline);
                if let Some(data) = frame.data_ref() {
                    this.ending.bytes += data.len() as u64;
                    this.ending.digest.update(data);
                }
                if this.inner.is_end_stream() {
                    this.ending.end(None);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => this.cut(Code::UpstreamBroken, Cut::Broken(error.into())),
            Poll::Ready(None) => {
                this.ending.end(None);
                Poll::Ready(None)
            }
            Poll::Pending => match this.idle.as_mut().poll(cx) {
                Poll::Ready(()) => this.cut(Code::UpstreamTimeout, Cut::Idle),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        // The end is only known here once it is recorded.
        self.ending.recorded && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
