//! What a scanner or a stray browser sees of the three listeners.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CipherSuite, ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, SupportedProtocolVersion};

use crate::support::Deployment;
use crate::wire::Reply;

/// A handshake as a client that offers `versions` and the suites of `provider`.
fn handshake(
    port: u16,
    ca: &Path,
    provider: CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ClientConnection, String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).expect("the CA")).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(versions);
    let mut config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
    config.enable_early_data = true;
    let name = ServerName::try_from("localhost").expect("a name");
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(|e| e.to_string())?;
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string())?;
    while connection.is_handshaking() {
        connection.complete_io(&mut tcp).map_err(|e| e.to_string())?;
    }
    Ok(connection)
}

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
        let mut reversed = provider();
        reversed.cipher_suites.reverse();
        assert_ne!(reversed.cipher_suites[0].suite(), CipherSuite::TLS13_AES_256_GCM_SHA384);
        let settled = handshake(port, &ca, reversed, rustls::ALL_VERSIONS).expect("a handshake");
        assert_eq!(settled.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        let suite = settled.negotiated_cipher_suite().expect("a suite").suite();
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
fn the_health_listener_is_plain_on_the_loopback_and_promises_no_tls() {
    let deployment = Deployment::start();
    let mut tcp = TcpStream::connect(("127.0.0.1", deployment.stack.ports().health)).expect("connected");
    tcp.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // RFC 6797 §7.2: not over plain HTTP.
    assert!(!answer.to_ascii_lowercase().contains("strict-transport-security"), "{answer}");
    assert!(!answer.to_ascii_lowercase().contains("\nserver:"), "{answer}");
}
