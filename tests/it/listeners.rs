//! What a scanner or a stray browser sees of the three listeners.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};

use crate::support::Deployment;
use crate::wire::{Certificate, Reply};

/// A handshake as a client that offers `versions` and the suites of `provider`.
fn handshake(
    port: u16,
    ca: &Path,
    provider: CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<Stream, String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).expect("the CA")).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(versions);
    let mut config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from("localhost").expect("a name");
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(|e| e.to_string())?;
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string())?;
    while connection.is_handshaking() {
        connection.complete_io(&mut tcp).map_err(|e| e.to_string())?;
    }
    Ok(Stream::new(connection, tcp))
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

#[test]
fn a_listener_speaks_tls_1_3_alone_and_its_own_order_of_suites_counts() {
    let deployment = Deployment::start();
    let (ports, ca) = (deployment.stack.ports(), deployment.path("d/ca.pem"));
    for port in [ports.gateway, ports.operators] {
        let old = handshake(port, &ca, provider(), &[&rustls::version::TLS12]).expect_err("TLS 1.2 is refused");
        assert!(old.contains("ProtocolVersion"), "{old}");
        // Plain HTTP is neither answered nor sent elsewhere: whoever speaks it by mistake notices.
        let mut plain = TcpStream::connect(("127.0.0.1", port)).expect("connected");
        plain.write_all(b"GET /oauth2/jwks HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
        let mut said = Vec::new();
        let _ = plain.read_to_end(&mut said); // an alert, then the end
        assert!(!said.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&said));
        let mut reversed = provider();
        reversed.cipher_suites.reverse();
        assert_ne!(reversed.cipher_suites[0].suite(), CipherSuite::TLS13_AES_256_GCM_SHA384);
        let settled = handshake(port, &ca, reversed, rustls::ALL_VERSIONS).expect("a handshake");
        assert_eq!(settled.conn.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        let suite = settled.conn.negotiated_cipher_suite().expect("a suite").suite();
        assert_eq!(suite, CipherSuite::TLS13_AES_256_GCM_SHA384, "the strongest, though the client put it last");
    }
}

/// RFC 6797 §6.1, and what keeps a browser from making anything of an answer.
#[track_caller]
fn is_closed_to_browsers(reply: &Reply) {
    let only = |name: &str| -> &str {
        let mut all = reply.headers.get_all(name).iter();
        let value = all.next().unwrap_or_else(|| panic!("{name} is missing: {:?}", reply.headers));
        assert!(all.next().is_none(), "{name} twice: {:?}", reply.headers);
        value.to_str().expect("text")
    };
    assert_eq!(only("strict-transport-security"), "max-age=63072000; includeSubDomains");
    assert!(only("content-security-policy").contains("default-src 'none'"));
    assert!(only("content-security-policy").contains("frame-ancestors 'none'"));
    assert_eq!(only("x-content-type-options"), "nosniff");
    assert_eq!(only("referrer-policy"), "no-referrer");
    assert_eq!(only("cross-origin-resource-policy"), "same-origin");
    for absent in ["server", "x-powered-by", "set-cookie", "access-control-allow-origin"] {
        assert!(!reply.headers.contains_key(absent), "{absent}: {:?}", reply.headers);
    }
}

#[test]
fn every_answer_on_tls_is_closed_to_browsers_and_names_no_software() {
    let deployment = Deployment::start();
    let agent = deployment.agent("scan-bot");
    let gateway = deployment.wire();
    let operators = deployment.wire_to(deployment.stack.ports().operators);
    deployment.runtime.block_on(async {
        // A request that a script of another origin could send without asking first (CORS).
        let origin = HeaderMap::from_iter([(http::header::ORIGIN, HeaderValue::from_static("https://evil.example"))]);
        for (wire, method, path, status) in [
            (&gateway, "GET", "/oauth2/jwks", 200),
            (&gateway, "GET", "/.well-known/oauth-authorization-server", 200),
            (&gateway, "GET", "/", 404),
            (&gateway, "OPTIONS", "/oauth2/token", 405),
            (&gateway, "TRACE", "/oauth2/token", 405),
            (&gateway, "POST", "/oauth2/token", 401),
            (&gateway, "GET", "/t/sample/", 401),
            (&operators, "GET", "/v1/about", 200),
            (&operators, "GET", "/v1/agents", 401),
        ] {
            let reply = wire.send(None, method, path, origin.clone(), b"").await.expect("an answer");
            assert_eq!(reply.status, status, "{method} {path}");
            is_closed_to_browsers(&reply);
        }
        let listed = gateway.send(Some(&agent.certificate), "GET", "/v1/tools", origin, b"").await.expect("an answer");
        is_closed_to_browsers(listed.ok());
    });
}

#[test]
fn a_page_of_another_origin_cannot_act_with_an_operators_certificate() {
    let deployment = Deployment::start();
    deployment.agent("scan-bot");
    let operators = deployment.wire_to(deployment.stack.ports().operators);
    let directory = deployment.path("d/operator");
    let certificate = Certificate { chain: directory.join("operator.crt"), key: directory.join("operator.key") };
    let status = || deployment.operator_json(&["agent", "show", "scan-bot"])["status"].clone();
    let freeze = |said: &[(&'static str, &'static str)]| {
        let headers = said.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let (headers, path) = (HeaderMap::from_iter(headers), "/v1/agents/scan-bot/freeze");
        deployment.runtime.block_on(operators.send(Some(&certificate), "POST", path, headers, b"")).expect("an answer")
    };
    assert_eq!(status(), "active");
    for said in [
        &[("origin", "https://evil.example")][..],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site"), ("origin", "https://localhost:1")],
        &[("sec-fetch-site", "none")],
    ] {
        freeze(said).refused(400, "request-malformed");
    }
    assert_eq!(status(), "active");
    freeze(&[]).ok();
    assert_eq!(status(), "frozen");
}

/// One request on a connection of its own with `config`, whose sessions are remembered in it; how the handshake went, and
/// the answer's head and body as text, or why there is none.
fn ask(port: u16, config: &Arc<ClientConfig>, path: &str) -> (Option<HandshakeKind>, std::io::Result<String>) {
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::clone(config), name).expect("a client");
    let mut stream = Stream::new(connection, TcpStream::connect(("127.0.0.1", port)).expect("connected"));
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    let answered = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_end(&mut answer));
    let text = String::from_utf8_lossy(&answer).into_owned();
    (stream.conn.handshake_kind(), answered.map(|_| text))
}

