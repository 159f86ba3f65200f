//! Agents and their identity keys.

use serde_json::Value;
use uuid::Uuid;

use super::sealed::{signed, unsigned};
use super::{Change, Conflict, Sealed, Store, StoreError};

/// Where an agent is in its life: `invited`, `active`, `frozen` or `retired`, as the column has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Invited,
    Active,
    Frozen,
    Retired,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invited => "invited",
            Self::Active => "active",
            Self::Frozen => "frozen",
            Self::Retired => "retired",
        }
    }

    fn parse(text: &str) -> Result<Self, StoreError> {
        [Self::Invited, Self::Active, Self::Frozen, Self::Retired]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| StoreError::Bug(format!("an agent's status is {text:?}")))
    }
}

/// An agent as invited.
#[derive(Clone, Debug)]
pub struct NewAgent {
    pub id: Uuid,
    pub handle: String,
    /// Sixteen digits.
    pub aan: String,
    /// `{statement, signature}` as the inviter signed it.
    pub invitation: Value,
    pub name: Option<Sealed>,
    /// Blind index of the name.
    pub name_index: Option<[u8; 32]>,
    pub description: Option<Sealed>,
}

/// What enrolment adds: the identity key, and the record that the vault sealed.
#[derive(Clone, Debug)]
pub struct Enrolment {
    pub keyid: String,
    pub jwk: Value,
    pub record: Vec<u8>,
    pub record_version: u32,
}

#[derive(Clone, Debug)]
pub struct Agent {
    pub id: Uuid,
    pub tenant: Uuid,
    pub handle: String,
    pub aan: String,
    pub status: Status,
    /// What admission compares.
    pub version: i64,
    /// Absent until enrolment, as are `jwk` and `record`.
    pub keyid: Option<String>,
    pub jwk: Option<Value>,
    pub invitation: Value,
    pub record: Option<Vec<u8>>,
    pub record_version: u32,
    pub name: Option<Sealed>,
    pub description: Option<Sealed>,
    /// Unix seconds, by the database's clock, as are the next three.
    pub created: i64,
    pub enrolled: Option<i64>,
    pub frozen: Option<i64>,
    pub retired: Option<i64>,
}

struct Row {
    id: Uuid,
    tenant: Uuid,
    handle: String,
    aan: String,
    status: String,
    version: i64,
    keyid: Option<String>,
    jwk: Option<Value>,
    invitation: Value,
    record: Option<Vec<u8>>,
    record_version: i32,
    name_sealed: Option<Vec<u8>>,
    name_version: i32,
    description_sealed: Option<Vec<u8>>,
    description_version: i32,
    created: i64,
    enrolled: Option<i64>,
    frozen: Option<i64>,
    retired: Option<i64>,
}

impl TryFrom<Row> for Agent {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            tenant: row.tenant,
            handle: row.handle,
            aan: row.aan,
            status: Status::parse(&row.status)?,
            version: row.version,
            keyid: row.keyid,
            jwk: row.jwk,
            invitation: row.invitation,
            record: row.record,
            record_version: unsigned(row.record_version),
            name: Sealed::from_columns(row.name_sealed, row.name_version),
            description: Sealed::from_columns(row.description_sealed, row.description_version),
            created: row.created,
            enrolled: row.enrolled,
            frozen: row.frozen,
            retired: row.retired,
        })
    }
}

impl Store {
    pub async fn agent(&self, tenant: Uuid, id: Uuid) -> Result<Option<Agent>, StoreError> {
        self.agent_where(tenant, Some(id), None).await
    }

    pub async fn agent_by_handle(&self, tenant: Uuid, handle: &str) -> Result<Option<Agent>, StoreError> {
        self.agent_where(tenant, None, Some(handle)).await
    }

    async fn agent_where(
        &self,
        tenant: Uuid,
        id: Option<Uuid>,
        handle: Option<&str>,
    ) -> Result<Option<Agent>, StoreError> {
        let mut tx = self.scope(tenant).await?;
        let row = sqlx::query_as!(
            Row,
            r#"select id, tenant, handle, aan, status, version, keyid, jwk, invitation, record, record_version,
                      name_sealed, name_version, description_sealed, description_version,
                      extract(epoch from created)::bigint as "created!", extract(epoch from enrolled)::bigint as enrolled,
                      extract(epoch from frozen)::bigint as frozen, extract(epoch from retired)::bigint as retired
               from agent where id = $1 or (tenant = $2 and handle = $3)"#,
            id,
            tenant,
            handle
        )
        .fetch_optional(&mut *tx)
        .await?;
        row.map(Agent::try_from).transpose()
    }

