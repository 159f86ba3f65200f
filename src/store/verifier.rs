//! Verifier keys: which tool a key speaks for, and until when.

use uuid::Uuid;

use super::agent::found;
use super::{Change, Store, StoreError};

/// Keys of one tool that are good at a time.
pub const MOST: i64 = 16;

/// A key as operators see it.
#[derive(Clone, Debug)]
pub struct VerifierKeyRow {
    pub id: Uuid,
    /// Unix seconds.
    pub created: i64,
    /// From then on it is no key.
    pub ends: Option<i64>,
    pub ended: bool,
}

/// Whom a key speaks for.
#[derive(Clone, Debug)]
pub struct Verifier {
    /// The key's own id.
    pub key: Uuid,
    pub tenant: Uuid,
    pub tool: String,
}

impl Store {
    /// Whose key has this digest, while it is good. Asked each time: a revocation holds on the next call.
    pub async fn verifier(&self, digest: &[u8; 32]) -> Result<Option<Verifier>, StoreError> {
        let mut connection = self.connection().await?;
        let found = sqlx::query_as!(
            Verifier,
            r#"select id as "key!", tenant as "tenant!", tool as "tool!" from verifier_of($1)"#,
            digest.as_slice()
        )
        .fetch_optional(&mut *connection)
        .await?;
        Ok(found)
    }

    /// The newest last.
    pub async fn verifier_keys(&self, tenant: Uuid, tool: &str) -> Result<Vec<VerifierKeyRow>, StoreError> {
        let mut tx = self.scope(tenant).await?;
        Ok(sqlx::query_as!(
            VerifierKeyRow,
            r#"select id, extract(epoch from created)::bigint as "created!", extract(epoch from ends)::bigint as ends,
                      coalesce(ends <= now(), false) as "ended!"
               from verifier_key where tool = $1 order by created, id"#,
            tool
        )
        .fetch_all(&mut *tx)
        .await?)
    }
}

impl Change {
    /// Adds a key to those that the tool has; false where it has as many as it may.
    pub async fn insert_verifier_key(&mut self, id: Uuid, tool: &str, digest: &[u8; 32]) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            "insert into verifier_key (id, tenant, tool, digest)
             select $1, $2, $3, $4
             where (select count(*) from verifier_key where tool = $3 and (ends is null or ends > now())) < $5",
            id,
            self.tenant,
            tool,
            digest.as_slice(),
            MOST
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// The tool's keys end in so many seconds, or before, where they would have.
    pub async fn end_verifier_keys(&mut self, tool: &str, in_seconds: i32) -> Result<(), StoreError> {
        sqlx::query!(
            "update verifier_key set ends = now() + make_interval(secs => $2)
             where tool = $1 and (ends is null or ends > now())",
            tool,
            f64::from(in_seconds)
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// From the commit on it is no key. Ending twice is ending once.
    pub async fn end_verifier_key(&mut self, id: Uuid, tool: &str) -> Result<(), StoreError> {
        let done = sqlx::query!("update verifier_key set ends = now() where id = $1 and tool = $2", id, tool)
            .execute(&mut *self.tx)
            .await?;
        found(done.rows_affected())
    }
}
