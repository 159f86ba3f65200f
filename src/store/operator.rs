//! What a console shows of the people who administer; what they may do is the vault's roster's to say.

use uuid::Uuid;

use super::sealed::signed;
use super::{Change, Sealed, Store, StoreError};

#[derive(Clone, Debug)]
pub struct Operator {
    pub id: Uuid,
    pub name: Option<Sealed>,
    pub email: Option<Sealed>,
    /// Blind index of the address.
    pub email_index: Option<Vec<u8>>,
}

impl Store {
    pub async fn operators(&self, tenant: Uuid) -> Result<Vec<Operator>, StoreError> {
        let mut tx = self.scope(tenant).await?;
        let rows = sqlx::query!(
            "select id, name_sealed, name_version, email_sealed, email_version, email_index
             from operator where tenant = $1 order by id",
            tenant
        )
        .fetch_all(&mut *tx)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| Operator {
                id: row.id,
                name: Sealed::from_columns(row.name_sealed, row.name_version),
                email: Sealed::from_columns(row.email_sealed, row.email_version),
                email_index: row.email_index,
            })
            .collect())
    }
}

impl Change {
    pub async fn put_operator(&mut self, operator: &Operator) -> Result<(), StoreError> {
        let (name, email) = (operator.name.as_ref(), operator.email.as_ref());
        sqlx::query!(
            "insert into operator (id, tenant, name_sealed, name_version, email_sealed, email_version, email_index)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (id) do update
             set name_sealed = excluded.name_sealed, name_version = excluded.name_version,
                 email_sealed = excluded.email_sealed, email_version = excluded.email_version,
                 email_index = excluded.email_index",
            operator.id,
            self.tenant,
            name.map(|sealed| &sealed.bytes[..]),
            signed(name.map_or(0, |sealed| sealed.version))?,
            email.map(|sealed| &sealed.bytes[..]),
            signed(email.map_or(0, |sealed| sealed.version))?,
            operator.email_index
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}