    /// By handle, from the one after `after`.
    pub async fn agents(&self, tenant: Uuid, after: Option<&str>, limit: u32) -> Result<Vec<Agent>, StoreError> {
        let mut tx = self.scope(tenant).await?;
        let rows = sqlx::query_as!(
            Row,
            r#"select id, tenant, handle, aan, status, version, keyid, jwk, invitation, record, record_version,
                      name_sealed, name_version, description_sealed, description_version,
                      extract(epoch from created)::bigint as "created!", extract(epoch from enrolled)::bigint as enrolled,
                      extract(epoch from frozen)::bigint as frozen, extract(epoch from retired)::bigint as retired
               from agent where tenant = $1 and handle > $2 order by handle limit $3"#,
            tenant,
            after.unwrap_or_default(),
            i64::from(limit)
        )
        .fetch_all(&mut *tx)
        .await?;
        rows.into_iter().map(Agent::try_from).collect()
    }

    /// Those of `agents`, of any tenant, that may not act, and why; one that is gone counts as retired.
    pub async fn stopped_agents(&self, agents: &[Uuid]) -> Result<Vec<(Uuid, Status)>, StoreError> {
        let rows = sqlx::query!(r#"select agent as "agent!", status from stopped_agents($1)"#, agents)
            .fetch_all(&mut *self.connection().await?)
            .await?;
        let status = |text: Option<String>| text.map_or(Ok(Status::Retired), |text| Status::parse(&text));
        rows.into_iter().map(|row| Ok((row.agent, status(row.status)?))).collect()
    }

    /// The agents whose name has this blind index.
    pub async fn agents_named(&self, tenant: Uuid, index: &[u8; 32]) -> Result<Vec<Uuid>, StoreError> {
        let mut tx = self.scope(tenant).await?;
        Ok(sqlx::query_scalar!(
            "select id from agent where tenant = $1 and name_index = $2 order by handle",
            tenant,
            &index[..]
        )
        .fetch_all(&mut *tx)
        .await?)
    }
}

impl Change {
    /// Adds an invited agent and takes its number for ever.
    pub async fn insert_agent(&mut self, agent: &NewAgent) -> Result<(), StoreError> {
        let (name, description) = (agent.name.as_ref(), agent.description.as_ref());
        sqlx::query!(
            "insert into agent (id, tenant, handle, aan, invitation, name_sealed, name_version, name_index,
                                description_sealed, description_version)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            agent.id,
            self.tenant,
            agent.handle,
            agent.aan,
            agent.invitation,
            name.map(|sealed| &sealed.bytes[..]),
            signed(name.map_or(0, |sealed| sealed.version))?,
            agent.name_index.as_ref().map(|index| &index[..]),
            description.map(|sealed| &sealed.bytes[..]),
            signed(description.map_or(0, |sealed| sealed.version))?,
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Makes an invited agent active with its key and record, or repeats that with the same key.
    pub async fn enrol_agent(&mut self, id: Uuid, enrolment: &Enrolment) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into agent_key (tenant, agent, keyid, jwk) values ($1, $2, $3, $4) on conflict do nothing",
            self.tenant,
            id,
            enrolment.keyid,
            enrolment.jwk
        )
        .execute(&mut *self.tx)
        .await?;
        // Whether the key row was there already is told by whose it is.
        let owner = sqlx::query_scalar!("select agent from agent_key where keyid = $1", enrolment.keyid)
            .fetch_optional(&mut *self.tx)
            .await?;
        if owner != Some(id) {
            return Err(StoreError::Conflict(Conflict::KeyTaken));
        }
        let done = sqlx::query!(
            "update agent set status = case status when 'invited' then 'active' else status end,
                              keyid = $2, jwk = $3, record = $4, record_version = $5
             where id = $1 and (keyid is null or keyid = $2)",
            id,
            enrolment.keyid,
            enrolment.jwk,
            enrolment.record,
            signed(enrolment.record_version)?
        )
        .execute(&mut *self.tx)
        .await?;
        found(done.rows_affected())
    }

    /// Freezes, unfreezes or retires; what was decided before this commits is not admitted after it.
    pub async fn set_agent_status(&mut self, id: Uuid, status: Status) -> Result<(), StoreError> {
        let done = sqlx::query!("update agent set status = $2 where id = $1", id, status.as_str())
            .execute(&mut *self.tx)
            .await?;
        found(done.rows_affected())
    }

    /// A name and a description, sealed anew; no decision depends on them.
    pub async fn set_agent_description(
        &mut self,
        id: Uuid,
        name: Option<&Sealed>,
        name_index: Option<&[u8; 32]>,
        description: Option<&Sealed>,
    ) -> Result<(), StoreError> {
        let done = sqlx::query!(
            "update agent set name_sealed = $2, name_version = $3, name_index = $4,
                              description_sealed = $5, description_version = $6
             where id = $1",
            id,
            name.map(|sealed| &sealed.bytes[..]),
            signed(name.map_or(0, |sealed| sealed.version))?,
            name_index.map(|index| &index[..]),
            description.map(|sealed| &sealed.bytes[..]),
            signed(description.map_or(0, |sealed| sealed.version))?,
        )
        .execute(&mut *self.tx)
        .await?;
        found(done.rows_affected())
    }
}

/// An update that met no row in this tenant.
pub(crate) fn found(rows: u64) -> Result<(), StoreError> {
    if rows == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}
