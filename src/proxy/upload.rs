//! A request's content on its way to the tool: whole and verified, or, where the action is marked for it and the content too
//! long to be read whole, verified while it passes. Of what passes the last piece is withheld until the digest matches: a tool
//! never holds the whole of a content that was not signed.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HeaderMap};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use sha2::{Digest as _, Sha256};
use tgp_request::signature::{ContentCheck, VerifiedHead, VerifiedRequest};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use super::call::read_body;
use crate::config::Limits;
use crate::refusal::{Advice, Code, Refusal};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A genuine request, as far as it must be known before it is decided on.
pub enum Arrived<B = Incoming> {
    Whole(Box<VerifiedRequest>, Bytes),
    /// Its head is genuine; its content is judged when it passes.
    Long(Box<Upload<B>>),
}

impl Arrived {
    /// Reads the content; `streams` where it may be longer than what is read whole.
    pub async fn read(
        head: VerifiedHead,
        headers: &HeaderMap,
        body: Incoming,
        limits: &Limits,
        streams: bool,
    ) -> Result<Self, Refusal> {
        if streams {
            return Upload::read(head, headers, body, limits).await;
        }
        let content = read_body(headers, body, limits.body_bytes, limits.body_timeout).await?;
        Ok(Self::Whole(Box::new(head.body(&content)?), content))
    }

    pub fn head(&self) -> &VerifiedHead {
        match self {
            Self::Whole(request, _) => request.head(),
            Self::Long(upload) => upload.check.head(),
        }
    }

    /// What the upstream's request carries, and how it goes with a long one.
    pub fn into_content(self) -> (Content, Option<Progress>) {
        match self {
            Self::Whole(_, content) => (Content::Whole(content), None),
            Self::Long(upload) => {
                let (passing, progress) = upload.begin();
                (Content::Long(Box::new(passing)), Some(progress))
            }
        }
    }
}

fn too_large(limit: u64) -> Refusal {
    Refusal::new(Code::BodyTooLarge, format!("the body is longer than {limit} bytes")).advise(Advice::Close)
}

fn broke_off() -> Refusal {
    Refusal::new(Code::RequestMalformed, "the body broke off").advise(Advice::Close)
}

fn took_too_long() -> Refusal {
    Refusal::new(Code::RequestMalformed, "the body took too long").advise(Advice::Close)
}

/// A content of which as much was read as may be held. Nothing of it has gone anywhere.
pub struct Upload<B> {
    check: ContentCheck,
    begun: VecDeque<Bytes>,
    seen: u64,
    body: B,
    most: u64,
    stall: Duration,
}

impl<B> Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    async fn read(
        head: VerifiedHead,
        headers: &HeaderMap,
        mut body: B,
        limits: &Limits,
    ) -> Result<Arrived<B>, Refusal> {
        let most = limits.stream_bytes;
        let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|length| length > most) {
            return Err(too_large(most));
        }
        let (mut begun, mut seen) = (VecDeque::new(), 0);
        let deadline = Instant::now() + limits.body_timeout;
        while seen <= limits.body_bytes as u64 {
            let frame = tokio::time::timeout_at(deadline, body.frame()).await.map_err(|_| took_too_long())?;
            let Some(frame) = frame else {
                let content = begun.into_iter().fold(BytesMut::new(), |mut whole, piece: Bytes| {
                    whole.extend_from_slice(&piece);
                    whole
                });
                let content = content.freeze();
                return Ok(Arrived::Whole(Box::new(head.body(&content)?), content));
            };
            if let Ok(piece) = frame.map_err(|_| broke_off())?.into_data()
                && !piece.is_empty()
            {
                seen += piece.len() as u64;
                begun.push_back(piece);
            }
        }
        if seen > most {
            return Err(too_large(most));
        }
        let mut check = head.content_check();
        for piece in &begun {
            check.update(piece)?;
        }
        Ok(Arrived::Long(Box::new(Self { check, begun, seen, body, most, stall: limits.body_timeout })))
    }

    fn begin(self) -> (Passing<B>, Progress) {
        let Self { check, begun, seen, body, most, stall } = self;
        let (told, progress) = watch::channel(Stage { passed: 0, end: None });
        let held: u64 = begun.iter().map(|piece| piece.len() as u64).sum();
        let left = body.size_hint().exact().map(|rest| rest + held);
        let patience = Box::pin(tokio::time::sleep(stall));
        let passing =
            Passing { check: Some(check), begun, withheld: None, body, left, seen, most, stall, patience, told };
        (passing, Progress(progress))
    }
}

