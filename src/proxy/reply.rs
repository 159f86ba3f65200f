//! The upstream's reply on its way to the agent: passed on as it comes, counted and digested, cut when
//! the agent is frozen. When it ends, however it ends, its outcome is recorded.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::mask::Masked;
use super::streams::Watched;
use super::upload::Progress;
use crate::admission::Ending;
use crate::refusal::Code;

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

/// The reply's body.
pub struct Reply<B> {
    inner: Masked<B>,
    ending: Ending,
    idle: Pin<Box<Sleep>>,
    idle_timeout: Duration,
    watched: Watched,
    /// The request's own content, which may still be on its way.
    upload: Option<Progress>,
    cut: bool,
    /// Why it will be cut when it is next asked for.
    failing: Option<Cut>,
}

impl<B> Reply<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    pub fn new(
        inner: Masked<B>,
        status: u16,
        mut ending: Ending,
        idle_timeout: Duration,
        watched: Watched,
        upload: Option<Progress>,
    ) -> Self {
        ending.begun(status);
        ending.masked(inner.masked());
        // Nobody polls a body that has ended before it began.
        if inner.is_end_stream() {
            ending.end(None);
        }
        Self {
            inner,
            ending,
            idle: Box::pin(tokio::time::sleep(idle_timeout)),
            idle_timeout,
            watched,
            upload,
            cut: false,
            failing: None,
        }
    }

    /// The error follows at the next poll: hyper sends what it has before it asks again, and drops it when
    /// a body fails at once, so that the agent would not even see the head.
    fn cut(&mut self, code: Code, cut: Cut, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.failing = Some(cut);
        self.ending.end(Some(code.as_str()));
        cx.waker().wake_by_ref();
        Poll::Pending
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
        if let Some(cut) = this.failing.take() {
            this.cut = true;
            return Poll::Ready(Some(Err(cut.into())));
        }
        if let Poll::Ready(code) = this.watched.poll_cut(cx) {
            return this.cut(code, Cut::Agent, cx);
        }
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let deadline = Instant::now() + this.idle_timeout;
                this.idle.as_mut().reset(deadline);
                this.ending.masked(this.inner.masked());
                if let Some(data) = frame.data_ref() {
                    this.ending.passed(data);
                }
                if this.inner.is_end_stream() {
                    this.ending.end(None);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let refused = this.upload.as_ref().and_then(Progress::failure);
                let code = refused.map_or(Code::UpstreamBroken, |refusal| refusal.code);
                this.cut(code, Cut::Broken(error.into()), cx)
            }
            Poll::Ready(None) => {
                this.ending.end(None);
                Poll::Ready(None)
            }
            Poll::Pending => match this.idle.as_mut().poll(cx) {
                Poll::Ready(()) => this.cut(Code::UpstreamTimeout, Cut::Idle, cx),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        // The end is only known here once it is recorded.
        self.failing.is_none() && self.ending.is_recorded() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
