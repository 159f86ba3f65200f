//! Open replies, by agent: freezing an agent cuts what it is still reading.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use uuid::Uuid;

use crate::refusal::Code;
use crate::store::agent::Status;
use crate::store::cache::{Cache, Notice};

/// Without a notice, each agent with an open stream is looked at this often.
const LOOK: Duration = Duration::from_millis(700);

/// Which agents have open streams. Cheap to clone.
#[derive(Clone, Default)]
pub struct Streams {
    open: Arc<Mutex<HashMap<Uuid, Weak<Agent>>>>,
}

struct Agent {
    id: Uuid,
    cut: watch::Sender<Option<Code>>,
    open: Arc<Mutex<HashMap<Uuid, Weak<Agent>>>>,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // A newer entry may have taken this one's place meanwhile.
        if open.get(&self.id).is_some_and(|entry| entry.strong_count() == 0) {
            open.remove(&self.id);
        }
    }
}

/// One open stream's end of it.
pub struct Watched {
    _agent: Arc<Agent>,
    cut: Pin<Box<dyn Future<Output = Code> + Send>>,
}

impl Watched {
    /// Waits until the agent may no longer act.
    pub async fn cut(&mut self) -> Code {
        self.cut.as_mut().await
    }

    /// Ready when the agent may no longer act.
    pub fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Code> {
        self.cut.as_mut().poll(cx)
    }
}

impl Streams {
    /// Registers a stream of `agent`; dropping it takes it off again.
    pub fn watch(&self, agent: Uuid) -> Watched {
        let agent = {
            let mut open = self.lock();
            match open.get(&agent).and_then(Weak::upgrade) {
                Some(entry) => entry,
                None => {
                    let entry =
                        Arc::new(Agent { id: agent, cut: watch::Sender::new(None), open: Arc::clone(&self.open) });
                    open.insert(agent, Arc::downgrade(&entry));
                    entry
                }
            }
        };
        let mut cut = agent.cut.subscribe();
        let cut = Box::pin(async move {
            let code = cut.wait_for(Option::is_some).await.map(|code| *code);
            match code {
                Ok(code) => code.unwrap_or(Code::AgentFrozen),
                // The sender lives as long as the stream that holds its agent.
                Err(_) => std::future::pending().await,
            }
        });
        Watched { _agent: agent, cut }
    }

    /// Looks after open streams for as long as it is polled.
    pub async fn keep_watch(self, cache: Cache) {
        let mut notices = cache.notices();
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let only = tokio::select! {
                notice = notices.recv() => match notice {
                    Ok(Notice::Agent(id)) => Some(id),
                    Ok(Notice::Everything) | Err(RecvError::Lagged(_)) => None,
                    Ok(_) => continue,
                    Err(RecvError::Closed) => return,
                },
                _ = tick.tick() => None,
            };
            self.look(&cache, only).await;
        }
    }

    async fn look(&self, cache: &Cache, only: Option<Uuid>) {
        let agents: Vec<Uuid> = match only {
            Some(id) => vec![id],
            None => self.lock().keys().copied().collect(),
        };
        for id in agents {
            let Some(entry) = self.lock().get(&id).and_then(Weak::upgrade) else { continue };
            let code = match cache.agent(id).await {
                Ok(Some(agent)) => match agent.status {
                    Status::Active => continue,
                    Status::Retired => Code::AgentRetired,
                    Status::Frozen | Status::Invited => Code::AgentFrozen,
                },
                Ok(None) => Code::AgentRetired,
                // Nothing new is admitted while the store is away; what was admitted goes on.
                Err(_) => continue,
            };
            self.cut(&entry, code);
        }
    }

    fn cut(&self, entry: &Agent, code: Code) {
        // Streams that begin from now on are another entry's: they were admitted after this.
        self.lock().remove(&entry.id);
        entry.cut.send_replace(Some(code));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Weak<Agent>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn code(watched: &mut Watched) -> Code {
        std::future::poll_fn(|cx| watched.poll_cut(cx)).await
    }

    #[tokio::test]
    async fn cutting_an_agent_cuts_all_its_streams_and_no_others() {
        let streams = Streams::default();
        let (frozen, other) = (Uuid::new_v4(), Uuid::new_v4());
        let (mut one, mut two, mut third) = (streams.watch(frozen), streams.watch(frozen), streams.watch(other));
        let entry = streams.lock().get(&frozen).and_then(Weak::upgrade).expect("open");
        streams.cut(&entry, Code::AgentFrozen);
        assert_eq!(code(&mut one).await, Code::AgentFrozen);
        assert_eq!(code(&mut two).await, Code::AgentFrozen);
        let pending = tokio::time::timeout(Duration::from_millis(20), code(&mut third)).await;
        assert!(pending.is_err());
    }

    #[tokio::test]
    async fn an_agent_without_streams_is_forgotten() {
        let streams = Streams::default();
        let agent = Uuid::new_v4();
        let (one, two) = (streams.watch(agent), streams.watch(agent));
        drop(one);
        assert_eq!(streams.lock().len(), 1);
        drop(two);
        assert_eq!(streams.lock().len(), 0);
    }
}
