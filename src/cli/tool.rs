//! `tgp tool`: add, list, show; [`super::credential`] hands in what a tool's upstream wants.

use std::str::FromStr;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};
use tgp_request::name::{ActionName, Slug};
use tgp_request::target::PathTemplate;

use super::client::{OperatorClient, member, rows, scoped};
use super::context::ActingArgs;
use super::credential::{self, SetCredential};
use super::output::{Output, Table, count, facts};
use super::{CliError, block_on, tool_key};

#[derive(Args)]
pub struct Tool {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Put a tool behind the gateway
    Add(Add),
    /// List the tools
    List {
        #[command(flatten)]
        acting: ActingArgs,
    },
    /// Show a tool and its actions
    Show {
        slug: Slug,
        #[command(flatten)]
        acting: ActingArgs,
    },
    /// Hand in what the tool's upstream wants; nobody can read it back
    Credential(SetCredential),
    /// What the tool itself logs in to the gateway with
    Key(tool_key::Key),
}

#[derive(Args)]
struct Add {
    /// What agents call it by: lower case, digits and dashes
    slug: Slug,
    /// Where it is, http:// or https:// (stored sealed)
    #[arg(long, value_name = "URL", required_unless_present = "resource")]
    upstream: Option<String>,
    /// For a tool that asks the gateway by itself: the URL below which it is called
    #[arg(long, value_name = "URL")]
    resource: Option<String>,
    /// What it does: NAME='METHOD /path/{parameter}', and what that touches: ' on {parameter}'; may be repeated
    #[arg(long = "action", value_name = "ACTION", required = true)]
    actions: Vec<Action>,
    /// Let it be at a private address
    #[arg(long)]
    allow_private: bool,
    #[command(flatten)]
    acting: ActingArgs,
}

/// `send=POST /messages`, `read=GET /repos/{owner}/{repo} on {owner}/{repo}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Action {
    name: ActionName,
    method: String,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
}

impl FromStr for Action {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "an action reads NAME=METHOD /path, for example 'read=GET /messages/{id}'".to_owned();
        let (name, route) = text.split_once('=').ok_or_else(form)?;
        let (method, path) = route.split_once(' ').ok_or_else(form)?;
        let name = name.parse().map_err(|e| format!("{e}"))?;
        if method.is_empty() || !method.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(format!("{method:?} is not a method: methods are written in capitals"));
        }
        let (path, resource) = match path.split_once(" on ") {
            Some((path, resource)) => (path, Some(resource.trim().to_owned())),
            None => (path, None),
        };
        let path: PathTemplate = path.trim().parse().map_err(|e| format!("{e}"))?;
        Ok(Self { name, method: method.to_owned(), path: path.as_str().to_owned(), resource })
    }
}

/// For `crate::fuzzing`.
pub(crate) fn action(text: &str) -> Option<crate::store::tool::Action> {
    let Action { name, method, path, resource } = text.parse().ok()?;
    Some(crate::store::tool::Action { name: name.to_string(), method, template: path, stream: false, resource })
}

impl Tool {
    pub fn run(self, output: &Output) -> Result<(), CliError> {
        block_on(async {
            match self.verb {
                Verb::Key(verb) => verb.run(output).await,
                Verb::Add(verb) => verb.run(output).await,
                Verb::List { acting } => list(&acting, output).await,
                Verb::Show { slug, acting } => {
                    let tool: Value =
                        OperatorClient::open(&acting.operator).await?.get(&format!("/v1/tools/{slug}")).await?;
                    output.show(&tool, || text(&tool))
                }
                Verb::Credential(verb) => verb.run(output).await,
            }
        })
    }
}

impl Add {
    async fn run(self, output: &Output) -> Result<(), CliError> {
        let client = OperatorClient::open(&self.acting.operator).await?;
        let Self { slug, upstream, resource, actions, allow_private, acting } = self;
        // A tool that asks by itself is where it is called.
        let upstream = upstream.or_else(|| resource.clone()).unwrap_or_default();
        let body = json!({
            "slug": slug, "tenant": acting.tenant, "upstream": upstream, "resource": resource,
            "allow_private": allow_private, "actions": actions,
        });
        let tool: Value = client.post("/v1/tools", &body).await?;
        output.show(&tool, || {
            let (next, place) = match &resource {
                Some(resource) => (format!("key issue {slug}"), format!(" --resource {resource}")),
                None => (format!("credential {slug} --bearer"), String::new()),
            };
            format!(
                "added {slug}\n{}\nnext\n  tgp tool {next}\n  tgp grant add AGENT {slug} --action {}{place}\n",
                facts(&[
                    ("resource", member(&tool, "resource")),
                    ("upstream", upstream.clone()),
                    ("actions", actions.iter().map(|action| action.name.to_string()).collect::<Vec<_>>().join(" ")),
                ]),
                actions[0].name,
            )
        })
    }
}

async fn list(acting: &ActingArgs, output: &Output) -> Result<(), CliError> {
    let tools: Value = OperatorClient::open(&acting.operator).await?.get(&scoped("/v1/tools", acting.tenant)).await?;
    output.show(&tools, || {
        let mut table = Table::new(&["TOOL", "ACTIONS", "CREDENTIALS", "UPSTREAM"]);
        for tool in rows(&tools) {
            let actions =
                rows(&tool["actions"]).iter().map(|action| member(action, "name")).collect::<Vec<_>>().join(" ");
            table.row([member(tool, "slug"), actions, credential::brief(tool), member(tool, "upstream")]);
        }
        if table.is_empty() {
            return "no tools yet\nnext: tgp tool add SLUG --upstream URL --action NAME='METHOD /path'\n".to_owned();
        }
        format!("{}\n{}\n", table.text(), count(rows(&tools).len(), "tool"))
    })
}

fn text(tool: &Value) -> String {
    let mut actions = Table::new(&["ACTION", "METHOD", "PATH", "ON"]);
    for action in rows(&tool["actions"]) {
        actions.row(["name", "method", "path", "resource"].map(|column| member(action, column)));
    }
    format!(
        "{}\n{}\n{}\n{}",
        member(tool, "slug"),
        facts(&[
            ("resource", member(tool, "resource")),
            ("upstream", member(tool, "upstream")),
            ("private", if tool["allow_private"] == true { "allowed".to_owned() } else { String::new() }),
            ("tenant", member(tool, "tenant")),
        ]),
        credential::table(tool),
        actions.text()
    )
}

pub(super) fn resource(client: &OperatorClient, slug: &Slug) -> String {
    format!("{}/t/{slug}", client.deployment.issuer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_a_name_a_method_and_a_path() {
        let action: Action = "read=GET /messages/{id}".parse().unwrap();
        assert_eq!(
            (action.name.as_str(), action.method.as_str(), action.path.as_str()),
            ("read", "GET", "/messages/{id}")
        );
        let touching: Action = "read=GET /repos/{owner}/{repo} on {owner}/{repo}".parse().unwrap();
        assert_eq!(
            (touching.path.as_str(), touching.resource.as_deref()),
            ("/repos/{owner}/{repo}", Some("{owner}/{repo}"))
        );
        for bad in ["read", "read=GET", "read=get /x", "=GET /x", "read=GET x", "read=GET /x/{", "re ad=GET /x"] {
            assert!(bad.parse::<Action>().is_err(), "{bad}");
        }
    }
}
