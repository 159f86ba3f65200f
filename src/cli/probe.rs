//! `tgp sandbox-probe`: enters the sandbox of a configuration and tries what it forbids. For tests, and for those who
//! wonder what their sandbox allows.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;
use tgp_sandbox::probe::Attempt;

use super::vault::{DEFAULT_CONFIG, confinement, token_config};
use super::{CliError, log};
use crate::config::Config;
use crate::sandbox;

#[derive(Args)]
pub struct Probe {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Whose sandbox
    #[arg(long = "as", value_enum)]
    part: Part,
    /// What to try, KIND:ARGUMENT; one line of JSON tells how each ended
    attempts: Vec<Attempt>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Part {
    Gateway,
    Vault,
}

impl Probe {
    pub fn run(self) -> Result<(), CliError> {
        let config = Config::load(&self.config)?;
        log::start(log::Format::Text);
        let sandbox = match (self.part, &config.token) {
            (Part::Gateway, _) => sandbox::gateway(&config),
            (Part::Vault, Some(token)) => {
                let (confinement, config) =
                    (confinement(&config.sandbox), (token_config(token)?, &config.vault.socket));
                tgp_vault::sandbox(&confinement, &config.0, &token.state, config.1)
            }
            (Part::Vault, None) => return Err(CliError::usage("the configuration has no [token]")),
        };
        let confined = sandbox.enter().map_err(|e| CliError::failed(e.to_string()))?;
        println!("{}", json!({ "sandbox": confined.to_string(), "whole": confined.is_whole() }));
        for attempt in self.attempts {
            let made = attempt.make();
            let result = made.as_ref().map_or_else(ToString::to_string, |()| "ok".to_owned());
            let errno = made.err().and_then(|error| error.raw_os_error());
            println!("{}", json!({ "attempt": format!("{attempt:?}"), "result": result, "errno": errno }));
        }
        Ok(())
    }
}
