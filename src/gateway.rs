//! What all routes share: the deployment's facts, the store, the vault, admission, and what is kept in
//! memory to be quick. It holds no secret and is the same for every listener.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use tgp_authority::Roster;
use tgp_request::token::{Jwks, TokenKeys};
use tgp_vault_client::wire::{Describe, Description};

use crate::admission::{Admission, AdmissionConfig, Clock};
use crate::config::Config;
use crate::proxy::client::Upstreams;
use crate::proxy::guard::Guard;
use crate::proxy::oauth2::AccessTokens;
use crate::proxy::streams::Streams;
use crate::refusal::Refusal;
use crate::store::Store;
use crate::store::cache::Cache;
use crate::vault::{Vault, VaultError};
use crate::verifier::status::StatusLists;
use crate::verify::tokens::Tokens;
use crate::verify::tools::Tools;

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    #[error("the vault cannot be asked: {0}")]
    Vault(#[from] VaultError),
    #[error("the database cannot be used: {0}")]
    Store(#[from] crate::store::StoreError),
    #[error("the configuration says {key} {configured:?}, the vault's deployment says {vault:?}")]
    Mismatch { key: &'static str, configured: String, vault: String },
    #[error("what the vault says of its deployment is not usable: {0}")]
    Description(String),
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error(transparent)]
    Tls(#[from] crate::http::tls::TlsError),
}

/// Public facts, as the vault describes them.
pub struct Deployment {
    /// base64url of SHA-256 of roster 1.
    pub id: String,
    pub vault: String,
    /// The JWK Set, as it is served.
    pub jwks: String,
    pub ca_pem: String,
    pub server_chain_pem: String,
}

pub struct Gateway {
    pub config: Config,
    pub clock: Clock,
    pub store: Store,
    /// The same over connections that agents cannot take.
    pub people: Store,
    pub cache: Cache,
    pub admission: Admission,
    pub vault: Vault,
    pub deployment: Deployment,
    pub tokens: Tokens,
    pub tools: Tools,
    pub upstreams: Arc<Upstreams>,
    pub access_tokens: AccessTokens,
    pub streams: Streams,
    pub status_lists: StatusLists,
    roster: RwLock<Arc<Roster>>,
}

impl Gateway {
    /// Connects everything and refuses a vault of another deployment than the configured one.
    pub async fn start(config: Config, clock: Clock) -> Result<Arc<Self>, StartError> {
        let store = Store::connect(config.database.url.expose_secret()).await?;
        let vault = Vault::connect(&config.vault.socket, config.vault.uid, store.clone()).await?;
        let description = vault.ask(Describe {}).await?;
        same("issuer", config.issuer.as_str(), &description.issuer)?;
        same("trust_domain", config.trust_domain.as_str(), &description.trust_domain)?;
        let (deployment, roster, keys) = read(description)?;

        let admission = Admission::start(AdmissionConfig {
            url: config.database.admission_url.expose_secret().to_owned(),
            live_nonces: config.limits.live_nonces,
            clock: Arc::clone(&clock),
        });
        let cache = Cache::new(store.clone());
        let guard = Guard::new(own_addresses(&config).await);
        let upstreams = Upstreams::new(&config.upstream, guard)
            .map_err(|source| StartError::Io { what: "upstream.ca_file".to_owned(), source })?;
        let gateway = Self {
            tokens: Tokens::new(config.issuer.as_str(), config.trust_domain.clone(), keys),
            tools: Tools::new(cache.clone(), vault.clone()),
            streams: Streams::default(),
            status_lists: StatusLists::default(),
            roster: RwLock::new(Arc::new(roster)),
            config,
            clock,
            people: store.for_people(),
            store,
            cache,
            admission,
            vault,
            deployment,
            upstreams: Arc::new(upstreams),
            access_tokens: AccessTokens::default(),
        };
        Ok(Arc::new(gateway))
    }

    pub fn now(&self) -> i64 {
        (self.clock)()
    }

    /// The roster in force: the vault's when it answers, else the last one it told.
    pub async fn roster(&self) -> Arc<Roster> {
        if let Ok(description) = self.vault.ask(Describe {}).await {
            let held = self.held_roster();
            if description.roster_version != held.version()
                && let Ok(fresh) = Roster::parse(description.roster.as_bytes())
            {
                let fresh = Arc::new(fresh);
                *self.roster.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&fresh);
                return fresh;
            }
            return held;
        }
        self.held_roster()
    }

    fn held_roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn same(key: &'static str, configured: &str, vault: &str) -> Result<(), StartError> {
    if configured == vault {
        return Ok(());
    }
    Err(StartError::Mismatch { key, configured: configured.to_owned(), vault: vault.to_owned() })
}

fn read(description: Description) -> Result<(Deployment, Roster, TokenKeys), StartError> {
    let Description {
        deployment,
        vault,
        trust_domain: _,
        issuer: _,
        jwks,
        ca_pem,
        server_chain_pem,
        roster,
        roster_version: _,
    } = description;
    let error = |what: &str, error: &dyn std::fmt::Display| StartError::Description(format!("{what}: {error}"));
    let roster = Roster::parse(roster.as_bytes()).map_err(|e| error("roster", &e))?;
    let set: Jwks = serde_json::from_str(&jwks).map_err(|e| error("jwks", &e))?;
    let keys = TokenKeys::from_jwks(&set).map_err(|e| error("jwks", &e))?;
    Ok((Deployment { id: deployment, vault, jwks, ca_pem, server_chain_pem }, roster, keys))
}

/// Listeners and databases: where no tool's upstream may be.
async fn own_addresses(config: &Config) -> Vec<SocketAddr> {
    let listen = &config.listen;
    let mut own = vec![listen.gateway, listen.operators, listen.health];
    let database = &config.database;
    let urls = [Some(&database.url), Some(&database.admission_url), database.owner_url.as_ref()];
    for url in urls.into_iter().flatten() {
        let Some((host, port)) = host_and_port(url.expose_secret()) else { continue };
        match tokio::net::lookup_host((host.as_str(), port)).await {
            Ok(addresses) => own.extend(addresses),
            Err(error) => tracing::warn!(%error, "the database's host does not resolve"),
        }
    }
    own
}

/// Of `postgres://user:password@host:port/name?…`; nothing for a Unix socket.
pub(crate) fn host_and_port(url: &str) -> Option<(String, u16)> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
    let address: http::uri::Authority = address.parse().ok()?;
    let host = address.host().trim_start_matches('[').trim_end_matches(']');
    // A percent-encoded directory is a Unix socket.
    if host.is_empty() || host.contains('%') {
        return None;
    }
    Some((host.to_owned(), address.port_u16().unwrap_or(5432)))
}

impl From<StartError> for Refusal {
    fn from(error: StartError) -> Self {
        Self::internal(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_databases_address_is_read_from_its_url() {
        let of = |url| host_and_port(url);
        assert_eq!(of("postgres://u:p%40@db.example:6432/tgp"), Some(("db.example".into(), 6432)));
        assert_eq!(of("postgresql://db/tgp?sslmode=require"), Some(("db".into(), 5432)));
        assert_eq!(of("postgres://[::1]/tgp"), Some(("::1".into(), 5432)));
        assert_eq!(of("postgres:///tgp?host=/run/postgresql"), None);
        assert_eq!(of("postgres://%2Frun%2Fpostgresql/tgp"), None);
    }
}
