//! TLS for the gateway's and the operators' listener. The private key is in the token: a handshake
//! is signed by a blocking call to the vault, so handshakes run on a runtime of their own, with a
//! deadline, where a slow signature stalls no request.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{RootCertStore, ServerConfig, SignatureAlgorithm, SignatureScheme};
use tgp_vault_client::BlockingTls;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::TlsVersion;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    #[error("the certificate chain from the vault is not usable: {0}")]
    Chain(String),
    #[error("rustls refuses the configuration: {0}")]
    Rustls(#[from] rustls::Error),
    #[error("no runtime for handshakes: {0}")]
    Runtime(#[from] io::Error),
}

/// The server's certificate, exchangeable while connections are served.
pub struct ServerCertificate {
    door: Arc<BlockingTls>,
    current: RwLock<Arc<CertifiedKey>>,
}

impl ServerCertificate {
    pub fn new(chain_pem: &str, door: BlockingTls) -> Result<Arc<Self>, TlsError> {
        let door = Arc::new(door);
        let current = RwLock::new(certified(chain_pem, &door)?);
        Ok(Arc::new(Self { door, current }))
    }

    /// New handshakes get this chain from now on.
    pub fn replace(&self, chain_pem: &str) -> Result<(), TlsError> {
        let fresh = certified(chain_pem, &self.door)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }
}

impl std::fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerCertificate")
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // One name, one certificate: SNI changes nothing, as `Host` does not.
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn certified(chain_pem: &str, door: &Arc<BlockingTls>) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificates(chain_pem)?;
    Ok(Arc::new(CertifiedKey::new(chain, Arc::new(VaultKey { door: Arc::clone(door) }))))
}

/// All certificates of a PEM text, at least one.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::Chain(error.to_string()))?;
    if chain.is_empty() {
        return Err(TlsError::Chain("no certificate in it".to_owned()));
    }
    Ok(chain)
}

/// `server-tls` in the token, through the vault's TLS door.
#[derive(Clone)]
struct VaultKey {
    door: Arc<BlockingTls>,
}

impl std::fmt::Debug for VaultKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VaultKey(server-tls)")
    }
}

impl SigningKey for VaultKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SignatureScheme::ECDSA_NISTP256_SHA256).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        None
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for VaultKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.door.tls_sign(self.scheme().into(), message).map_err(|error| {
            tracing::warn!(%error, "the vault signed no handshake");
            // The peer gets an internal_error alert; the health listener says why.
            rustls::Error::General("the vault does not answer".to_owned())
        })
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}