/// How far a content has come.
struct Stage {
    passed: u64,
    end: Option<Result<(), Refusal>>,
}

/// What became of a content that passes.
pub struct Progress(watch::Receiver<Stage>);

impl Progress {
    /// Why it was cut, if it was.
    pub fn failure(&self) -> Option<Refusal> {
        self.0.borrow().end.as_ref().and_then(|end| end.as_ref().err().cloned())
    }

    /// Waits until it has ended or is no longer wanted; not so when nothing of it passes for so long.
    pub async fn ended(&mut self, stall: Duration) -> bool {
        while self.0.borrow().end.is_none() {
            match tokio::time::timeout(stall, self.0.changed()).await {
                Ok(Ok(())) => {}
                // Dropped: the upstream has answered, or is gone.
                Ok(Err(_)) => break,
                Err(_) => return false,
            }
        }
        true
    }
}

/// The content of an upstream's request.
pub enum Content {
    /// What is left of it.
    Whole(Bytes),
    Long(Box<Passing<Incoming>>),
}

impl Content {
    /// Of a content that passes, what was signed: unless it comes true, the last piece never goes.
    pub fn sha256(&self) -> Option<[u8; 32]> {
        match self {
            Self::Whole(content) => Some(Sha256::digest(content).into()),
            Self::Long(passing) => passing.check.as_ref()?.head().signed_sha256(),
        }
    }
}

impl From<Bytes> for Content {
    fn from(content: Bytes) -> Self {
        Self::Whole(content)
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(content) if content.is_empty() => Poll::Ready(None),
            Self::Whole(content) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(content))))),
            Self::Long(passing) => Pin::new(&mut **passing).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(content) => content.is_empty(),
            Self::Long(passing) => passing.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(content) => SizeHint::with_exact(content.len() as u64),
            Self::Long(passing) => passing.size_hint(),
        }
    }
}

/// A content that is judged while it passes.
pub struct Passing<B> {
    /// Taken at the end.
    check: Option<ContentCheck>,
    /// Read and judged before the decision.
    begun: VecDeque<Bytes>,
    /// The last piece, until it is known whether another follows or the digest matches.
    withheld: Option<Bytes>,
    body: B,
    /// What has not been passed on, where the whole length is known.
    left: Option<u64>,
    seen: u64,
    most: u64,
    stall: Duration,
    patience: Pin<Box<Sleep>>,
    told: watch::Sender<Stage>,
}

impl<B> Passing<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    fn pass(&mut self, piece: Bytes) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        let length = piece.len() as u64;
        self.left = self.left.map(|left| left.saturating_sub(length));
        self.told.send_modify(|stage| stage.passed += length);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn fail(&mut self, refusal: Refusal) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        self.check = None;
        self.withheld = None;
        self.told.send_modify(|stage| stage.end = Some(Err(refusal.clone())));
        Poll::Ready(Some(Err(refusal)))
    }

    /// The next piece as it comes, judged.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Refusal>>> {
        if let Some(piece) = self.begun.pop_front() {
            return Poll::Ready(Some(Ok(piece)));
        }
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.patience.as_mut().reset(Instant::now() + self.stall);
                    let Ok(piece) = frame.into_data() else { continue };
                    if piece.is_empty() {
                        continue;
                    }
                    self.seen += piece.len() as u64;
                    if self.seen > self.most {
                        return Poll::Ready(Some(Err(too_large(self.most))));
                    }
                    let judged = self.check.as_mut().map_or(Ok(()), |check| check.update(&piece));
                    return Poll::Ready(Some(judged.map(|()| piece).map_err(Refusal::from)));
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Some(Err(broke_off()))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    let stalled = self.patience.as_mut().poll(cx);
                    return stalled.map(|()| Some(Err(took_too_long())));
                }
            }
        }
    }
}

impl<B> Body for Passing<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = Refusal;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        let this = self.get_mut();
        if this.check.is_none() {
            return Poll::Ready(None);
        }
        loop {
            match std::task::ready!(this.poll_piece(cx)) {
                Some(Ok(piece)) => {
                    if let Some(before) = this.withheld.replace(piece) {
                        return this.pass(before);
                    }
                }
                Some(Err(refusal)) => return this.fail(refusal),
                None => {
                    let Some(check) = this.check.take() else { return Poll::Ready(None) };
                    if let Err(refusal) = check.finish() {
                        return this.fail(refusal.into());
                    }
                    this.told.send_modify(|stage| stage.end = Some(Ok(())));
                    return match this.withheld.take() {
                        Some(last) => this.pass(last),
                        None => Poll::Ready(None),
                    };
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.check.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
