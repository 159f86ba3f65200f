//! `tgp token`: take an access token, as an agent. And which agent: `--agent` or `$TGP_AGENT`.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use serde_json::{Value, json};
use tgp_client::{Agent, Origin, Wanted};
use tgp_request::name::{ActionName, ResourcePattern, Slug};
use uuid::Uuid;

use super::output::Output;
use super::{CliError, block_on, input};

/// Which agent acts, and how it reaches the gateway.
#[derive(Args)]
pub struct AgentArgs {
    /// The agent's directory [default: $TGP_AGENT]
    #[arg(long = "agent", value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The file with the master key, when the directory does not hold it; `-` for standard input
    #[arg(long, value_name = "FILE")]
    master_key_file: Option<PathBuf>,
    /// Authenticate by the identity key (private_key_jwt) in place of the master key
    #[arg(long)]
    private_key_jwt: bool,
    /// Connect to this origin; what is signed stays the gateway's issuer
    #[arg(long, value_name = "URL")]
    via: Option<String>,
}

impl AgentArgs {
    pub fn load(&self) -> Result<Agent, CliError> {
        let env = || std::env::var_os("TGP_AGENT").filter(|value| !value.is_empty()).map(PathBuf::from);
        let dir = self.dir.clone().or_else(env).ok_or_else(|| {
            CliError::usage("which agent?").hint("name its directory with --agent or $TGP_AGENT; `tgp enrol` makes one")
        })?;
        let mut agent = Agent::load(&dir)?;
        if let Some(path) = &self.master_key_file {
            agent = agent.with_master_key(&input::secret(Some(path), "the master key")?)?;
        }
        if self.private_key_jwt {
            agent = agent.asserting();
        }
        if let Some(via) = &self.via {
            agent = agent.through(Origin::parse(via)?);
        }
        Ok(agent)
    }
}

#[derive(Args)]
pub struct Token {
    tool: Slug,
    /// One action, or several where the grant allows it
    #[arg(required = true)]
    actions: Vec<ActionName>,
    /// Only for these resources of the tool, as `tgp grant add --on` writes them; may be repeated
    #[arg(long = "on", value_name = "PATTERN")]
    resources: Vec<ResourcePattern>,
    /// Make it out to another agent, which may exchange it for one of its own (its UUID)
    #[arg(long, value_name = "AGENT")]
    for_agent: Option<Uuid>,
    /// Exchange the token in this file, which another agent had made out to this one; `-` for standard input
    #[arg(long, value_name = "FILE")]
    handed: Option<PathBuf>,
    /// Show what it says instead of the token itself
    #[arg(long)]
    claims: bool,
    #[command(flatten)]
    agent: AgentArgs,
}

impl Token {
    pub fn run(self, output: &Output) -> Result<(), CliError> {
        let agent = self.agent.load()?;
        let mut wanted = Wanted::new(&self.tool, &self.actions).on(&self.resources);
        if let Some(other) = self.for_agent {
            wanted = wanted.made_out_to(other);
        }
        let handed = self.handed.as_deref().map(|path| input::secret(Some(path), "the token")).transpose()?;
        let token = block_on(async {
            match &handed {
                Some(text) => Ok(Arc::new(agent.exchange(text.trim(), &wanted).await?)),
                None => Ok(agent.token_for(wanted).await?),
            }
        })?;
        if self.claims {
            let claims = claims(token.expose_text())?;
            return output.show(&claims, || format!("{claims:#}\n"));
        }
        output.show(&json!({ "access_token": token.expose_text(), "expires": token.expires }), || {
            format!("{}\n", token.expose_text())
        })
    }
}

/// The payload of a JWT, unverified: what it says, for people to read.
fn claims(token: &str) -> Result<Value, CliError> {
    let payload = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims = payload.and_then(|payload| serde_json::from_slice(&payload).ok());
    claims.ok_or_else(|| CliError::failed("the token is not a JWT"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokens_claims_are_its_second_part() {
        let token = format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(br#"{"scope":"mail:send"}"#));
        assert_eq!(claims(&token).unwrap()["scope"], "mail:send");
        assert!(claims("nothing").is_err());
    }
}
