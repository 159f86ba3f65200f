//! Hears which rows changed. What was missed while nobody listened cannot be known, so a broken
//! connection is an event of its own.

use std::time::Duration;

use sqlx::Executor as _;
use sqlx::postgres::{PgListener, PgPoolOptions};
use uuid::Uuid;

use super::{StoreError, options};

/// One change, as the triggers name it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Frozen, rekeyed, retired…
    Agent(Uuid),
    /// The tool, its actions or its credential.
    Tool(String),
    /// A grant of this agent for this tool.
    Grant(Uuid, String),
    /// Revoked.
    Token(Uuid),
    /// Anything may have changed unheard.
    Everything,
}

impl Notice {
    /// A payload of a form that we do not know comes from a newer schema: then anything may have changed.
    fn parse(payload: &str) -> Self {
        let known = || {
            let (kind, rest) = payload.split_once(':')?;
            Some(match kind {
                "agent" => Self::Agent(rest.parse().ok()?),
                "tool" => Self::Tool(rest.to_owned()),
                "grant" => {
                    let (agent, tool) = rest.split_once(':')?;
                    Self::Grant(agent.parse().ok()?, tool.to_owned())
                }
                "token" => Self::Token(rest.parse().ok()?),
                _ => return None,
            })
        };
        known().unwrap_or(Self::Everything)
    }
}

/// A connection that listens. It fails once and is then made anew, never mended in silence.
pub(super) struct Ear(PgListener);

/// A connection on which nothing is heard is asked this often whether it is there: the other end may have
/// gone without a word.
const SILENCE: Duration = Duration::from_millis(300);
/// A server that does not answer for so long is given up.
const PATIENCE: Duration = Duration::from_secs(2);

impl Ear {
    pub(super) async fn connect(url: &str) -> Result<Self, StoreError> {
        let connect = async {
            let pool = PgPoolOptions::new()
                .max_connections(1)
                .acquire_timeout(PATIENCE)
                .connect_with(options(url, "tgp listen")?)
                .await?;
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.eager_reconnect(false);
            listener.listen("tgp_change").await?;
            Ok(Self(listener))
        };
        tokio::time::timeout(2 * PATIENCE, connect).await.unwrap_or_else(|_| Err(silent()))
    }

    /// The next notice; `None` when there was none for a while and the server has just shown that it is
    /// there. Either proves that nothing before it went unheard.
    pub(super) async fn next(&mut self) -> Result<Option<Notice>, StoreError> {
        if let Ok(received) = tokio::time::timeout(SILENCE, self.0.try_recv()).await {
            return match received? {
                Some(notification) => Ok(Some(Notice::parse(notification.payload()))),
                None => Err(StoreError::Unavailable("the listening connection was lost".into())),
            };
        }
        let asked = tokio::time::timeout(PATIENCE, self.0.execute("select")).await;
        asked.map_err(|_| silent())??;
        // What came with the answer comes first.
        Ok(self.0.next_buffered().map(|notification| Notice::parse(notification.payload())))
    }
}

fn silent() -> StoreError {
    StoreError::Unavailable("the listening connection says nothing".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_that_is_not_understood_means_everything() {
        let id = Uuid::from_u128(7);
        assert_eq!(Notice::parse(&format!("agent:{id}")), Notice::Agent(id));
        assert_eq!(Notice::parse("tool:mail"), Notice::Tool("mail".into()));
        assert_eq!(Notice::parse(&format!("grant:{id}:mail")), Notice::Grant(id, "mail".into()));
        assert_eq!(Notice::parse(&format!("token:{id}")), Notice::Token(id));
        for odd in ["", "agent", "agent:", "agent:mail", "grant:mail", "planet:earth"] {
            assert_eq!(Notice::parse(odd), Notice::Everything, "{odd:?}");
        }
    }
}
