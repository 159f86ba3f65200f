//! `tgp migrate`: the database's schema.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::output::Output;
use super::vault::DEFAULT_CONFIG;
use super::{CliError, block_on};
use crate::config::Config;

#[derive(Args)]
pub struct Migrate {
    /// The configuration file; its `database.owner_url` is used
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
}

impl Migrate {
    pub fn run(self, output: &Output) -> Result<(), CliError> {
        let config = Config::load(&self.config)?;
        let url = config.database.owner_url.ok_or_else(|| {
            CliError::usage("the configuration has no database.owner_url")
                .hint("migrations run as the schema's owner, which the gateway never is")
        })?;
        block_on(async { Ok(crate::store::migrate::migrate(url.expose_secret()).await?) })?;
        output.show(&json!({ "migrated": true }), || {
            "the schema is this program's\nnext: tgp vault, then tgp serve\n".to_owned()
        })
    }
}
