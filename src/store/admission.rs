//! The admission statement: many requests, one statement, one flush.
//!
//! In a single autocommit statement it checks every request's ground again (agent's status and version,
//! versions of tool and grant, revocation, the database's clock), spends the nonces, and writes every verdict. It returns the refusals only. The batch is formed in
//! [`crate::admission`]; here is its shape as columns.

use std::time::Duration;

use serde_json::Value;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};
use uuid::Uuid;

use super::audit::Entry;
use super::{StoreError, options};

/// How far from this gateway's now a creation time can lie that the statement lets through: 150 s by the
/// database's clock, which may differ by 30.
const WINDOW: i64 = 180;

/// Verdict numbers of the statement, which holds them as literals.
pub(crate) mod verdict {
    pub(crate) const NONE: i16 = 0;
    pub(crate) const REPLAYED: i16 = 1;
    pub(crate) const FROZEN: i16 = 2;
    pub(crate) const RETIRED: i16 = 3;
    pub(crate) const REVOKED: i16 = 4;
    pub(crate) const CLOCK_SKEW: i16 = 5;
    /// Not a verdict on the caller: the decision is made again, and recorded then.
    pub(crate) const STALE: i16 = 7;
    /// Refused before it came here; recorded with the code it brought.
    pub(crate) const DENIED: i16 = 8;
}

/// What a decision depended on. A version left out is not compared.
#[derive(Clone, Debug)]
pub(crate) struct Basis {
    pub(crate) agent: Uuid,
    pub(crate) agent_version: Option<i64>,
    /// On whose behalf; the first holds the grant.
    pub(crate) principals: Vec<Uuid>,
    pub(crate) tool: Option<(String, i64)>,
    pub(crate) grant: Option<(Uuid, i64)>,
}

/// A nonce on its way into the replay memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpentNonce {
    pub(crate) key: [u8; 32],
    pub(crate) created: i64,
}

/// A token that becomes valid with its verdict.
#[derive(Clone, Debug)]
pub(crate) struct FreshToken {
    pub(crate) jti: Uuid,
    pub(crate) expires: i64,
    /// Space-separated.
    pub(crate) actions: String,
}

/// A batch, one vector for each column of the statement's `unnest`.
#[derive(Default)]
pub(crate) struct Columns {
    preset: Vec<i16>,
    code: Vec<Option<String>>,
    request: Vec<Uuid>,
    kind: Vec<String>,
    tenant: Vec<Uuid>,
    agent: Vec<Option<Uuid>>,
    agent_version: Vec<Option<i64>>,
    operator: Vec<Option<Uuid>>,
    tool: Vec<Option<String>>,
    tool_version: Vec<Option<i64>>,
    grant: Vec<Option<Uuid>>,
    grant_version: Vec<Option<i64>>,
    action: Vec<Option<String>>,
    method: Vec<Option<String>>,
    target: Vec<Option<Vec<u8>>>,
    jti: Vec<Option<Uuid>>,
    detail: Vec<Option<Value>>,
    nonce: Vec<Option<Vec<u8>>>,
    created: Vec<Option<i64>>,
    token_expires: Vec<Option<i64>>,
    token_actions: Vec<Option<String>>,
    /// With commas between: `unnest` would flatten lists.
    principals: Vec<Option<String>>,
    derived_from: Vec<Option<String>>,
}

impl Columns {
    /// `preset` is what is known before the database is asked; `code` goes with [`verdict::DENIED`].
    pub(crate) fn push(
        &mut self,
        preset: i16,
        code: Option<&str>,
        entry: &Entry,
        basis: Option<&Basis>,
        nonce: Option<&SpentNonce>,
        token: Option<&FreshToken>,
    ) {
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
            derived_from,
            detail,
        } = entry;
        self.preset.push(preset);
        self.code.push(code.map(str::to_owned));
        self.request.push(*request_id);
        self.kind.push(kind.as_str().to_owned());
        self.tenant.push(*tenant);
        self.operator.push(*operator);
        self.action.push(action.clone());
        self.method.push(method.clone());
        self.target.push(target_sha256.map(|digest| digest.to_vec()));
        self.detail.push(detail.clone());
        // Where there was a decision, the row says what it was about; the entry is only asked otherwise.
        self.agent.push(basis.map(|basis| basis.agent).or(*agent));
        self.agent_version.push(basis.and_then(|basis| basis.agent_version));
        let tool_basis = basis.and_then(|basis| basis.tool.as_ref());
        self.tool.push(tool_basis.map(|(slug, _)| slug.clone()).or_else(|| tool.clone()));
        self.tool_version.push(tool_basis.map(|(_, version)| *version));
        let grant_basis = basis.and_then(|basis| basis.grant);
        self.grant.push(grant_basis.map(|(id, _)| id).or(*grant));
        self.grant_version.push(grant_basis.map(|(_, version)| version));
        self.jti.push(token.map(|token| token.jti).or(*jti));
        self.token_expires.push(token.map(|token| token.expires));
        self.token_actions.push(token.map(|token| token.actions.clone()));
        self.principals.push(basis.and_then(|basis| listed(&basis.principals)));
        self.derived_from.push(listed(derived_from));
        self.nonce.push(nonce.map(|nonce| nonce.key.to_vec()));
        self.created.push(nonce.map(|nonce| nonce.created));
    }
}

