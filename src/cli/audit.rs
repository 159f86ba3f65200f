//! `tgp audit tail`: what was decided, and how it ended.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::{OperatorClient, member, rows};
use super::context::OperatorArgs;
use super::output::{Output, clean};
use super::{CliError, block_on, time};

/// Between two questions for what is new.
const POLL: Duration = Duration::from_millis(1000);
/// Rows in one answer.
const PAGE: u32 = 500;

#[derive(Args)]
pub struct Audit {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Show the last records, oldest first
    Tail(Tail),
}

#[derive(Args)]
struct Tail {
    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,
    /// How forwarded requests ended, instead of what was decided
    #[arg(long)]
    outcomes: bool,
    /// How many records to begin with
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    lines: usize,
    /// Begin after this record instead
    #[arg(long, value_name = "ID")]
    after: Option<i64>,
    #[command(flatten)]
    operator: OperatorArgs,
}

impl Audit {
    pub fn run(self, output: &Output) -> Result<(), CliError> {
        let Verb::Tail(tail) = self.verb;
        block_on(tail.run(output))
    }
}

impl Tail {
    async fn run(self, output: &Output) -> Result<(), CliError> {
        let client = OperatorClient::open(&self.operator).await?;
        let mut after = self.after.unwrap_or(0);
        let first = match self.after {
            Some(_) => self.page(&client, Some(after), PAGE).await?,
            None => self.page(&client, None, u32::try_from(self.lines).unwrap_or(PAGE).min(PAGE)).await?,
        };
        let mut batch = first;
        loop {
            for row in &batch {
                after = after.max(row["id"].as_i64().unwrap_or(after));
                output.record(row, || if self.outcomes { outcome(row) } else { verdict(row) })?;
            }
            let may_be_more = self.after.is_some() && batch.len() == PAGE as usize;
            if !self.follow && !may_be_more {
                return Ok(());
            }
            if batch.is_empty() {
                tokio::time::sleep(POLL).await;
            }
            batch = self.page(&client, Some(after), PAGE).await?;
        }
    }

    /// Rows after a record, or the newest ones; oldest first either way.
    async fn page(&self, client: &OperatorClient, after: Option<i64>, limit: u32) -> Result<Vec<Value>, CliError> {
        let what = if self.outcomes { "/v1/audit/outcomes" } else { "/v1/audit" };
        let after = after.map(|id| format!("after={id}&")).unwrap_or_default();
        let page: Value = client.get(&format!("{what}?{after}limit={limit}")).await?;
        let mut rows = rows(&page).to_vec();
        rows.sort_by_key(|row| row["id"].as_i64());
        Ok(rows)
    }
}

/// `12  2026-11-25 08:30:00Z  allow  call  mail:send  agent …`
fn verdict(row: &Value) -> String {
    let scope = match (member(row, "tool"), member(row, "action")) {
        (tool, action) if tool.is_empty() => action,
        (tool, action) if action.is_empty() => tool,
        (tool, action) => format!("{tool}:{action}"),
    };
    let who = ["agent", "operator"].into_iter().find(|who| !row[*who].is_null());
    let who = who.map(|who| format!("{who} {}", member(row, who))).unwrap_or_default();
    line(row, &[member(row, "verdict"), member(row, "kind"), scope, who, act(row)])
}

/// What an operator did, from the record's detail.
fn act(row: &Value) -> String {
    ["act", "op", "operation"]
        .into_iter()
        .map(|name| member(&row["detail"], name))
        .find(|act| !act.is_empty())
        .unwrap_or_default()
}

fn outcome(row: &Value) -> String {
    let bytes = row["bytes"].as_i64().map(|bytes| format!("{bytes} bytes")).unwrap_or_default();
    line(row, &[member(row, "status"), bytes, member(row, "error"), member(row, "request_id")])
}

fn line(row: &Value, parts: &[String]) -> String {
    let at = ["at", "time", "created"].into_iter().find_map(|name| row[name].as_i64().map(time::text));
    let at = at.or_else(|| row["at"].as_str().map(str::to_owned)).unwrap_or_default();
    let parts: Vec<_> =
        [member(row, "id"), at].iter().chain(parts).filter(|part| !part.is_empty()).map(|part| clean(part)).collect();
    format!("{}\n", parts.join("  "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_verdict_reads_as_one_line() {
        let row = json!({ "id": 7, "at": 0, "verdict": "agent-frozen", "kind": "call", "tool": "mail", "action": "send",
            "agent": "0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d", "operator": null });
        assert_eq!(
            verdict(&row),
            "7  1970-01-01 00:00:00Z  agent-frozen  call  mail:send  agent 0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d\n"
        );
        let act = json!({ "id": 8, "at": 0, "verdict": "allow", "kind": "operator", "operator": "o", "detail": { "act": "freeze" } });
        assert_eq!(verdict(&act), "8  1970-01-01 00:00:00Z  allow  operator  operator o  freeze\n");
    }

    #[test]
    fn a_record_cannot_break_out_of_its_line() {
        let row = json!({ "id": 1, "at": 0, "status": 200, "bytes": 3, "error": "a\nb" });
        assert_eq!(outcome(&row), "1  1970-01-01 00:00:00Z  200  3 bytes  a\u{fffd}b\n");
    }
}