#[test]
fn a_client_certificate_of_another_ca_fails_the_handshake() {
    let deployment = Deployment::start();
    // All as ours would be, an agent's name included, but signed by itself.
    let foreign = Certificate { chain: deployment.path("foreign.pem"), key: deployment.path("foreign.key") };
    let profile = "[req]\nprompt = no\ndistinguished_name = dn\nx509_extensions = leaf\n[dn]\nCN = x\n[leaf]\n\
        basicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\nextendedKeyUsage = clientAuth\n\
        subjectAltName = URI:spiffe://tgp-dev.example/agent/0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d\n";
    std::fs::write(deployment.path("profile"), profile).expect("written");
    let mut openssl = std::process::Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]);
    openssl.arg("-config").arg(deployment.path("profile"));
    openssl.arg("-keyout").arg(&foreign.key).arg("-out").arg(&foreign.chain);
    let made = openssl.output().expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for port in [deployment.stack.ports().gateway, deployment.stack.ports().operators] {
        let wire = deployment.wire_to(port);
        let (_, without) = ask(port, &Arc::new(wire.tls(None)), "/oauth2/jwks");
        assert!(without.expect("an answer").starts_with("HTTP/1.1"));
        let (_, refused) = ask(port, &Arc::new(wire.tls(Some(&foreign))), "/oauth2/jwks");
        let why = refused.expect_err("a certificate that does not chain").to_string();
        assert!(why.contains("UnknownCA") || why.contains("UnknownCa"), "{why}");
    }
}

#[test]
fn a_resumed_session_gives_no_more_than_its_certificate_does_now() {
    let deployment = Deployment::start();
    let agent = deployment.agent("scan-bot");
    let ports = deployment.stack.ports();
    let sessions = Arc::new(deployment.wire().tls(Some(&agent.certificate)));
    let ask = |port, path| {
        let (kind, answer) = ask(port, &sessions, path);
        (kind, answer.expect("an answer"))
    };
    let (kind, answer) = ask(ports.gateway, "/v1/tools");
    assert_eq!(kind, Some(HandshakeKind::Full));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (kind, answer) = ask(ports.gateway, "/v1/tools");
    assert_eq!(kind, Some(HandshakeKind::Resumed), "or this test shows nothing");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // At the other listener: resumed or not, an agent is no operator.
    let (_, answer) = ask(ports.operators, "/v1/agents");
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("certificate-invalid"), "{answer}");
    deployment.operator(&["agent", "freeze", "scan-bot"]);
    let (kind, answer) = ask(ports.gateway, "/v1/tools");
    assert_eq!(kind, Some(HandshakeKind::Resumed));
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("agent-frozen"), "{answer}");
}

