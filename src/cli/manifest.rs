//! `tgp tool update`, and where the manifest of a tool comes from: actions named one by one, an OpenAPI document, a file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use serde_json::{Value, json};
use tgp_request::name::{ActionName, Slug};

use super::client::{OperatorClient, escape, joined, member, rows};
use super::context::ActingArgs;
use super::output::{Output, Table, clean, count};
use super::tool::Action;
use super::{CliError, fetch, input};
use crate::manifest::ToolManifest;
use crate::openapi::LONGEST_DOCUMENT;

/// Said on one line of the terminal.
const LONGEST_LINE: usize = 160;

#[derive(Args)]
pub struct Source {
    /// What it does: NAME='METHOD /path/{parameter}'; may be repeated
    #[arg(long = "action", value_name = "ACTION")]
    actions: Vec<Action>,
    /// What an OpenAPI document says that it does: a file, `-` or a URL
    #[arg(long, value_name = "FILE|URL", conflicts_with = "actions")]
    openapi: Option<String>,
    /// A whole manifest in JSON, as `tgp tool show --manifest` prints it; `-` for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["actions", "openapi"])]
    manifest: Option<PathBuf>,
    /// What people call it
    #[arg(long)]
    title: Option<String>,
    /// What it is for
    #[arg(long)]
    description: Option<String>,
    /// A host at which its users know it; agents see it
    #[arg(long = "public-host", value_name = "HOST")]
    public_hosts: Vec<String>,
    /// A header field of the agents' that goes to it beside the usual ones; may be repeated
    #[arg(long = "pass-header", value_name = "NAME")]
    headers: Vec<String>,
    /// Pass on bodies of this action as they come, where they are too large to be read whole; may be repeated
    #[arg(long = "stream", value_name = "ACTION")]
    streams: Vec<ActionName>,
}

/// A manifest, and what was found on the way to it.
pub struct Sourced {
    pub manifest: ToolManifest,
    /// What the gateway made of a document, if one was named.
    pub import: Value,
}

impl Source {
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty() && self.openapi.is_none() && self.manifest.is_none()
    }

    /// The manifest; where no source of actions is named, `current` is what is changed.
    pub async fn read(
        &self,
        client: &OperatorClient,
        acting: &ActingArgs,
        slug: Option<&Slug>,
        current: Option<ToolManifest>,
    ) -> Result<Sourced, CliError> {
        let mut import = Value::Null;
        let mut manifest = if let Some(place) = &self.openapi {
            let mut path = format!("/v1/openapi?tenant={}", acting.tenant);
            if let Some(slug) = slug {
                let _ = write!(path, "&tool={}", escape(slug.as_str()));
            }
            import = client.post_octets(&path, document(place).await?).await?;
            parse(import["manifest"].take())?
        } else if let Some(path) = &self.manifest {
            let text = input::octets(path, LONGEST_DOCUMENT as u64)?;
            serde_json::from_slice(&text).map_err(|error| CliError::usage(format!("{}: {error}", path.display())))?
        } else {
            current.unwrap_or_default()
        };
        if !self.actions.is_empty() {
            manifest.actions = self.actions.iter().map(Action::in_manifest).collect();
        }
        self.adjust(&mut manifest)?;
        Ok(Sourced { manifest, import })
    }

    fn adjust(&self, manifest: &mut ToolManifest) -> Result<(), CliError> {
        let Self { actions: _, openapi: _, manifest: _, title, description, public_hosts, headers, streams } = self;
        for (text, member) in [(title, &mut manifest.title), (description, &mut manifest.description)] {
            if let Some(text) = text {
                member.clone_from(text);
            }
        }
        for (named, members) in [(public_hosts, &mut manifest.public_hosts), (headers, &mut manifest.headers)] {
            members.extend(named.iter().map(|name| name.to_ascii_lowercase()));
            members.sort();
            members.dedup();
        }
        for name in streams {
            let action = manifest.actions.iter_mut().find(|action| action.name == name.as_str());
            action.ok_or_else(|| CliError::usage(format!("--stream {name}: the tool has no such action")))?.stream =
                true;
        }
        Ok(())
    }
}

async fn document(place: &str) -> Result<Bytes, CliError> {
    if place.starts_with("https://") || place.starts_with("http://") {
        return fetch::fetch(place, LONGEST_DOCUMENT).await;
    }
    Ok(Bytes::copy_from_slice(&input::octets(Path::new(place), LONGEST_DOCUMENT as u64)?))
}

fn parse(manifest: Value) -> Result<ToolManifest, CliError> {
    serde_json::from_value(manifest).map_err(|e| CliError::failed(format!("the gateway's answer makes no sense: {e}")))
}

/// What of a document was not taken as it is, one line each.
pub fn notes(import: &Value) -> String {
    let notes = rows(&import["notes"]);
    if notes.is_empty() {
        return String::new();
    }
    let mut text = format!("{} of what the document says\n", count(notes.len(), "note"));
    for note in notes {
        let line = clean(&format!("{}: {}", member(note, "at"), member(note, "note")));
        let _ = writeln!(text, "  {}", line.chars().take(2 * LONGEST_LINE).collect::<String>());
    }
    text
}

#[derive(Args)]
pub struct Update {
    slug: Slug,
    #[command(flatten)]
    source: Source,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    acting: ActingArgs,
}

