//! Certificates that the vault issued to agents, as evidence and for the list of an agent.

use uuid::Uuid;

use super::{Change, Store, StoreError};

#[derive(Clone, Debug)]
pub struct Certificate {
    pub agent: Uuid,
    pub serial: Vec<u8>,
    /// Of the DER.
    pub sha256: Vec<u8>,
    /// Unix seconds, as in the certificate.
    pub not_before: i64,
    pub not_after: i64,
    pub revoked: bool,
}

impl Store {
    /// The newest last.
    pub async fn certificates(&self, tenant: Uuid, agent: Uuid) -> Result<Vec<Certificate>, StoreError> {
        let mut tx = self.scope(tenant).await?;
        Ok(sqlx::query_as!(
            Certificate,
            r#"select agent, serial, sha256, not_before, not_after, revoked is not null as "revoked!"
               from agent_certificate where agent = $1 order by not_after, serial"#,
            agent
        )
        .fetch_all(&mut *tx)
        .await?)
    }
}

impl Change {
    pub async fn insert_certificate(&mut self, certificate: &Certificate) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into agent_certificate (tenant, agent, serial, sha256, not_before, not_after)
             values ($1, $2, $3, $4, $5, $6)",
            self.tenant,
            certificate.agent,
            certificate.serial,
            certificate.sha256,
            certificate.not_before,
            certificate.not_after
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}
