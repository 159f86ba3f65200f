//! HTTP/2 frame by frame: pseudo-header fields and framing that an HTTP/1.1 hop behind could misread. What HTTP/2 itself
//! forbids ends the stream (`stream-error`) or the connection (`connection-error`); nothing of it is answered.

use crate::plan::Plan;
use crate::raw::tell_until;
use crate::table::{Answer, Case, run};
use crate::wire::Wire;
use crate::world::World;

/// One request's fields in their order, and its content.
pub struct Stream {
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    body: Option<Vec<u8>>,
    /// Frames in place of the usual ones.
    frames: Option<Vec<u8>>,
}

#[rustfmt::skip]
pub const CASES: &[Case<fn(&mut Stream)>] = &[
    ("a good request", |_| {}, 200, ""),
    ("an authority of somebody else, which is ignored", |s| s.set(":authority", "evil.example"), 200, ""),
    ("no authority", |s| s.remove(":authority"), 200, ""),
    ("a host of somebody else beside the authority, which is ignored", |s| s.add("host", "evil.example"), 200, ""),
    ("two hosts", |s| { s.add("host", "a.example"); s.add("host", "b.example") }, 400, "request-malformed"),
    ("scheme http, which is ignored", |s| s.set(":scheme", "http"), 200, ""),
    ("no method", |s| s.remove(":method"), 0, "stream-error"),
    ("no path", |s| s.remove(":path"), 0, "stream-error"),
    ("no scheme", |s| s.remove(":scheme"), 0, "stream-error"),
    ("an empty path", |s| s.set(":path", ""), 0, "stream-error"),
    ("two methods", |s| s.first(":method", "GET"), 0, "stream-error"),
    ("two paths", |s| s.first(":path", "/v1/tools"), 0, "stream-error"),
    ("two authorities", |s| s.first(":authority", "evil.example"), 0, "stream-error"),
    ("a pseudo-header field behind the others", |s| { s.remove(":authority"); s.add(":authority", "localhost") }, 0, "stream-error"),
    ("a pseudo-header field of answers", |s| s.first(":status", "200"), 0, "stream-error"),
    ("a pseudo-header field that nobody knows", |s| s.first(":nothing", "x"), 0, "connection-error"),
    ("a name in capitals", |s| s.add("X-Trip", "Rome"), 0, "connection-error"),
    ("a name with a space", |s| s.add("x trip", "Rome"), 0, "connection-error"),
    ("a name with a line's end", |s| s.add("x-trip\r\nhost", "evil.example"), 0, "connection-error"),
    ("a value with a line's end", |s| s.add("x-trip", "a\r\nhost: evil.example"), 0, "connection-error"),
    ("a value with NUL", |s| s.add("x-trip", "a\0b"), 0, "connection-error"),
    ("connection", |s| s.add("connection", "keep-alive"), 0, "stream-error"),
    ("transfer-encoding", |s| s.add("transfer-encoding", "chunked"), 0, "stream-error"),
    ("keep-alive", |s| s.add("keep-alive", "5"), 0, "stream-error"),
    ("proxy-connection", |s| s.add("proxy-connection", "x"), 0, "stream-error"),
    ("upgrade", |s| s.add("upgrade", "h2c"), 0, "stream-error"),
    ("te that is not trailers", |s| s.add("te", "gzip"), 0, "stream-error"),
    ("te: trailers", |s| s.add("te", "trailers"), 200, ""),
    ("a content-length that is too short", |s| s.add("content-length", "5"), 0, "stream-error"),
    ("a content-length that is too long", |s| s.add("content-length", "50"), 0, "stream-error"),
    ("a content-length that is no number", |s| s.add("content-length", "+27"), 0, "stream-error"),
    ("two content-lengths that agree", |s| { s.add("content-length", "27"); s.add("content-length", "27") }, 400, "request-malformed"),
    ("a content-length that is right", |s| s.add("content-length", "27"), 200, ""),
    ("two content-types", |s| s.add("content-type", "application/json"), 400, "request-malformed"),
    ("two authorizations", |s| { let value = s.value("authorization"); s.add("authorization", &value) }, 400, "request-malformed"),
    ("a path with dot segments", |s| s.set(":path", "/t/mail/../mail/messages"), 400, "path-not-canonical"),
    ("a path with a backslash", |s| s.set(":path", "/t/mail\\messages"), 400, "path-not-canonical"),
    ("a path in absolute form", |s| s.set(":path", "https://evil.example/t/mail/messages"), 0, "stream-error"),
    ("a path without a slash", |s| s.set(":path", "t/mail/messages"), 0, "stream-error"),
    ("a path with a space", |s| s.set(":path", "/t/mail/mess ages"), 0, "stream-error"),
    ("a path with a line's end and a field", |s| s.set(":path", "/t/mail/messages HTTP/1.1\r\nhost: evil.example"), 0, "stream-error"),
    ("a method with a space", |s| s.set(":method", "GET /t/mail/messages"), 0, "connection-error"),
    ("CONNECT", |s| { s.remove(":scheme"); s.remove(":path"); s.set(":method", "CONNECT"); s.body = None }, 405, "method-not-allowed"),
    ("extended CONNECT, which is not offered", |s| { s.set(":method", "CONNECT"); s.first(":protocol", "websocket") }, 0, "stream-error"),
    ("129 fields", |s| for n in s.regular()..129 { s.add(&format!("x-{n}"), "y") }, 431, "headers-too-large"),
    ("128 fields", |s| for n in s.regular()..128 { s.add(&format!("x-{n}"), "y") }, 200, ""),
    ("fields of 70,000 octets", |s| for n in 0..7 { s.add(&format!("x-{n}"), &"y".repeat(10_000)) }, 431, "headers-too-large"),
    ("fields of 300,000 octets", |s| for n in 0..30 { s.add(&format!("x-{n}"), &"y".repeat(10_000)) }, 0, "connection-error"),
    ("DATA before HEADERS", |s| s.frames = Some(frame(0, 1, 1, b"hello")), 0, "connection-error"),
    ("HEADERS on an even stream", |s| s.frames = Some(frame(1, 5, 2, &block(&[(":method", "GET"), (":scheme", "https"), (":path", "/")]))), 0, "connection-error"),
    ("HEADERS on stream 0", |s| s.frames = Some(frame(1, 5, 0, b"")), 0, "connection-error"),
    ("a header block that does not decode", |s| s.frames = Some(frame(1, 5, 1, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])), 0, "connection-error"),
    ("CONTINUATION of nothing", |s| s.frames = Some(frame(9, 4, 1, b"")), 0, "connection-error"),
    ("a frame longer than was agreed", |s| s.frames = Some(frame(0, 1, 1, &vec![0; 20_000])), 0, "connection-error"),
    ("PUSH_PROMISE from a client", |s| s.frames = Some(frame(5, 4, 1, &[0, 0, 0, 2])), 0, "connection-error"),
    ("a settings frame of odd length", |s| s.frames = Some(frame(4, 0, 0, b"12345")), 0, "connection-error"),
    ("HTTP/1.1 where HTTP/2 was agreed", |s| s.frames = Some(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec()), 0, "nothing came back"),
];

