//! Connections that show a client certificate. Each credential has a pool of its own, so no other call rides on what
//! its certificate opened. The key is lent to the pool for the length of one call: a connection that is kept holds
//! none, and without a call under way none can be opened.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::client::Pool;
use super::guard::Reach;
use crate::store::access_token::Holder;

/// Pools that are kept; without a call for a while they are empty.
const CAPACITY: usize = 1024;

/// A chain and its key, from PEM.
#[derive(Clone)]
pub struct ClientCertificate(Arc<CertifiedKey>);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a client certificate with its key: {0}")]
pub struct ClientCertificateError(&'static str);

impl ClientCertificate {
    /// One or more certificates, the client's own first, and one key, in any order.
    pub fn parse(pem: &[u8]) -> Result<Self, ClientCertificateError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|_| ClientCertificateError("its PEM cannot be read"))?;
        if chain.is_empty() {
            return Err(ClientCertificateError("it holds no certificate"));
        }
        let mut keys = PrivateKeyDer::pem_slice_iter(pem);
        let key = match (keys.next(), keys.next()) {
            (Some(Ok(key)), None) => key,
            _ => return Err(ClientCertificateError("it holds not one private key")),
        };
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let certified = CertifiedKey::from_der(chain, key, &provider)
            .map_err(|_| ClientCertificateError("the key is not the certificate's, or of no kind that TLS takes"))?;
        Ok(Self(Arc::new(certified)))
    }
}

/// Whose connections: of one credential in one version, and as far as its tool may reach.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    pub holder: Holder,
    pub reach: Reach,
}

/// The pools, by owner.
#[derive(Default)]
pub(super) struct CertifiedPools(Mutex<HashMap<Owner, Arc<CertifiedPool>>>);

pub(super) struct CertifiedPool {
    pub pool: Pool,
    lent: Arc<Lent>,
}

impl CertifiedPools {
    /// The owner's pool, made by `make` when there is none.
    pub fn of(&self, owner: &Owner, make: impl FnOnce(Arc<Lent>) -> Pool) -> Arc<CertifiedPool> {
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(owner) {
            return Arc::clone(pool);
        }
        // What is dropped here lives on for the calls that hold it.
        if pools.len() >= CAPACITY {
            pools.clear();
        }
        // An older version of the same credential is not used again.
        pools.retain(|other, _| {
            (&other.holder.tool, &other.holder.credential) != (&owner.holder.tool, &owner.holder.credential)
                || other.holder.version >= owner.holder.version
        });
        let lent = Arc::new(Lent::default());
        let pool = Arc::new(CertifiedPool { pool: make(Arc::clone(&lent)), lent });
        pools.insert(owner.clone(), Arc::clone(&pool));
        pool
    }
}

impl CertifiedPool {
    /// Lends the key to new connections until the loan is dropped.
    pub fn lend(&self, certificate: ClientCertificate) -> Loan {
        let mut held = self.lent.lock();
        held.loans += 1;
        held.key = Some(certificate.0);
        drop(held);
        Loan(Arc::clone(&self.lent))
    }
}

/// The key, while somebody lends it.
#[derive(Default)]
pub(super) struct Lent(Mutex<Held>);

#[derive(Default)]
struct Held {
    loans: usize,
    key: Option<Arc<CertifiedKey>>,
}

impl Lent {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the loan when dropped.
#[must_use = "without the loan there is no key"]
pub(super) struct Loan(Arc<Lent>);

impl Drop for Loan {
    fn drop(&mut self) {
        let mut held = self.0.lock();
        held.loans -= 1;
        if held.loans == 0 {
            held.key = None;
        }
    }
}

impl ResolvesClientCert for Lent {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let key = self.lock().key.clone()?;
        key.key.choose_scheme(schemes).is_some().then_some(key)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A key is not printed.
impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lent(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: &[u8] = include_bytes!("testdata/upstream-chain.pem");
    const KEY: &[u8] = include_bytes!("testdata/upstream-key.pem");

    #[test]
    fn a_certificate_comes_with_its_key_and_with_no_other() {
        assert!(ClientCertificate::parse(&[CHAIN, KEY].concat()).is_ok());
        assert!(ClientCertificate::parse(&[KEY, CHAIN].concat()).is_ok());
        let stranger = include_bytes!("testdata/upstream-ca.pem");
        for (what, pem) in [
            ("nothing", Vec::new()),
            ("no key", CHAIN.to_vec()),
            ("no certificate", KEY.to_vec()),
            ("two keys", [CHAIN, KEY, KEY].concat()),
            ("another certificate's key", [&stranger[..], KEY].concat()),
            ("cut short", [CHAIN, &KEY[..KEY.len() / 2]].concat()),
        ] {
            assert!(ClientCertificate::parse(&pem).is_err(), "{what}");
        }
    }

    #[test]
    fn a_key_is_there_while_it_is_lent_and_no_longer() {
        let certificate = || ClientCertificate::parse(&[CHAIN, KEY].concat()).expect("a certificate");
        let pools = CertifiedPools::default();
        let holder = Holder { tenant: uuid::Uuid::nil(), tool: "t".into(), credential: String::new(), version: 1 };
        let owner = Owner { holder, reach: Reach::Public };
        let config = super::super::client::tests::config();
        let upstreams = super::super::client::Upstreams::new(&config, super::super::guard::Guard::new(vec![]));
        let upstreams = upstreams.expect("pools");
        let pool = pools.of(&owner, |lent| upstreams.certified_pool(lent, owner.reach));
        let schemes = [SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256];
        let there = || pool.lent.resolve(&[], &schemes).is_some();
        assert!(!there());
        let (one, other) = (pool.lend(certificate()), pool.lend(certificate()));
        assert!(there());
        drop(one);
        assert!(there(), "the other call goes on");
        drop(other);
        assert!(!there());
        // Another version is another pool, and takes the older one's place.
        let newer = Owner { holder: Holder { version: 2, ..owner.holder.clone() }, ..owner.clone() };
        let other = pools.of(&newer, |lent| upstreams.certified_pool(lent, owner.reach));
        assert!(!Arc::ptr_eq(&pool, &other));
        assert_eq!(pools.0.lock().expect("whole").len(), 1);
    }
}
