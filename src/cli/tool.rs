//! `tgp tool`: add, list, show, and hand in a credential.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};
use tgp_authority::{Credential, Operation, Placement, salted_secret_sha256, valid_origin};
use tgp_client::random;
use tgp_request::name::{ActionName, Slug};
use tgp_request::target::PathTemplate;

use super::client::{OperatorClient, base64url, joined, member, rows, scoped, uuid};
use super::context::ActingArgs;
use super::manifest::{self, Source};
use super::output::{Output, Table, count, facts};
use super::{CliError, block_on, catalogue, input};
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
}

#[derive(Args)]
struct Add {
    /// What agents call it by: lower case, digits and dashes
    slug: Slug,
    /// Where it is, http:// or https:// (stored sealed) [default: what the OpenAPI document says]
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
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

#[derive(Args)]
struct SetCredential {
    slug: Slug,
    #[command(flatten)]
    placement: PlacementArgs,
    /// The file that holds the secret (`user:password` for --basic), `-` for standard input;
    /// asked for when not given
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Where it may be sent [default: the tool's upstream]; may be repeated
    #[arg(long = "origin", value_name = "ORIGIN")]
    origins: Vec<String>,
    #[command(flatten)]
    acting: ActingArgs,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct PlacementArgs {
    /// As `Authorization: Bearer SECRET`
    #[arg(long)]
    bearer: bool,
    /// As a header field of this name
    #[arg(long, value_name = "NAME")]
    header: Option<String>,
    /// As `Authorization: Basic`, the secret being user:password
    #[arg(long)]
    basic: bool,
}

impl PlacementArgs {
    fn placement(&self) -> Result<Placement, CliError> {
        match &self.header {
            Some(name) => Placement::header(name).map_err(|e| CliError::usage(e.to_string())),
            None if self.basic => Ok(Placement::Basic),
            None => Ok(Placement::Bearer),
        }
    }
}

impl Tool {
    pub fn run(self, output: &Output) -> Result<(), CliError> {
        block_on(async {
            match self.verb {
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
        let Self { slug, upstream, source, allow_private, dry_run, acting } = self;
        if source.is_empty() {
            return Err(CliError::usage("what does it do?")
                .hint("name actions with --action, an OpenAPI document with --openapi, or a file with --manifest"));
        }
        let client = OperatorClient::open(&acting.operator).await?;
        let sourced = source.read(&client, &acting, None, None).await?;
        let import = &sourced.import;
        let upstream = upstream.or_else(|| import["upstream"].as_str().map(str::to_owned));
        if dry_run {
            let planned = manifest::planned(&slug, upstream.as_deref(), &sourced);
            let actions = count(sourced.manifest.actions.len(), "action");
            return output.show(&planned, || format!("{slug} would have {actions}\n{}", manifest::notes(import)));
        }
        let upstream =
            upstream.ok_or_else(|| CliError::usage("where is it?").hint("name its address with --upstream URL"))?;
        let body = json!({ "slug": slug, "tenant": acting.tenant, "upstream": upstream, "allow_private": allow_private, "manifest": sourced.manifest });
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
            format!(
                "added {slug}\n{}\n{}next\n  tgp tool credential {slug} {}\n  tgp grant add AGENT {slug} --action {}\n",
                facts(&[
                    ("resource", resource(&client, &slug)),
                    ("upstream", upstream.clone()),
                    ("from", if import.is_null() { String::new() } else { document.join(" ") }),
                    ("actions", if names.len() > MOST_NAMED { names.len().to_string() } else { names.join(" ") }),
                ]),
                match manifest::notes(import) {
                    notes if notes.is_empty() => notes,
                    notes => notes + "\n",
                },
                credential_flag(import),
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
        Some(("header", name)) if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') => {
            Some(format!("--header {name}"))
        }
        _ => None,
    };
    kinds.filter_map(flag).next().unwrap_or_else(|| "--bearer".to_owned())
}

impl SetCredential {
    async fn run(self, output: &Output) -> Result<(), CliError> {
        let placement = self.placement.placement()?;
        let secret = input::secret(self.secret_file.as_deref(), &format!("the secret of {}", self.slug))?;
        if placement == Placement::Basic && !secret.contains(':') {
            return Err(CliError::usage("the secret of basic authentication reads user:password"));
        }
        let client = OperatorClient::open(&self.acting.operator).await?;
        let slug = &self.slug;
        let tool: Value = client.get(&format!("/v1/tools/{slug}")).await?;
        let origins =
            if self.origins.is_empty() { vec![origin_of(&member(&tool, "upstream"))?] } else { self.origins.clone() };
        let version = credential_version(&tool) + 1;
        let salt = random::<16>()?;
        let order = Credential {
            tenant: uuid(&tool, "tenant")?,
            tool: slug.clone(),
            // Not the gateway's word for it: where agents call is fixed by issuer and slug.
            resource: resource(&client, slug),
            version,
            origins: origins.clone(),
            placement: placement.clone(),
            secret_sha256: salted_secret_sha256(&salt, secret.as_bytes()),
        };
        let statement = client.sign(&Operation::Credential(order))?;
        let body = Handover { statement: &statement, salt: base64url(&salt), secret: &secret };
        let _: Value = client.put(&format!("/v1/tools/{slug}/credential"), &body).await?;
        let shown = json!({ "tool": slug, "version": version, "origins": origins, "placement": placement });
        output.show(&shown, || {
            format!(
                "sealed the credential of {slug}; nobody can read it back\n{}",
                facts(&[
                    ("sent as", placement.to_string()),
                    ("sent to", origins.join(" ")),
                    ("version", version.to_string()),
                ])
            )
        })
    }
}

/// The body that carries the secret, once, to the vault.
#[derive(Serialize)]
struct Handover<'a> {
    statement: &'a tgp_authority::Signed,
    salt: String,
    secret: &'a str,
}

async fn list(acting: &ActingArgs, output: &Output) -> Result<(), CliError> {
    let tools: Value = OperatorClient::open(&acting.operator).await?.get(&scoped("/v1/tools", acting.tenant)).await?;
    output.show(&tools, || {
        let mut table = Table::new(&["TOOL", "ACTIONS", "CREDENTIAL", "UPSTREAM"]);
        for tool in rows(&tools) {
            let version = credential_version(tool);
            let credential = if version == 0 { "none".to_owned() } else { format!("version {version}") };
            table.row([member(tool, "slug"), member(tool, "actions"), credential, member(tool, "upstream")]);
        }
        if table.is_empty() {
            return "no tools yet\nnext: tgp tool add SLUG --upstream URL --action NAME='METHOD /path'\n".to_owned();
        }
        format!("{}\n{}\n", table.text(), count(rows(&tools).len(), "tool"))
    })
}

fn text(tool: &Value) -> String {
    let version = credential_version(tool);
    let mut actions = Table::new(&["ACTION", "METHOD", "PATH", "ON", ""]);
    for action in rows(&tool["actions"]) {
        let [name, method, path, resource] =
            ["name", "method", "path", "resource"].map(|column| member(action, column));
        let stream = if action["stream"] == true { "streams" } else { "" };
        actions.row([name, method, path, resource, stream.to_owned()]);
    }
    format!(
        "{}\n{}\n{}",
        member(tool, "slug"),
        facts(&[
            ("title", member(tool, "title")),
            ("resource", member(tool, "resource")),
            ("upstream", member(tool, "upstream")),
            ("public hosts", joined(tool, "public_hosts")),
            ("passes on", joined(tool, "headers")),
            ("private", if tool["allow_private"] == true { "allowed".to_owned() } else { String::new() }),
            ("credential", if version == 0 { "none".to_owned() } else { format!("version {version}") }),
            ("tenant", member(tool, "tenant")),
        ]),
        actions.text()
    )
}

fn resource(client: &OperatorClient, slug: &Slug) -> String {
    format!("{}/t/{slug}", client.deployment.issuer)
}

/// The version of the credential that a tool has; 0 for none.
fn credential_version(tool: &Value) -> u32 {
    let version = tool["credential"]["version"].as_u64().or(tool["credential_version"].as_u64());
    version.and_then(|version| u32::try_from(version).ok()).unwrap_or(0)
}

/// Scheme, host and port of an upstream's URL.
fn origin_of(upstream: &str) -> Result<String, CliError> {
    let after = upstream.find("://").map(|at| at + 3).unwrap_or(0);
    let end = upstream[after..].find(['/', '?', '#']).map_or(upstream.len(), |at| after + at);
    let origin = &upstream[..end];
    let plain = match origin.strip_prefix("https://") {
        Some(_) => origin.strip_suffix(":443").unwrap_or(origin),
        None => origin.strip_suffix(":80").unwrap_or(origin),
    };
    if !valid_origin(plain) {
        return Err(CliError::failed(format!("{upstream:?} has no plain origin"))
            .hint("name one with --origin https://host[:port]"));
    }
    Ok(plain.to_owned())
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

    #[test]
    fn a_credential_goes_by_default_to_the_upstreams_origin_alone() {
        assert_eq!(origin_of("http://127.0.0.1:8480").unwrap(), "http://127.0.0.1:8480");
        assert_eq!(origin_of("https://api.example:443/v1?x=/").unwrap(), "https://api.example");
        assert_eq!(origin_of("http://[::1]:8080/v1").unwrap(), "http://[::1]:8080");
        assert_eq!(origin_of("http://api.example:80").unwrap(), "http://api.example");
        for bad in ["", "api.example", "https://user@api.example", "ftp://api.example"] {
            assert!(origin_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_credentials_version_is_found_and_counts_from_nothing() {
        assert_eq!(credential_version(&json!({ "credential": null })), 0);
        assert_eq!(credential_version(&json!({ "credential": { "version": 3 } })), 3);
        assert_eq!(credential_version(&json!({ "credential_version": 2 })), 2);
    }
}
