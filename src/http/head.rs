//! HTTP/1.1 framing, judged before hyper reads it. hyper forgives what two readers could read in two ways: it drops a
//! `Content-Length` beside `Transfer-Encoding`, takes two that agree for one, bare line feeds for ends of lines, and
//! requests without `Host`; what it does refuse it answers without a word. Here each head is checked first, strictly
//! (RFC 9112): a good one passes as it came, another is taken out of the stream, and in its place stands a request that
//! only says so, so that the routes refuse it in its turn and in the protocol's words. Nothing behind it is read.
//!
//! This only ever refuses: whatever passes is parsed by hyper as it is.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use http::Method;
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Uri};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::refusal::{Advice, Code, Refusal};

/// The method of the request that stands for one that was refused. Who sends it is refused as well.
const REFUSED: &str = "TGP-REFUSED";
/// What `http::Uri` can hold.
const MAX_TARGET: usize = 65_534;
/// Lines behind the last chunk, which nobody reads, and extensions of one chunk's size.
const MAX_TRAILERS: usize = 8 * 1024;
const MAX_EXTENSION: usize = 1024;

/// What a head may hold at most.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub bytes: usize,
    pub fields: usize,
}

/// What was wrong with the last head of a connection.
#[derive(Debug)]
struct Fault {
    code: Code,
    detail: &'static str,
    /// As it was sent, where it could be read.
    method: Option<Method>,
}

impl Fault {
    fn malformed(detail: &'static str) -> Self {
        Self { code: Code::RequestMalformed, detail, method: None }
    }
}

/// Shared by a connection's stream and its routes.
#[derive(Clone, Debug, Default)]
pub struct Verdict(Arc<OnceLock<Fault>>);

impl Verdict {
    /// Refuses the request that stands for one whose head was refused; its own method is put back.
    pub fn check(&self, parts: &mut Parts) -> Result<(), Refusal> {
        let Some(Fault { code, detail, method }) = self.0.get().filter(|_| parts.method == REFUSED) else {
            return Ok(());
        };
        if let Some(method) = method {
            parts.method = method.clone();
        }
        Err(Refusal::new(*code, *detail).advise(Advice::Close))
    }
}

/// What comes next from the peer.
enum State {
    Head,
    /// So many octets of content.
    Content(u64),
    Chunked(Chunk),
    /// A tunnel was asked for, which nobody opens.
    Opaque,
    /// A body whose framing broke; the request that it belongs to is being answered.
    Broken,
    /// A head was refused: nothing more is read, but for the peer's sake it is taken away.
    Refused,
}

/// RFC 9112 §7.1.
enum Chunk {
    Size { value: u64, digits: u8 },
    Extension { size: u64, seen: usize },
    SizeEnd(u64),
    Data(u64),
    DataReturn,
    DataEnd,
    Trailers { seen: usize, last: [u8; 4] },
}

/// A stream of which hyper reads only what was judged.
pub struct Strict<S> {
    inner: S,
    state: State,
    head: Vec<u8>,
    ready: Vec<u8>,
    passed: usize,
    inbox: Vec<u8>,
    verdict: Verdict,
    max_bytes: usize,
    max_fields: usize,
}

impl<S> Strict<S> {
    /// For HTTP/1.1.
    pub fn new(inner: S, bounds: Bounds, verdict: Verdict) -> Self {
        let Bounds { bytes: max_bytes, fields: max_fields } = bounds;
        let (head, ready, inbox) = (Vec::new(), Vec::new(), Vec::new());
        Self { inner, state: State::Head, head, ready, passed: 0, inbox, verdict, max_bytes, max_fields }
    }

    /// For HTTP/2, whose framing leaves nothing in doubt: everything passes.
    pub fn open(inner: S, bounds: Bounds) -> Self {
        Self { state: State::Opaque, ..Self::new(inner, bounds, Verdict::default()) }
    }

    /// Judges what has arrived; what may pass is in `ready` then.
    fn judge(&mut self, mut input: &[u8]) {
        while let Some((&octet, _)) = input.split_first() {
            let taken = match &mut self.state {
                State::Head => self.gather(input),
                State::Opaque => self.pass(input),
                State::Broken | State::Refused => input.len(),
                State::Content(left) => {
                    let length = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= length as u64;
                    if *left == 0 {
                        self.state = State::Head;
                    }
                    self.pass(&input[..length])
                }
                State::Chunked(Chunk::Data(left)) => {
                    let length = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= length as u64;
                    if *left == 0 {
                        self.state = State::Chunked(Chunk::DataReturn);
                    }
                    self.pass(&input[..length])
                }
                State::Chunked(chunk) => {
                    self.state = chunk.next(octet);
                    if matches!(self.state, State::Broken) { 1 } else { self.pass(&[octet]) }
                }
            };
            input = &input[taken..];
        }
    }

