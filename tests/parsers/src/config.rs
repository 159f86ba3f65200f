//! The configuration file.

use std::path::Path;
use std::time::Duration;

use tgp::config::{Config, Origin};

pub fn check(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let config = match Config::parse(text, Path::new("/etc/tgp")) {
        Ok(config) => config,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    let Config {
        issuer,
        trust_domain: _,
        aan_prefix,
        listen,
        tls: _,
        vault,
        database,
        token,
        limits,
        upstream,
        sandbox: _,
    } = &config;
    assert_eq!(Origin::parse(issuer.as_str()).as_ref(), Ok(issuer));
    assert!(aan_prefix.len() == 4 && aan_prefix.bytes().all(|byte| byte.is_ascii_digit()));
    assert!(listen.health.ip().is_loopback(), "health is for this machine");
    assert!(vault.socket.is_absolute(), "paths are relative to the file's directory");
    assert!(token.as_ref().is_none_or(|token| token.state.is_absolute() && token.pin_file.is_absolute()));
    assert_ne!(database.url.expose_secret(), database.admission_url.expose_secret(), "two roles");
    let within = |value: Duration, most: u64| (1..=most).contains(&value.as_secs());
    assert!(within(limits.token_lifetime, 900) && within(limits.header_timeout, 300));
    assert!(within(limits.body_timeout, 3600) && within(limits.handshake_timeout, 60));
    assert!(limits.live_nonces >= 1 && limits.connections >= 1 && limits.body_bytes >= 1024);
    assert!(upstream.connect_timeout.as_secs() >= 1 && upstream.idle_timeout.as_secs() >= 1);
    // A password stands in neither half of what a log may show.
    let shown = format!("{config:?}");
    for url in [&database.url, &database.admission_url] {
        if let Some((_, password)) = url.expose_secret().split_once("hush") {
            assert!(!shown.contains(&format!("hush{password}")), "a database URL is printed");
        }
    }
    true
}
