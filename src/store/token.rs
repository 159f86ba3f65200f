//! Tokens that were issued, and those that were revoked before their time.

use uuid::Uuid;

use super::{Change, Store, StoreError};

#[derive(Clone, Debug)]
pub struct IssuedToken {
    pub jti: Uuid,
    pub agent: Uuid,
    pub tool: String,
    pub grant: Uuid,
    pub actions: Vec<String>,
    /// Unix seconds.
    pub expires: i64,
    pub revoked: bool,
}

impl Store {
    /// What introspection answers from; `expires` as in the token, which says where to look.
    pub async fn token(&self, tenant: Uuid, jti: Uuid, expires: i64) -> Result<Option<IssuedToken>, StoreError> {
        let mut tx = self.scope(tenant).await?;
        Ok(sqlx::query_as!(
            IssuedToken,
            r#"select t.jti, t.agent, t.tool, t."grant", t.actions, t.expires, r.jti is not null as "revoked!"
               from token t left join token_revocation r on r.jti = t.jti
               where t.jti = $1 and t.expires = $2"#,
            jti,
            expires
        )
        .fetch_optional(&mut *tx)
        .await?)
    }

    /// Those of `tokens` that were revoked, of any tenant.
    pub(super) async fn revoked_tokens(&self, tokens: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
        let mut connection = self.connection().await?;
        let revoked = sqlx::query_scalar!(r#"select jti as "jti!" from revoked_tokens($1) as jti"#, tokens);
        Ok(revoked.fetch_all(&mut *connection).await?)
    }

    /// Agents that were stopped and tokens that were revoked lately, of any tenant, `most` of each; none where there
    /// are more.
    pub async fn status_list(&self, most: usize) -> Result<Option<Stopped>, StoreError> {
        let mut connection = self.connection().await?;
        let limit = i32::try_from(most).unwrap_or(i32::MAX - 1);
        let rows = sqlx::query!(r#"select kind as "kind!", id as "id!" from status_list($1)"#, limit)
            .fetch_all(&mut *connection)
            .await?;
        let mut stopped = Stopped::default();
        for row in rows {
            let list = if row.kind == "agent" { &mut stopped.agents } else { &mut stopped.tokens };
            list.push(row.id);
        }
        Ok((stopped.agents.len() <= most && stopped.tokens.len() <= most).then_some(stopped))
    }
}

/// What a status list names.
#[derive(Clone, Debug, Default)]
pub struct Stopped {
    pub agents: Vec<Uuid>,
    pub tokens: Vec<Uuid>,
}

impl Change {
    /// From the commit on, nothing is admitted with this token. Revoking twice is one revocation; a token
    /// that was never issued to this agent is not found.
    pub async fn revoke_token(&mut self, jti: Uuid, agent: Uuid, expires: i64) -> Result<(), StoreError> {
        let done = sqlx::query!(
            "insert into token_revocation (jti, tenant, agent, expires)
             select jti, tenant, agent, expires from token where jti = $1 and agent = $2 and expires = $3
             on conflict do nothing",
            jti,
            agent,
            expires
        )
        .execute(&mut *self.tx)
        .await?;
        if done.rows_affected() == 1 {
            return Ok(());
        }
        let revoked = sqlx::query_scalar!(
            r#"select exists (select from token_revocation where jti = $1 and agent = $2) as "revoked!""#,
            jti,
            agent
        )
        .fetch_one(&mut *self.tx)
        .await?;
        if revoked { Ok(()) } else { Err(StoreError::NotFound) }
    }
}