fn listed(ids: &[Uuid]) -> Option<String> {
    (!ids.is_empty()).then(|| ids.iter().map(Uuid::to_string).collect::<Vec<_>>().join(","))
}

/// One upstream's ending.
#[derive(Default)]
pub(crate) struct OutcomeColumns {
    pub(crate) request: Vec<Uuid>,
    pub(crate) tenant: Vec<Uuid>,
    pub(crate) status: Vec<Option<i32>>,
    pub(crate) bytes: Vec<i64>,
    pub(crate) sha256: Vec<Option<Vec<u8>>>,
    pub(crate) error: Vec<Option<String>>,
    pub(crate) masked: Vec<i64>,
}

/// A connection as `tgp_admission`, set up for this one statement.
pub(crate) struct Writer {
    connection: PgConnection,
}

impl Writer {
    pub(crate) async fn connect(url: &str) -> Result<Self, StoreError> {
        let options = options(url, "tgp admission")?.options([
            // A custom plan is made anew for every batch, and a generic plan made while the tables were
            // empty chooses sequential scans for ever: so generic, and never sequential.
            ("plan_cache_mode", "force_generic_plan"),
            ("enable_seqscan", "off"),
            ("jit", "off"),
            ("statement_timeout", "4s"),
            ("synchronous_commit", "on"),
        ]);
        let connect = tokio::time::timeout(Duration::from_secs(2), PgConnection::connect_with(&options));
        let connection = connect
            .await
            .map_err(|_| StoreError::Unavailable("connecting took too long".into()))?
            // Whatever a server says to a connection, it says about itself or our login, not about a request.
            .map_err(StoreError::unavailable)?;
        Ok(Self { connection })
    }