impl Stream {
    fn add(&mut self, name: &str, value: &str) {
        self.fields.push((name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    }

    fn first(&mut self, name: &str, value: &str) {
        self.fields.insert(0, (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    }

    fn remove(&mut self, name: &str) {
        self.fields.retain(|(other, _)| other != name.as_bytes());
    }

    fn set(&mut self, name: &str, value: &str) {
        for (_, old) in self.fields.iter_mut().filter(|(other, _)| other == name.as_bytes()) {
            *old = value.as_bytes().to_vec();
        }
    }

    fn value(&self, name: &str) -> String {
        let field = self.fields.iter().find(|(other, _)| other == name.as_bytes()).expect("a field");
        String::from_utf8(field.1.clone()).expect("text")
    }

    /// Fields that are not pseudo-header fields.
    fn regular(&self) -> usize {
        self.fields.iter().filter(|(name, _)| !name.starts_with(b":")).count()
    }
}

/// RFC 9113 §4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// RFC 7541 §6.2.2, without Huffman: each field a literal that nobody need index.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(name.as_bytes(), value.as_bytes())).collect()
}

fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0][..], &length(name.len()), name, &length(value.len()), value].concat()
}

/// RFC 7541 §5.1, with a prefix of seven bits.
fn length(length: usize) -> Vec<u8> {
    if length < 127 {
        return vec![u8::try_from(length).expect("seven bits")];
    }
    let (mut rest, mut octets) = (length - 127, vec![127]);
    while rest >= 128 {
        octets.push(u8::try_from(rest % 128).expect("seven bits") | 128);
        rest /= 128;
    }
    octets.push(u8::try_from(rest).expect("seven bits"));
    octets
}

/// HEADERS and as many CONTINUATIONs as it takes, then the content.
fn request(stream: &Stream) -> Vec<u8> {
    let block: Vec<u8> = stream.fields.iter().flat_map(|(name, value)| literal(name, value)).collect();
    let end_stream = u8::from(stream.body.is_none());
    let chunks: Vec<&[u8]> = block.chunks(16_000).collect();
    let mut octets = Vec::new();
    for (n, chunk) in chunks.iter().enumerate() {
        let end_headers = if n + 1 == chunks.len() { 4 } else { 0 };
        let (kind, flags) = if n == 0 { (1, end_headers | end_stream) } else { (9, end_headers) };
        octets.extend(frame(kind, flags, 1, chunk));
    }
    if let Some(body) = &stream.body {
        octets.extend(frame(0, 1, 1, body));
    }
    octets
}

