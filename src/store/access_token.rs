//! Access tokens that were fetched with a credential, sealed, and the claim to fetch the next one.

use std::time::Duration;

use uuid::Uuid;

use super::sealed::signed;
use super::{Store, StoreError};

/// Which credential's, of which version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    pub tenant: Uuid,
    pub tool: String,
    /// The credential's name; empty for the unnamed one.
    pub credential: String,
    pub version: u32,
}

/// What was fetched last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// The vault's; it opens only against a signed request.
    pub record: Vec<u8>,
    /// Unix seconds; from then on the next one is fetched.
    pub fresh_until: i64,
    pub serial: i64,
}

/// Whether the fetch is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// It is; with what was fetched before.
    Ours(Option<AccessToken>),
    /// Another has it.
    Taken,
}

struct Row {
    record: Option<Vec<u8>>,
    fresh_until: i64,
    serial: i64,
}

impl Row {
    fn token(self) -> Option<AccessToken> {
        let Self { record, fresh_until, serial } = self;
        record.map(|record| AccessToken { record, fresh_until, serial })
    }
}

impl Store {
    pub async fn access_token(&self, holder: &Holder) -> Result<Option<AccessToken>, StoreError> {
        let mut tx = self.scope(holder.tenant).await?;
        let row = sqlx::query_as!(
            Row,
            "select record, fresh_until, serial from access_token
             where tool = $1 and credential = $2 and credential_version = $3",
            holder.tool,
            holder.credential,
            signed(holder.version)?
        )
        .fetch_optional(&mut *tx)
        .await?;
        Ok(row.and_then(Row::token))
    }

    /// Takes the fetch for `lifetime`, unless another has it. A newer credential begins anew.
    pub async fn claim_access_token(
        &self,
        holder: &Holder,
        claim: Uuid,
        lifetime: Duration,
    ) -> Result<Claimed, StoreError> {
        let mut tx = self.scope(holder.tenant).await?;
        let row = sqlx::query_as!(
            Row,
            "insert into access_token as held (tenant, tool, credential, credential_version, claim, claim_until)
             values ($1, $2, $3, $4, $5, now() + make_interval(secs => $6))
             on conflict (tool, credential) do update
             set claim = excluded.claim, claim_until = excluded.claim_until,
                 credential_version = excluded.credential_version,
                 record = case when held.credential_version = excluded.credential_version then held.record end,
                 fresh_until = case when held.credential_version = excluded.credential_version then held.fresh_until
                               else 0 end
             where held.credential_version <= excluded.credential_version
               and (held.claim is null or held.claim_until < now()
                    or held.credential_version < excluded.credential_version)
             returning record, fresh_until, serial",
            holder.tenant,
            holder.tool,
            holder.credential,
            signed(holder.version)?,
            claim,
            lifetime.as_secs_f64()
        )
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(row.map_or(Claimed::Taken, |row| Claimed::Ours(row.token())))
    }

    /// Keeps what was fetched under a claim and ends it. Says whether the claim still stood.
    pub async fn put_access_token(
        &self,
        holder: &Holder,
        claim: Uuid,
        record: &[u8],
        fresh_until: i64,
    ) -> Result<Option<AccessToken>, StoreError> {
        let mut tx = self.scope(holder.tenant).await?;
        let row = sqlx::query_as!(
            Row,
            "update access_token
             set record = $5, fresh_until = $6, serial = serial + 1, claim = null, claim_until = null
             where tool = $1 and credential = $2 and credential_version = $3 and claim = $4
             returning record, fresh_until, serial",
            holder.tool,
            holder.credential,
            signed(holder.version)?,
            claim,
            record,
            fresh_until
        )
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(row.and_then(Row::token))
    }

    /// Ends a claim that brought nothing.
    pub async fn drop_claim(&self, holder: &Holder, claim: Uuid) -> Result<(), StoreError> {
        let mut tx = self.scope(holder.tenant).await?;
        sqlx::query!(
            "update access_token set claim = null, claim_until = null
             where tool = $1 and credential = $2 and claim = $3",
            holder.tool,
            holder.credential,
            claim
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// The tool refused this one: the next request fetches another.
    pub async fn spoil_access_token(&self, holder: &Holder, serial: i64) -> Result<(), StoreError> {
        let mut tx = self.scope(holder.tenant).await?;
        sqlx::query!(
            "update access_token set fresh_until = 0
             where tool = $1 and credential = $2 and credential_version = $3 and serial = $4",
            holder.tool,
            holder.credential,
            signed(holder.version)?,
            serial
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }
}
