//! Whom the client believes to be the gateway: the CA that it enrolled with, or, before it has one,
//! whoever proves to hold a key certified by the CA whose fingerprint the enrolment code carries.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::ClientError;
use crate::certificate::{self, spki_sha256};
use crate::transport::ClientIdentity;

/// SHA-256 of a CA's SubjectPublicKeyInfo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin(pub [u8; 32]);

/// Which CA vouches for the server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Trust {
    /// The certificates of a PEM text, and no other.
    Bundle(String),
    /// The CA with this key, which the server sends at the end of its chain.
    Pinned(Pin),
}

/// The one cryptography provider, passed explicitly: a process-wide default may be someone else's.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A TLS configuration that trusts `trust` and shows `identity`.
pub(crate) fn client_config(trust: &Trust, identity: Option<ClientIdentity>) -> Result<ClientConfig, ClientError> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| ClientError::Bug(e.to_string()))?;
    let builder = match trust {
        Trust::Bundle(pem) => builder.with_root_certificates(roots(certificate::chain(pem)?)?),
        Trust::Pinned(pin) => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(PinnedVerifier::new(*pin, provider)))
        }
    };
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some(ClientIdentity { chain, key }) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|e| ClientError::Input(format!("the client certificate does not fit its key: {e}"))),
    }
}

fn roots(certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore, ClientError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        store.add(certificate).map_err(|e| ClientError::Input(format!("the CA certificate is unusable: {e}")))?;
    }
    Ok(store)
}

/// Takes as the only root the certificate of the server's chain whose key has the pinned hash; then
/// chain, dates, name and handshake signature are checked as always. A chain without that CA, or
/// with it but not signed by it, is refused.
#[derive(Debug)]
struct PinnedVerifier {
    pin: Pin,
    provider: Arc<CryptoProvider>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PinnedVerifier {
    fn new(pin: Pin, provider: Arc<CryptoProvider>) -> Self {
        let algorithms = provider.signature_verification_algorithms;
        Self { pin, provider, algorithms }
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pinned =
            intermediates.iter().find(|certificate| spki_sha256(certificate).is_ok_and(|hash| hash == self.pin.0));
        let Some(root) = pinned else {
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        };
        let mut store = RootCertStore::empty();
        store.add(root.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(store), self.provider.clone())
            .build()
            .map_err(|e| Error::General(e.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
#[path = "trust_tests.rs"]
mod tests;
