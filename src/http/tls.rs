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
