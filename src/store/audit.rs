//! The audit: one row for each verdict on an authenticated caller and for each act of an operator, and
//! one more for how a forwarded request ended.

use std::time::Duration;

use serde_json::Value;
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::{Store, StoreError};

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// An access token.
    Token,
    /// A request through the proxy.
    Call,
    /// A request that a tool received, and asks about.
    Verify,
    Enrol,
    /// A certificate, renewed.
    Renew,
    /// A token, revoked by its agent.
    Revoke,
    /// The tools that an agent may use.
    Catalogue,
    /// An act of a person; `detail` says which.
    Operator,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Call => "call",
            Self::Verify => "verify",
            Self::Enrol => "enrol",
            Self::Renew => "renew",
            Self::Revoke => "revoke",
            Self::Catalogue => "catalogue",
            Self::Operator => "operator",
        }
    }
}

/// Who asked for what: everything an audit row says except the verdict, the versions that the decision
/// used, and the time, which is the database's.
#[derive(Clone, Debug)]
pub struct Entry {
    pub request_id: Uuid,
    pub kind: Kind,
    pub tenant: Uuid,
    pub agent: Option<Uuid>,
    pub operator: Option<Uuid>,
    pub tool: Option<String>,
    pub grant: Option<Uuid>,
    pub action: Option<String>,
    pub method: Option<String>,
    /// SHA-256 of the target URI: a URL may hold what nobody should read in a log.
    pub target_sha256: Option<[u8; 32]>,
    /// The token that was used or asked for.
    pub jti: Option<Uuid>,
    /// Tokens that it was exchanged from, none of which may be revoked. Not part of the row.
    pub derived_from: Vec<Uuid>,
    /// Whatever else tells the reader something; never a secret.
    pub detail: Option<Value>,
}

impl Entry {
    pub fn new(request_id: Uuid, kind: Kind, tenant: Uuid) -> Self {
        Self {
            request_id,
            kind,
            tenant,
            agent: None,
            operator: None,
            tool: None,
            grant: None,
            action: None,
            method: None,
            target_sha256: None,
            jti: None,
            derived_from: Vec::new(),
            detail: None,
        }
    }
}

/// A row as it is read back.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Grows; a reader continues after the last one that it saw.
    pub id: i64,
    /// Unix milliseconds, by the database's clock.
    pub at: i64,
    pub request_id: Uuid,
    pub kind: String,
    pub tenant: Uuid,
    pub agent: Option<Uuid>,
    pub agent_version: Option<i64>,
    pub operator: Option<Uuid>,
    pub tool: Option<String>,
    pub tool_version: Option<i64>,
    pub grant: Option<Uuid>,
    pub grant_version: Option<i64>,
    pub action: Option<String>,
    pub method: Option<String>,
    pub target_sha256: Option<Vec<u8>>,
    pub jti: Option<Uuid>,
    /// `allowed`, or the protocol's code for the refusal.
    pub code: String,
    pub detail: Option<Value>,
}

/// How a forwarded request ended, as it is read back.
#[derive(Clone, Debug)]
pub struct Ending {
    pub id: i64,
    /// Unix milliseconds.
    pub at: i64,
    pub request_id: Uuid,
    pub status: Option<i32>,
    pub bytes: i64,
    pub sha256: Option<Vec<u8>>,
    pub error: Option<String>,
    /// Matches of the tool's credential in the reply.
    pub masked: i64,
}

impl Store {
    /// Records an act that changed nothing here (a certificate for an operator, say). Durable on return.
    pub async fn record(&self, act: &Entry) -> Result<(), StoreError> {
        self.change(act.tenant).await?.commit(act).await
    }

    /// Records an operator's act that was refused. Durable on return.
    pub async fn record_refusal(&self, act: &Entry, code: &str) -> Result<(), StoreError> {
        let mut change = self.change(act.tenant).await?;
        insert(&mut change.tx, act, code).await?;
        Ok(change.tx.commit().await?)
    }

    /// The verdicts after `after`, oldest first. Complete: no row with a smaller id appears later.
    pub async fn verdicts(&self, tenant: Uuid, after: i64, limit: u32) -> Result<Vec<Verdict>, StoreError> {
        let settled = self.settled(Log::Audit).await?;
        let mut tx = self.scope(tenant).await?;
        Ok(sqlx::query_as!(
            Verdict,
            r#"select id, (extract(epoch from at) * 1000)::bigint as "at!", request as request_id, kind, tenant, agent,
                      agent_version, operator, tool, tool_version, "grant", grant_version, action, method,
                      target_sha256, jti, code, detail
               from audit where tenant = $1 and id > $2 and id <= $3 order by id limit $4"#,
            tenant,
            after,
            settled,
            i64::from(limit)
        )
        .fetch_all(&mut *tx)
        .await?)
    }

