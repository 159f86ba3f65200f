//! `tgp tool`: add, list, show; [`super::credential`] hands in what a tool's upstream wants.

use std::str::FromStr;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tgp_request::name::{ActionName, Slug};
use tgp_request::target::PathTemplate;

use super::client::{OperatorClient, joined, member, rows, scoped};
use super::context::ActingArgs;
use super::credential::{self, SetCredential};
use super::manifest::{self, Source};
use super::output::{Output, Table, count, facts};
use super::{CliError, block_on, catalogue, tool_key};
use crate::manifest::ManifestAction;

/// More than these are counted.
const MOST_NAMED: usize = 12;

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
        /// The whole manifest in JSON, schemas too; `tgp tool update --manifest` takes it back
        #[arg(long)]
        manifest: bool,
        #[command(flatten)]
        acting: ActingArgs,
    },
    /// Change what a tool does and what agents are told of it; grants stay
    Update(manifest::Update),
    /// As an agent: look for what can be done, in all tools
    Search(catalogue::Search),
    /// Hand in what the tool's upstream wants; nobody can read it back
    Credential(SetCredential),
    /// What the tool itself logs in to the gateway with
    Key(tool_key::Key),
}

#[derive(Args)]
struct Add {
    /// What agents call it by: lower case, digits and dashes
    slug: Slug,
    /// Where it is, http:// or https:// (stored sealed) [default: what the OpenAPI document says]
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// For a tool that asks the gateway by itself: the URL below which it is called
    #[arg(long, value_name = "URL")]
    resource: Option<String>,
    #[command(flatten)]
    source: Source,
    /// Let it be at a private address
    #[arg(long)]
    allow_private: bool,
    /// Show what would be added, and add nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    acting: ActingArgs,
}

/// `send=POST /messages`, `read=GET /repos/{owner}/{repo} on {owner}/{repo}`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    name: ActionName,
    method: String,
    path: String,
    resource: Option<String>,
}

impl Action {
    pub fn in_manifest(&self) -> ManifestAction {
        let Self { name, method, path, resource } = self.clone();
        let (name, none) = (name.to_string(), String::new());
        let (title, description) = (none.clone(), none);
        ManifestAction { name, method, path, resource, stream: false, title, description, request: None }
    }
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
                Verb::Show { slug, manifest: true, acting } => manifest::show(&slug, &acting, output).await,
                Verb::Update(verb) => verb.run(output).await,
                Verb::Search(verb) => verb.run(output).await,
                Verb::Show { slug, manifest: false, acting } => {
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
        let Self { slug, upstream, resource, source, allow_private, dry_run, acting } = self;
        if source.is_empty() {
            return Err(CliError::usage("what does it do?")
                .hint("name actions with --action, an OpenAPI document with --openapi, or a file with --manifest"));
        }
        let client = OperatorClient::open(&acting.operator).await?;
        let sourced = source.read(&client, &acting, None, None).await?;
        let import = &sourced.import;
        // A tool that asks by itself is where it is called, whatever a document says of servers.
        let documented = || import["upstream"].as_str().map(str::to_owned);
        let upstream = upstream.or_else(|| resource.clone()).or_else(documented);
        if dry_run {
            let planned = manifest::planned(&slug, upstream.as_deref(), resource.as_deref(), &sourced);
            let actions = count(sourced.manifest.actions.len(), "action");
            return output.show(&planned, || format!("{slug} would have {actions}\n{}", manifest::notes(import)));
        }
        let upstream =
            upstream.ok_or_else(|| CliError::usage("where is it?").hint("name its address with --upstream URL"))?;
        let body = json!({
            "slug": slug, "tenant": acting.tenant, "upstream": upstream, "resource": resource,
            "allow_private": allow_private, "manifest": sourced.manifest,
        });
        let mut tool: Value = client.post("/v1/tools", &body).await?;
        if !import.is_null() {
            tool["notes"] = import["notes"].clone();
        }
        output.show(&tool, || {
            let names: Vec<&str> = sourced.manifest.actions.iter().map(|action| action.name.as_str()).collect();
            let document = ["title", "version"].map(|name| match name {
                "title" => sourced.manifest.title.clone(),
                name => member(import, name),
            });
            let (next, place) = match &resource {
                Some(resource) => (format!("key issue {slug}"), format!(" --resource {resource}")),
                None => (format!("credential {slug} {}", credential_flag(import)), String::new()),
            };
            format!(
                "added {slug}\n{}\n{}next\n  tgp tool {next}\n  tgp grant add AGENT {slug} --action {}{place}\n",
                facts(&[
                    ("resource", member(&tool, "resource")),
                    ("upstream", upstream.clone()),
                    ("from", if import.is_null() { String::new() } else { document.join(" ") }),
                    ("actions", if names.len() > MOST_NAMED { names.len().to_string() } else { names.join(" ") }),
                ]),
                match manifest::notes(import) {
                    notes if notes.is_empty() => notes,
                    notes => notes + "\n",
                },
                names[0],
            )
        })
    }
}

/// What the document says that its tool wants, as far as there is a flag for it.
fn credential_flag(import: &Value) -> String {
    let kinds = import["credentials"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let flag = |kind: &str| match kind.split_once(' ') {
        None if matches!(kind, "bearer" | "basic") => Some(format!("--{kind}")),
        Some((place @ ("header" | "query"), name))
            if name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) =>
        {
            Some(format!("--{place} {name}"))
        }
        _ => None,
    };
    kinds.filter_map(flag).next().unwrap_or_else(|| "--bearer".to_owned())
}

async fn list(acting: &ActingArgs, output: &Output) -> Result<(), CliError> {
    let tools: Value = OperatorClient::open(&acting.operator).await?.get(&scoped("/v1/tools", acting.tenant)).await?;
    output.show(&tools, || {
        let mut table = Table::new(&["TOOL", "ACTIONS", "CREDENTIALS", "UPSTREAM"]);
        for tool in rows(&tools) {
            table.row([
                member(tool, "slug"),
                member(tool, "actions"),
                credential::brief(tool),
                member(tool, "upstream"),
            ]);
        }
        if table.is_empty() {
            return "no tools yet\nnext: tgp tool add SLUG --upstream URL --action NAME='METHOD /path'\n".to_owned();
        }
        format!("{}\n{}\n", table.text(), count(rows(&tools).len(), "tool"))
    })
}

fn text(tool: &Value) -> String {
    let mut actions = Table::new(&["ACTION", "METHOD", "PATH", "ON", ""]);
    for action in rows(&tool["actions"]) {
        let [name, method, path, resource] =
            ["name", "method", "path", "resource"].map(|column| member(action, column));
        let stream = if action["stream"] == true { "streams" } else { "" };
        actions.row([name, method, path, resource, stream.to_owned()]);
    }
    format!(
        "{}\n{}\n{}\n{}",
        member(tool, "slug"),
        facts(&[
            ("title", member(tool, "title")),
            ("resource", member(tool, "resource")),
            ("upstream", member(tool, "upstream")),
            ("public hosts", joined(tool, "public_hosts")),
            ("passes on", joined(tool, "headers")),
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
