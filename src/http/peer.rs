//! Who is at the other end: the client certificate of a connection, parsed once, judged on every
//! request, since connections and resumptions outlive a certificate's dates.
//!
//! rustls has verified the chain to our CA when it was presented. The trust domain is checked here:
//! webpki fails every URI SAN under a CA with URI constraints, so ours has none.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use tgp_request::name::{Kind, SpiffeId, TrustDomain};
use uuid::Uuid;
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::refusal::{Code, Refusal};

/// What a connection presented.
#[derive(Clone, Debug)]
pub enum Peer {
    Anonymous,
    Certified(Arc<PeerCertificate>),
    /// It chains to our CA, and yet names nobody whom we know to speak here.
    Unusable(&'static str),
}

/// A client certificate of ours.
#[derive(Debug)]
pub struct PeerCertificate {
    pub id: SpiffeId,
    /// The subject public key info, DER.
    pub spki: Vec<u8>,
    /// Of the certificate's DER.
    pub sha256: [u8; 32],
    not_before: i64,
    not_after: i64,
}

impl Peer {
    pub fn of(chain: Option<&[CertificateDer<'_>]>, trust_domain: &TrustDomain) -> Self {
        match chain.and_then(<[_]>::first) {
            None => Self::Anonymous,
            Some(leaf) => match PeerCertificate::parse(leaf, trust_domain) {
                Ok(certificate) => Self::Certified(Arc::new(certificate)),
                Err(reason) => Self::Unusable(reason),
            },
        }
    }

    /// The agent that speaks here now.
    pub fn agent(&self, now: i64) -> Result<Uuid, Refusal> {
        match self.current(now)?.id.kind {
            Kind::Agent(agent) => Ok(agent),
            _ => Err(invalid("this route is for agents; the certificate is not an agent's")),
        }
    }

    /// The operator that speaks here now, and the key that shows it.
    pub fn operator(&self, now: i64) -> Result<(Uuid, &PeerCertificate), Refusal> {
        let certificate = self.current(now)?;
        match certificate.id.kind {
            Kind::Operator(operator) => Ok((operator, certificate)),
            _ => Err(invalid("this listener is for operators; the certificate is not an operator's")),
        }
    }

    /// When the certificate ends, for those who judge it again; nobody's has ended already.
    pub fn not_after(&self) -> i64 {
        match self {
            Self::Anonymous | Self::Unusable(_) => i64::MIN,
            Self::Certified(certificate) => certificate.not_after,
        }
    }

    fn current(&self, now: i64) -> Result<&PeerCertificate, Refusal> {
        match self {
            Self::Anonymous => Err(Refusal::new(
                Code::CertificateRequired,
                "connect with the client certificate that enrolment returned",
            )),
            Self::Unusable(reason) => Err(invalid(reason)),
            Self::Certified(certificate) if now < certificate.not_before => {
                Err(invalid("the certificate is not valid yet; check the clock"))
            }
            Self::Certified(certificate) if now >= certificate.not_after => {
                Err(invalid("the certificate has expired; renew it and connect again"))
            }
            Self::Certified(certificate) => Ok(certificate),
        }
    }
}

fn invalid(detail: &str) -> Refusal {
    Refusal::new(Code::CertificateInvalid, detail)
}

impl PeerCertificate {
    fn parse(leaf: &CertificateDer<'_>, trust_domain: &TrustDomain) -> Result<Self, &'static str> {
        let certificate = Certificate::from_der(leaf).map_err(|_| "the certificate does not parse")?;
        let tbs = certificate.tbs_certificate();
        let (_, names) = tbs
            .get_extension::<SubjectAltName>()
            .map_err(|_| "the certificate's names do not parse")?
            .ok_or("the certificate names nobody")?;
        // X.509-SVID §2: exactly one URI SAN.
        let mut uris = names.0.iter().filter_map(|name| match name {
            GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str()),
            _ => None,
        });
        let (Some(uri), None) = (uris.next(), uris.next()) else {
            return Err("the certificate must hold exactly one SPIFFE ID");
        };
        let id: SpiffeId = uri.parse().map_err(|_| "the certificate's URI is not a SPIFFE ID of ours")?;
        if id.trust_domain != *trust_domain {
            return Err("the certificate is of another trust domain");
        }
        let seconds = |time: x509_cert::time::Time| {
            i64::try_from(time.to_unix_duration().as_secs()).map_err(|_| "the certificate's dates are out of range")
        };
        let validity = tbs.validity();
        Ok(Self {
            id,
            spki: tbs.subject_public_key_info().to_der().map_err(|_| "the certificate's key does not encode")?,
            sha256: Sha256::digest(leaf).into(),
            not_before: seconds(validity.not_before)?,
            not_after: seconds(validity.not_after)?,
        })
    }
}
