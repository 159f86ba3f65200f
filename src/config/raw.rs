//! The file as it is written: every key with its default, no meaning checked yet.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::{
    Config, ConfigError, Database, DatabaseUrl, Limits, Listen, Origin, Sandbox, Tls, TlsVersion, Token, Upstream,
    Vault,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    issuer: String,
    trust_domain: String,
    #[serde(default = "aan_prefix")]
    aan_prefix: String,
    #[serde(default)]
    listen: RawListen,
    #[serde(default)]
    tls: RawTls,
    vault: RawVault,
    database: RawDatabase,
    token: Option<RawToken>,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    upstream: RawUpstream,
    #[serde(default)]
    sandbox: RawSandbox,
}

fn aan_prefix() -> String {
    "7284".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawListen {
    gateway: SocketAddr,
    operators: SocketAddr,
    health: SocketAddr,
}

impl Default for RawListen {
    fn default() -> Self {
        Self {
            gateway: SocketAddr::from(([0, 0, 0, 0], 8443)),
            operators: SocketAddr::from(([127, 0, 0, 1], 8444)),
            health: SocketAddr::from(([127, 0, 0, 1], 9464)),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawTls {
    minimum: RawTlsVersion,
}

#[derive(Default, Deserialize)]
enum RawTlsVersion {
    #[default]
    #[serde(rename = "1.3")]
    Tls13,
    #[serde(rename = "1.2")]
    Tls12,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVault {
    socket: PathBuf,
    uid: Option<u32>,
    #[serde(default)]
    gateway_uids: Vec<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDatabase {
    url: String,
    admission_url: String,
    owner_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawToken {
    module: PathBuf,
    label: String,
    pin_file: PathBuf,
    state: PathBuf,
    start_lock: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLimits {
    token_lifetime_s: u64,
    live_nonces: u32,
    header_bytes: usize,
    header_fields: usize,
    body_bytes: usize,
    stream_bytes: u64,
    header_timeout_s: u64,
    body_timeout_s: u64,
    handshake_timeout_s: u64,
    failures_per_minute: u32,
    stall_timeout_s: u64,
    connections: usize,
    connections_per_address: usize,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            token_lifetime_s: 300,
            live_nonces: 600,
            header_bytes: 64 * 1024,
            header_fields: 128,
            body_bytes: 1024 * 1024,
            stream_bytes: 1024 * 1024 * 1024,
            header_timeout_s: 30,
            body_timeout_s: 30,
            handshake_timeout_s: 10,
            failures_per_minute: 3000,
            stall_timeout_s: 60,
            connections: 10_000,
            connections_per_address: 1_000,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawUpstream {
    ca_file: Option<PathBuf>,
    connect_timeout_s: u64,
    reply_timeout_s: u64,
    idle_timeout_s: u64,
    keep_s: u64,
}

impl Default for RawUpstream {
    fn default() -> Self {
        Self { ca_file: None, connect_timeout_s: 5, reply_timeout_s: 60, idle_timeout_s: 300, keep_s: 15 }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSandbox {
    mode: RawMode,
    connect_ports: Vec<u16>,
    read: Vec<PathBuf>,
    vault_write: Vec<PathBuf>,
    hsm_network: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawMode {
    Off,
    #[default]
    On,
    Required,
}

impl RawConfig {
    pub(super) fn check(self, base: &Path) -> Result<Config, ConfigError> {
        let Self { issuer, trust_domain, aan_prefix, listen, tls, vault, database, token, limits, upstream, sandbox } =
            self;
        let issuer = Origin::parse(&issuer).map_err(|problem| ConfigError::Value { key: "issuer", problem })?;
        let trust_domain = trust_domain.parse().map_err(|error| value("trust_domain", format!("{error}")))?;
        if aan_prefix.len() != 4 || !aan_prefix.bytes().all(|b| b.is_ascii_digit()) {
            return Err(value("aan_prefix", "must be four digits"));
        }
        if !listen.health.ip().is_loopback() {
            return Err(value("listen.health", "must be a loopback address"));
        }
        if database.url == database.admission_url {
            return Err(value("database.admission_url", "must log in as a role of its own"));
        }
        let at = |path: PathBuf| base.join(path);
        Ok(Config {
            issuer,
            trust_domain,
            aan_prefix,
            listen: Listen { gateway: listen.gateway, operators: listen.operators, health: listen.health },
            tls: Tls {
                minimum: match tls.minimum {
                    RawTlsVersion::Tls13 => TlsVersion::Tls13,
                    RawTlsVersion::Tls12 => TlsVersion::Tls12,
                },
            },
            vault: Vault { socket: at(vault.socket), uid: vault.uid, gateway_uids: vault.gateway_uids },
            database: Database {
                url: DatabaseUrl::new(database.url),
                admission_url: DatabaseUrl::new(database.admission_url),
                owner_url: database.owner_url.map(DatabaseUrl::new),
            },
            token: token.map(|token| {
                let state = at(token.state);
                Token {
                    module: token.module,
                    label: token.label,
                    pin_file: at(token.pin_file),
                    start_lock: token.start_lock.map_or_else(|| state.with_file_name("start.lock"), at),
                    state,
                }
            }),
            limits: limits.check()?,
            upstream: upstream.check(base)?,
            sandbox: sandbox.check(base),
        })
    }
}

impl RawLimits {
    fn check(self) -> Result<Limits, ConfigError> {
        Ok(Limits {
            token_lifetime: seconds("limits.token_lifetime_s", self.token_lifetime_s, 1, 900)?,
            live_nonces: within("limits.live_nonces", self.live_nonces.into(), 1, 1_000_000)? as u32,
            header_bytes: size("limits.header_bytes", self.header_bytes, 8192, 1 << 20)?,
            header_fields: size("limits.header_fields", self.header_fields, 16, 1024)?,
            // The vault's frames carry no bodies but an enrolment's; this bounds memory only.
            body_bytes: size("limits.body_bytes", self.body_bytes, 1024, 1 << 30)?,
            stream_bytes: within("limits.stream_bytes", self.stream_bytes, 1024, 1 << 40)?,
            header_timeout: seconds("limits.header_timeout_s", self.header_timeout_s, 1, 300)?,
            body_timeout: seconds("limits.body_timeout_s", self.body_timeout_s, 1, 3600)?,
            handshake_timeout: seconds("limits.handshake_timeout_s", self.handshake_timeout_s, 1, 60)?,
            failures_per_minute: within("limits.failures_per_minute", self.failures_per_minute.into(), 1, 10_000_000)?
                as u32,
            stall_timeout: seconds("limits.stall_timeout_s", self.stall_timeout_s, 1, 3600)?,
            connections: size("limits.connections", self.connections, 1, 1_000_000)?,
            connections_per_address: size(
                "limits.connections_per_address",
                self.connections_per_address,
                1,
                1_000_000,
            )?,
        })
    }
}

impl RawUpstream {
    fn check(self, base: &Path) -> Result<Upstream, ConfigError> {
        Ok(Upstream {
            ca_file: self.ca_file.map(|path| base.join(path)),
            connect_timeout: seconds("upstream.connect_timeout_s", self.connect_timeout_s, 1, 60)?,
            reply_timeout: seconds("upstream.reply_timeout_s", self.reply_timeout_s, 1, 3600)?,
            idle_timeout: seconds("upstream.idle_timeout_s", self.idle_timeout_s, 1, 86_400)?,
            keep: seconds("upstream.keep_s", self.keep_s, 1, 3600)?,
        })
    }
}

impl RawSandbox {
    fn check(self, base: &Path) -> Sandbox {
        let Self { mode, connect_ports, read, vault_write, hsm_network } = self;
        let at = |paths: Vec<PathBuf>| paths.into_iter().map(|path| base.join(path)).collect();
        Sandbox {
            mode: match mode {
                RawMode::Off => tgp_sandbox::Mode::Off,
                RawMode::On => tgp_sandbox::Mode::On,
                RawMode::Required => tgp_sandbox::Mode::Required,
            },
            connect_ports,
            read: at(read),
            vault_write: at(vault_write),
            hsm_network,
        }
    }
}

fn value(key: &'static str, problem: impl Into<String>) -> ConfigError {
    ConfigError::Value { key, problem: problem.into() }
}

fn within(key: &'static str, n: u64, low: u64, high: u64) -> Result<u64, ConfigError> {
    if (low..=high).contains(&n) { Ok(n) } else { Err(value(key, format!("must be {low} to {high}"))) }
}

fn seconds(key: &'static str, n: u64, low: u64, high: u64) -> Result<Duration, ConfigError> {
    within(key, n, low, high).map(Duration::from_secs)
}

fn size(key: &'static str, n: usize, low: usize, high: usize) -> Result<usize, ConfigError> {
    within(key, n as u64, low as u64, high as u64).map(|n| n as usize)
}
