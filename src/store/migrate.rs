//! Brings a database to this binary's schema. Runs as the owner, from `tgp migrate`; the gateway's own
//! roles could not.

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::{StoreError, options};

/// Applies what is missing, in order; one process at a time does it and others wait.
pub async fn migrate(owner_url: &str) -> Result<(), StoreError> {
    let mut connection = PgConnection::connect_with(&options(owner_url, "tgp migrate")?).await?;
    sqlx::migrate!("./migrations").run_direct(None, &mut connection, false).await.map_err(|error| match error {
        sqlx::migrate::MigrateError::Execute(error) => error.into(),
        other => StoreError::Bug(other.to_string()),
    })?;
    connection.close().await?;
    Ok(())
}
