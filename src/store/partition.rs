//! Keeps the tables that grow with traffic in partitions that exist before they are needed.

use std::time::Duration;

use super::{Store, StoreError};

/// What one round did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maintained {
    pub made: u32,
    pub dropped: u32,
}

impl Store {
    /// Makes the partitions of the next hours and days, drops replay memory and tokens that have run out.
    /// Once at start, before anything is admitted, and then every minute; several gateways may.
    pub async fn maintain_partitions(&self) -> Result<Maintained, StoreError> {
        let row = sqlx::query!(r#"select made as "made!", dropped as "dropped!" from maintain_partitions()"#)
            .fetch_one(&mut *self.connection().await?)
            .await?;
        Ok(Maintained { made: row.made.unsigned_abs(), dropped: row.dropped.unsigned_abs() })
    }

    /// [`maintain_partitions`](Self::maintain_partitions) every minute for as long as it is polled.
    /// Partitions are made an hour ahead, so that a database away for a while is caught up with in time.
    pub async fn keep_partitions(self) {
        loop {
            if let Err(error) = self.maintain_partitions().await {
                tracing::warn!(%error, "partitions were not maintained");
            }
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
    }
}