    /// Admits a batch; returns index and verdict of every row that was not admitted.
    ///
    /// `now` is the gateway's clock, Unix seconds.
    pub(crate) async fn admit(&mut self, rows: &Columns, now: i64) -> Result<Vec<(usize, i16)>, StoreError> {
        let refused = sqlx::query!(
            r#"
            with r as materialized (
              -- Whatever the wire said must fit; what is not near now is refused below.
              select t.*, (least(greatest(created, 0), 1000000000000) / 600)::int as bucket,
                     string_to_array(principal_list, ',')::uuid[] as principals,
                     string_to_array(derived_list, ',')::uuid[] as derived_from
              from unnest($1::smallint[], $2::text[], $3::uuid[], $4::text[], $5::uuid[], $6::uuid[], $7::bigint[],
                          $8::uuid[], $9::text[], $10::bigint[], $11::uuid[], $12::bigint[], $13::text[], $14::text[],
                          $15::bytea[], $16::uuid[], $17::jsonb[], $18::bytea[], $19::bigint[], $20::bigint[],
                          $21::text[], $25::text[], $26::text[])
                   with ordinality
                   as t(preset, code, request, kind, tenant, agent, agent_version, operator, tool, tool_version,
                        "grant", grant_version, action, method, target, jti, detail, nonce, created, token_expires,
                        token_actions, principal_list, derived_list, i)
            ),
            c as materialized (
              select date_part('epoch', now())::bigint as now
            ),
            -- What the replay memory knows of this batch already. A nonce that was signed again at another
            -- time lies in a neighbouring bucket: two back, since memory lasts 15 minutes, and one ahead.
            -- The bounds are parameters, so that the executor opens no other partition.
            p as materialized (
              select nonce from nonce
              where nonce = any(array(select nonce from r where nonce is not null)) and bucket between $23::int - 2 and $24::int + 1
            ),
            s as materialized (
              select r.*, case
                when r.preset <> 0 then r.preset
                -- The database's clock rules: a gateway that is off by more may take an old signature for
                -- a fresh one. A creation time outside what it allows has no partition either.
                when abs(c.now - $22) > 30 or r.created not between c.now - 150 and c.now + 120 then 5
                -- No version: the request rests on no decision that could have aged.
                when r.agent is null then 0
                when a.id is null or a.tenant <> r.tenant or a.status = 'invited' then 7
                when a.status = 'frozen' then 2
                when a.status = 'retired' then 3
                when a.version <> r.agent_version then 7
                -- A token that was handed on is worth as little as the weakest of those who handed it on. Nobody else
                -- pays for these questions.
                when r.principals is not null and exists (
                  select from agent x where x.id = any(r.principals) and x.status in ('invited', 'frozen')) then 2
                when r.principals is not null and exists (
                  select from agent x where x.id = any(r.principals) and x.status = 'retired') then 3
                when r.principals is not null and cardinality(r.principals) <> (
                  select count(*) from agent x where x.id = any(r.principals) and x.tenant = r.tenant) then 7
                when r.tool_version is not null and t.version is distinct from r.tool_version then 7
                when r.grant_version is not null
                  and (g.version is distinct from r.grant_version or g.status <> 'active'
                       or g.agent <> coalesce(r.principals[1], r.agent)) then 7
                when k.jti is not null then 4
                when r.derived_from is not null and exists (
                  select from token_revocation d where d.jti = any(r.derived_from) and d.tenant = r.tenant) then 4
                when r.nonce in (select nonce from p) then 1
                else 0 end as bad
              from r cross join c
              left join agent a on a.id = r.agent
              left join tool t on t.slug = r.tool
              left join "grant" g on g.id = r."grant"
              -- A tenant revokes its own tokens only.
              left join token_revocation k on k.jti = r.jti and k.tenant = r.tenant
            ),
            -- In order, so that two gateways that meet on the same nonces wait for each other one way only.
            n as (
              insert into nonce (nonce, bucket)
              select nonce, bucket from s where bad = 0 and nonce is not null order by nonce
              on conflict do nothing
              returning nonce
            ),
            v as materialized (
              select s.*, case when s.bad <> 0 then s.bad
                               when s.nonce is not null and n.nonce is null then 1
                               else 0 end as verdict
              from s left join n using (nonce)
            ),
            w as (
              insert into audit (request, kind, tenant, agent, agent_version, operator, tool, tool_version, "grant",
                                 grant_version, action, method, target_sha256, jti, code, detail)
              select request, kind, tenant, agent, agent_version, operator, tool, tool_version, "grant",
                     grant_version, action, method, target, jti,
                     case verdict when 0 then 'allowed' when 1 then 'signature-replayed' when 2 then 'agent-frozen'
                                  when 3 then 'agent-retired' when 4 then 'token-invalid' when 5 then 'clock-skew'
                                  else code end,
                     detail
              from v where verdict <> 7 order by i
            ),
            f as (
              insert into token (jti, tenant, agent, tool, "grant", actions, expires)
              select jti, tenant, agent, tool, "grant", string_to_array(token_actions, ' '), token_expires
              from v where verdict = 0 and token_expires is not null
            )
            select i - 1 as "i!", verdict::smallint as "verdict!" from v where verdict not in (0, 8)
            "#,
            &rows.preset,
            &rows.code as &[Option<String>],
            &rows.request,
            &rows.kind,
            &rows.tenant,
            &rows.agent as &[Option<Uuid>],
            &rows.agent_version as &[Option<i64>],
            &rows.operator as &[Option<Uuid>],
            &rows.tool as &[Option<String>],
            &rows.tool_version as &[Option<i64>],
            &rows.grant as &[Option<Uuid>],
            &rows.grant_version as &[Option<i64>],
            &rows.action as &[Option<String>],
            &rows.method as &[Option<String>],
            &rows.target as &[Option<Vec<u8>>],
            &rows.jti as &[Option<Uuid>],
            &rows.detail as &[Option<Value>],
            &rows.nonce as &[Option<Vec<u8>>],
            &rows.created as &[Option<i64>],
            &rows.token_expires as &[Option<i64>],
            &rows.token_actions as &[Option<String>],
            now,
            bucket(now - WINDOW),
            bucket(now + WINDOW),
            &rows.principals as &[Option<String>],
            &rows.derived_from as &[Option<String>]
        )
        .fetch_all(&mut self.connection);
        let refused = within(refused).await?;
        Ok(refused.into_iter().filter_map(|row| Some((usize::try_from(row.i).ok()?, row.verdict))).collect())
    }

