//! A tool that reflects its credential must not show it to the agent: what comes back is searched, and
//! each octet of a match becomes an asterisk, so that lengths stay what they were. A match may be spread
//! over as many pieces of a body as it likes: what could be the beginning of one is kept back until more
//! comes, and nothing else is.
//!
//! This finds a credential in the spellings of [`Needles`]. A tool that means to hand it over can always
//! write it in another: masking is for tools that reflect, not for tools that conspire.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use zeroize::Zeroizing;

use super::needles::{LONG, Needles};

const ASTERISK: u8 = b'*';

/// Statements about content that the gateway may change, made before anybody can know whether it does.
const ABOUT_CONTENT: &[&str] = &["content-digest", "content-md5", "digest", "repr-digest"];

/// Masks all field values. A name that holds a match goes with its field. Returns how many matches.
fn mask_fields(fields: &mut HeaderMap, needles: &Needles) -> u64 {
    let mut masked = 0;
    for value in fields.values_mut() {
        let mut ranges = Vec::new();
        needles.find(value.as_bytes(), 0, |range| ranges.push(range));
        if !ranges.is_empty() {
            masked += ranges.len() as u64;
            let mut octets = Zeroizing::new(value.as_bytes().to_vec());
            ranges.into_iter().for_each(|range| octets[range].fill(ASTERISK));
            // Asterisks in the place of octets that were allowed there are allowed there.
            *value = HeaderValue::from_bytes(&octets).unwrap_or(HeaderValue::from_static("*"));
        }
    }
    let named: Vec<HeaderName> =
        fields.keys().filter(|name| needles.holds_ignoring_case(name.as_str().as_bytes())).cloned().collect();
    for name in named {
        masked += 1;
        fields.remove(name);
    }
    masked
}

/// Drops what the head of a reply says about content that will be searched.
fn drop_digests(fields: &mut HeaderMap) {
    for name in ABOUT_CONTENT {
        fields.remove(*name);
    }
}

/// Whether a body is coded so that nothing can be found in it: the tool was asked for identity.
pub fn is_coded(fields: &HeaderMap) -> bool {
    let beyond = |name: HeaderName, plain: &str| {
        fields
            .get_all(name)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(plain.as_bytes()))
    };
    beyond(header::CONTENT_ENCODING, "identity") || beyond(header::TRANSFER_ENCODING, "chunked")
}

/// The shortest needle to be searched in a body of this kind: in what is not text, short ones are found
/// by chance. A body that does not say what it is may be taken for text by whoever reads it.
fn shortest(fields: &HeaderMap) -> usize {
    let Some(kind) = fields.get(header::CONTENT_TYPE) else { return 0 };
    let kind = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    let (kind, subtype) = match memchr::memchr(b'/', &kind) {
        Some(slash) => (&kind[..slash], &kind[slash + 1..]),
        None => return 0,
    };
    let textual = match kind {
        b"text" | b"message" | b"multipart" => true,
        b"application" => {
            matches!(
                subtype,
                b"json"
                    | b"xml"
                    | b"x-www-form-urlencoded"
                    | b"javascript"
                    | b"ecmascript"
                    | b"x-javascript"
                    | b"yaml"
                    | b"x-yaml"
                    | b"toml"
                    | b"graphql"
                    | b"x-ndjson"
                    | b"json-seq"
                    | b"sql"
                    | b"problem"
            ) || [&b"+json"[..], b"+xml", b"+yaml", b"+json-seq"].iter().any(|suffix| subtype.ends_with(suffix))
        }
        _ => subtype.ends_with(b"+xml"),
    };
    if textual { 0 } else { LONG }
}

/// A body without the credential, or as it is where there is none.
pub struct Masked<B> {
    inner: B,
    mask: Option<Box<Mask>>,
}

struct Mask {
    needles: Needles,
    shortest: usize,
    /// What may be the beginning of a match.
    held: Zeroizing<Vec<u8>>,
    /// How many octets of it belong to a match already.
    covered: usize,
    masked: u64,
    trailers: Option<HeaderMap>,
}

impl<B> Masked<B> {
    /// `fields` as they came: they say what kind of body it is.
    pub fn new(inner: B, needles: Option<Needles>, fields: &HeaderMap) -> Self {
        let mask = needles.map(|needles| {
            let shortest = shortest(fields);
            let held = Zeroizing::new(Vec::new());
            Box::new(Mask { needles, shortest, held, covered: 0, masked: 0, trailers: None })
        });
        Self { inner, mask }
    }

    /// Masks the head that goes with this body.
    pub fn mask_head(&mut self, fields: &mut HeaderMap) {
        let Some(mask) = self.mask.as_deref_mut() else { return };
        mask.masked += mask_fields(fields, &mask.needles);
        drop_digests(fields);
    }

    /// How many matches there were until now.
    pub fn masked(&self) -> u64 {
        self.mask.as_ref().map_or(0, |mask| mask.masked)
    }
}