#[test]
fn the_health_listener_is_plain_on_the_loopback_and_promises_no_tls() {
    let deployment = Deployment::start();
    let mut tcp = TcpStream::connect(("127.0.0.1", deployment.stack.ports().health)).expect("connected");
    tcp.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("content-type: application/json"), "{answer}");
    // RFC 6797 §7.2: not over plain HTTP.
    assert!(!answer.to_ascii_lowercase().contains("strict-transport-security"), "{answer}");
    assert!(!answer.to_ascii_lowercase().contains("\nserver:"), "{answer}");
}

/// RFC 9113 §4.1.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// RFC 7541 §6.2.2: a literal field with a literal name, octets as they are.
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// How the first stream of a connection ends: its answer's first octet of fields, or none when it was reset.
fn first_stream(mut to: Stream, fields: &[(&str, &str)], data: &[u8]) -> Option<u8> {
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const GOAWAY: u8 = 7;
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
    to.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("sent");
    to.write_all(&frame(4, 0, 0, b"")).expect("sent");
    to.write_all(&frame(HEADERS, if data.is_empty() { 0x5 } else { 0x4 }, 1, &block)).expect("sent");
    if !data.is_empty() {
        to.write_all(&frame(0, 0x1, 1, data)).expect("sent");
    }
    loop {
        let mut head = [0; 9];
        if to.read_exact(&mut head).is_err() {
            return None;
        }
        let mut payload = vec![0; usize::from(head[1]) * 256 + usize::from(head[2])];
        to.read_exact(&mut payload).expect("a whole frame");
        match head[3] {
            HEADERS => return Some(payload[0]),
            RST_STREAM | GOAWAY => return None,
            _ => {}
        }
    }
}

#[test]
fn an_http_2_request_that_could_mean_another_in_http_1_is_reset() {
    let deployment = Deployment::start();
    let (ports, ca) = (deployment.stack.ports(), deployment.path("d/ca.pem"));
    let get = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/oauth2/jwks")];
    let post = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/v1/enrol")];
    let send = |base: &[(&str, &str)], more: &[(&str, &str)], data: &[u8]| {
        let connection = handshake(ports.gateway, &ca, provider(), &[&rustls::version::TLS13]).expect("a handshake");
        assert_eq!(connection.conn.alpn_protocol(), Some(&b"h2"[..]));
        first_stream(connection, &[base, more].concat(), data)
    };
    // RFC 7541 appendix A: index 8 is `:status: 200`, and lends its name to a status that has no index (here 401).
    assert_eq!(send(&get, &[("x-plain", "v")], b""), Some(0x88), "what is well-formed is answered");
    assert_eq!(
        send(&post, &[("content-length", "5")], b"12345"),
        Some(0x48),
        "and what is read and unsigned is refused"
    );
    for (what, more) in [
        ("a transfer coding", ("transfer-encoding", "chunked")),
        ("a connection field", ("connection", "close")),
        ("an upgrade", ("upgrade", "websocket")),
        ("a proxy's connection field", ("proxy-connection", "close")),
        ("a keep-alive field", ("keep-alive", "timeout=5")),
        ("te of something else than trailers", ("te", "gzip")),
        ("a line break in a value", ("x-value", "a\r\nhost: evil.example")),
        ("a line feed in a value", ("x-value", "a\nb")),
        ("a carriage return in a value", ("x-value", "a\rb")),
        ("a NUL in a value", ("x-value", "a\0b")),
        ("a line break in a name", ("x\r\nhost", "b")),
        ("a name in upper case", ("X-Value", "b")),
        ("a length without content", ("content-length", "5")),
    ] {
        assert_eq!(send(&get, &[more], b""), None, "{what} was answered");
    }
    for (what, length) in [("more content than its length", "3"), ("less content than its length", "7")] {
        assert_eq!(send(&post, &[("content-length", length)], b"12345"), None, "{what} was answered");
    }
}
