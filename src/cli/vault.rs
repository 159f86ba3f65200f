//! `tgp vault`: the process that holds the PIN.

use std::path::PathBuf;

use clap::Args;
use tgp_vault::{Confinement, Pin, ServeOptions, Stop, TokenConfig, VaultError};

use super::{CliError, log};
use crate::config::{Config, Sandbox, Token};

/// Where a package puts the configuration.
pub const DEFAULT_CONFIG: &str = "/etc/tgp/tgp.toml";

#[derive(Args)]
pub struct Vault {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// How to log
    #[arg(long, value_enum, default_value = "text")]
    log: log::Format,
}

impl Vault {
    pub fn run(self) -> Result<(), CliError> {
        let config = Config::load(&self.config)?;
        let token = config.token.as_ref().ok_or_else(|| {
            CliError::usage("the configuration has no [token]")
                .hint("a vault needs the PKCS#11 module, the token's label, the PIN's file and the state file")
        })?;
        log::start(self.log);
        // Said by the configuration: gateways' users. Without any, one user runs both, single-domain.
        let allowed_uids = match config.vault.gateway_uids.as_slice() {
            [] => vec![rustix::process::geteuid().as_raw()],
            uids => uids.to_vec(),
        };
        Ok(tgp_vault::serve(ServeOptions {
            token: token_config(token)?,
            state: token.state.clone(),
            socket: config.vault.socket.clone(),
            socket_group: None,
            confinement: confinement(&config.sandbox),
            allowed_uids,
            stop: Stop::default(),
            dangerous_clock_shift_s: 0,
        })?)
    }
}

pub fn confinement(sandbox: &Sandbox) -> Confinement {
    let Sandbox { mode, connect_ports: _, read, vault_write, hsm_network } = sandbox.clone();
    Confinement { mode, hsm_network, read, write: vault_write }
}

/// The token with its PIN, read from its file.
pub fn token_config(token: &Token) -> Result<TokenConfig, CliError> {
    let Token { module, label, pin_file, state: _, start_lock } = token;
    let pin = Pin::from_file(pin_file).map_err(VaultError::from)?;
    Ok(TokenConfig { module: module.clone(), label: label.clone(), pin, start_lock: start_lock.clone() })
}

impl From<VaultError> for CliError {
    fn from(error: VaultError) -> Self {
        let failed = Self::of_text(&error.to_string());
        if error.is_pin_refused() { failed.pin_refused() } else { failed }
    }
}
