//! Tenants, and which tenant an agent or a tool belongs to.

use uuid::Uuid;

use super::{Change, Store, StoreError};

/// The tenant that every deployment begins with.
pub const DEFAULT: Uuid = Uuid::from_u128(0x0000_0000_0000_4000_8000_0000_0000_0001);

#[derive(Clone, Debug)]
pub struct Tenant {
    pub id: Uuid,
    pub handle: String,
}

impl Store {
    pub async fn tenant(&self, id: Uuid) -> Result<Option<Tenant>, StoreError> {
        let mut tx = self.scope(id).await?;
        Ok(sqlx::query_as!(Tenant, "select id, handle from tenant where id = $1", id).fetch_optional(&mut *tx).await?)
    }

    /// A certificate names an agent and no tenant.
    pub async fn tenant_of_agent(&self, agent: Uuid) -> Result<Option<Uuid>, StoreError> {
        Ok(sqlx::query_scalar!("select tenant_of_agent($1)", agent).fetch_one(&mut *self.connection().await?).await?)
    }

    /// A called path names a tool and no tenant.
    pub async fn tenant_of_tool(&self, slug: &str) -> Result<Option<Uuid>, StoreError> {
        Ok(sqlx::query_scalar!("select tenant_of_tool($1)", slug).fetch_one(&mut *self.connection().await?).await?)
    }
}

impl Change {
    /// Makes the tenant that this change was begun for.
    pub async fn insert_tenant(&mut self, handle: &str) -> Result<(), StoreError> {
        sqlx::query!("insert into tenant (id, handle) values ($1, $2)", self.tenant, handle)
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }
}