impl Update {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let client = OperatorClient::open(&self.acting.operator).await?;
        let path = format!("/v1/tools/{}/manifest", self.slug);
        let mut current: Value = client.get(&path).await?;
        let version = current["version"].as_i64().unwrap_or_default();
        let before = parse(current["manifest"].take())?;
        let Sourced { manifest, import } =
            self.source.read(&client, &self.acting, Some(&self.slug), Some(before)).await?;
        let query = format!("{path}?version={version}&dry_run={}", self.dry_run);
        let mut told: Value = client.put(&query, &manifest).await?;
        if !import.is_null() {
            told["notes"] = import["notes"].clone();
        }
        output.show(&told, || format!("{}{}{}", diff(&told), grants(&told), notes(&import)))
    }
}

fn diff(told: &Value) -> String {
    let diff = &told["diff"];
    let of = |kind: &str| rows_of(&diff[kind]);
    let (added, removed, changed) = (of("added"), of("removed"), of("changed"));
    let tool = member(told, "tool");
    let about = joined(diff, "about");
    if added.is_empty() && removed.is_empty() && changed.is_empty() && about.is_empty() {
        return format!("{tool} stays as it is\n");
    }
    let done = if told["applied"] == true { "" } else { " (nothing was changed yet)" };
    let mut text = format!(
        "{tool}: {} added, {} removed, {} changed{done}\n",
        count(added.len(), "action"),
        removed.len(),
        changed.len()
    );
    if !about.is_empty() {
        let _ = writeln!(text, "  ~ the tool's {}", about.replace(' ', ", "));
    }
    let mut table = Table::headless();
    for (sign, list) in [("+", added), ("-", removed)] {
        for one in list {
            let route = format!("{} {}", member(one, "method"), member(one, "path"));
            table.row([format!("  {sign}"), member(one, "name"), route]);
        }
    }
    for one in changed {
        let what = match one["before"].as_str() {
            Some(before) => format!("was {before}, is {} {}", member(one, "method"), member(one, "path")),
            None => joined(one, "differs").replace(' ', ", "),
        };
        table.row(["  ~".to_owned(), member(one, "name"), what]);
    }
    text + &table.text()
}

/// Grants stay as they were signed; what they now open may be another thing.
fn grants(told: &Value) -> String {
    let touched = rows_of(&told["grants"]);
    if touched.is_empty() {
        return String::new();
    }
    let mut text = format!("{} whose actions these are; each stays as it was signed\n", count(touched.len(), "grant"));
    for grant in touched {
        let _ = writeln!(text, "  {} {}", member(grant, "grant"), member(grant, "handle"));
        for (member, says) in [
            ("loses", "no longer there"),
            ("moves", "now other requests"),
            ("gains", "new, and covered by its pattern"),
        ] {
            let names = joined(grant, member);
            if !names.is_empty() {
                let _ = writeln!(text, "    {says}: {}", clean(&names).chars().take(LONGEST_LINE).collect::<String>());
            }
        }
    }
    text
}

fn rows_of(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// `tgp tool show --manifest`.
pub async fn show(slug: &Slug, acting: &ActingArgs, output: &Output) -> Result<(), CliError> {
    let client = OperatorClient::open(&acting.operator).await?;
    let mut told: Value = client.get(&format!("/v1/tools/{slug}/manifest")).await?;
    let manifest = told["manifest"].take();
    output.show(&manifest, || serde_json::to_string_pretty(&manifest).unwrap_or_default() + "\n")
}

/// What adding a tool would do.
pub fn planned(slug: &Slug, upstream: Option<&str>, resource: Option<&str>, sourced: &Sourced) -> Value {
    let (manifest, notes) = (&sourced.manifest, &sourced.import["notes"]);
    json!({ "slug": slug, "upstream": upstream, "resource": resource, "manifest": manifest, "notes": notes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_is_told_line_by_line_and_grants_that_it_touches_after_it() {
        let told = json!({
            "tool": "mail", "applied": false,
            "diff": {
                "about": ["title"],
                "added": [{ "name": "post", "method": "POST", "path": "/letters" }],
                "removed": [{ "name": "send", "method": "POST", "path": "/messages" }],
                "changed": [
                    { "name": "read", "method": "GET", "path": "/letters/{id}", "differs": ["path"], "before": "GET /messages/{id}" },
                    { "name": "list", "method": "GET", "path": "/letters", "differs": ["title", "request"] },
                ],
            },
            "grants": [{ "grant": "7b0e", "handle": "travel-bot", "loses": ["send"], "moves": ["read"], "gains": [] }],
        });
        assert_eq!(
            diff(&told),
            "mail: 1 action added, 1 removed, 2 changed (nothing was changed yet)\n  ~ the tool's title\n  \
             +  post  POST /letters\n  -  send  POST /messages\n  \
             ~  read  was GET /messages/{id}, is GET /letters/{id}\n  ~  list  title, request\n"
        );
        assert_eq!(
            grants(&told),
            "1 grant whose actions these are; each stays as it was signed\n  7b0e travel-bot\n    \
             no longer there: send\n    now other requests: read\n"
        );
        let none = json!({ "tool": "mail", "applied": false, "diff": { "about": [], "added": [], "removed": [], "changed": [] } });
        assert_eq!(diff(&none), "mail stays as it is\n");
    }
}
