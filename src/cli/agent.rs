//! `tgp agent`: invite, list, show, freeze, unfreeze, retire.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tgp_authority::{Invite, Method, Operation, RecordKind, Revoke};
use tgp_client::{random, spki_sha256_of_pem, unix_now, write_private};
use tgp_request::enrol::EnrolmentCode;
use tgp_request::jwk::IdentitySecret;
use tgp_request::name::{Aan, Handle};
use uuid::Uuid;

use super::client::{OperatorClient, date, escape, joined, member, rows, scoped, uuid};
use super::context::ActingArgs;
use super::output::{Output, Table, count, facts};
use super::time::Span;
use super::{CliError, block_on, time};

#[derive(Args)]
pub struct Agent {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Invite an agent: sign the invitation, and make the code that it enrols with
    Create(Create),
    /// List the agents
    List(Plain),
    /// Show one agent
    Show(Named),
    /// Stop an agent at once: its next call is refused, whatever tokens it holds
    Freeze(Named),
    /// End a freeze
    Unfreeze(Named),
    /// Withdraw an agent for ever
    Retire(Named),
}

#[derive(Args)]
struct Create {
    /// What people call it: lower case, digits and dashes, unique in its tenant
    handle: Handle,
    /// A name for people (stored sealed)
    #[arg(long)]
    name: Option<String>,
    /// What it is for (stored sealed)
    #[arg(long)]
    description: Option<String>,
    /// Where to write the enrolment code, instead of printing it
    #[arg(long, value_name = "FILE")]
    code_file: Option<PathBuf>,
    /// How long the code is good, at most 7d
    #[arg(long = "for", value_name = "TIME", default_value = "24h")]
    lifetime: Span,
    /// How it may authenticate at the token endpoint; may be repeated
    #[arg(long = "method", value_enum, default_value = "client_secret_basic")]
    methods: Vec<MethodName>,
    /// The first four digits of its AAN
    #[arg(long, value_name = "DIGITS", default_value = "7284")]
    aan_prefix: String,
    #[command(flatten)]
    acting: ActingArgs,
}

#[derive(Clone, Copy, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum MethodName {
    ClientSecretBasic,
    PrivateKeyJwt,
}

impl From<MethodName> for Method {
    fn from(name: MethodName) -> Self {
        match name {
            MethodName::ClientSecretBasic => Self::ClientSecretBasic,
            MethodName::PrivateKeyJwt => Self::PrivateKeyJwt,
        }
    }
}

#[derive(Args)]
struct Plain {
    #[command(flatten)]
    acting: ActingArgs,
}

#[derive(Args)]
struct Named {
    /// Handle or UUID
    agent: String,
    #[command(flatten)]
    acting: ActingArgs,
}

impl Agent {
    pub fn run(self, output: &Output) -> Result<(), CliError> {
        block_on(async {
            match self.verb {
                Verb::Create(verb) => verb.run(output).await,
                Verb::List(verb) => list(&verb, output).await,
                Verb::Show(verb) => {
                    let client = OperatorClient::open(&verb.acting.operator).await?;
                    let agent = find(&client, verb.acting.tenant, &verb.agent).await?;
                    output.show(&agent, || text(&agent))
                }
                Verb::Freeze(verb) => verb.change("freeze", "frozen: its next call is refused", output).await,
                Verb::Unfreeze(verb) => verb.change("unfreeze", "active again", output).await,
                Verb::Retire(verb) => verb.retire(output).await,
            }
        })
    }
}

impl Create {
    async fn run(self, output: &Output) -> Result<(), CliError> {
        let client = OperatorClient::open(&self.acting.operator).await?;
        let code_ends = unix_now() + self.lifetime.0;
        let agent = Uuid::new_v4();
        let ca = spki_sha256_of_pem(&client.deployment.ca)?;
        let secret = IdentitySecret::generate();
        let code_key = secret.public().to_jwk();
        let expires = u64::try_from(code_ends).map_err(|_| CliError::failed("this machine's clock is before 1970"))?;
        let code = EnrolmentCode::new(agent, expires, ca, secret).text();
        let invite = Invite {
            agent,
            tenant: self.acting.tenant,
            handle: self.handle.clone(),
            aan: fresh_aan(&self.aan_prefix)?,
            methods: self.methods.iter().copied().map(Method::from).collect(),
            code_key,
            not_after: code_ends,
        };
        let invitation = client.sign_until(&Operation::Invite(invite), code_ends)?;
        // The code is on disk before anybody knows of the agent, or it could be lost.
        if let Some(path) = &self.code_file {
            write_private(path, format!("{}\n", *code).as_bytes())?;
        }
        let body = json!({ "invitation": invitation, "name": self.name, "description": self.description });
        let created: Result<Value, CliError> = client.post("/v1/agents", &body).await;
        if created.is_err()
            && let Some(path) = &self.code_file
        {
            let _ = std::fs::remove_file(path); // the code of an agent that does not exist
        }
        let mut created = created?;
        if self.code_file.is_none() && output.is_json() {
            created["enrolment_code"] = json!(*code);
        }
        output.show(&created, || {
            let aan: Option<Aan> = created["aan"].as_str().and_then(|aan| aan.parse().ok());
            let ends = time::text(code_ends);
            let (shown, pass) = match &self.code_file {
                Some(path) => (format!("in {}, good until {ends}", path.display()), format!("--code-file {}", path.display())),
                None => (format!("good until {ends}: {}", *code), "--code-file -".to_owned()),
            };
            let facts = facts(&[
                ("agent", agent.to_string()),
                ("AAN", aan.map(|aan| aan.grouped()).unwrap_or_default()),
                ("code", shown),
            ]);
            format!(
                "invited {handle}\n{facts}\nnext, where the agent runs\n  tgp enrol {pass} --url {issuer} --dir {handle}\n\
                 and here, what it may do\n  tgp grant add {handle} TOOL --action ACTION\n",
                handle = self.handle,
                issuer = client.deployment.issuer,
            )
        })
    }
}

