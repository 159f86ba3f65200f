//! `tgp audit tail`: what was decided, and how it ended.

use std::collections::HashMap;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;
use uuid::Uuid;

use super::client::{OperatorClient, member, rows, scoped};
use super::context::ActingArgs;
use super::output::{Output, clean};
use super::{CliError, block_on, time};

/// Between two questions for what is new.
const POLL: Duration = Duration::from_millis(1000);
/// Rows in one answer.
const PAGE: u32 = 1000;

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
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(..=i64::from(PAGE)))]
    lines: u32,
    /// Begin after this record instead
    #[arg(long, value_name = "ID")]
    after: Option<i64>,
    #[command(flatten)]
    acting: ActingArgs,
}

impl Audit {
    pub fn run(self, output: &Output) -> Result<(), CliError> {
        let Verb::Tail(tail) = self.verb;
        block_on(tail.run(output))
    }
}

impl Tail {
    async fn run(self, output: &Output) -> Result<(), CliError> {
        let client = OperatorClient::open(&self.acting.operator).await?;
        let mut after = self.after.unwrap_or(0);
        let mut batch = match self.after {
            Some(_) => self.page(&client, Some(after), PAGE).await?,
            None => self.page(&client, None, self.lines.max(1)).await?,
        };
        if self.after.is_none() && self.lines == 0 {
            // None to begin with; the newest only says where to go on.
            after = batch.drain(..).filter_map(|row| row["id"].as_i64()).max().unwrap_or(0);
        }
        let mut handles = Handles::default();
        loop {
            if !output.is_json() && !self.outcomes && !batch.iter().all(|row| handles.knows(row)) {
                handles.load(&client, self.acting.tenant).await;
            }
            for row in &batch {
                after = after.max(row["id"].as_i64().unwrap_or(after));
                output.record(row, || if self.outcomes { outcome(row) } else { verdict(row, &handles) })?;
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
        let page: Value = client.get(&scoped(&format!("{what}?{after}limit={limit}"), self.acting.tenant)).await?;
        let mut rows = rows(&page).to_vec();
        rows.sort_by_key(|row| row["id"].as_i64());
        Ok(rows)
    }
}

/// Agents' handles by their ids, so that people need not compare UUIDs.
#[derive(Default)]
struct Handles(HashMap<String, String>);

impl Handles {
    async fn load(&mut self, client: &OperatorClient, tenant: Uuid) {
        // Only for show: who may read the audit and not the agents reads ids.
        let Ok(agents) = client.get::<Value>(&scoped("/v1/agents", tenant)).await else { return };
        self.0 = rows(&agents).iter().map(|agent| (member(agent, "agent"), member(agent, "handle"))).collect();
    }

    fn knows(&self, row: &Value) -> bool {
        row["agent"].as_str().is_none_or(|id| self.0.contains_key(id))
    }

    /// The agent of a record: its handle where it is known.
    fn of(&self, row: &Value) -> String {
        let id = member(row, "agent");
        self.0.get(&id).cloned().unwrap_or(id)
    }
}

/// `    12  2026-11-25 08:30:00Z  allow               call       travel-bot  mail:send`
fn verdict(row: &Value, handles: &Handles) -> String {
    let (tool, action, agent) = (member(row, "tool"), member(row, "action"), handles.of(row));
    let scope = match (tool.as_str(), action.as_str()) {
        ("", action) => action.to_owned(),
        (tool, "") => tool.to_owned(),
        // A token may be for several actions.
        (tool, actions) => actions.split(' ').map(|action| format!("{tool}:{action}")).collect::<Vec<_>>().join(" "),
    };
    let operator: String = member(row, "operator").chars().take(8).collect();
    let (who, what) = if operator.is_empty() {
        (agent, scope)
    } else {
        let parts = [member(&row["detail"], "act"), agent, scope];
        let what = parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(" ");
        (format!("operator {operator}"), what)
    };
    line(
        row,
        &format!("{:<19} {:<10} {:<18} {}", member(row, "verdict"), member(row, "kind"), clean(&who), clean(&what)),
    )
}

/// `     3  2026-11-25 08:30:00Z  200  20 bytes  8b890028-…`
fn outcome(row: &Value) -> String {
    let bytes = row["bytes"].as_i64().map(|bytes| format!("{bytes} bytes")).unwrap_or_default();
    let rest = format!(
        "{:<4} {bytes:<15} {}  {}",
        member(row, "status"),
        member(row, "request_id"),
        clean(&member(row, "error"))
    );
    line(row, &rest)
}

fn line(row: &Value, rest: &str) -> String {
    let at = row["at"].as_i64().map(time::text).unwrap_or_default();
    format!("{}\n", format!("{:>6}  {at}  {rest}", member(row, "id")).trim_end())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const AGENT: &str = "0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d";

    fn handles() -> Handles {
        Handles(HashMap::from([(AGENT.to_owned(), "travel-bot".to_owned())]))
    }

    #[test]
    fn records_read_as_aligned_lines() {
        let call = json!({ "id": 7, "at": 0, "verdict": "agent-frozen", "kind": "call", "tool": "mail", "action": "send",
            "agent": AGENT, "operator": null });
        let grant = json!({ "id": 12, "at": 0, "verdict": "allow", "kind": "operator", "tool": "mail", "agent": AGENT,
            "operator": "21fea710-4018-4d41-9736-01477ebce6ca", "detail": { "act": "grant" } });
        assert_eq!(
            verdict(&call, &handles()) + &verdict(&grant, &handles()),
            "     7  1970-01-01 00:00:00Z  agent-frozen        call       travel-bot         mail:send\n    \
             12  1970-01-01 00:00:00Z  allow               operator   operator 21fea710  grant travel-bot mail\n"
        );
        assert!(verdict(&call, &Handles::default()).contains(AGENT), "an unknown agent keeps its id");
    }

    #[test]
    fn a_record_cannot_break_out_of_its_line() {
        let row = json!({ "id": 1, "at": 0, "status": 200, "bytes": 3, "request_id": "r", "error": "a\nb" });
        assert_eq!(outcome(&row), "     1  1970-01-01 00:00:00Z  200  3 bytes         r  a\u{fffd}b\n");
    }
}
