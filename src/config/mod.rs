//! The configuration file: TOML, parsed into `RawConfig`, then into a `Config` that holds only
//! values that mean something. Unknown keys are refused. Secrets are named by path, never held.

mod origin;
mod raw;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tgp_request::name::TrustDomain;

pub use origin::Origin;
use raw::RawConfig;

/// What makes a configuration unusable; the text names the key.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the configuration is not valid TOML for tgp: {0}")]
    Syntax(String),
    #[error("{key}: {problem}")]
    Value { key: &'static str, problem: String },
}

/// A database URL: its password never reaches a log.
#[derive(Clone)]
pub struct DatabaseUrl(SecretString);

impl DatabaseUrl {
    pub fn new(url: String) -> Self {
        Self(url.into())
    }

    /// The URL with its password.
    pub fn expose_secret(&self) -> &str {
        self.0.expose_secret()
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DatabaseUrl([redacted])")
    }
}

#[derive(Clone, Debug)]
pub struct Config {
    /// `https://host[:port]`: the issuer of tokens and the origin of every `@target-uri`.
    pub issuer: Origin,
    pub trust_domain: TrustDomain,
    /// The first four digits of every AAN.
    pub aan_prefix: String,
    pub listen: Listen,
    pub tls: Tls,
    pub vault: Vault,
    pub database: Database,
    /// Only the vault and `tgp init` use it; a gateway needs none.
    pub token: Option<Token>,
    pub limits: Limits,
    pub upstream: Upstream,
    pub sandbox: Sandbox,
}

#[derive(Clone, Debug)]
pub struct Listen {
    pub gateway: SocketAddr,
    pub operators: SocketAddr,
    pub health: SocketAddr,
}

#[derive(Clone, Debug)]
pub struct Tls {
    pub minimum: TlsVersion,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsVersion {
    Tls13,
    /// TLS 1.2 with AEAD suites (rustls has no others) beside 1.3.
    Tls12,
}

#[derive(Clone, Debug)]
pub struct Vault {
    pub socket: PathBuf,
    /// The user that the vault must run as; unchecked when absent.
    pub uid: Option<u32>,
    /// The users whose gateways the vault answers, beside its own.
    pub gateway_uids: Vec<u32>,
}

#[derive(Clone, Debug)]
pub struct Database {
    pub url: DatabaseUrl,
    pub admission_url: DatabaseUrl,
    /// `tgp migrate` alone uses it.
    pub owner_url: Option<DatabaseUrl>,
}

#[derive(Clone, Debug)]
pub struct Token {
    pub module: PathBuf,
    pub label: String,
    pub pin_file: PathBuf,
    /// The vault's state file.
    pub state: PathBuf,
    /// Serialises C_Initialize and C_Login between processes.
    pub start_lock: PathBuf,
}

#[derive(Clone, Debug)]
pub struct Limits {
    /// At most 15 minutes; the vault holds to that too.
    pub token_lifetime: Duration,
    /// Live nonces for each agent.
    pub live_nonces: u32,
    pub header_bytes: usize,
    pub header_fields: usize,
    pub body_bytes: usize,
    /// Of a body that is passed on as it comes.
    pub stream_bytes: u64,
    /// For a request's headers, for its whole body, and for a TLS handshake.
    pub header_timeout: Duration,
    pub body_timeout: Duration,
    pub handshake_timeout: Duration,
    /// Unauthenticated failures per minute and address before `rate-limited`.
    pub failures_per_minute: u32,
    /// How long a client may leave a reply unread.
    pub stall_timeout: Duration,
    /// Open connections on one listener, and of one address on it.
    pub connections: usize,
    pub connections_per_address: usize,
}

/// What the two servers keep when they confine themselves, beside what they are known to need.
#[derive(Clone, Debug)]
pub struct Sandbox {
    pub mode: tgp_sandbox::Mode,
    /// The gateway: TCP ports of upstreams; every port when empty. The database's is added.
    pub connect_ports: Vec<u16>,
    /// Both: further files and directories to read.
    pub read: Vec<PathBuf>,
    /// The vault: directories that the token's module changes.
    pub vault_write: Vec<PathBuf>,
    /// The vault: its token is reached over the network.
    pub hsm_network: bool,
}

#[derive(Clone, Debug)]
pub struct Upstream {
    /// PEM certificates trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    pub connect_timeout: Duration,
    /// Until the upstream's reply headers are there.
    pub reply_timeout: Duration,
    /// Between two pieces of a streamed reply.
    pub idle_timeout: Duration,
    /// An unused connection is kept for this long; with it goes the credential that it last carried.
    pub keep: Duration,
}

impl Config {
    /// Reads and checks the file; relative paths in it are relative to its directory.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path.parent().unwrap_or(Path::new(".")))
    }

    /// Checks the text of a file in directory `base`.
    pub fn parse(text: &str, base: &Path) -> Result<Self, ConfigError> {
        let raw: RawConfig = toml::from_str(text).map_err(|error| ConfigError::Syntax(error.to_string()))?;
        raw.check(base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = r#"
        issuer = "https://gw.tgp.example"
        trust_domain = "tgp.example"
        [vault]
        socket = "vault.sock"
        [database]
        url = "postgres://tgp_gateway:hush@db/tgp"
        admission_url = "postgres://tgp_admission@db/tgp"
    "#;

    #[test]
    fn a_minimal_file_gets_the_protocols_defaults() {
        let config = Config::parse(MINIMAL, Path::new("/etc/tgp")).expect("minimal file");
        assert_eq!(config.listen.gateway.port(), 8443);
        assert!(config.listen.health.ip().is_loopback());
        assert_eq!(config.limits.token_lifetime, Duration::from_secs(300));
        assert_eq!(config.vault.socket, Path::new("/etc/tgp/vault.sock"));
        assert_eq!(config.tls.minimum, TlsVersion::Tls13);
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let text = format!("{MINIMAL}\npassword = \"x\"");
        assert!(matches!(Config::parse(&text, Path::new("/")), Err(ConfigError::Syntax(_))));
    }

    #[test]
    fn a_lifetime_beyond_fifteen_minutes_is_refused() {
        let text = format!("{MINIMAL}\n[limits]\ntoken_lifetime_s = 901");
        let error = Config::parse(&text, Path::new("/")).expect_err("too long");
        assert!(error.to_string().starts_with("limits.token_lifetime_s"), "{error}");
    }

    #[test]
    fn a_health_listener_beyond_the_loopback_is_refused() {
        for address in ["0.0.0.0:9464", "[::]:9464", "192.0.2.1:9464"] {
            let text = format!("{MINIMAL}\n[listen]\nhealth = \"{address}\"");
            let error = Config::parse(&text, Path::new("/")).expect_err(address);
            assert!(error.to_string().starts_with("listen.health"), "{error}");
        }
    }

    #[test]
    fn an_issuer_with_a_path_is_refused() {
        let text = MINIMAL.replace("gw.tgp.example\"", "gw.tgp.example/tgp\"");
        assert!(Config::parse(&text, Path::new("/")).is_err());
    }

    #[test]
    fn a_database_password_is_not_printed() {
        let config = Config::parse(MINIMAL, Path::new("/")).expect("minimal file");
        assert!(!format!("{config:?}").contains("hush"));
    }
}
