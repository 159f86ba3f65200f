//! What the gateway keeps of the machine while it serves: trust anchors, name resolution, and connections. It
//! writes nowhere, executes nothing and binds nothing more.

use std::path::PathBuf;

use tgp_sandbox::{Network, Sandbox};

use crate::config::Config;
use crate::gateway::host_and_port;

/// The gateway's sandbox. Its listeners are bound before it enters.
pub fn gateway(config: &Config) -> Sandbox {
    let mut ports = config.sandbox.connect_ports.clone();
    let database = [&config.database.url, &config.database.admission_url].map(|url| url.expose_secret());
    if !ports.is_empty() {
        ports.extend(database.iter().filter_map(|url| Some(host_and_port(url)?.1)));
    }
    let mut read = config.sandbox.read.clone();
    read.extend(config.upstream.ca_file.clone());
    read.extend(database.iter().flat_map(|url| database_files(url)));
    // By these two variables an administrator moves the machine's trust anchors.
    read.extend(["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().filter_map(std::env::var_os).map(PathBuf::from));
    let sandbox = Sandbox::new(config.sandbox.mode, Network::Connect(ports));
    read.into_iter().fold(sandbox, Sandbox::read)
}

/// Files that a database URL names: its TLS trust anchor, certificate and key.
fn database_files(url: &str) -> Vec<PathBuf> {
    let parameters = url.split_once('?').map_or("", |(_, query)| query).split('&');
    let pairs = parameters.filter_map(|parameter| parameter.split_once('='));
    let files = pairs.filter(|(name, _)| {
        matches!(*name, "sslrootcert" | "sslcert" | "sslkey" | "ssl-root-cert" | "ssl-ca" | "ssl-cert" | "ssl-key")
    });
    files.map(|(_, path)| PathBuf::from(path.replace("%2F", "/").replace("%2f", "/"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_the_database_url_names_stay_readable() {
        let url = "postgres://tgp@db/tgp?sslmode=verify-full&sslrootcert=%2Fetc%2Ftgp%2Fdb.pem&sslkey=/etc/tgp/db.key";
        assert_eq!(database_files(url), [PathBuf::from("/etc/tgp/db.pem"), PathBuf::from("/etc/tgp/db.key")]);
        assert!(database_files("postgres://tgp@db/tgp").is_empty());
    }
}