    fn pass(&mut self, octets: &[u8]) -> usize {
        self.ready.extend_from_slice(octets);
        octets.len()
    }

    /// Adds lines to the head until it is whole.
    fn gather(&mut self, input: &[u8]) -> usize {
        let end = input.iter().position(|octet| *octet == b'\n').map_or(input.len(), |at| at + 1);
        self.head.extend_from_slice(&input[..end]);
        // RFC 9112 §2.2: an empty line before the request line is passed over.
        if self.head == b"\r\n" {
            self.head.clear();
            return end;
        }
        let judged = if self.head.ends_with(b"\r\n\r\n") {
            check(&self.head, self.max_fields)
        } else if self.head.ends_with(b"\n") && !self.head.ends_with(b"\r\n") {
            Err(Fault::malformed("end lines with CR LF"))
        } else if self.head.len() > self.max_bytes.saturating_mul(2) {
            // What is admitted is less; this bounds what is held.
            Err(too_large())
        } else {
            return end;
        };
        let head = std::mem::take(&mut self.head);
        match judged {
            Ok(framing) => {
                self.pass(&head);
                self.state = framing;
            }
            Err(fault) => self.refuse(&head, fault),
        }
        end
    }

    /// Puts a request in the head's place that only says so. Its path tells in whose terms to answer.
    fn refuse(&mut self, head: &[u8], mut fault: Fault) {
        let line = head.split(|octet| *octet == b'\r').next().unwrap_or_default();
        let mut parts = std::str::from_utf8(line).unwrap_or_default().split(' ');
        fault.method = parts.next().and_then(|method| Method::from_bytes(method.as_bytes()).ok());
        let path = parts.next().and_then(|target| target.split(['?', '#']).next());
        let path = path.filter(|path| path.starts_with('/') && path.len() <= 1024 && is_carried(path)).unwrap_or("/");
        self.pass(format!("{REFUSED} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes());
        // There is one: the stream ends with it.
        let _ = self.verdict.0.set(fault);
        self.state = State::Refused;
    }
}

impl Chunk {
    fn next(&mut self, octet: u8) -> State {
        let next = match (&mut *self, octet) {
            (Self::Size { value, digits }, octet) if octet.is_ascii_hexdigit() && *digits < 16 => {
                let digit = char::from(octet).to_digit(16).unwrap_or_default();
                Self::Size { value: *value * 16 + u64::from(digit), digits: *digits + 1 }
            }
            (Self::Size { value, digits: 1.. }, b'\r') => Self::SizeEnd(*value),
            (Self::Size { value, digits: 1.. }, b';') => Self::Extension { size: *value, seen: 0 },
            (Self::Extension { size, .. }, b'\r') => Self::SizeEnd(*size),
            (Self::Extension { size, seen }, octet) if *seen < MAX_EXTENSION && octet != b'\n' && octet != 0 => {
                Self::Extension { size: *size, seen: *seen + 1 }
            }
            (Self::SizeEnd(0), b'\n') => Self::Trailers { seen: 0, last: *b"..\r\n" },
            (Self::SizeEnd(size), b'\n') => Self::Data(*size),
            (Self::DataReturn, b'\r') => Self::DataEnd,
            (Self::DataEnd, b'\n') => Self::Size { value: 0, digits: 0 },
            (Self::Trailers { seen, last }, octet) if *seen < MAX_TRAILERS => {
                let last = [last[1], last[2], last[3], octet];
                if last == *b"\r\n\r\n" {
                    return State::Head;
                }
                let bare = octet == b'\n' && last[2] != b'\r' || last[2] == b'\r' && octet != b'\n' || octet == 0;
                if bare {
                    return State::Broken;
                }
                Self::Trailers { seen: *seen + 1, last }
            }
            _ => return State::Broken,
        };
        State::Chunked(next)
    }
}

/// How the content of a good head is framed.
fn check(head: &[u8], max_fields: usize) -> Result<State, Fault> {
    let mut lines = head.strip_suffix(b"\r\n\r\n").unwrap_or(head).split(|octet| *octet == b'\n');
    let line = |line: &'_ [u8]| line.strip_suffix(b"\r").map_or(line.len(), <[u8]>::len);
    let request_line = lines.next().unwrap_or_default();
    let modern = check_request_line(&request_line[..line(request_line)])?;
    let connect = request_line.starts_with(b"CONNECT ");
    let (mut hosts, mut length, mut codings, mut fields) = (0_usize, None, 0_usize, 0_usize);
    for field in lines {
        fields += 1;
        if fields > max_fields {
            return Err(too_large());
        }
        let (name, value) = split(&field[..line(field)])?;
        if name.eq_ignore_ascii_case(b"host") {
            hosts += 1;
            check_host(value)?;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            if length.replace(parse_length(value)?).is_some() {
                return Err(Fault::malformed("send content-length once"));
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            codings += 1;
            if !modern || codings > 1 || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault::malformed("the only transfer coding is chunked, once, of HTTP/1.1"));
            }
        }
    }
    // RFC 9112 §3.2.
    if hosts > 1 || modern && hosts == 0 {
        return Err(Fault::malformed("send one host field"));
    }
    match (connect, codings, length) {
        (_, 1.., Some(_)) => Err(Fault::malformed("send content-length or transfer-encoding, not both")),
        (true, ..) => Ok(State::Opaque),
        (_, 1.., None) => Ok(State::Chunked(Chunk::Size { value: 0, digits: 0 })),
        (_, 0, Some(length @ 1..)) => Ok(State::Content(length)),
        (_, 0, _) => Ok(State::Head),
    }
}

/// Whether it is of HTTP/1.1.
fn check_request_line(line: &[u8]) -> Result<bool, Fault> {
    let malformed = || Fault::malformed("the request line is method, target and HTTP/1.1, with one space between them");
    let mut parts = line.split(|octet| *octet == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed());
    };
    let modern = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return Err(malformed()),
    };
    if method.is_empty() || !method.iter().copied().all(is_token) || target.is_empty() {
        return Err(malformed());
    }
    if target.len() > MAX_TARGET {
        return Err(too_large());
    }
    let Ok(target) = std::str::from_utf8(target) else { return Err(malformed()) };
    if target.bytes().any(|octet| octet.is_ascii_control()) {
        return Err(malformed());
    }
    // RFC 9112 §3.2: four forms.
    match (target, method) {
        (origin, _) if origin.starts_with('/') => {
            let detail = "the target holds a fragment, or octets that RFC 3986 forbids";
            let fault = Fault { code: Code::PathNotCanonical, ..Fault::malformed(detail) };
            if is_carried(origin) { Ok(modern) } else { Err(fault) }
        }
        ("*", b"OPTIONS") => Ok(modern),
        (authority, b"CONNECT") if authority.parse::<Authority>().is_ok() => Ok(modern),
        (absolute, _) if absolute.parse::<Uri>().is_ok_and(|uri| uri.scheme().is_some()) && !absolute.contains('#') => {
            Ok(modern)
        }
        _ => Err(malformed()),
    }
}

