//! Grants: what a granter signed, and the same facts in clear.

use serde_json::Value;
use uuid::Uuid;

use super::agent::found;
use super::sealed::{signed, unsigned};
use super::{Change, Conflict, Store, StoreError};

#[derive(Clone, Debug)]
pub struct NewGrant {
    pub id: Uuid,
    pub agent: Uuid,
    pub tool: String,
    pub resource: String,
    /// Patterns, as signed.
    pub actions: Vec<String>,
    /// Patterns over what is touched inside the tool, as signed.
    pub resources: Vec<String>,
    /// Unix seconds, as signed.
    pub not_before: i64,
    pub not_after: i64,
    /// The version number in the statement.
    pub statement_version: u32,
    /// `{statement, signature}`
    pub statement: Value,
    /// The vault's sealed record of it.
    pub record: Vec<u8>,
    /// The name of the tool's credential that is used under it, as signed; empty for the unnamed one.
    pub credential: String,
}

#[derive(Clone, Debug)]
pub struct Grant {
    pub id: Uuid,
    pub tenant: Uuid,
    pub agent: Uuid,
    pub tool: String,
    pub resource: String,
    pub actions: Vec<String>,
    pub resources: Vec<String>,
    pub not_before: i64,
    pub not_after: i64,
    pub revoked: bool,
    /// What admission compares.
    pub version: i64,
    pub statement_version: u32,
    pub statement: Value,
    pub record: Vec<u8>,
    /// The name of the tool's credential that is used under it; empty for the unnamed one.
    pub credential: String,
    /// Unix seconds.
    pub created: i64,
}

struct Row {
    id: Uuid,
    tenant: Uuid,
    agent: Uuid,
    tool: String,
    resource: String,
    actions: Vec<String>,
    resources: Vec<String>,
    not_before: i64,
    not_after: i64,
    status: String,
    version: i64,
    statement_version: i32,
    statement: Value,
    record: Vec<u8>,
    credential: String,
    created: i64,
}

impl From<Row> for Grant {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            tenant: row.tenant,
            agent: row.agent,
            tool: row.tool,
            resource: row.resource,
            actions: row.actions,
            resources: row.resources,
            not_before: row.not_before,
            not_after: row.not_after,
            revoked: row.status != "active",
            version: row.version,
            statement_version: unsigned(row.statement_version),
            statement: row.statement,
            record: row.record,
            credential: row.credential,
            created: row.created,
        }
    }
}

impl Store {
    pub async fn grant(&self, tenant: Uuid, id: Uuid) -> Result<Option<Grant>, StoreError> {
        Ok(self.grants_where(tenant, Some(id), None, None).await?.pop())
    }

    /// Revoked ones too, the oldest first.
    pub async fn grants(
        &self,
        tenant: Uuid,
        agent: Option<Uuid>,
        tool: Option<&str>,
    ) -> Result<Vec<Grant>, StoreError> {
        self.grants_where(tenant, None, agent, tool).await
    }

    async fn grants_where(
        &self,
        tenant: Uuid,
        id: Option<Uuid>,
        agent: Option<Uuid>,
        tool: Option<&str>,
    ) -> Result<Vec<Grant>, StoreError> {
        let mut tx = self.scope(tenant).await?;
        let rows = sqlx::query_as!(
            Row,
            r#"select id, tenant, agent, tool, resource, actions, resources, not_before, not_after, status, version,
                      statement_version, statement, record, credential, extract(epoch from created)::bigint as "created!"
               from "grant"
               where tenant = $1 and ($2::uuid is null or id = $2) and ($3::uuid is null or agent = $3)
                 and ($4::text is null or tool = $4)
               order by created, id"#,
            tenant,
            id,
            agent,
            tool
        )
        .fetch_all(&mut *tx)
        .await?;
        Ok(rows.into_iter().map(Grant::from).collect())
    }
}

impl Change {
    /// Adds a grant, or puts a newer statement about the same agent and tool in its place.
    pub async fn put_grant(&mut self, grant: &NewGrant) -> Result<(), StoreError> {
        let done = sqlx::query!(
            r#"insert into "grant" (id, tenant, agent, tool, resource, actions, resources, not_before, not_after,
                                    statement_version, statement, record, credential)
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
               on conflict (id) do update
               set resource = excluded.resource, actions = excluded.actions, resources = excluded.resources,
                   not_before = excluded.not_before, not_after = excluded.not_after,
                   statement_version = excluded.statement_version, statement = excluded.statement,
                   record = excluded.record, credential = excluded.credential
               where "grant".agent = excluded.agent and "grant".tool = excluded.tool"#,
            grant.id,
            self.tenant,
            grant.agent,
            grant.tool,
            grant.resource,
            &grant.actions,
            &grant.resources,
            grant.not_before,
            grant.not_after,
            signed(grant.statement_version)?,
            grant.statement,
            grant.record,
            grant.credential
        )
        .execute(&mut *self.tx)
        .await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::Conflict(Conflict::GrantTaken));
        }
        Ok(())
    }

    pub async fn revoke_grant(&mut self, id: Uuid) -> Result<(), StoreError> {
        let done =
            sqlx::query!(r#"update "grant" set status = 'revoked' where id = $1"#, id).execute(&mut *self.tx).await?;
        found(done.rows_affected())
    }
}