    /// The last id that was given to an outcome, by whichever gateway.
    pub(crate) async fn last_outcome(&mut self) -> Result<i64, StoreError> {
        let last =
            sqlx::query_scalar!(r#"select coalesce(pg_sequence_last_value('outcome_id_seq'::regclass), 0) as "last!""#);
        within(last.fetch_one(&mut self.connection)).await
    }

    /// Writes outcomes; returns the last id given. Until it has ended, one way or the other, `gateway` is
    /// locked: see [`end_again`](Self::end_again).
    pub(crate) async fn end(&mut self, gateway: i64, rows: &OutcomeColumns) -> Result<i64, StoreError> {
        let insert = sqlx::query_scalar!(
            r#"with written as (
                 insert into outcome (request, tenant, status, bytes, sha256, error, masked)
                 select t.* from (select pg_advisory_xact_lock($1)) as held,
                   unnest($2::uuid[], $3::uuid[], $4::int[], $5::bigint[], $6::bytea[], $7::text[], $8::bigint[]) as t
                 returning id)
               select coalesce(max(id), 0) as "last!" from written"#,
            gateway,
            &rows.request,
            &rows.tenant,
            &rows.status as &[Option<i32>],
            &rows.bytes,
            &rows.sha256 as &[Option<Vec<u8>>],
            &rows.error as &[Option<String>],
            &rows.masked
        );
        within(insert.fetch_one(&mut self.connection)).await
    }

    /// Writes those of `rows` that an attempt whose answer was lost has not written. That attempt may be
    /// running still: the lock waits for its end. What it wrote has an id after `last`.
    pub(crate) async fn end_again(
        &mut self,
        gateway: i64,
        last: i64,
        rows: &OutcomeColumns,
    ) -> Result<i64, StoreError> {
        within(async {
            let mut tx = self.connection.begin().await?;
            sqlx::query!("select pg_advisory_xact_lock($1)", gateway).execute(&mut *tx).await?;
            // A statement of its own: it sees what was committed while the lock was waited for.
            let last = sqlx::query_scalar!(
                r#"with written as (
                     insert into outcome (request, tenant, status, bytes, sha256, error, masked)
                     select t.* from unnest($2::uuid[], $3::uuid[], $4::int[], $5::bigint[], $6::bytea[], $7::text[],
                                            $8::bigint[])
                       as t(request, tenant, status, bytes, sha256, error, masked)
                     where not exists (select from outcome o where o.id > $1 and o.request = t.request)
                     returning id)
                   select coalesce(max(id), $1) as "last!" from written"#,
                last,
                &rows.request,
                &rows.tenant,
                &rows.status as &[Option<i32>],
                &rows.bytes,
                &rows.sha256 as &[Option<Vec<u8>>],
                &rows.error as &[Option<String>],
                &rows.masked
            )
            .fetch_one(&mut *tx)
            .await?;
            tx.commit().await?;
            Ok(last)
        })
        .await
    }

    /// Adds counts of unauthenticated failures to this minute's.
    pub(crate) async fn summarise(
        &mut self,
        gateway: Uuid,
        codes: &[String],
        counts: &[i64],
    ) -> Result<(), StoreError> {
        let insert = sqlx::query!(
            "insert into failure_summary (minute, gateway, code, count)
             select date_trunc('minute', now()), $1, * from unnest($2::text[], $3::bigint[])
             on conflict (minute, gateway, code) do update set count = failure_summary.count + excluded.count",
            gateway,
            codes,
            counts
        );
        within(self.connection.execute(insert)).await?;
        Ok(())
    }
}

/// Where a creation time is remembered: as the statement computes it.
fn bucket(created: i64) -> i32 {
    i32::try_from(created.clamp(0, 1_000_000_000_000) / 600).unwrap_or(i32::MAX)
}

/// A statement that takes longer than the server's own timeout has lost its server.
async fn within<T>(statement: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    tokio::time::timeout(Duration::from_secs(5), statement)
        .await
        .map_err(|_| StoreError::Unavailable("the statement took too long".into()))?
        .map_err(StoreError::from)
}
