//! Bodies too long to be read whole, on their way to an upstream that tells what it got.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body::Frame;
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::sync::mpsc;

use crate::support::{Deployment, Setup};
use crate::upstream::outcomes_of;
use crate::wire::{Draft, TestAgent, Wire};

const MIB: usize = 1024 * 1024;

/// What the upstream got of one request's body until its end or the connection's.
#[derive(Debug, PartialEq)]
struct Got {
    octets: usize,
    whole: bool,
}

/// An upstream that reads each body to its end and says 200. At `/early` it answers as soon as it has the head, at `/deaf` it
/// never reads.
fn upstream() -> (u16, Receiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let tell = tell.clone();
            std::thread::spawn(move || serve(stream, &tell));
        }
    });
    (port, told)
}

fn serve(mut stream: std::net::TcpStream, tell: &Sender<Got>) {
    let mut read = Vec::new();
    let mut buffer = [0; 64 * 1024];
    let head_end = loop {
        if let Some(end) = read.windows(4).position(|end| end == b"\r\n\r\n") {
            break end + 4;
        }
        match stream.read(&mut buffer) {
            Ok(n @ 1..) => read.extend_from_slice(&buffer[..n]),
            _ => return,
        }
    };
    let head = String::from_utf8_lossy(&read[..head_end]).to_ascii_lowercase();
    let mut body = read.split_off(head_end);
    if head.contains("/deaf") {
        std::thread::sleep(Duration::from_secs(60)); // longer than the gateway's patience in these tests
        return;
    }
    if head.contains("/early") {
        let _ =
            stream.write_all(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 5\r\nconnection: close\r\n\r\nearly");
    }
    let length: Option<usize> =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
    let is_whole = |body: &[u8]| match length {
        Some(length) => body.len() >= length,
        None => body.ends_with(b"\r\n0\r\n\r\n"),
    };
    while !is_whole(&body) {
        match stream.read(&mut buffer) {
            Ok(n @ 1..) => body.extend_from_slice(&buffer[..n]),
            _ => break,
        }
    }
    let whole = is_whole(&body);
    if whole && !head.contains("/early") {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    }
    let octets = if length.is_some() { body.len() } else { unchunked(&body) };
    let _ = tell.send(Got { octets, whole });
}

/// Octets of content in chunks, the last of which may be cut (RFC 9112 §7.1).
fn unchunked(mut body: &[u8]) -> usize {
    let mut octets = 0;
    while let Some(end) = body.windows(2).position(|end| end == b"\r\n") {
        let size = std::str::from_utf8(&body[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let rest = &body[end + 2..];
        let size = size.expect("a chunk's size").min(rest.len());
        octets += size;
        body = rest.get(size + 2..).unwrap_or_default();
    }
    octets
}

fn start(config: &'static str) -> (Deployment, TestAgent, Receiver<Got>) {
    let deployment = Deployment::with(Setup { config, ..Setup::default() });
    let (port, told) = upstream();
    let url = format!("http://localhost:{port}");
    let secret = deployment.path("secret");
    std::fs::write(&secret, "upload-secret-1").expect("a secret");
    deployment.operator(&[
        "tool",
        "add",
        "files",
        "--upstream",
        &url,
        "--allow-private",
        "--action",
        "put=PUT /files/{name}",
        "--action",
        "early=PUT /early",
        "--action",
        "deaf=PUT /deaf",
        "--action",
        "small=PUT /small",
        "--stream",
        "put",
        "--stream",
        "early",
        "--stream",
        "deaf",
    ]);
    deployment.operator(&["tool", "credential", "files", "--bearer", "--secret-file", secret.to_str().expect("utf-8")]);
    let agent = deployment.agent("travel-bot");
    deployment.grant("travel-bot", "files", &["*"]);
    (deployment, agent, told)
}

/// The status, the code and the request's number.
struct Answered {
    status: u16,
    code: String,
    id: String,
}

type Pieces = mpsc::Receiver<Result<Frame<Bytes>, std::io::Error>>;

/// Sends the head of `draft` with the pieces as its body; without `declared` their sum is not told.
async fn send(agent: &TestAgent, wire: &Wire, draft: &Draft, pieces: Pieces, declared: Option<usize>) -> Answered {
    let connector = tokio_rustls::TlsConnector::from(Arc::new(wire.tls(Some(&agent.certificate))));
    let tcp = tokio::net::TcpStream::connect(("127.0.0.1", wire.port)).await.expect("connected");
    let name = ServerName::try_from("localhost").expect("a name");
    let io = TokioIo::new(connector.connect(name, tcp).await.expect("tls"));
    let target = if wire.http2 { format!("{}{}", wire.issuer, draft.target) } else { draft.target.clone() };
    let mut request = Request::builder().method(Method::PUT).uri(target);
    if !wire.http2 {
        request = request.header("host", "localhost");
    }
    if let Some(length) = declared {
        request = request.header("content-length", length);
    }
    let mut request = request.body(Coming(pieces)).expect("a request");
    for (name, value) in &draft.headers {
        request.headers_mut().append(name, value.clone());
    }
    let response = if wire.http2 {
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.expect("http/2");
        tokio::spawn(connection);
        sender.send_request(request).await
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.expect("http/1.1");
        tokio::spawn(connection);
        sender.send_request(request).await
    };
    let response = response.expect("an answer");
    let id = response.headers()["tgp-request-id"].to_str().expect("text").to_owned();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    Answered { status, code: json["code"].as_str().unwrap_or_default().to_owned(), id }
}

/// A body of what is received.
struct Coming(Pieces);

impl http_body::Body for Coming {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.get_mut().0.poll_recv(cx)
    }
}

/// All of it at once.
fn pieces(body: &[u8]) -> Pieces {
    begun(body).1
}

/// So much of it, and more to come for as long as the first is kept.
fn begun(body: &[u8]) -> (mpsc::Sender<Result<Frame<Bytes>, std::io::Error>>, Pieces) {
    let (give, take) = mpsc::channel(1024);
    for piece in body.chunks(MIB / 4) {
        give.try_send(Ok(Frame::data(Bytes::copy_from_slice(piece)))).expect("room");
    }
    (give, take)
}

fn body(mib: usize) -> Vec<u8> {
    (0..mib * MIB).map(|n| (n % 251) as u8).collect()
}

fn error(deployment: &Deployment, answered: &Answered) -> Option<String> {
    let outcomes = outcomes_of(deployment, &answered.id);
    assert_eq!(outcomes.len(), 1, "{outcomes:?}");
    outcomes[0]["error"].as_str().map(str::to_owned)
}

#[test]
fn a_long_body_passes_whole_when_it_is_what_was_signed_and_is_cut_before_its_end_when_not() {
    let (deployment, agent, told) = start("stream_bytes = 6291456\n");
    let content = body(5);
    let mut other = content.clone();
    *other.last_mut().expect("octets") ^= 1;
    let plain = deployment.wire();
    for (http2, declared) in [(false, true), (false, false), (true, true), (true, false)] {
        let wire = Wire { http2, ..plain.clone() };
        let how = format!("http2 {http2}, declared {declared}");
        let put = |signed: &[u8], sent: &[u8], path: &str, action: &str| {
            deployment.runtime.block_on(async {
                let token = agent.token(&wire, "files", action).await;
                let draft = agent.signed(&wire, &token, "PUT", &format!("/t/files{path}"), signed);
                send(&agent, &wire, &draft, pieces(sent), declared.then_some(sent.len())).await
            })
        };
        let answered = put(&content, &content, "/files/a", "put");
        assert_eq!((answered.status, error(&deployment, &answered)), (200, None), "{how}");
        let got = told.recv_timeout(Duration::from_secs(10)).expect("the upstream tells");
        assert!(got.whole && got.octets == content.len(), "{how}: {got:?}");

        // One octet of five million is another, the last of all.
        let answered = put(&content, &other, "/files/a", "put");
        assert_eq!((answered.status, answered.code.as_str()), (400, "digest-mismatch"), "{how}");
        assert_eq!(error(&deployment, &answered).as_deref(), Some("digest-mismatch"), "{how}");
        let got = told.recv_timeout(Duration::from_secs(10)).expect("the upstream tells");
        assert!(!got.whole && got.octets < content.len(), "{how}: {got:?}");

        // Short enough to be read whole: nothing goes up.
        let answered = put(&content[..MIB / 2], &other[..MIB / 2 + 1], "/files/a", "put");
        assert_eq!((answered.status, answered.code.as_str()), (400, "digest-mismatch"), "{how}");
        // Longer than anything may be, or not marked: refused with the octet that is too much, or with the head that promises it.
        // Nothing is sent after it, since a client that still writes when the connection closes may not hear why.
        let refused = |most: usize, path: &str, action: &str| {
            deployment.runtime.block_on(async {
                let token = agent.token(&wire, "files", action).await;
                let draft = agent.signed(&wire, &token, "PUT", &format!("/t/files{path}"), &content);
                let sent = if declared { 0 } else { most + 1 };
                let (_open, pieces) = begun(&body(7)[..sent]);
                send(&agent, &wire, &draft, pieces, declared.then_some(most + 1)).await
            })
        };
        let answered = refused(6 * MIB, "/files/a", "put");
        assert_eq!((answered.status, answered.code.as_str()), (413, "body-too-large"), "{how}");
        let answered = refused(MIB, "/small", "small");
        assert_eq!((answered.status, answered.code.as_str()), (413, "body-too-large"), "{how}");
        // The first began to pass where nobody had said how long it is; no other did.
        if !declared {
            assert!(!told.recv_timeout(Duration::from_secs(10)).expect("the upstream tells").whole, "{how}");
        }
        assert_eq!(told.try_recv().ok(), None, "{how}");

        // An upstream that answers before it has all is heard.
        let answered = deployment.runtime.block_on(async {
            let token = agent.token(&wire, "files", "early").await;
            let draft = agent.signed(&wire, &token, "PUT", "/t/files/early", &content);
            let (_open, pieces) = begun(&content[..MIB + 1]);
            send(&agent, &wire, &draft, pieces, declared.then_some(content.len())).await
        });
        assert_eq!(answered.status, 413, "{how}");
        assert_eq!(answered.code, "", "{how}: the tool's own");
        let _ = told.recv_timeout(Duration::from_secs(10)).expect("the upstream tells");
    }
}

#[test]
fn a_long_body_that_stalls_or_whose_agent_is_frozen_or_gone_is_cut() {
    let config = "body_timeout_s = 1\n[upstream]\nidle_timeout_s = 2\nreply_timeout_s = 2\n";
    let (deployment, agent, told) = start(config);
    let wire = deployment.wire();
    let content = body(5);
    let begin = |action: &'static str, path: &'static str| {
        let (give, take) = begun(&content[..3 * MIB]);
        let (agent_of, wire, content) = (&agent, &wire, &content);
        let sent = async move {
            let token = agent_of.token(wire, "files", action).await;
            let draft = agent_of.signed(wire, &token, "PUT", path, content);
            send(agent_of, wire, &draft, take, Some(content.len())).await
        };
        (give, sent)
    };

    // The agent sends nothing more.
    let (_give, sent) = begin("put", "/t/files/files/a");
    let answered = deployment.runtime.block_on(sent);
    assert_eq!((answered.status, answered.code.as_str()), (400, "request-malformed"));
    assert_eq!(error(&deployment, &answered).as_deref(), Some("request-malformed"));
    assert!(!told.recv_timeout(Duration::from_secs(10)).expect("the upstream tells").whole);

    // The upstream takes nothing.
    let (give, sent) = begin("deaf", "/t/files/deaf");
    let rest = content[3 * MIB..].to_vec();
    let answered = deployment.runtime.block_on(async {
        // However much of it the sockets hold: either it stalls, or no reply comes.
        give.try_send(Ok(Frame::data(Bytes::from(rest)))).expect("room");
        drop(give);
        sent.await
    });
    assert_eq!((answered.status, answered.code.as_str()), (504, "upstream-timeout"));

    // The agent is frozen meanwhile.
    let (give, sent) = begin("put", "/t/files/files/a");
    let drip = async {
        for piece in content[3 * MIB..].chunks(16 * 1024) {
            tokio::time::sleep(Duration::from_millis(50)).await; // the pace of the upload
            if give.send(Ok(Frame::data(Bytes::copy_from_slice(piece)))).await.is_err() {
                return;
            }
        }
    };
    let answered = std::thread::scope(|scope| {
        scope.spawn(|| deployment.operator(&["agent", "freeze", "travel-bot"]));
        deployment.runtime.block_on(async {
            tokio::select! {
                answered = sent => answered,
                () = async { drip.await; std::future::pending().await } => unreachable!(),
            }
        })
    });
    assert_eq!((answered.status, answered.code.as_str()), (403, "agent-frozen"));
    assert_eq!(error(&deployment, &answered).as_deref(), Some("agent-frozen"));
    assert!(!told.recv_timeout(Duration::from_secs(10)).expect("the upstream tells").whole);
    deployment.operator(&["agent", "unfreeze", "travel-bot"]);

    // The agent goes away.
    let (give, sent) = begin("put", "/t/files/files/a");
    deployment.runtime.block_on(async {
        tokio::select! {
            _ = sent => panic!("it cannot be answered: not all of it was sent"),
            () = tokio::time::sleep(Duration::from_millis(500)) => {} // it has begun
        }
    });
    drop(give);
    assert!(!told.recv_timeout(Duration::from_secs(10)).expect("the upstream tells").whole);
}
