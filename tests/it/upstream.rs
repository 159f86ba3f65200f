//! Upstreams that misbehave, each a raw socket that says what a line of the table says. However it ends, the agent gets
//! its answer, and the call exactly one outcome.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;

use crate::support::{Deployment, Setup};
use crate::wire::{Draft, TestAgent, Wire};

const SECRET: &str = "sk-live-0123456789abcdef";
const STARS: &str = "************************";

/// What an upstream does after it has said its piece.
#[derive(Clone, Copy)]
enum Then {
    Close,
    /// Holds the connection and says nothing.
    Silence,
    /// Says this again and again, as fast as it is taken.
    Repeat(&'static [u8]),
    /// Says this again and again, slowly.
    Drip(&'static [u8]),
}
use Then::{Close, Drip, Repeat, Silence};

/// What the agent sees: a problem instead of the reply, or a status and how the body ends.
#[derive(Clone, Copy)]
enum Seen {
    Refused(u16, &'static str),
    Whole(u16, &'static str),
    /// Begun and cut.
    Cut(u16),
}
use Seen::{Cut, Refused, Whole};

/// Name, what it says, what then, what the agent sees, and the outcome's error.
type Case = (&'static str, &'static [u8], Then, Seen, Option<&'static str>);

const BROKEN: Seen = Refused(502, "upstream-broken");
const LATE: Seen = Refused(504, "upstream-timeout");

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("redirect", b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest\r\ncontent-length: 0\r\n\r\n", Silence, Whole(302, ""), None),
    ("redirect-kept-method", b"HTTP/1.1 307 X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 2\r\n\r\nok", Silence, Whole(307, "ok"), None),
    ("until-close", b"HTTP/1.1 200 OK\r\n\r\nall of it", Close, Whole(200, "all of it"), None),
    ("silent", b"", Silence, LATE, Some("upstream-timeout")),
    ("half-a-head", b"HTTP/1.1 200 OK\r\ncontent-le", Silence, LATE, Some("upstream-timeout")),
    ("dripping-head", b"HTTP/1.1 200 OK\r\n", Drip(b"x: y\r\n"), LATE, Some("upstream-timeout")),
    ("flood-of-100", b"", Drip(b"HTTP/1.1 100 Continue\r\n\r\n"), LATE, Some("upstream-timeout")),
    ("closed-at-once", b"", Close, BROKEN, Some("upstream-broken")),
    ("closed-in-head", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n", Close, BROKEN, Some("upstream-broken")),
    ("not-http", b"this is not http\r\n\r\n", Close, BROKEN, Some("upstream-broken")),
    ("http2-unasked", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Close, BROKEN, Some("upstream-broken")),
    ("no-such-version", b"HTTP/3.7 200 OK\r\ncontent-length: 0\r\n\r\n", Close, BROKEN, Some("upstream-broken")),
    ("status-of-words", b"HTTP/1.1 two hundred\r\ncontent-length: 0\r\n\r\n", Close, BROKEN, Some("upstream-broken")),
    ("status-too-small", b"HTTP/1.1 099 Low\r\ncontent-length: 0\r\n\r\n", Close, BROKEN, Some("upstream-broken")),
    ("protocol-changed", b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", Silence, BROKEN, Some("upstream-broken")),
    ("endless-fields", b"HTTP/1.1 200 OK\r\n", Repeat(b"x-field: value\r\n"), BROKEN, Some("upstream-broken")),
    ("endless-field", b"HTTP/1.1 200 OK\r\nx: ", Repeat(b"vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"), BROKEN, Some("upstream-broken")),
    ("nul-in-a-value", b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n", Close, BROKEN, Some("upstream-broken")),
    ("nul-in-a-name", b"HTTP/1.1 200 OK\r\nx\0: a\r\ncontent-length: 0\r\n\r\n", Close, BROKEN, Some("upstream-broken")),
    ("space-before-colon", b"HTTP/1.1 200 OK\r\nx : a\r\ncontent-length: 0\r\n\r\n", Close, BROKEN, Some("upstream-broken")),
    ("folded-field", b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 0\r\n\r\n", Close, BROKEN, Some("upstream-broken")),
    ("two-lengths", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nokk", Close, BROKEN, Some("upstream-broken")),
    ("length-of-words", b"HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\nok", Close, BROKEN, Some("upstream-broken")),
    ("length-below-zero", b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nok", Close, BROKEN, Some("upstream-broken")),
    ("length-and-chunks", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Silence, Whole(200, "ok"), None),
    ("more-than-its-length", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\nsmuggled", Close, Whole(200, "ok"), None),
    ("less-than-its-length", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", Close, Cut(200), Some("upstream-broken")),
    ("stalls-in-its-body", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", Silence, Cut(200), Some("upstream-timeout")),
    ("bad-chunk-size", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n", Silence, Cut(200), Some("upstream-broken")),
    ("huge-chunk-size", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n", Silence, Cut(200), Some("upstream-broken")),
    ("chunk-without-end", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokXX0\r\n\r\n", Silence, Cut(200), Some("upstream-broken")),
    ("closed-in-a-chunk", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nok", Close, Cut(200), Some("upstream-broken")),
    ("no-last-chunk", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n", Close, Cut(200), Some("upstream-broken")),
    ("compressed-unasked", b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x8b\x08\x00", Silence, BROKEN, Some("upstream-broken")),
    ("compressed-in-transfer", b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n4\r\n\x1f\x8b\x08\x00\r\n0\r\n\r\n", Silence, BROKEN, Some("upstream-broken")),
    ("its-own-error", b"HTTP/1.1 500 Oops\r\ncontent-length: 4\r\n\r\noops", Silence, Whole(500, "oops"), None),
    ("reflected", b"HTTP/1.1 200 OK\r\ncontent-length: 24\r\n\r\nsk-live-0123456789abcdef", Silence, Whole(200, STARS), None),
    ("reflected-in-chunks", b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n9\r\nx sk-live\r\n1\r\n-\r\n10\r\n0123456789abcdef\r\n2\r\n y\r\n0\r\n\r\n", Silence, Whole(200, "x ************************ y"), None),
    ("reflected-in-base64", b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 36\r\n\r\n\"c2stbGl2ZS0wMTIzNDU2Nzg5YWJjZGVm\" \n", Silence, Whole(200, "\"********************************\" \n"), None),
];

/// Serves each path by the case of that name.
fn hostile() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

/// One request after the other, as the gateway keeps the connection.
fn serve(mut stream: TcpStream) {
    let mut buffer = [0; 8192];
    loop {
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read(&mut buffer) {
                Ok(n) if n > 0 => head.extend_from_slice(&buffer[..n]),
                _ => return,
            }
        }
        let head = String::from_utf8_lossy(&head);
        let name = head.split(' ').nth(1).and_then(|path| path.strip_prefix("/go/")).unwrap_or_default();
        let (_, says, then, ..) = CASES.iter().find(|(case, ..)| *case == name).expect("a case of the table");
        if stream.write_all(says).is_err() {
            return;
        }
        match then {
            Close => return,
            Silence => {}
            Repeat(piece) => while stream.write_all(&piece.repeat(512)).is_ok() {},
            Drip(piece) => {
                while stream.write_all(piece).is_ok() {
                    std::thread::sleep(Duration::from_millis(20)); // the pace of the drip
                }
            }
        }
    }
}

/// Adds `slug` with the action `go` for `path`, and grants it.
pub fn add_tool(deployment: &Deployment, agent: &str, slug: &str, port: u16, path: &str) {
    let secret = deployment.path("secret");
    std::fs::write(&secret, SECRET).expect("a secret");
    let (url, action) = (format!("http://localhost:{port}"), format!("go=GET {path}"));
    deployment.operator(&["tool", "add", slug, "--upstream", &url, "--allow-private", "--action", &action]);
    deployment.operator(&["tool", "credential", slug, "--bearer", "--secret-file", secret.to_str().expect("utf-8")]);
    deployment.grant(agent, slug, &["go"]);
}

/// A reply, and whether its body came to its end.
pub struct Fetched {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub whole: bool,
}

impl Fetched {
    pub fn id(&self) -> &str {
        self.headers["tgp-request-id"].to_str().expect("text")
    }
}

/// Sends the draft on a connection of its own and hands out the response as it comes.
pub async fn open(
    agent: &TestAgent,
    wire: &Wire,
    draft: &Draft,
) -> (http::Response<hyper::body::Incoming>, tokio::task::JoinHandle<()>) {
    let connector = tokio_rustls::TlsConnector::from(Arc::new(wire.tls(Some(&agent.certificate))));
    let tcp = tokio::net::TcpStream::connect(("127.0.0.1", wire.port)).await.expect("connected");
    let io =
        TokioIo::new(connector.connect(ServerName::try_from("localhost").expect("a name"), tcp).await.expect("tls"));
    let target = if wire.http2 { format!("{}{}", wire.issuer, draft.target) } else { draft.target.clone() };
    let mut request =
        Request::builder().method(Method::from_bytes(draft.method.as_bytes()).expect("method")).uri(target);
    if !wire.http2 {
        request = request.header("host", "localhost");
    }
    let mut request = request.body(Full::new(Bytes::copy_from_slice(&draft.body))).expect("a request");
    for (name, value) in &draft.headers {
        request.headers_mut().append(name, value.clone());
    }
    if wire.http2 {
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.expect("http/2");
        let connection = tokio::spawn(async move { drop(connection.await) });
        let response = sender.send_request(request).await.expect("an answer");
        // The connection ends when its last sender has gone, and it is not for us to end it.
        tokio::spawn(async move {
            std::future::pending::<()>().await;
            drop(sender);
        });
        (response, connection)
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.expect("http/1.1");
        let connection = tokio::spawn(async move { drop(connection.await) });
        (sender.send_request(request).await.expect("an answer"), connection)
    }
}

pub async fn fetch(agent: &TestAgent, wire: &Wire, draft: &Draft) -> Fetched {
    let (response, _connection) = open(agent, wire, draft).await;
    let (parts, mut incoming) = response.into_parts();
    let mut body = Vec::new();
    let whole = loop {
        match incoming.frame().await {
            None => break true,
            Some(Ok(frame)) => body.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
            Some(Err(_)) => break false,
        }
    };
    Fetched { status: parts.status.as_u16(), headers: parts.headers, body, whole }
}

/// All outcomes of a request, waited for: they are written a moment after the caller knows.
pub fn outcomes_of(deployment: &Deployment, request: &str) -> Vec<Value> {
    let patience = Instant::now();
    loop {
        let of = |outcome: &Value| outcome["request_id"] == request;
        let found: Vec<_> = deployment.outcomes().into_iter().filter(of).collect();
        if !found.is_empty() {
            return found;
        }
        assert!(patience.elapsed() < Duration::from_secs(10), "no outcome of {request}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_upstream_that_misbehaves_gives_its_status_and_one_outcome() {
    let config = "[upstream]\nreply_timeout_s = 2\nidle_timeout_s = 2\n";
    let deployment = Deployment::with(Setup { config, ..Setup::default() });
    let agent = deployment.agent("travel-bot");
    add_tool(&deployment, "travel-bot", "hostile", hostile(), "/go/{case}");
    for http2 in [false, true] {
        let wire = Wire { http2, ..deployment.wire() };
        // All at once: what takes long takes its two seconds beside the others.
        let fetched: Vec<Fetched> = deployment.runtime.block_on(async {
            let token = agent.token(&wire, "hostile", "go").await;
            let calls = CASES.iter().map(|(name, ..)| {
                let draft = agent.signed(&wire, &token, "GET", &format!("/t/hostile/go/{name}"), b"");
                let (agent, wire) = (&agent, &wire);
                async move { fetch(agent, wire, &draft).await }
            });
            futures_join(calls).await
        });
        // The last outcome is there before any is counted.
        for reply in &fetched {
            outcomes_of(&deployment, reply.id());
        }
        let outcomes = deployment.outcomes();
        let mut wrong = Vec::new();
        for ((name, _, _, seen, error), reply) in CASES.iter().zip(&fetched) {
            let json: Value = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
            let as_said = match seen {
                Refused(status, code) => reply.status == *status && json["code"] == *code && reply.whole,
                Whole(status, body) => reply.status == *status && reply.body == body.as_bytes() && reply.whole,
                Cut(status) => reply.status == *status && !reply.whole,
            };
            let of: Vec<_> = outcomes.iter().filter(|outcome| outcome["request_id"] == reply.id()).collect();
            let recorded = of.len() == 1
                && of[0]["error"].as_str() == *error
                && of[0]["status"].is_null() == matches!(seen, Refused(..))
                && (of[0]["masked"] == 1) == name.starts_with("reflected");
            if !as_said || !recorded {
                let body = String::from_utf8_lossy(&reply.body);
                wrong.push(format!(
                    "{name} (http2 {http2}): {} {} {body:?}, recorded {of:?}",
                    reply.status, reply.whole
                ));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// Runs them side by side and keeps their order.
async fn futures_join<T>(calls: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut calls: Vec<_> = calls.map(|call| (Box::pin(call), None)).collect();
    std::future::poll_fn(|cx| {
        let mut pending = false;
        for (call, done) in &mut calls {
            if done.is_none() {
                match call.as_mut().poll(cx) {
                    std::task::Poll::Ready(value) => *done = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    calls.into_iter().map(|(_, done)| done.expect("polled to its end")).collect()
}

/// An upstream that answers every request with this.
fn answering(reply: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 8192]);
            let _ = stream.write_all(&reply);
        }
    });
    port
}

#[test]
fn a_reflected_credential_is_masked_in_every_place_of_a_reply() {
    let deployment = Deployment::start();
    let agent = deployment.agent("travel-bot");
    let base64 = "QmVhcmVyIHNrLWxpdmUtMDEyMzQ1Njc4OWFiY2RlZg==";
    let body = format!("{{\"seen\":\"Bearer {SECRET}\",\"raw\":\"{base64}\",\"url\":\"/?k={SECRET}&x\"}}");
    let reply = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nx-echo: Bearer {SECRET}\r\nx-echo: {base64}\r\n\
         location: http://x.example/{SECRET}/\r\nx-{SECRET}: named\r\netag: \"1\"\r\ncontent-digest: sha-256=:AA==:\r\n\
         set-cookie: session=of-the-credential\r\ntgp-reason: mine\r\nkeep-alive: timeout=5\r\nconnection: close, x-hop\r\nx-hop: 1\r\n\r\n{body}",
        body.len()
    );
    add_tool(&deployment, "travel-bot", "mirror", answering(reply.into_bytes()), "/go");
    let wire = deployment.wire();
    let fetched = deployment.runtime.block_on(async {
        let token = agent.token(&wire, "mirror", "go").await;
        fetch(&agent, &wire, &agent.signed(&wire, &token, "GET", "/t/mirror/go", b"")).await
    });
    // "Bearer " fills seven octets, so the credential's own digits begin after ten of base64's.
    let shown = format!("QmVhcmVyIH{}g==", "*".repeat(31));
    let seen = String::from_utf8(fetched.body.clone()).expect("text");
    assert_eq!(seen, format!("{{\"seen\":\"Bearer {STARS}\",\"raw\":\"{shown}\",\"url\":\"/?k={STARS}&x\"}}"));
    let mut all = seen;
    for (name, value) in &fetched.headers {
        all.push_str(&format!("\n{name}: {}", value.to_str().expect("text")));
    }
    for part in [SECRET, "0123456789", "MDEyMzQ1Njc4OWFiY2RlZ"] {
        assert!(!all.contains(part), "{part} is in {all}");
    }
    let names = |name: &str| fetched.headers.contains_key(name);
    for dropped in ["content-digest", "set-cookie", "tgp-reason", "keep-alive", "x-hop", "x-sk-live-0123456789abcdef"] {
        assert!(!names(dropped), "{dropped} is in {all}");
    }
    assert_eq!(fetched.headers["etag"], "\"1\"");
    assert_eq!(fetched.headers["content-length"], body.len().to_string().as_str());
    let outcomes = outcomes_of(&deployment, fetched.id());
    assert_eq!(outcomes.len(), 1);
    assert_eq!(outcomes[0]["masked"], 7, "four in the head, three in the body");
    assert!(outcomes[0]["error"].is_null());
}

#[test]
fn an_agent_that_stops_reading_is_cut_and_so_is_one_that_leaves_an_endless_reply() {
    let config = "stall_timeout_s = 1\n";
    let deployment = Deployment::with(Setup { config, ..Setup::default() });
    let agent = deployment.agent("travel-bot");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let (gone, left) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let gone = gone.clone();
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 8192]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                while stream.write_all(&[b'x'; 65_536]).is_ok() {}
                let _ = gone.send(());
            });
        }
    });
    add_tool(&deployment, "travel-bot", "endless", port, "/go");
    for (http2, reads) in [(false, false), (true, false), (false, true), (true, true)] {
        let wire = Wire { http2, ..deployment.wire() };
        // Where it does not read, its connection stays open for as long as the response is kept here.
        let (id, _unread) = deployment.runtime.block_on(async {
            let token = agent.token(&wire, "endless", "go").await;
            let draft = agent.signed(&wire, &token, "GET", "/t/endless/go", b"");
            let (mut response, connection) = open(&agent, &wire, &draft).await;
            let id = response.headers()["tgp-request-id"].to_str().expect("text").to_owned();
            if reads {
                response.frame().await.expect("a frame").expect("no error");
                connection.abort();
            }
            (id, response)
        });
        left.recv_timeout(Duration::from_secs(15)).expect("the tool is let go too");
        let outcomes = outcomes_of(&deployment, &id);
        assert_eq!((outcomes.len(), outcomes[0]["error"].as_str()), (1, Some("agent-gone")), "http2 {http2}");
    }
}

#[test]
fn a_name_that_leads_to_a_private_address_when_it_is_called_is_refused() {
    let deployment = Deployment::start();
    let agent = deployment.agent("travel-bot");
    add_tool(&deployment, "travel-bot", "rebound", hostile(), "/go/{case}");
    let wire = deployment.wire();
    let call = || deployment.runtime.block_on(agent.call(&wire, "rebound", "go", "GET", "/go/until-close", b""));
    call().ok();
    // As if the name had led to a public address when the tool was added: `localhost` does not now.
    deployment.sql("postgres", "update tool set allow_private = false where slug = 'rebound'");
    let reply = call();
    reply.refused(502, "upstream-refused");
    let outcomes = outcomes_of(&deployment, reply.headers["tgp-request-id"].to_str().expect("text"));
    assert_eq!((outcomes.len(), outcomes[0]["error"].as_str()), (1, Some("upstream-refused")));
}
