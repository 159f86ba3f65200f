//! What a connection is doing, so that one on which nothing happens is ended: hyper bounds neither how
//! long a client may leave a reply unread nor how long an HTTP/2 connection may stay without a request.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Duration, Instant};

/// One connection's exchanges: from a request's head to the end of its reply.
pub struct Activity(Mutex<State>);

struct State {
    open: Vec<Open>,
    next: u64,
    /// When the last exchange ended, or the connection began.
    quiet_since: Instant,
    begun: bool,
}

struct Open {
    id: u64,
    /// Since when the client has had a piece of the reply to read; none while it waits for us.
    handed: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    Something,
    /// No exchange for longer than allowed, and none ever.
    NothingYet,
    /// No exchange for longer than allowed.
    NothingMore,
    /// A reply has been left unread for longer than allowed.
    Stalled,
}

impl Activity {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { open: Vec::new(), next: 0, quiet_since: Instant::now(), begun: false })))
    }

    pub fn begin(self: &Arc<Self>) -> Exchange {
        let mut state = self.lock();
        state.begun = true;
        state.next += 1;
        let id = state.next;
        state.open.push(Open { id, handed: None });
        Exchange { activity: Arc::clone(self), id }
    }

    pub fn doing(&self, now: Instant, idle: Duration, stall: Duration) -> Doing {
        let state = self.lock();
        let stalled = |since| now.saturating_duration_since(since) >= stall;
        if state.open.iter().any(|open| open.handed.is_some_and(stalled)) {
            return Doing::Stalled;
        }
        if !state.open.is_empty() || now.saturating_duration_since(state.quiet_since) < idle {
            return Doing::Something;
        }
        if state.begun { Doing::NothingMore } else { Doing::NothingYet }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends when it is dropped.
pub struct Exchange {
    activity: Arc<Activity>,
    id: u64,
}

impl Exchange {
    /// The reply's body, watched on its way to the client.
    pub fn reply<B>(self, body: B) -> Watched<B> {
        Watched { body, exchange: self }
    }

    fn handed(&self, handed: Option<Instant>) {
        if let Some(open) = self.activity.lock().open.iter_mut().find(|open| open.id == self.id) {
            open.handed = handed;
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.activity.lock();
        state.open.retain(|open| open.id != self.id);
        state.quiet_since = Instant::now();
    }
}

/// Whoever sends it asks for the next piece when the last one is on its way.
pub struct Watched<B> {
    body: B,
    exchange: Exchange,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        this.exchange.handed(polled.is_ready().then(Instant::now));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_connection_is_idle_between_exchanges_and_stalled_when_a_reply_is_not_read() {
        let activity = Activity::new();
        // Whatever the test itself takes is far below a second.
        let after = |seconds| activity.doing(Instant::now() + Duration::from_secs(seconds), LIMIT, LIMIT);
        assert_eq!(after(8), Doing::Something);
        assert_eq!(after(10), Doing::NothingYet);
        let exchange = activity.begin();
        assert_eq!(after(100), Doing::Something, "we are working");
        let mut body = exchange.reply(Full::new(Bytes::from_static(b"reply")));
        body.frame().await.expect("a frame").expect("no error");
        assert_eq!(after(8), Doing::Something);
        let other = activity.begin();
        assert_eq!(after(10), Doing::Stalled, "whatever else goes on");
        drop(body);
        assert_eq!(after(100), Doing::Something);
        drop(other);
        assert_eq!(after(8), Doing::Something);
        assert_eq!(after(10), Doing::NothingMore);
    }
}