impl Mask {
    /// What of `chunk` can go on; at the end, all of it.
    fn pass(&mut self, chunk: Bytes, at_end: bool) -> Bytes {
        let text = if self.held.is_empty() {
            chunk
        } else {
            let mut text = BytesMut::with_capacity(self.held.len() + chunk.len());
            text.extend_from_slice(&self.held);
            text.extend_from_slice(&chunk);
            text.freeze()
        };
        let before = self.held.len();
        let mut ranges = Vec::new();
        self.needles.find(&text, self.shortest, |range| ranges.push(range));
        // What lies wholly in what was kept back cannot be complete: it would not have been kept back
        // without being counted when it came.
        let fresh = |range: &&std::ops::Range<usize>| range.end > before;
        self.masked += ranges.iter().filter(fresh).count() as u64;
        let keep = if at_end { 0 } else { self.needles.begun(&text, self.shortest) };
        let go = text.len() - keep;
        let covered = std::mem::take(&mut self.covered);
        self.covered = ranges.iter().filter(|range| range.start < go).map(|range| range.end).max().unwrap_or(0);
        self.covered = self.covered.max(covered).saturating_sub(go);
        self.held.clear();
        if keep > 0 {
            // Once for all: it never grows, so it leaves no copy behind.
            self.held.reserve_exact(self.needles.longest());
        }
        self.held.extend_from_slice(&text[go..]);
        if covered == 0 && ranges.is_empty() {
            return text.slice(..go);
        }
        let mut out = BytesMut::from(&text[..go]);
        out[..covered.min(go)].fill(ASTERISK);
        for range in ranges {
            out[range.start.min(go)..range.end.min(go)].fill(ASTERISK);
        }
        out.freeze()
    }
}