/// Whether a target reaches the routes as it was sent: `http` cuts a fragment off without a word.
fn is_carried(target: &str) -> bool {
    target.parse::<PathAndQuery>().is_ok_and(|parsed| parsed.as_str() == target)
}

/// Name and value of a field line: RFC 9112 §5.
fn split(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let malformed = |detail| Err(Fault::malformed(detail));
    if line.starts_with(b" ") || line.starts_with(b"\t") {
        return malformed("a field is one line");
    }
    let Some(colon) = line.iter().position(|octet| *octet == b':') else {
        return malformed("a field is a name, a colon and a value");
    };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    // What `http::HeaderName` can hold.
    if name.len() > usize::from(u16::MAX) {
        return Err(too_large());
    }
    if name.is_empty() || !name.iter().copied().all(is_token) {
        return malformed("a field's name is a token, with nothing between it and the colon");
    }
    // A carriage return that ends no line is among them.
    if value.iter().any(|octet| octet.is_ascii_control() && *octet != b'\t') {
        return malformed("a field's value holds a control character");
    }
    Ok((name, value.trim_ascii()))
}

fn check_host(value: &[u8]) -> Result<(), Fault> {
    let text = std::str::from_utf8(value).unwrap_or("@");
    if text.is_empty() || !text.contains('@') && text.parse::<Authority>().is_ok() {
        return Ok(());
    }
    Err(Fault::malformed("host is a name and perhaps a port"))
}

