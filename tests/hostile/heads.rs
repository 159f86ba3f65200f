//! HTTP/1.1 octet by octet: framing that two readers could read in two ways, and heads beyond bounds. Each is a signed and
//! otherwise good request; whatever is refused closes the connection, and nothing behind it is answered.

use crate::plan::Plan;
use crate::raw::tell;
use crate::table::{Answer, Case, run};
use crate::world::World;

/// A request as it goes over the wire.
pub struct Raw {
    line: String,
    /// Header lines with their ends.
    lines: Vec<Vec<u8>>,
    /// What follows the empty line.
    rest: Vec<u8>,
}

#[rustfmt::skip]
pub const CASES: &[Case<fn(&mut Raw)>] = &[
    ("a good request", |_| {}, 200, ""),
    ("a good request in chunks", |r| r.chunked(b"5\r\n{\"to\"\r\n16\r\n:\"ada\",\"text\":\"hello\"}\r\n0\r\n\r\n"), 200, ""),
    ("chunk sizes with leading zeros and capitals", |r| r.chunked(b"0000001B\r\n{\"to\":\"ada\",\"text\":\"hello\"}\r\n0\r\n\r\n"), 200, ""),
    ("content-length, then transfer-encoding", |r| { r.line("transfer-encoding: chunked"); r.rest = b"0\r\n\r\n".to_vec() }, 400, "request-malformed"),
    ("transfer-encoding, then content-length", |r| { r.first("transfer-encoding: chunked"); r.rest = b"0\r\n\r\n".to_vec() }, 400, "request-malformed"),
    ("CL.TE with a second request behind", |r| { r.line("transfer-encoding: chunked"); r.smuggle("0\r\n\r\n") }, 400, "request-malformed"),
    ("TE.CL with a second request behind", |r| { r.first("transfer-encoding: chunked"); r.smuggle("1b\r\n{\"to\":\"ada\",\"text\":\"hello\"}\r\n0\r\n\r\n") }, 400, "request-malformed"),
    ("Transfer-Encoding in capitals, with content-length", |r| r.line("TRANSFER-ENCODING: chunked"), 400, "request-malformed"),
    ("transfer-encoding: identity, with content-length", |r| r.line("transfer-encoding: identity"), 400, "request-malformed"),
    ("transfer-encoding empty, with content-length", |r| r.line("transfer-encoding:"), 400, "request-malformed"),
    ("transfer-encoding with a space before the colon", |r| r.line("transfer-encoding : chunked"), 400, "request-malformed"),
    ("transfer-encoding with a control before the colon", |r| r.octets(b"transfer-encoding\x0b: chunked\r\n"), 400, "request-malformed"),
    ("transfer-encoding: xchunked", |r| r.coding("xchunked"), 400, "request-malformed"),
    ("transfer-encoding: chunked, identity", |r| r.coding("chunked, identity"), 400, "request-malformed"),
    ("transfer-encoding: gzip, chunked", |r| r.coding("gzip, chunked"), 400, "request-malformed"),
    ("transfer-encoding: chunked, chunked", |r| r.coding("chunked, chunked"), 400, "request-malformed"),
    ("transfer-encoding twice", |r| { r.coding("chunked"); r.line("transfer-encoding: chunked") }, 400, "request-malformed"),
    ("transfer-encoding: chunked, with a vertical tab", |r| r.coding("\x0bchunked"), 400, "request-malformed"),
    ("transfer-encoding: a quoted string", |r| r.coding("\"chunked\""), 400, "request-malformed"),
    ("transfer-encoding with a parameter", |r| r.coding("chunked;q=1"), 400, "request-malformed"),
    ("transfer-encoding folded", |r| { r.without("content-length"); r.octets(b"transfer-encoding:\r\n chunked\r\n") }, 400, "request-malformed"),
    ("two content-lengths that agree", |r| r.line("content-length: 27"), 400, "request-malformed"),
    ("two content-lengths that differ", |r| r.line("content-length: 5"), 400, "request-malformed"),
    ("content-length: 27, 27", |r| r.length("27, 27"), 400, "request-malformed"),
    ("content-length: +27", |r| r.length("+27"), 400, "request-malformed"),
    ("content-length: -1", |r| r.length("-1"), 400, "request-malformed"),
    ("content-length: 0x1b", |r| r.length("0x1b"), 400, "request-malformed"),
    ("content-length: 2 7", |r| r.length("2 7"), 400, "request-malformed"),
    ("content-length: 27.0", |r| r.length("27.0"), 400, "request-malformed"),
    ("content-length empty", |r| r.length(""), 400, "request-malformed"),
    ("content-length beyond 64 bits", |r| r.length("18446744073709551643"), 400, "request-malformed"),
    ("content-length of all that there is", |r| r.length("9223372036854775807"), 413, "body-too-large"),
    ("a chunk size that is no number", |r| r.chunked(b"zz\r\n"), 400, "request-malformed"),
    ("a chunk size with a sign", |r| r.chunked(b"+1b\r\n{\"to\":\"ada\",\"text\":\"hello\"}\r\n0\r\n\r\n"), 400, "request-malformed"),
    ("a chunk size with 0x", |r| r.chunked(b"0x1b\r\n{\"to\":\"ada\",\"text\":\"hello\"}\r\n0\r\n\r\n"), 400, "request-malformed"),
    ("a chunk size with a space in front", |r| r.chunked(b" 1b\r\n{\"to\":\"ada\",\"text\":\"hello\"}\r\n0\r\n\r\n"), 400, "request-malformed"),
    ("a chunk size beyond 64 bits", |r| r.chunked(b"1000000000000001b\r\n{\"to\":\"ada\",\"text\":\"hello\"}\r\n0\r\n\r\n"), 400, "request-malformed"),
    ("a chunk size without digits", |r| r.chunked(b"\r\n0\r\n\r\n"), 400, "request-malformed"),
    ("a chunk size that ends in a bare LF", |r| r.chunked(b"1b\n{\"to\":\"ada\",\"text\":\"hello\"}\r\n0\r\n\r\n"), 400, "request-malformed"),
    ("a chunk extension with a bare LF", |r| r.chunked(b"1b;x\nx\r\n{\"to\":\"ada\",\"text\":\"hello\"}\r\n0\r\n\r\n"), 400, "request-malformed"),
    ("a chunk extension with a bare CR", |r| r.chunked(b"1b;x\rx\r\n{\"to\":\"ada\",\"text\":\"hello\"}\r\n0\r\n\r\n"), 400, "request-malformed"),
    ("a chunk extension, which nobody reads", |r| r.chunked(b"1b;x=y\r\n{\"to\":\"ada\",\"text\":\"hello\"}\r\n0\r\n\r\n"), 200, ""),
    ("a chunk extension without an end", |r| r.chunked(&[b"1b;", "x".repeat(40_000).as_bytes()].concat()), 400, "request-malformed"),
    ("a chunk without its end", |r| r.chunked(b"1b\r\n{\"to\":\"ada\",\"text\":\"hello\"}0\r\n\r\n"), 400, "request-malformed"),
    ("a chunk that ends in a bare LF", |r| r.chunked(b"1b\r\n{\"to\":\"ada\",\"text\":\"hello\"}\n0\r\n\r\n"), 400, "request-malformed"),
    ("a trailer, which nobody reads", |r| r.chunked(b"1b\r\n{\"to\":\"ada\",\"text\":\"hello\"}\r\n0\r\nx-trip: Rome\r\n\r\n"), 200, ""),
    ("a trailer that frames", |r| r.chunked(b"1b\r\n{\"to\":\"ada\",\"text\":\"hello\"}\r\n0\r\ncontent-length: 5\r\n\r\n"), 200, ""),
    ("a thousand trailers", |r| r.chunked(&[b"1b\r\n{\"to\":\"ada\",\"text\":\"hello\"}\r\n0\r\n".to_vec(), "x: y\r\n".repeat(1000).into_bytes(), b"\r\n".to_vec()].concat()), 400, "request-malformed"),
    ("no Host", |r| r.without("host"), 400, "request-malformed"),
    ("two Hosts", |r| r.line("host: evil.example"), 400, "request-malformed"),
    ("two Hosts that agree", |r| r.line("Host: localhost"), 400, "request-malformed"),
    ("a Host of somebody else, which is ignored", |r| { r.without("host"); r.line("host: evil.example") }, 200, ""),
    ("a Host with a path", |r| { r.without("host"); r.line("host: localhost/t/other") }, 400, "request-malformed"),
    ("an empty Host", |r| { r.without("host"); r.line("host:") }, 200, ""),
    ("X-Forwarded-Host, which is ignored", |r| r.line("x-forwarded-host: evil.example"), 200, ""),
    ("a folded field", |r| r.octets(b"x-trip: to\r\n Rome\r\n"), 400, "request-malformed"),
    ("a folded field with a tab", |r| r.octets(b"x-trip: to\r\n\tRome\r\n"), 400, "request-malformed"),
    ("a first field that is folded", |r| r.lines.insert(0, b" x: y\r\n".to_vec()), 400, "request-malformed"),
    ("NUL in a value", |r| r.octets(b"x-trip: a\0b\r\n"), 400, "request-malformed"),
    ("NUL in a name", |r| r.octets(b"x\0trip: a\r\n"), 400, "request-malformed"),
    ("a control in a value", |r| r.octets(b"x-trip: a\x01b\r\n"), 400, "request-malformed"),
    ("DEL in a value", |r| r.octets(b"x-trip: a\x7fb\r\n"), 400, "request-malformed"),
    ("a bare CR in a value", |r| r.octets(b"x-trip: a\rx-more: b\r\n"), 400, "request-malformed"),
    ("a bare LF between fields", |r| r.octets(b"x-trip: a\nx-more: b\r\n"), 400, "request-malformed"),
    ("a bare LF and content-length behind it", |r| { r.without("content-length"); r.octets(b"x-trip: a\ncontent-length: 27\r\n") }, 400, "request-malformed"),
    ("a head that ends in bare LFs", |r| { let last = r.lines.len() - 1; r.lines[last] = b"x: y\n\n".to_vec() }, 400, "request-malformed"),
    ("a field without a colon", |r| r.line("x-trip"), 400, "request-malformed"),
    ("a field without a name", |r| r.line(": a"), 400, "request-malformed"),
    ("a name with a space in it", |r| r.line("x trip: a"), 400, "request-malformed"),
    ("a name in brackets", |r| r.line("(x): a"), 400, "request-malformed"),
    ("a name that is not ASCII", |r| r.octets("é: a\r\n".as_bytes()), 400, "request-malformed"),
    ("a value that is not ASCII", |r| r.octets("x-trip: é\r\n".as_bytes()), 200, ""),
    ("HTTP/1.0", |r| r.version("HTTP/1.0"), 200, ""),
    ("HTTP/1.0 without Host", |r| { r.version("HTTP/1.0"); r.without("host") }, 200, ""),
    ("HTTP/1.0 in chunks", |r| { r.version("HTTP/1.0"); r.coding("chunked") }, 400, "request-malformed"),
    ("HTTP/0.9", |r| { r.line = "GET /oauth2/jwks".into() }, 400, "request-malformed"),
    ("HTTP/1.2", |r| r.version("HTTP/1.2"), 400, "request-malformed"),
    ("HTTP/2.0 as text", |r| r.version("HTTP/2.0"), 400, "request-malformed"),
    ("http/1.1 in lower case", |r| r.version("http/1.1"), 400, "request-malformed"),
    ("the preface of HTTP/2", |r| { r.line = "PRI * HTTP/2.0".into() }, 400, "request-malformed"),
    ("two spaces before the target", |r| r.line = r.line.replacen(' ', "  ", 1), 400, "request-malformed"),
    ("a space behind the version", |r| r.line.push(' '), 400, "request-malformed"),
    ("a tab in the request line", |r| r.line = r.line.replacen(' ', "\t", 1), 400, "request-malformed"),
    ("a space in the target", |r| r.line = r.line.replacen("messages", "mess ages", 1), 400, "request-malformed"),
    ("a method in brackets", |r| r.line = r.line.replacen("POST", "(POST)", 1), 400, "request-malformed"),
    ("an empty line in front, which RFC 9112 allows", |r| r.line.insert_str(0, "\r\n"), 200, ""),
    ("octets that are no HTTP", |r| { r.line = "\x16\x03\x01\x02".into(); r.lines.clear() }, 400, "request-malformed"),
    ("a method of a thousand letters", |r| r.line = r.line.replacen("POST", &"A".repeat(1000), 1), 400, "request-malformed"),
    ("a target of 80,000 octets", |r| r.line = r.line.replacen("messages", &format!("messages?{}", "a".repeat(80_000)), 1), 431, "headers-too-large"),
    ("129 fields", |r| r.fill(129), 431, "headers-too-large"),
    ("128 fields", |r| r.fill(128), 200, ""),
    ("four thousand fields", |r| r.fill(4000), 431, "headers-too-large"),
    ("fields of 65 KiB", |r| r.line(&format!("x-trip: {}", "a".repeat(65 * 1024))), 431, "headers-too-large"),
    ("a field of 300 KiB", |r| r.line(&format!("x-trip: {}", "a".repeat(300 * 1024))), 431, "headers-too-large"),
    ("a field name of 70,000 octets", |r| r.line(&format!("{}: x", "a".repeat(70_000))), 431, "headers-too-large"),
    ("two content-types", |r| r.line("Content-Type: application/json"), 400, "request-malformed"),
    ("Connection naming authorization", |r| r.line("connection: authorization"), 200, ""),
    ("Upgrade to another protocol, which is ignored", |r| { r.line("connection: upgrade"); r.line("upgrade: websocket") }, 200, ""),
    ("Upgrade to h2c, which is ignored", |r| { r.line("connection: upgrade, http2-settings"); r.line("upgrade: h2c"); r.line("http2-settings: AAMAAABkAAQAAP__") }, 200, ""),
    ("Expect: 100-continue", |r| r.line("expect: 100-continue"), 200, ""),
    ("a second request behind a body that is refused", |r| { r.length("26"); r.smuggle("") }, 400, "digest-mismatch"),
    ("method override, which is dropped", |r| r.line("x-http-method-override: DELETE"), 200, ""),
    ("URL rewrite, which is dropped", |r| { r.line("x-original-url: /admin"); r.line("x-rewrite-url: /admin") }, 200, ""),
];

