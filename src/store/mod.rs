//! All the SQL of the gateway, one module for each aggregate, every query checked against the schema
//! when it is compiled.
//!
//! A [`Store`] speaks as `tgp_gateway`: each read and each [`Change`] runs in a transaction that names
//! one tenant, and row-level security makes the others invisible. A change cannot be committed without
//! the audit row that says who did what. The store seals and opens nothing: sealed columns arrive and
//! leave as opaque bytes. It decides nothing either; what a decision depended on is compared once more
//! by the admission statement (`admission`).

mod error;

pub mod access_token;
pub(crate) mod admission;
pub mod agent;
pub mod audit;
pub mod cache;
pub mod catalogue;
pub mod certificate;
pub mod dek;
pub mod grant;
mod listen;
pub mod migrate;
pub mod operator;
pub mod partition;
pub mod roster;
pub mod sealed;
pub mod tenant;
pub mod token;
pub mod tool;
pub mod verifier;

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Postgres, Transaction};
use uuid::Uuid;

pub use audit::{Entry, Kind};
pub use error::{Conflict, StoreError};
pub use sealed::Sealed;

/// Connections for what agents ask, and as many again for people and for what keeps watch: an agent that floods the first
/// cannot keep anybody from freezing it.
const FOR_AGENTS: u32 = 8;
const FOR_PEOPLE: u32 = 4;

/// The gateway's connections. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: PgPool,
    people: PgPool,
}

impl Store {
    /// Connects as `tgp_gateway`. What a wrong URL or a forgotten `tgp migrate` would break later is known
    /// when this returns, and the partitions of the next hour exist; see [`keep_partitions`].
    ///
    /// [`keep_partitions`]: Self::keep_partitions
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let options = options(url, "tgp gateway")?.options([
            // Nothing here is slow; what is has met a lock that will not go away.
            ("statement_timeout", "5s"),
            ("idle_in_transaction_session_timeout", "10s"),
        ]);
        let pool =
            |connections| PgPoolOptions::new().max_connections(connections).acquire_timeout(Duration::from_secs(2));
        let agents = pool(FOR_AGENTS).connect_with(options.clone()).await.map_err(StoreError::unavailable)?;
        let store = Self { pool: agents, people: pool(FOR_PEOPLE).connect_lazy_with(options) };
        match store.maintain_partitions().await {
            Ok(_) => Ok(store),
            // The one query of this binary that the schema does not know is its first.
            Err(StoreError::Bug(why)) => Err(StoreError::Unavailable(format!(
                "its schema is not this version's\n  hint: run tgp migrate\n{why}"
            ))),
            Err(error) => Err(error),
        }
    }

    /// The same store over the connections that agents cannot take.
    #[must_use]
    pub fn for_people(&self) -> Self {
        Self { pool: self.people.clone(), people: self.people.clone() }
    }

    /// Whether the database answers: what health reports.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query_scalar!("select 1 as \"one!\"").fetch_one(&mut *self.connection().await?).await?;
        Ok(())
    }

    /// Begins a change within one tenant; dropped without [`Change::commit`], it leaves nothing.
    pub async fn change(&self, tenant: Uuid) -> Result<Change, StoreError> {
        Ok(Change { tx: self.scope(tenant).await?, tenant })
    }

    /// A connection that sees no tenant. Whatever keeps us from one is the database's fault, not a query's.
    async fn connection(&self) -> Result<PoolConnection<Postgres>, StoreError> {
        self.pool.acquire().await.map_err(StoreError::unavailable)
    }

    /// A transaction that sees one tenant. Reads drop it when they are done, which rolls back nothing.
    async fn scope(&self, tenant: Uuid) -> Result<Transaction<'static, Postgres>, StoreError> {
        // One round trip for both. A UUID's text is hexadecimal digits and dashes.
        let begin = format!("begin; select set_config('tgp.tenant', '{tenant}', true)");
        self.pool.begin_with(AssertSqlSafe(begin)).await.map_err(StoreError::unavailable)
    }
}

/// Writes within one tenant that become true together, with the audit row that tells of them.
#[must_use = "a change that is not committed never happened"]
pub struct Change {
    tx: Transaction<'static, Postgres>,
    tenant: Uuid,
}

impl Change {
    /// Records `act` as allowed and commits; when this returns, both are durable.
    pub async fn commit(mut self, act: &Entry) -> Result<(), StoreError> {
        if act.tenant != self.tenant {
            return Err(StoreError::Bug("an act recorded for a tenant other than the one it changed".into()));
        }
        audit::insert(&mut self.tx, act, "allowed").await?;
        self.tx.commit().await?;
        Ok(())
    }
}

/// How every connection of ours is set up.
pub(crate) fn options(url: &str, name: &str) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(url)
        // The error may quote the URL, and the URL may hold a password.
        .map_err(|_| StoreError::Bug("the database url cannot be parsed".into()))?;
    Ok(options.application_name(name).options([("timezone", "UTC")]))
}