fn parse_length(value: &[u8]) -> Result<u64, Fault> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|octet| octet.is_ascii_digit()));
    text.and_then(|text| text.parse().ok()).ok_or(Fault::malformed("content-length is one decimal number"))
}

fn too_large() -> Fault {
    Fault { code: Code::HeadersTooLarge, ..Fault::malformed("send fewer or shorter header fields") }
}

/// RFC 9110 §5.6.2.
fn is_token(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet)
}

impl<S: AsyncRead + Unpin> AsyncRead for Strict<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        /// What is taken away at once behind a refused head, before others have their turn.
        const TURNS: usize = 16;
        let this = self.get_mut();
        if matches!(this.state, State::Opaque) && this.ready.is_empty() {
            return Pin::new(&mut this.inner).poll_read(cx, out);
        }
        for _ in 0..TURNS {
            if this.passed < this.ready.len() {
                let rest = &this.ready[this.passed..];
                let length = rest.len().min(out.remaining());
                out.put_slice(&rest[..length]);
                this.passed += length;
                if this.passed == this.ready.len() {
                    this.ready.clear();
                    this.passed = 0;
                }
                return Poll::Ready(Ok(()));
            }
            if matches!(this.state, State::Broken) {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the framing of the body broke")));
            }
            this.inbox.resize(8 * 1024, 0);
            let mut inbox = std::mem::take(&mut this.inbox);
            let mut read = ReadBuf::new(&mut inbox);
            let polled = Pin::new(&mut this.inner).poll_read(cx, &mut read);
            let length = read.filled().len();
            this.judge(&inbox[..if polled.is_ready() { length } else { 0 }]);
            this.inbox = inbox;
            ready!(polled)?;
            if length == 0 {
                // The answer to a refused head ends the connection, not the peer that has no more to say.
                return if matches!(this.state, State::Refused) { Poll::Pending } else { Poll::Ready(Ok(())) };
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Strict<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, octets)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, octets)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(octets: &[u8], at_once: usize) -> (String, Option<Code>, bool) {
        let verdict = Verdict::default();
        let mut strict = Strict::new((), Bounds { bytes: 4096, fields: 8 }, verdict.clone());
        octets.chunks(at_once).for_each(|chunk| strict.judge(chunk));
        let passed = String::from_utf8(strict.ready).expect("text");
        (passed, verdict.0.get().map(|fault| fault.code), matches!(strict.state, State::Broken))
    }

    #[test]
    fn what_is_good_passes_as_it_came_however_it_is_cut() {
        let good = "POST /a?b HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n\r\n\r\n.GET / HTTP/1.1\r\nHost:\r\n\r\n\
                    PUT /c HTTP/1.1\r\nhost: y:1\r\ntransfer-encoding: Chunked\r\n\r\n0a;x=\"y\"\r\n0123\r\n\r\n89\r\n0\r\nx: y\r\n\r\n\
                    DELETE http://x/y HTTP/1.0\r\n\r\n";
        for at_once in [1, 2, 3, 7, 1000] {
            assert_eq!(judged(good.as_bytes(), at_once), (good.to_owned(), None, false), "{at_once} at once");
        }
    }

    #[test]
    fn behind_a_refused_head_nothing_passes() {
        let bad = "GET /oauth2/x?y HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n";
        for at_once in [1, 5, 1000] {
            let stand_in = "TGP-REFUSED /oauth2/x HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned();
            assert_eq!(judged(bad.as_bytes(), at_once), (stand_in, Some(Code::RequestMalformed), false));
        }
    }

    #[test]
    fn a_broken_chunk_passes_no_further() {
        let head = "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
        for (body, passed) in
            [("5\n", "5"), ("x", ""), ("1\r\nab", "1\r\na"), ("1;\n", "1;"), ("\r\n", ""), ("0\r\nx\n", "0\r\nx")]
        {
            let octets = format!("{head}{body}\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n");
            assert_eq!(judged(octets.as_bytes(), 1000), (format!("{head}{passed}"), None, true), "{body:?}");
        }
    }
}