    /// The newest verdicts, oldest first: where a tail begins.
    pub async fn last_verdicts(&self, tenant: Uuid, limit: u32) -> Result<Vec<Verdict>, StoreError> {
        let settled = self.settled(Log::Audit).await?;
        let mut tx = self.scope(tenant).await?;
        let mut rows = sqlx::query_as!(
            Verdict,
            r#"select id, (extract(epoch from at) * 1000)::bigint as "at!", request as request_id, kind, tenant, agent,
                      agent_version, operator, tool, tool_version, "grant", grant_version, action, method,
                      target_sha256, jti, code, detail
               from audit where tenant = $1 and id <= $2 order by id desc limit $3"#,
            tenant,
            settled,
            i64::from(limit)
        )
        .fetch_all(&mut *tx)
        .await?;
        rows.reverse();
        Ok(rows)
    }

    /// The outcomes after `after`, oldest first, complete as [`verdicts`](Self::verdicts) is.
    pub async fn endings(&self, tenant: Uuid, after: i64, limit: u32) -> Result<Vec<Ending>, StoreError> {
        let settled = self.settled(Log::Outcome).await?;
        let mut tx = self.scope(tenant).await?;
        Ok(sqlx::query_as!(
            Ending,
            r#"select id, (extract(epoch from at) * 1000)::bigint as "at!", request as request_id, status, bytes, sha256,
                      error, masked
               from outcome where tenant = $1 and id > $2 and id <= $3 order by id limit $4"#,
            tenant,
            after,
            settled,
            i64::from(limit)
        )
        .fetch_all(&mut *tx)
        .await?)
    }

    /// The newest outcomes, oldest first.
    pub async fn last_endings(&self, tenant: Uuid, limit: u32) -> Result<Vec<Ending>, StoreError> {
        let settled = self.settled(Log::Outcome).await?;
        let mut tx = self.scope(tenant).await?;
        let mut rows = sqlx::query_as!(
            Ending,
            r#"select id, (extract(epoch from at) * 1000)::bigint as "at!", request as request_id, status, bytes, sha256,
                      error, masked
               from outcome where tenant = $1 and id <= $2 order by id desc limit $3"#,
            tenant,
            settled,
            i64::from(limit)
        )
        .fetch_all(&mut *tx)
        .await?;
        rows.reverse();
        Ok(rows)
    }

    /// The id up to which every row of a log has been committed or never will be.
    ///
    /// Ids are handed out in order and committed out of order: a reader that has seen 8 must not skip 7,
    /// which another gateway commits a moment later. Whoever is about to insert holds a lock on the table
    /// from before it draws an id until it has committed; so once everybody who held one when the last id
    /// was read has let go, nothing up to that id can still come. Writers wait for nothing.
    async fn settled(&self, log: Log) -> Result<i64, StoreError> {
        // In this order: whoever draws an id after the first statement draws a later one.
        let last = sqlx::query_scalar!(
            r#"select coalesce(pg_sequence_last_value($1::text::regclass), 0) as "last!""#,
            log.sequence()
        )
        .fetch_one(&mut *self.connection().await?)
        .await?;
        let writers = sqlx::query_scalar!(
            r#"select virtualtransaction as "writer!" from pg_locks
               where locktype = 'relation' and relation = $1::text::regclass and mode = 'RowExclusiveLock' and granted"#,
            log.table()
        )
        .fetch_all(&mut *self.connection().await?)
        .await?;
        // A batch takes milliseconds; a writer that takes a second is met by the next poll.
        for pause in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512] {
            let waiting = sqlx::query_scalar!(
                r#"select exists (select from pg_locks l
                                  where l.locktype = 'relation' and l.relation = $1::text::regclass
                                    and l.mode = 'RowExclusiveLock'
                                    and l.virtualtransaction = any($2)) as "waiting!""#,
                log.table(),
                &writers
            )
            .fetch_one(&mut *self.connection().await?)
            .await?;
            if !waiting {
                return Ok(last);
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        Ok(0)
    }
}

#[derive(Clone, Copy)]
enum Log {
    Audit,
    Outcome,
}

impl Log {
    fn table(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Outcome => "outcome",
        }
    }

    fn sequence(self) -> &'static str {
        match self {
            Self::Audit => "audit_id_seq",
            Self::Outcome => "outcome_id_seq",
        }
    }
}

/// Adds a row inside a change; the tenant was named when it began.
pub(super) async fn insert(
    tx: &mut Transaction<'static, Postgres>,
    entry: &Entry,
    code: &str,
) -> Result<(), StoreError> {
    let Entry {
        request_id,
        kind,
        tenant,
        agent,
        operator,
        tool,
        grant,
        action,
        method,
        target_sha256,
        jti,
        derived_from: _,
        detail,
    } = entry;
    sqlx::query!(
        r#"insert into audit (request, kind, tenant, agent, operator, tool, "grant", action, method, target_sha256,
                              jti, code, detail)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"#,
        request_id,
        kind.as_str(),
        tenant,
        *agent,
        *operator,
        tool.as_deref(),
        *grant,
        action.as_deref(),
        method.as_deref(),
        target_sha256.as_ref().map(|digest| &digest[..]),
        *jti,
        code,
        detail.as_ref()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
