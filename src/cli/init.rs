//! `tgp init`: keys in the token, the first roster, the server's certificate, the vault's first state.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use secrecy::SecretString;
use serde_json::json;
use tgp_authority::OperatorKey;
use tgp_client::spki_sha256_of_pem;
use tgp_vault::softhsm::{self, NewToken};
use tgp_vault::{InitOptions, InitReport, Pin, VaultError};
use uuid::Uuid;

use super::client::base64url;
use super::output::{Output, count, facts};
use super::vault::{DEFAULT_CONFIG, token_config};
use super::{CliError, input};
use crate::config::{Config, Token};

#[derive(Args)]
pub struct Init {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// The first owner's public key, made by `tgp operator keygen`; may be repeated
    #[arg(long = "owner", value_name = "FILE", required = true)]
    owners: Vec<PathBuf>,
    /// DNS name or address in the server's certificate [default: the issuer's host]; may be repeated
    #[arg(long = "server-name", value_name = "NAME")]
    server_names: Vec<String>,
    /// How statements will name this vault
    #[arg(long, value_name = "NAME", default_value = "main")]
    vault: String,
    /// Initialise a fresh SoftHSM token first (not for production)
    #[arg(long)]
    new_soft_token: bool,
    /// The file with the security officer's PIN for that token
    #[arg(long, value_name = "FILE", requires = "new_soft_token")]
    so_pin_file: Option<PathBuf>,
    /// Where to write what operators connect with [default: deployment.json beside the state file]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Init {
    pub fn run(self, output: &Output) -> Result<(), CliError> {
        let config = Config::load(&self.config)?;
        let token = config.token.as_ref().ok_or_else(|| {
            CliError::usage("the configuration has no [token]")
                .hint("it names the PKCS#11 module, the token's label, the PIN's file and the state file")
        })?;
        let owners = self
            .owners
            .iter()
            .map(|path| Ok((Uuid::new_v4(), public_key(path)?)))
            .collect::<Result<Vec<_>, CliError>>()?;
        let server_names = if self.server_names.is_empty() {
            vec![host(config.issuer.authority()).to_owned()]
        } else {
            self.server_names
        };
        if self.new_soft_token {
            new_soft_token(token, self.so_pin_file.as_deref())?;
        }
        let roster = tgp_vault::first_roster(config.trust_domain.clone(), config.issuer.as_str(), owners);
        let report = tgp_vault::init(InitOptions {
            token: token_config(token)?,
            state: token.state.clone(),
            vault: self.vault,
            roster,
            server_names,
        })?;
        let out = self.out.unwrap_or_else(|| token.state.with_file_name("deployment.json"));
        show(&config, token, &report, &out, output)
    }
}

fn show(config: &Config, token: &Token, report: &InitReport, out: &Path, output: &Output) -> Result<(), CliError> {
    let InitReport { deployment, vault, ca_pem, keys, .. } = report;
    let pin = base64url(&spki_sha256_of_pem(ca_pem)?);
    let public = json!({
        "deployment": deployment,
        "vault": vault,
        "issuer": config.issuer.as_str(),
        "trust_domain": config.trust_domain,
        "pin": pin,
        "ca_pem": ca_pem,
    });
    fs::write(out, format!("{public:#}\n")).map_err(|e| CliError::failed(format!("{}: {e}", out.display())))?;
    output.show(&public, || {
        format!(
            "initialised\n{}\nnext\n  tgp vault, then tgp serve\n  tgp operator connect --url https://{}:{} --pin {pin}\n",
            facts(&[
                ("keys", format!("{} in token {}", count(keys.len(), "object"), token.label)),
                ("roster", "version 1".to_owned()),
                ("deployment", deployment.clone()),
                ("vault", vault.clone()),
                ("state", token.state.display().to_string()),
                ("for operators", out.display().to_string()),
            ]),
            host(config.issuer.authority()),
            config.listen.operators.port(),
        )
    })
}

/// An owner's public key in PEM.
pub fn public_key(path: &Path) -> Result<OperatorKey, CliError> {
    let pem = input::text(path)?;
    if pem.contains("PRIVATE KEY") {
        return Err(CliError::usage(format!("{} holds a private key", path.display()))
            .hint("name the public one, operator.pub; the private key stays with its owner"));
    }
    OperatorKey::from_pem(&pem).map_err(|e| CliError::usage(format!("{}: {e}", path.display())))
}

fn new_soft_token(token: &Token, so_pin_file: Option<&Path>) -> Result<(), CliError> {
    let so_pin = match so_pin_file {
        Some(path) => Pin::from_file(path).map_err(VaultError::from)?,
        None => SecretString::from(input::secret(None, "the security officer's PIN")?.as_str()),
    };
    let Token { module, label, pin_file, state: _, start_lock } = token;
    let pin = Pin::from_file(pin_file).map_err(VaultError::from)?;
    let (module, label, start_lock) = (module.clone(), label.clone(), start_lock.clone());
    let made = softhsm::dangerous_init_token(&NewToken { module, label, so_pin, pin, start_lock });
    Ok(made.map_err(VaultError::from)?)
}

/// The host of `host[:port]`, an IPv6 address without its brackets.
fn host(authority: &str) -> &str {
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    }
}

#[cfg(test)]
mod tests {
    use tgp_authority::OperatorSecret;

    use super::*;

    #[test]
    fn the_servers_name_is_the_issuers_host() {
        for (authority, expected) in
            [("gw.example", "gw.example"), ("localhost:8443", "localhost"), ("[::1]:8443", "::1"), ("[::1]", "::1")]
        {
            assert_eq!(host(authority), expected);
        }
    }

    #[test]
    fn a_private_key_is_not_taken_for_an_owners_public_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let secret = OperatorSecret::generate();
        fs::write(&path, secret.dangerous_to_pem().as_bytes()).unwrap();
        assert!(public_key(&path).is_err());
        fs::write(&path, secret.public().to_pem()).unwrap();
        assert_eq!(public_key(&path).unwrap(), secret.public());
    }
}
