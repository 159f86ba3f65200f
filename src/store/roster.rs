//! The history of rosters, and the public records of the token's keys: the deployment's, not a tenant's.

use serde_json::Value;

use super::{Change, Store, StoreError};

#[derive(Clone, Debug)]
pub struct Roster {
    pub version: u32,
    pub document: Value,
    /// Those that the quorum signed; empty for the first.
    pub statements: Value,
}

impl Store {
    /// The newest that was recorded here; the one that holds is the vault's.
    pub async fn newest_roster(&self) -> Result<Option<Roster>, StoreError> {
        let row = sqlx::query!("select version, document, statements from roster order by version desc limit 1")
            .fetch_optional(&mut *self.connection().await?)
            .await?;
        Ok(row.map(|row| Roster {
            version: super::sealed::unsigned(row.version),
            document: row.document,
            statements: row.statements,
        }))
    }

    /// The labels of the keys on record.
    pub async fn key_labels(&self) -> Result<Vec<String>, StoreError> {
        Ok(sqlx::query_scalar!("select label from key_record order by label, created")
            .fetch_all(&mut *self.connection().await?)
            .await?)
    }
}

impl Change {
    pub async fn insert_roster(&mut self, roster: &Roster) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into roster (version, document, statements) values ($1, $2, $3)",
            super::sealed::signed(roster.version)?,
            roster.document,
            roster.statements
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// A key as the vault reported it; one that is on record already is left as it is.
    pub async fn record_key(&mut self, label: &str, fingerprint: &[u8], attributes: &Value) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into key_record (label, fingerprint, attributes) values ($1, $2, $3) on conflict do nothing",
            label,
            fingerprint,
            attributes
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}
