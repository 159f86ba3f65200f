//! Grants: each is what a granter signed, sealed by the vault, with its facts in clear for the decision.

use serde_json::{Value, json};
use tgp_authority::{Operation, RecordKind};
use tgp_vault_client::wire::{GrantFacts, Revoke, SealedGrant, SetGrant, StatementText};
use uuid::Uuid;

use super::{
    Act, Answered, OneStatement, OperatorRoutes, created, malformed, ok, operation, other_statement, to_value,
};
use crate::refusal::{Code, Refusal};
use crate::store::Entry;
use crate::store::grant::{Grant, NewGrant};

impl OperatorRoutes {
    pub(super) async fn set_grant(&self, act: &Act) -> Answered {
        let gateway = &self.gateway;
        let OneStatement { statement } = act.body()?;
        let Operation::Grant(order) = operation(&statement)? else { return Err(other_statement("grant")) };
        act.may_see(order.tenant)?;
        // Told now, since the vault knows neither agents nor tools by itself.
        let tool = gateway.people.tool(order.tenant, order.tool.as_str()).await?;
        let tool = tool.ok_or_else(|| Refusal::new(Code::NotFound, "there is no such tool in this tenant"))?;
        if tool.resource != order.resource {
            return Err(malformed(&format!("the tool's resource is {}", tool.resource)));
        }
        let named = order.credential.as_ref().map_or("", |name| name.as_str());
        if !named.is_empty() && tool.credential(named).is_none() {
            return Err(Refusal::new(Code::NotFound, format!("the tool has no credential {named}")));
        }
        if gateway.people.agent(order.tenant, order.agent).await?.is_none() {
            return Err(Refusal::new(Code::NotFound, "there is no such agent in this tenant"));
        }
        let dek = self.dek(order.tenant, "record").await?;
        let set = || SetGrant { statement: StatementText::of(&statement), dek };
        let SealedGrant { record, facts } = gateway.vault.call(order.tenant, set).await?;
        let GrantFacts {
            grant,
            version,
            tenant,
            agent,
            tool,
            resource,
            actions,
            resources,
            not_before,
            not_after,
            granter: _,
            credential,
        } = facts;
        let row = NewGrant {
            id: grant,
            agent,
            tool,
            resource,
            actions,
            resources,
            not_before,
            not_after,
            statement_version: version,
            statement: to_value(&statement)?,
            record,
            credential: credential.unwrap_or_default(),
        };
        let mut change = gateway.people.change(tenant).await?;
        change.put_grant(&row).await?;
        let entry = Entry {
            agent: Some(agent),
            tool: Some(row.tool.clone()),
            grant: Some(grant),
            ..act.entry(tenant, "grant")
        };
        change.commit(&entry).await?;
        gateway.cache.forget(agent, &row.tool);
        let stored = gateway.people.grant(tenant, grant).await?.ok_or_else(unknown)?;
        Ok(created(&self.shown_grant(&stored).await?))
    }

    pub(super) async fn grants(&self, act: &Act) -> Answered {
        let tenant = act.tenant()?;
        let agent: Option<Uuid> = match act.parameter("agent") {
            None => None,
            Some(name) => match name.parse() {
                Ok(id) => Some(id),
                Err(_) => {
                    let agent = self.gateway.people.agent_by_handle(tenant, name).await?;
                    Some(agent.ok_or_else(|| Refusal::new(Code::NotFound, "there is no such agent in this tenant"))?.id)
                }
            },
        };
        let grants = self.gateway.people.grants(tenant, agent, act.parameter("tool")).await?;
        let mut shown = Vec::with_capacity(grants.len());
        for grant in &grants {
            shown.push(self.shown_grant(grant).await?);
        }
        Ok(ok(&json!({ "grants": shown })))
    }

    /// The vault raises the record's floor first: from then on nobody mints under this grant.
    pub(super) async fn revoke_grant(&self, act: &Act, id: &str) -> Answered {
        let gateway = &self.gateway;
        let id: Uuid = id.parse().map_err(|_| malformed("a grant is named by its UUID"))?;
        let OneStatement { statement } = act.body()?;
        let Operation::Revoke(order) = operation(&statement)? else { return Err(other_statement("revoke")) };
        if order.kind != RecordKind::Grant || order.id != id.to_string() {
            return Err(other_statement("the revocation of this grant"));
        }
        act.may_see(order.tenant)?;
        let grant = gateway.people.grant(order.tenant, id).await?.ok_or_else(unknown)?;
        if grant.revoked {
            return Err(Refusal::new(Code::Conflict, "the grant is revoked already"));
        }
        gateway.vault.ask(Revoke { statements: vec![StatementText::of(&statement)] }).await?;
        let mut change = gateway.people.change(order.tenant).await?;
        change.revoke_grant(id).await?;
        let entry = Entry {
            agent: Some(grant.agent),
            tool: Some(grant.tool.clone()),
            grant: Some(id),
            ..act.entry(order.tenant, "grant-revoke")
        };
        change.commit(&entry).await?;
        gateway.cache.forget(grant.agent, &grant.tool);
        let stored = gateway.people.grant(order.tenant, id).await?.ok_or_else(unknown)?;
        Ok(ok(&self.shown_grant(&stored).await?))
    }

    async fn shown_grant(&self, grant: &Grant) -> Result<Value, Refusal> {
        let handle = self.gateway.cache.agent(grant.agent).await?.map(|agent| agent.handle.clone());
        Ok(json!({
            "grant": grant.id,
            "tenant": grant.tenant,
            "agent": grant.agent,
            "handle": handle,
            "tool": grant.tool,
            "resource": grant.resource,
            "actions": grant.actions,
            "credential": grant.credential,
            "resources": grant.resources,
            "not_before": grant.not_before,
            "not_after": grant.not_after,
            "version": grant.statement_version,
            "status": if grant.revoked { "revoked" } else { "active" },
            "created": grant.created,
        }))
    }
}

fn unknown() -> Refusal {
    Refusal::new(Code::NotFound, "there is no such grant in this tenant")
}