impl<B> Body for Masked<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let Some(mask) = this.mask.as_deref_mut() else { return Pin::new(&mut this.inner).poll_frame(cx) };
        if let Some(trailers) = mask.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        loop {
            let frame = match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None if mask.held.is_empty() => return Poll::Ready(None),
                None => return Poll::Ready(Some(Ok(Frame::data(mask.pass(Bytes::new(), true))))),
            };
            match frame.into_data() {
                Ok(chunk) => {
                    let passed = mask.pass(chunk, this.inner.is_end_stream());
                    if !passed.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(passed))));
                    }
                    // All of it is kept back: the next piece decides.
                    if this.inner.is_end_stream() {
                        return Poll::Ready(None);
                    }
                }
                Err(frame) => {
                    let Ok(mut trailers) = frame.into_trailers() else { continue };
                    drop_digests(&mut trailers);
                    mask.masked += mask_fields(&mut trailers, &mask.needles);
                    if mask.held.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                    mask.trailers = Some(trailers);
                    return Poll::Ready(Some(Ok(Frame::data(mask.pass(Bytes::new(), true)))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let due = self.mask.as_ref().is_some_and(|mask| !mask.held.is_empty() || mask.trailers.is_some());
        !due && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.inner.size_hint();
        let held = self.mask.as_ref().map_or(0, |mask| mask.held.len() as u64);
        if held > 0 {
            if let Some(upper) = hint.upper() {
                hint.set_upper(upper.saturating_add(held));
            }
            hint.set_lower(hint.lower().saturating_add(held));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;

    use http_body_util::BodyExt as _;

    use super::*;

    const SECRET: &str = "sk-live-0123456789abcdef";
    const STARS: &str = "************************";

    /// A body of these pieces.
    struct Pieces(VecDeque<Frame<Bytes>>);

    impl Pieces {
        fn of(pieces: impl IntoIterator<Item = Vec<u8>>) -> Self {
            Self(pieces.into_iter().map(|piece| Frame::data(Bytes::from(piece))).collect())
        }
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.get_mut().0.pop_front().map(Ok))
        }
    }

    fn fields(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().expect("a value"))).collect()
    }

    fn masked(pieces: impl IntoIterator<Item = Vec<u8>>, secret: &str, head: &HeaderMap) -> Masked<Pieces> {
        Masked::new(Pieces::of(pieces), Needles::of(secret.as_bytes(), false), head)
    }

    async fn text(body: Masked<Pieces>) -> String {
        let octets = body.collect().await.expect("no error").to_bytes();
        String::from_utf8(octets.to_vec()).expect("text")
    }

    #[tokio::test]
    async fn a_match_is_masked_wherever_pieces_of_a_body_meet() {
        let whole = format!("{{\"a\":\"{SECRET}\",\"b\":\"sk-live-{SECRET}{SECRET}sk\"}}");
        let expected = whole.replace(SECRET, STARS);
        for first in 0..whole.len() {
            for second in [first, first + 1, first + 7, whole.len()] {
                let (first, second) = (first, second.min(whole.len()));
                let pieces =
                    [&whole[..first], &whole[first..second], &whole[second..]].map(|piece| piece.as_bytes().to_vec());
                assert_eq!(text(masked(pieces, SECRET, &HeaderMap::new())).await, expected, "{first} {second}");
            }
        }
        let octets = whole.bytes().map(|octet| vec![octet]);
        assert_eq!(text(masked(octets, SECRET, &HeaderMap::new())).await, expected);
    }

    #[tokio::test]
    async fn matches_that_overlap_are_masked_whole() {
        // A secret that begins as it ends, so that one match begins in another.
        for pieces in [vec!["abcxyzabcxyzabc!".to_owned()], "abcxyzabcxyzabc!".chars().map(String::from).collect()] {
            let body = masked(pieces.into_iter().map(String::into_bytes), "abcxyzabc", &HeaderMap::new());
            assert_eq!(text(body).await, "***************!");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_part_of_a_match_goes_on_at_once() {
        let events = ["data: one\n\n", "data: sk-liv\n\n", "data: two s", "k-live-no\n\n"];
        let mut body = masked(events.map(|event| event.as_bytes().to_vec()), SECRET, &HeaderMap::new());
        let mut seen = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.expect("no error").into_data().expect("data");
            seen.push(String::from_utf8(data.to_vec()).expect("text"));
        }
        assert_eq!(seen, ["data: one\n\n", "data: sk-liv\n\n", "data: two ", "sk-live-no\n\n"]);
    }

    #[tokio::test]
    async fn what_is_kept_back_is_less_than_the_longest_spelling() {
        let mut body = masked((0..1_000).map(|_| SECRET.as_bytes()[..23].to_vec()), SECRET, &HeaderMap::new());
        while let Some(frame) = body.frame().await {
            frame.expect("no error");
            let mask = body.mask.as_ref().expect("masking");
            assert!(mask.held.len() < mask.needles.longest());
            assert!(mask.held.capacity() <= mask.needles.longest(), "it never grew, so it left no copy behind");
        }
    }

    #[tokio::test]
    async fn lengths_stay_and_trailers_follow_what_was_kept_back() {
        let trailers = fields(&[("x-echo", SECRET), ("content-digest", "sha-256=:AA==:"), ("x-other", "1")]);
        let mut pieces = Pieces::of([b"ends with sk-live".to_vec()]);
        pieces.0.push_back(Frame::trailers(trailers));
        let body = Masked::new(pieces, Needles::of(SECRET.as_bytes(), false), &HeaderMap::new());
        let collected = body.collect().await.expect("no error");
        assert_eq!(collected.trailers(), Some(&fields(&[("x-echo", STARS), ("x-other", "1")])));
        assert_eq!(collected.to_bytes(), "ends with sk-live");

        let full = http_body_util::Full::new(Bytes::from(format!("x{SECRET}")));
        let mut body = Masked::new(full, Needles::of(SECRET.as_bytes(), false), &HeaderMap::new());
        assert_eq!(body.size_hint().exact(), Some(25));
        assert_eq!(body.frame().await.expect("a frame").expect("no error").into_data().expect("data").len(), 25);
        assert!(body.is_end_stream());
        assert_eq!(body.masked(), 1);
    }

    #[tokio::test]
    async fn a_head_is_masked_in_values_and_names_and_says_nothing_of_a_content_that_may_change() {
        let mut head = fields(&[
            ("location", "https://x.example/?key=sk-live-0123456789abcdef&y"),
            ("www-authenticate", "Basic c2stbGl2ZS0wMTIzNDU2Nzg5YWJjZGVm"),
            ("x-sk-live-0123456789abcdef", "named"),
            ("content-digest", "sha-256=:AA==:"),
            ("etag", "\"1\""),
        ]);
        let mut body = masked([], SECRET, &HeaderMap::new());
        body.mask_head(&mut head);
        let expected = fields(&[
            ("location", "https://x.example/?key=************************&y"),
            ("www-authenticate", "Basic ********************************"),
            ("etag", "\"1\""),
        ]);
        assert_eq!((head, body.masked()), (expected, 3));

        let mut head = fields(&[("content-digest", "sha-256=:AA==:")]);
        Masked::new(Pieces::of([]), None, &HeaderMap::new()).mask_head(&mut head);
        assert!(head.contains_key("content-digest"), "where nothing is searched nothing changes");
    }

    #[tokio::test]
    async fn a_short_credential_is_masked_in_text_and_a_long_one_in_everything() {
        for (kind, in_text) in [
            ("text/plain; charset=utf-8", true),
            ("text/event-stream", true),
            ("application/json", true),
            ("Application/Problem+JSON", true),
            ("image/svg+xml", true),
            ("application/x-www-form-urlencoded", true),
            ("application/javascript", true),
            ("no type at all", true),
            ("image/png", false),
            ("application/octet-stream", false),
        ] {
            let head = fields(&[("content-type", kind)]);
            let short = text(masked([b"the hunter2! is".to_vec()], "hunter2!", &head)).await;
            assert_eq!(short == "the ******** is", in_text, "{kind}");
            assert_eq!(text(masked([SECRET.as_bytes().to_vec()], SECRET, &head)).await, STARS, "{kind}");
        }
    }

    #[test]
    fn a_coded_body_is_known_by_its_head() {
        for (name, value, coded) in [
            ("content-encoding", "gzip", true),
            ("content-encoding", "identity, br", true),
            ("content-encoding", "Identity", false),
            ("transfer-encoding", "gzip, chunked", true),
            ("transfer-encoding", "chunked", false),
        ] {
            assert_eq!(is_coded(&fields(&[(name, value)])), coded, "{name}: {value}");
        }
    }
}
