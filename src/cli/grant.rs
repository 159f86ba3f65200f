//! `tgp grant`: what an agent may do, each signed by a granter.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tgp_authority::{ActionPattern, Grant as GrantOrder, Operation, RecordKind, Revoke};
use tgp_client::unix_now;
use tgp_request::name::{ResourcePattern, Slug};
use uuid::Uuid;

use super::client::{OperatorClient, date, escape, joined, member, rows, scoped, uuid};
use super::context::ActingArgs;
use super::output::{Output, Table, count, facts};
use super::time::Span;
use super::{CliError, agent, block_on, time};

/// Validity begins a little in the past: the gateway's clock may be behind this one.
const CLOCK_DIFFERENCE: i64 = 60;

#[derive(Args)]
pub struct Grant {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Let an agent take actions at a tool
    Add(Add),
    /// List grants
    List(List),
    /// Withdraw a grant: the next call under it is refused
    Revoke {
        /// The grant's UUID
        grant: Uuid,
        #[command(flatten)]
        acting: ActingArgs,
    },
}

#[derive(Args)]
struct Add {
    /// Handle or UUID
    agent: String,
    tool: Slug,
    /// An action, or a pattern in which `*` stands for anything; may be repeated
    #[arg(long = "action", value_name = "PATTERN", required = true)]
    actions: Vec<ActionPattern>,
    /// The tool's own URL, where it is not called through the gateway
    #[arg(long, value_name = "URL")]
    resource: Option<String>,
    /// Which of the tool's credentials is used under it [default: the unnamed one]
    #[arg(long, value_name = "NAME")]
    credential: Option<Slug>,
    /// On which resources of the tool, `octocat/hello`; `*` is one segment, `**` at the end all that follows; may be
    /// repeated [default: all]
    #[arg(long = "on", value_name = "PATTERN")]
    resources: Vec<ResourcePattern>,
    /// How long it is good
    #[arg(long = "for", value_name = "TIME", default_value = "30d")]
    lifetime: Span,
    #[command(flatten)]
    acting: ActingArgs,
}

#[derive(Args)]
struct List {
    /// Only this agent's (handle or UUID)
    #[arg(long)]
    agent: Option<String>,
    /// Only at this tool
    #[arg(long)]
    tool: Option<Slug>,
    #[command(flatten)]
    acting: ActingArgs,
}

impl Grant {
    pub fn run(self, output: &Output) -> Result<(), CliError> {
        block_on(async {
            match self.verb {
                Verb::Add(verb) => verb.run(output).await,
                Verb::List(verb) => verb.run(output).await,
                Verb::Revoke { grant, acting } => revoke(grant, &acting, output).await,
            }
        })
    }
}

impl Add {
    async fn run(self, output: &Output) -> Result<(), CliError> {
        let client = OperatorClient::open(&self.acting.operator).await?;
        let found = agent::find(&client, self.acting.tenant, &self.agent).await?;
        let now = unix_now();
        let not_after = now + self.lifetime.0;
        let mut actions = self.actions.clone();
        actions.sort();
        actions.dedup();
        let mut resources = self.resources.clone();
        resources.sort();
        resources.dedup();
        let order = GrantOrder {
            grant: Uuid::new_v4(),
            version: 1,
            tenant: uuid(&found, "tenant")?,
            agent: uuid(&found, "agent")?,
            tool: self.tool.clone(),
            // Not the gateway's word for it: what is granted is what the granter knows the tool by.
            resource: self.resource.clone().unwrap_or_else(|| format!("{}/t/{}", client.deployment.issuer, self.tool)),
            actions,
            resources,
            not_before: now - CLOCK_DIFFERENCE,
            not_after,
            credential: self.credential.clone(),
        };
        let statement = client.sign(&Operation::Grant(order.clone()))?;
        let grant: Value = client.post("/v1/grants", &json!({ "statement": statement })).await?;
        output.show(&grant, || {
            let patterns: Vec<_> = order.actions.iter().map(ActionPattern::as_str).collect();
            format!(
                "granted\n{}\nnext, as the agent\n  tgp call {} {} --agent DIR\n",
                facts(&[
                    ("agent", format!("{} ({})", member(&found, "handle"), order.agent)),
                    ("tool", order.tool.to_string()),
                    ("actions", patterns.join(" ")),
                    ("credential", order.credential.as_ref().map(ToString::to_string).unwrap_or_default()),
                    ("on", order.resources.iter().map(ResourcePattern::as_str).collect::<Vec<_>>().join(" ")),
                    ("until", time::text(not_after)),
                    ("grant", order.grant.to_string()),
                ]),
                order.tool,
                patterns.iter().find(|pattern| !pattern.contains('*')).unwrap_or(&"ACTION"),
            )
        })
    }
}