impl Named {
    async fn change(&self, verb: &str, became: &str, output: &Output) -> Result<(), CliError> {
        let client = OperatorClient::open(&self.acting.operator).await?;
        let id = uuid(&find(&client, self.acting.tenant, &self.agent).await?, "agent")?;
        let agent: Value = client.post(&format!("/v1/agents/{id}/{verb}"), &json!({})).await?;
        output.show(&agent, || format!("{} is {became}\n", self.agent))
    }

    async fn retire(&self, output: &Output) -> Result<(), CliError> {
        let client = OperatorClient::open(&self.acting.operator).await?;
        let found = find(&client, self.acting.tenant, &self.agent).await?;
        let (id, tenant) = (uuid(&found, "agent")?, uuid(&found, "tenant")?);
        let order = Revoke { tenant, kind: RecordKind::Agent, id: id.to_string() };
        let statement = client.sign(&Operation::Revoke(order))?;
        let agent: Value = client.post(&format!("/v1/agents/{id}/retire"), &json!({ "statement": statement })).await?;
        output.show(&agent, || format!("{} is retired: nothing brings it back\n", self.agent))
    }
}

async fn list(verb: &Plain, output: &Output) -> Result<(), CliError> {
    let agents: Value =
        OperatorClient::open(&verb.acting.operator).await?.get(&scoped("/v1/agents", verb.acting.tenant)).await?;
    output.show(&agents, || {
        let mut table = Table::new(&["HANDLE", "STATE", "AAN", "AGENT", "NAME"]);
        for agent in rows(&agents) {
            table.row([
                member(agent, "handle"),
                member(agent, "status"),
                grouped(agent),
                member(agent, "agent"),
                member(agent, "name"),
            ]);
        }
        if table.is_empty() {
            return "no agents yet\nnext: tgp agent create HANDLE --code-file code\n".to_owned();
        }
        format!("{}\n{}\n", table.text(), count(rows(&agents).len(), "agent"))
    })
}

fn text(agent: &Value) -> String {
    let head = format!("{} is {}\n", member(agent, "handle"), member(agent, "status"));
    head + &facts(&[
        ("agent", member(agent, "agent")),
        ("AAN", grouped(agent)),
        ("name", member(agent, "name")),
        ("description", member(agent, "description")),
        ("tenant", member(agent, "tenant")),
        ("key", member(agent, "keyid")),
        ("methods", joined(agent, "methods")),
        ("invited", date(agent, "created")),
        ("enrolled", date(agent, "enrolled")),
        ("frozen", date(agent, "frozen")),
        ("retired", date(agent, "retired")),
    ])
}

fn grouped(agent: &Value) -> String {
    let aan = member(agent, "aan");
    aan.parse::<Aan>().map_or(aan, |aan| aan.grouped())
}

/// The agent of that handle or UUID.
pub async fn find(client: &OperatorClient, tenant: Uuid, name: &str) -> Result<Value, CliError> {
    client.get(&scoped(&format!("/v1/agents/{}", escape(name)), tenant)).await
}

/// A number of its own: eleven random digits, without bias.
fn fresh_aan(prefix: &str) -> Result<Aan, CliError> {
    let mut digits = [0u8; 11];
    let mut filled = 0;
    while filled < digits.len() {
        for byte in random::<16>()? {
            // 250 is the largest multiple of ten in a byte: above it, low digits would be likelier.
            if byte < 250 && filled < digits.len() {
                digits[filled] = byte % 10;
                filled += 1;
            }
        }
    }
    Aan::from_random(prefix, digits).map_err(|e| CliError::usage(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_number_begins_with_the_issuers_digits() {
        let aan = fresh_aan("7284").unwrap();
        assert!(aan.as_str().starts_with("7284") && aan.as_str().len() == 16);
        assert_ne!(aan, fresh_aan("7284").unwrap());
        assert!(fresh_aan("72").is_err());
    }

    #[test]
    fn an_agent_reads_as_facts() {
        let agent = json!({ "agent": "0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d", "handle": "travel-bot", "status": "frozen",
            "aan": "7284019953310471", "created": 0, "frozen": 60, "name": null });
        assert_eq!(
            text(&agent),
            "travel-bot is frozen\n  agent    0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d\n  AAN      7284019953310471\n  \
             invited  1970-01-01 00:00:00Z\n  frozen   1970-01-01 00:01:00Z\n"
        );
    }
}