/// A client certificate is asked for and may be absent: each route says whether it needs one.
pub fn server_config(
    certificate: Arc<ServerCertificate>,
    ca_pem: &str,
    minimum: TlsVersion,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for root in certificates(ca_pem)? {
        roots.add(root)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .map_err(|error| TlsError::Chain(error.to_string()))?;
    let versions: &[&rustls::SupportedProtocolVersion] = match minimum {
        TlsVersion::Tls13 => &[&rustls::version::TLS13],
        TlsVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // The provider lists its strongest suite first, and that order counts, not the client's.
    config.ignore_client_order = true;
    // No early data: it could be replayed before a nonce is seen.
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// Where handshakes run.
pub struct Handshakes {
    runtime: Option<tokio::runtime::Runtime>,
    acceptor: TlsAcceptor,
    deadline: Duration,
}

impl Handshakes {
    /// Each thread can wait for one signature; the vault's TLS door serves them in turn.
    const THREADS: usize = 2;

    pub fn new(config: Arc<ServerConfig>, deadline: Duration) -> Result<Self, TlsError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(Self::THREADS)
            .thread_name("tgp-handshake")
            .enable_time()
            .build()?;
        Ok(Self { runtime: Some(runtime), acceptor: TlsAcceptor::from(config), deadline })
    }

    /// One handshake, or none when the peer is too slow or has the wrong certificate.
    pub async fn accept(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let runtime = self.runtime.as_ref()?;
        let peer = stream.peer_addr().ok();
        let handshake = self.acceptor.accept(stream);
        let deadline = self.deadline;
        let done = runtime.spawn(async move { tokio::time::timeout(deadline, handshake).await }).await;
        match done {
            Ok(Ok(Ok(stream))) => Some(stream),
            Ok(Ok(Err(error))) => {
                tracing::info!(?peer, %error, "a TLS handshake failed");
                None
            }
            Ok(Err(_)) => {
                tracing::info!(?peer, "a TLS handshake took too long");
                None
            }
            Err(_) => None,
        }
    }
}

impl Drop for Handshakes {
    fn drop(&mut self) {
        // A runtime may not be dropped inside another: let go of its threads instead.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rustls::ClientConfig;
    use rustls::pki_types::{PrivateKeyDer, ServerName};

    use super::*;

    /// A key whose every signature takes this long, as a token's may.
    #[derive(Debug)]
    struct SlowKey {
        key: Arc<dyn SigningKey>,
        delay: Duration,
    }

    struct SlowSigner(Box<dyn Signer>, Duration);

    impl std::fmt::Debug for SlowSigner {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("SlowSigner")
        }
    }

    impl SigningKey for SlowKey {
        fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
            Some(Box::new(SlowSigner(self.key.choose_scheme(offered)?, self.delay)))
        }

        fn algorithm(&self) -> SignatureAlgorithm {
            self.key.algorithm()
        }
    }

    impl Signer for SlowSigner {
        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
            std::thread::sleep(self.1); // the blocking call to the vault
            self.0.sign(message)
        }

        fn scheme(&self) -> SignatureScheme {
            self.0.scheme()
        }
    }

    #[derive(Debug)]
    struct One(Arc<CertifiedKey>);

    impl ResolvesServerCert for One {
        fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            Some(Arc::clone(&self.0))
        }
    }

    fn server(delay: Duration) -> Arc<ServerConfig> {
        let chain = certificates(include_str!("../proxy/testdata/upstream-chain.pem")).expect("a chain");
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("../proxy/testdata/upstream-key.pem")).expect("a key");
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).expect("a signing key");
        let certified = Arc::new(CertifiedKey::new(chain, Arc::new(SlowKey { key, delay })));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        Arc::new(builder.expect("versions").with_no_client_auth().with_cert_resolver(Arc::new(One(certified))))
    }

    fn client() -> tokio_rustls::TlsConnector {
        let mut roots = RootCertStore::empty();
        for root in certificates(include_str!("../proxy/testdata/upstream-ca.pem")).expect("a root") {
            roots.add(root).expect("a root");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        Arc::new(builder.expect("versions").with_root_certificates(roots).with_no_client_auth()).into()
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (client.expect("connected"), accepted.expect("accepted").0)
    }

    // One thread for everything but handshakes: whatever blocks it is seen at once.
    #[tokio::test(flavor = "current_thread")]
    async fn a_slow_signature_stalls_nothing_else() {
        let delay = Duration::from_millis(400);
        let handshakes = Handshakes::new(server(delay), Duration::from_secs(5)).expect("a runtime");
        let (ours, theirs) = pair().await;
        let name = ServerName::try_from("localhost").expect("a name");
        let handshake = async { tokio::join!(client().connect(name, ours), handshakes.accept(theirs)) };
        let beat = async {
            let mut worst = Duration::ZERO;
            let start = Instant::now();
            while start.elapsed() < delay {
                let before = Instant::now();
                tokio::time::sleep(Duration::from_millis(5)).await;
                worst = worst.max(before.elapsed());
            }
            worst
        };
        let ((connected, accepted), worst) = tokio::join!(handshake, beat);
        assert!(connected.is_ok() && accepted.is_some());
        assert!(worst < delay / 2, "the runtime stood still for {worst:?}");
    }

    #[tokio::test]
    async fn a_peer_that_says_nothing_is_given_up_and_holds_nobody_up() {
        let handshakes =
            Arc::new(Handshakes::new(server(Duration::ZERO), Duration::from_millis(500)).expect("a runtime"));
        let mut waiting = Vec::new();
        for _ in 0..8 {
            let (ours, theirs) = pair().await;
            let handshakes = Arc::clone(&handshakes);
            let accepting = tokio::spawn(async move { handshakes.accept(theirs).await.is_none() });
            waiting.push((ours, accepting));
        }
        tokio::task::yield_now().await;
        let (ours, theirs) = pair().await;
        let name = ServerName::try_from("localhost").expect("a name");
        let (connected, accepted) = tokio::join!(client().connect(name, ours), handshakes.accept(theirs));
        assert!(connected.is_ok() && accepted.is_some());
        for (_ours, accepting) in waiting {
            assert!(accepting.await.expect("joined"), "given up");
        }
    }
}
