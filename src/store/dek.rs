//! Data encryption keys, wrapped: only the vault's token can unwrap them.

use serde_json::Value;
use uuid::Uuid;

use super::{Change, Store, StoreError};

#[derive(Clone, Debug)]
pub struct Dek {
    pub id: Uuid,
    pub tenant: Uuid,
    /// `record` or `metadata`.
    pub purpose: String,
    pub wrapped: Vec<u8>,
    /// `{statement, signature}` that asked for it.
    pub statement: Value,
    /// Unix seconds.
    pub created: i64,
}

impl Store {
    pub async fn dek(&self, tenant: Uuid, id: Uuid) -> Result<Option<Dek>, StoreError> {
        Ok(self.deks_where(tenant, Some(id), None).await?.pop())
    }

    /// The newest first.
    pub async fn deks(&self, tenant: Uuid) -> Result<Vec<Dek>, StoreError> {
        self.deks_where(tenant, None, None).await
    }

    /// The one that new values are sealed under.
    pub async fn newest_dek(&self, tenant: Uuid, purpose: &str) -> Result<Option<Dek>, StoreError> {
        Ok(self.deks_where(tenant, None, Some(purpose)).await?.into_iter().next())
    }

    async fn deks_where(&self, tenant: Uuid, id: Option<Uuid>, purpose: Option<&str>) -> Result<Vec<Dek>, StoreError> {
        let mut tx = self.scope(tenant).await?;
        Ok(sqlx::query_as!(
            Dek,
            r#"select id, tenant, purpose, wrapped, statement, extract(epoch from created)::bigint as "created!"
               from dek
               where tenant = $1 and ($2::uuid is null or id = $2) and ($3::text is null or purpose = $3)
               order by dek.created desc, id"#,
            tenant,
            id,
            purpose
        )
        .fetch_all(&mut *tx)
        .await?)
    }
}

impl Change {
    pub async fn insert_dek(
        &mut self,
        id: Uuid,
        purpose: &str,
        wrapped: &[u8],
        statement: &Value,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into dek (id, tenant, purpose, wrapped, statement) values ($1, $2, $3, $4, $5)",
            id,
            self.tenant,
            purpose,
            wrapped,
            statement
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}
