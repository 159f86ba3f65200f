//! `tgp tool key`: what a tool logs in to the gateway with. Made here and shown once; the gateway gets its digest.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tgp_client::{random, write_private};
use tgp_request::VerifierKey;
use tgp_request::name::Slug;
use uuid::Uuid;

use super::CliError;
use super::client::{OperatorClient, base64url, date, member, rows};
use super::context::OperatorArgs;
use super::output::{Output, Table, count, facts};
use super::time::Span;

#[derive(Args)]
pub struct Key {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make one more key for a tool
    Issue {
        #[command(flatten)]
        new: New,
    },
    /// Make a new key and let the tool's others end
    Rotate {
        #[command(flatten)]
        new: New,
        /// How long the others stay good, at most 30d
        #[arg(long, value_name = "TIME", default_value = "24h")]
        overlap: Span,
    },
    /// List a tool's keys
    List {
        slug: Slug,
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// End a key: the tool's next question with it is refused
    Revoke {
        slug: Slug,
        /// The key's UUID, as `list` shows it
        key: Uuid,
        #[command(flatten)]
        operator: OperatorArgs,
    },
}

#[derive(Args)]
struct New {
    slug: Slug,
    /// Write the key to this new file instead of showing it
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    #[command(flatten)]
    operator: OperatorArgs,
}

impl Key {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        match self.verb {
            Verb::Issue { new } => new.make(None, output).await,
            Verb::Rotate { new, overlap } => new.make(Some(overlap), output).await,
            Verb::List { slug, operator } => list(&slug, &operator, output).await,
            Verb::Revoke { slug, key, operator } => {
                let client = OperatorClient::open(&operator).await?;
                let ended: Value = client.post(&format!("/v1/tools/{slug}/keys/{key}/revoke"), &json!({})).await?;
                output.show(&ended, || format!("ended {key}: the next question with it is refused\n"))
            }
        }
    }
}

impl New {
    async fn make(self, overlap: Option<Span>, output: &Output) -> Result<(), CliError> {
        let Self { slug, key_file, operator } = self;
        let client = OperatorClient::open(&operator).await?;
        let key = VerifierKey::new(random::<32>()?);
        let text = key.expose_text();
        // The key is on disk before the gateway knows of it, or it could be lost.
        if let Some(path) = &key_file {
            write_private(path, format!("{}\n", *text).as_bytes())?;
        }
        let body = json!({ "digest": base64url(&key.digest()), "overlap_s": overlap.map(|span| span.0) });
        let made: Result<Value, CliError> = client.post(&format!("/v1/tools/{slug}/keys"), &body).await;
        if made.is_err()
            && let Some(path) = &key_file
        {
            let _ = std::fs::remove_file(path); // a key that the gateway does not know
        }
        let mut made = made?;
        if key_file.is_none() && output.is_json() {
            made["verifier_key"] = json!(*text);
        }
        output.show(&made, || {
            let shown = key_file.as_deref().map_or_else(|| text.to_string(), |path: &Path| format!("in {}", path.display()));
            let others = match overlap {
                Some(Span(seconds)) => format!("the tool's others end in {seconds} s\n"),
                None => String::new(),
            };
            format!(
                "made a verifier key of {slug}; nobody can show it again\n{}{others}next: the tool asks with it at {}/v1/verify\n",
                facts(&[("key", member(&made, "key")), ("secret", shown)]),
                client.deployment.issuer,
            )
        })
    }
}

async fn list(slug: &Slug, operator: &OperatorArgs, output: &Output) -> Result<(), CliError> {
    let keys: Value = OperatorClient::open(operator).await?.get(&format!("/v1/tools/{slug}/keys")).await?;
    output.show(&keys, || {
        let mut table = Table::new(&["KEY", "STATE", "CREATED", "UNTIL"]);
        for key in rows(&keys) {
            let state = match (&key["ended"], &key["ends"]) {
                (Value::Bool(true), _) => "ended",
                (_, Value::Null) => "good",
                _ => "ending",
            };
            table.row([member(key, "key"), state.to_owned(), date(key, "created"), date(key, "ends")]);
        }
        if table.is_empty() {
            return format!("{slug} has no verifier key\nnext: tgp tool key issue {slug}\n");
        }
        format!("{}\n{}\n", table.text(), count(rows(&keys).len(), "key"))
    })
}
