//! The audit, read back. Reading it is not an act: whoever follows it would else write it.

use serde_json::{Value, json};

use super::{Act, Answered, OperatorRoutes, ok};
use crate::refusal::Refusal;
use crate::store::audit::{Ending, Verdict};

const PAGE: u32 = 1000;

impl OperatorRoutes {
    /// After a record, oldest first; or the newest ones.
    pub(super) async fn audit(&self, act: &Act) -> Answered {
        let (tenant, limit) = (act.tenant()?, limit(act)?);
        let store = &self.gateway.people;
        let records = match act.number("after")? {
            Some(after) => store.verdicts(tenant, after, limit).await?,
            None => store.last_verdicts(tenant, limit).await?,
        };
        Ok(ok(&json!({ "records": records.iter().map(verdict).collect::<Vec<_>>() })))
    }

    pub(super) async fn outcomes(&self, act: &Act) -> Answered {
        let (tenant, limit) = (act.tenant()?, limit(act)?);
        let store = &self.gateway.people;
        let outcomes = match act.number("after")? {
            Some(after) => store.endings(tenant, after, limit).await?,
            None => store.last_endings(tenant, limit).await?,
        };
        Ok(ok(&json!({ "outcomes": outcomes.iter().map(ending).collect::<Vec<_>>() })))
    }
}

fn limit(act: &Act) -> Result<u32, Refusal> {
    Ok(act.number("limit")?.and_then(|n| u32::try_from(n).ok()).unwrap_or(100).clamp(1, PAGE))
}

fn verdict(row: &Verdict) -> Value {
    json!({
        "id": row.id,
        "at": row.at / 1000,
        "at_ms": row.at,
        "request_id": row.request_id,
        "kind": row.kind,
        "verdict": if row.code == "allowed" { "allow" } else { row.code.as_str() },
        "tenant": row.tenant,
        "agent": row.agent,
        "agent_version": row.agent_version,
        "operator": row.operator,
        "tool": row.tool,
        "tool_version": row.tool_version,
        "grant": row.grant,
        "grant_version": row.grant_version,
        "action": row.action,
        "method": row.method,
        "target_sha256": row.target_sha256.as_deref().map(hex),
        "jti": row.jti,
        "detail": row.detail,
    })
}

fn ending(row: &Ending) -> Value {
    json!({
        "id": row.id,
        "at": row.at / 1000,
        "at_ms": row.at,
        "request_id": row.request_id,
        "status": row.status,
        "bytes": row.bytes,
        "sha256": row.sha256.as_deref().map(hex),
        "error": row.error,
        "masked": row.masked,
    })
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