/// What the gateway sent on stream 1 and about the connection.
#[derive(Default)]
struct Told {
    head: Option<Vec<u8>>,
    body: Vec<u8>,
    error: Option<&'static str>,
    ended: bool,
}

fn told(octets: &[u8]) -> Told {
    let (mut rest, mut told) = (octets, Told::default());
    while let Some((start, _)) = rest.split_at_checked(9) {
        let length = usize::try_from(u32::from_be_bytes([0, start[0], start[1], start[2]])).expect("small");
        let Some(payload) = rest.get(9..9 + length) else { break };
        let (kind, flags) = (start[3], start[4]);
        let stream = u32::from_be_bytes([start[5], start[6], start[7], start[8]]);
        let code = |at: usize| payload.get(at..at + 4).is_some_and(|code| code != [0; 4]);
        match (kind, stream) {
            (0, 1) => told.body.extend_from_slice(payload),
            (1, 1) => told.head = Some(payload.to_vec()),
            (3, 1) if code(0) => told.error = told.error.or(Some("stream-error")),
            (7, 0) if code(4) => told.error = Some("connection-error"),
            _ => {}
        }
        told.ended |= matches!((kind, stream), (0 | 1, 1) if flags & 1 == 1) || told.error.is_some();
        rest = &rest[9 + length..];
    }
    told
}

fn answer(octets: &[u8]) -> Answer {
    let Told { head, body, error, .. } = told(octets);
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
    let status = head.as_deref().map_or(0, status);
    let code = if status == 0 { error.unwrap_or("nothing came back").to_owned() } else { text("code") };
    let problem = (status != 0 && u64::from(status) != json["status"].as_u64().unwrap_or(u64::from(status)))
        .then(|| "status and document differ".to_owned());
    let status = if (200..300).contains(&status) { 200 } else { status };
    let recorded = status != 0;
    Answer { status, code, request_id: text("request_id"), problem, recorded, forwarded: recorded }
}

/// The status that a header block begins with: an index of the static table (RFC 7541 appendix A), or its name's index
/// and three digits, in Huffman's code (appendix B) or plain.
fn status(block: &[u8]) -> u16 {
    let start = block.iter().position(|octet| !(0x20..0x40).contains(octet)).unwrap_or(0);
    let indexed = |octet: u8| [200, 204, 206, 304, 400, 404, 500].get(usize::from(octet.wrapping_sub(0x88))).copied();
    match block[start..] {
        [octet, ..] if indexed(octet).is_some() => indexed(octet).unwrap_or_default(),
        [_, 3, a, b, c, ..] => [a, b, c].iter().fold(0, |n, digit| n * 10 + u16::from(digit - b'0')),
        [_, length, ..] if length & 0x80 != 0 => huffman(&block[start + 2..]),
        _ => 0,
    }
}

/// Three digits: 0 to 2 are five bits each, 3 to 9 six.
fn huffman(octets: &[u8]) -> u16 {
    let bits: String = octets.iter().take(3).map(|octet| format!("{octet:08b}")).collect();
    let (mut rest, mut number) = (bits.as_str(), 0);
    for _ in 0..3 {
        let value = |n: usize| u16::from_str_radix(&rest[..n], 2).unwrap_or_default();
        let (digit, length) = if value(5) < 3 { (value(5), 5) } else { (value(6) - 22, 6) };
        number = number * 10 + digit;
        rest = &rest[length..];
    }
    number
}

fn attempt(world: &World, with: fn(&mut Stream)) -> Answer {
    let mut plan = Plan::new(world);
    plan.sign();
    let authority = plan.value("@authority");
    let mut stream = Stream { fields: Vec::new(), body: Some(plan.body.clone()), frames: None };
    for (name, value) in
        [(":method", "POST"), (":scheme", "https"), (":authority", &authority), (":path", "/t/mail/messages")]
    {
        stream.add(name, value);
    }
    for (name, value) in &plan.fields {
        stream.fields.push((name.as_bytes().to_vec(), value.clone()));
    }
    with(&mut stream);
    let opening = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, b"")].concat();
    let octets = match &stream.frames {
        Some(frames) if frames.starts_with(b"GET") => frames.clone(),
        Some(frames) => [opening, frames.clone()].concat(),
        None => [opening, request(&stream)].concat(),
    };
    let wire = Wire { http2: true, ..world.wire.clone() };
    let certificate = Some(&world.agent.certificate);
    let octets = world.block(tell_until(&wire, certificate, &octets, |octets| told(octets).ended)).octets;
    answer(&octets)
}

#[test]
fn frames_of_http_2() {
    run(&World::start(), CASES, attempt);
}