impl Raw {
    fn line(&mut self, line: &str) {
        self.octets(format!("{line}\r\n").as_bytes());
    }

    fn octets(&mut self, octets: &[u8]) {
        self.lines.push(octets.to_vec());
    }

    fn first(&mut self, line: &str) {
        self.lines.insert(0, format!("{line}\r\n").into_bytes());
    }

    fn without(&mut self, name: &str) {
        let start = format!("{name}:");
        self.lines.retain(|line| !line.starts_with(start.as_bytes()));
    }

    fn length(&mut self, value: &str) {
        self.without("content-length");
        self.line(&format!("content-length: {value}"));
    }

    fn coding(&mut self, value: &str) {
        self.without("content-length");
        self.line(&format!("transfer-encoding: {value}"));
        self.rest = b"1b\r\n{\"to\":\"ada\",\"text\":\"hello\"}\r\n0\r\n\r\n".to_vec();
    }

    fn chunked(&mut self, body: &[u8]) {
        self.coding("chunked");
        self.rest = body.to_vec();
    }

    fn version(&mut self, version: &str) {
        self.line = self.line.replacen("HTTP/1.1", version, 1);
    }

    /// A request of the attacker's behind `body`, which must never be answered.
    fn smuggle(&mut self, body: &str) {
        self.rest = format!("{body}GET /oauth2/jwks HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes();
    }

    /// Fields up to this many.
    fn fill(&mut self, fields: usize) {
        for n in self.lines.len()..fields {
            self.line(&format!("x-{n}: y"));
        }
    }
}

fn attempt(world: &World, with: fn(&mut Raw)) -> Answer {
    let mut plan = Plan::new(world);
    plan.sign();
    let mut raw = Raw { line: "POST /t/mail/messages HTTP/1.1".to_owned(), lines: Vec::new(), rest: plan.body.clone() };
    raw.line("host: localhost");
    raw.line("connection: close");
    raw.line(&format!("content-length: {}", plan.body.len()));
    for (name, value) in &plan.fields {
        raw.octets(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    with(&mut raw);
    let octets = [raw.line.as_bytes(), b"\r\n", &raw.lines.concat(), b"\r\n", &raw.rest].concat();
    world.block(tell(&world.wire, Some(&world.agent.certificate), &octets)).answer(true)
}

#[test]
fn heads_and_framing() {
    run(&World::start(), CASES, attempt);
}