impl List {
    async fn run(self, output: &Output) -> Result<(), CliError> {
        let client = OperatorClient::open(&self.acting.operator).await?;
        let mut query = Vec::new();
        if let Some(name) = &self.agent {
            query.push(format!(
                "agent={}",
                escape(&member(&agent::find(&client, self.acting.tenant, name).await?, "agent"))
            ));
        }
        if let Some(tool) = &self.tool {
            query.push(format!("tool={tool}"));
        }
        let path = if query.is_empty() { "/v1/grants".to_owned() } else { format!("/v1/grants?{}", query.join("&")) };
        let grants: Value = client.get(&scoped(&path, self.acting.tenant)).await?;
        output.show(&grants, || {
            let mut table = Table::new(&["AGENT", "TOOL", "ACTIONS", "ON", "STATE", "UNTIL", "GRANT"]);
            for grant in rows(&grants) {
                table.row([
                    Some(member(grant, "handle"))
                        .filter(|handle| !handle.is_empty())
                        .unwrap_or_else(|| member(grant, "agent")),
                    member(grant, "tool"),
                    joined(grant, "actions"),
                    Some(joined(grant, "resources")).filter(|on| !on.is_empty()).unwrap_or_else(|| "all".to_owned()),
                    state(grant, unix_now()).to_owned(),
                    date(grant, "not_after"),
                    member(grant, "grant"),
                ]);
            }
            if table.is_empty() {
                return "no grants\nnext: tgp grant add AGENT TOOL --action ACTION\n".to_owned();
            }
            format!("{}\n{}\n", table.text(), count(rows(&grants).len(), "grant"))
        })
    }
}

fn state(grant: &Value, now: i64) -> &'static str {
    let bound = |name: &str| grant[name].as_i64();
    match () {
        () if grant["revoked"] == true || grant["status"] == "revoked" => "revoked",
        () if bound("not_after").is_some_and(|end| now >= end) => "ended",
        () if bound("not_before").is_some_and(|begin| now < begin) => "not yet",
        () => "active",
    }
}

async fn revoke(grant: Uuid, acting: &ActingArgs, output: &Output) -> Result<(), CliError> {
    let client = OperatorClient::open(&acting.operator).await?;
    let grants: Value = client.get(&scoped("/v1/grants", acting.tenant)).await?;
    let id = grant.to_string();
    let found = rows(&grants).iter().find(|row| row["grant"] == id.as_str());
    let found = found
        .ok_or_else(|| CliError::failed(format!("there is no grant {grant}")).hint("`tgp grant list` shows them"))?;
    let order = Revoke { tenant: uuid(found, "tenant")?, kind: RecordKind::Grant, id };
    let statement = client.sign(&Operation::Revoke(order))?;
    let revoked: Value = client.post(&format!("/v1/grants/{grant}/revoke"), &json!({ "statement": statement })).await?;
    output.show(&revoked, || format!("revoked {grant}: the next call under it is refused\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grants_state_is_what_holds_now() {
        let grant = json!({ "not_before": 10, "not_after": 20, "status": "active" });
        for (now, expected) in [(9, "not yet"), (10, "active"), (19, "active"), (20, "ended")] {
            assert_eq!(state(&grant, now), expected);
        }
        assert_eq!(state(&json!({ "not_before": 10, "not_after": 20, "revoked": true }), 15), "revoked");
    }
}
