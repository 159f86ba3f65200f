//! Open replies, by agent: freezing an agent cuts what it is still reading.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use uuid::Uuid;

use crate::refusal::Code;
use crate::store::agent::Status;
use crate::store::cache::{Cache, Notice};

/// How often open streams are looked after.
const LOOK: Duration = Duration::from_millis(250);
/// Changes that are older than this have been heard, or the database is asked. With the above, and one
/// question, a freeze cuts within a second whatever became of the listening connection.
const CERTAINTY: Duration = Duration::from_millis(450);

/// Which agents have open streams. Cheap to clone.
#[derive(Clone, Default)]
pub struct Streams(Arc<Shared>);

#[derive(Default)]
struct Shared {
    open: Mutex<Open>,
    watched: AtomicUsize,
}

#[derive(Default)]
struct Open {
    agents: HashMap<Uuid, Weak<Agent>>,
    /// Once the gateway ends, no stream begins.
    stopped: bool,
}

struct Agent {
    id: Uuid,
    cut: watch::Sender<Option<Code>>,
    shared: Arc<Shared>,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let mut open = self.shared.lock();
        // A newer entry may have taken this one's place meanwhile.
        if open.agents.get(&self.id).is_some_and(|entry| entry.strong_count() == 0) {
            open.agents.remove(&self.id);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open stream's end of it.
pub struct Watched {
    agents: Vec<Arc<Agent>>,
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

impl Drop for Watched {
    fn drop(&mut self) {
        // There is the one that acts, at least.
        self.agents[0].shared.watched.fetch_sub(1, Ordering::Release);
    }
}

impl Streams {
    /// Registers a stream of `agent`, on behalf of `principals`; dropping it takes it off again.
    pub fn watch(&self, agent: Uuid, principals: &[Uuid]) -> Watched {
        self.0.watched.fetch_add(1, Ordering::Relaxed);
        let agents: Vec<_> = std::iter::once(&agent).chain(principals).map(|agent| self.entry(*agent)).collect();
        let mut cuts: Vec<_> = agents.iter().map(|agent| Box::pin(stopped(agent.cut.subscribe()))).collect();
        // Whichever is stopped first stops the stream.
        let first = move |cx: &mut Context<'_>| {
            let ready = cuts.iter_mut().find_map(|cut| match cut.as_mut().poll(cx) {
                Poll::Ready(code) => Some(code),
                Poll::Pending => None,
            });
            ready.map_or(Poll::Pending, Poll::Ready)
        };
        Watched { agents, cut: Box::pin(std::future::poll_fn(first)) }
    }

    fn entry(&self, agent: Uuid) -> Arc<Agent> {
        let mut open = self.0.lock();
        let known = open.agents.get(&agent).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let cut = watch::Sender::new(open.stopped.then_some(Code::GatewayStopping));
            let entry = Arc::new(Agent { id: agent, cut, shared: Arc::clone(&self.0) });
            open.agents.insert(agent, Arc::downgrade(&entry));
            entry
        })
    }

    /// Looks after open streams for as long as it is polled.
    pub async fn keep_watch(self, cache: Cache) {
        let mut notices = cache.notices();
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                notice = notices.recv() => match notice {
                    Ok(Notice::Agent(id)) => self.look_at(&cache, id).await,
                    Ok(Notice::Everything) | Err(RecvError::Lagged(_)) => self.ask(&cache).await,
                    Ok(_) => {}
                    Err(RecvError::Closed) => return,
                },
                _ = tick.tick() => if !cache.is_certain(CERTAINTY) {
                    self.ask(&cache).await;
                },
            }
        }
    }

    /// Cuts every stream, and each that begins from now on: the gateway ends.
    pub fn stop(&self) {
        let agents: Vec<_> = {
            let mut open = self.0.lock();
            open.stopped = true;
            open.agents.drain().filter_map(|(_, entry)| entry.upgrade()).collect()
        };
        for agent in agents {
            agent.cut.send_replace(Some(Code::GatewayStopping));
        }
    }

    /// Waits until no stream is left. Only the end of the process waits for that, so nothing tells it.
    pub async fn ended(&self) {
        while self.0.watched.load(Ordering::Acquire) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// One agent has changed.
    async fn look_at(&self, cache: &Cache, id: Uuid) {
        if !self.0.lock().agents.contains_key(&id) {
            return;
        }
        match cache.agent(id).await {
            Ok(Some(agent)) if agent.status == Status::Active => {}
            Ok(agent) => self.cut(id, agent.map_or(Status::Retired, |agent| agent.status)),
            // The next look asks the database, which may be back by then.
            Err(_) => self.ask(cache).await,
        }
    }

    /// Any agent may have changed: one question about all that have open streams.
    async fn ask(&self, cache: &Cache) {
        let agents: Vec<Uuid> = self.0.lock().agents.keys().copied().collect();
        if agents.is_empty() {
            return;
        }
        // Nothing new is admitted while the store is away; what was admitted goes on.
        for (id, status) in cache.stopped_agents(&agents).await.unwrap_or_default() {
            self.cut(id, status);
        }
    }

    fn cut(&self, id: Uuid, status: Status) {
        let code = match status {
            Status::Active => return,
            Status::Retired => Code::AgentRetired,
            Status::Frozen | Status::Invited => Code::AgentFrozen,
        };
        // Streams that begin from now on are another entry's: they are admitted after this, or not at all.
        let entry = self.0.lock().agents.remove(&id);
        if let Some(entry) = entry.and_then(|entry| entry.upgrade()) {
            entry.cut.send_replace(Some(code));
        }
    }
}

async fn stopped(mut cut: watch::Receiver<Option<Code>>) -> Code {
    let code = cut.wait_for(Option::is_some).await.map(|code| *code);
    match code {
        Ok(code) => code.unwrap_or(Code::AgentFrozen),
        // The sender lives as long as the stream that holds its agent.
        Err(_) => std::future::pending().await,
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
        let watch = |agent| streams.watch(agent, &[]);
        let (mut one, mut two, mut third) = (watch(frozen), watch(frozen), watch(other));
        streams.cut(frozen, Status::Frozen);
        assert_eq!(code(&mut one).await, Code::AgentFrozen);
        assert_eq!(code(&mut two).await, Code::AgentFrozen);
        let pending = tokio::time::timeout(Duration::from_millis(20), code(&mut third)).await;
        assert!(pending.is_err());
    }

    #[tokio::test]
    async fn stopping_whoever_handed_a_token_on_cuts_the_streams_that_it_opened() {
        let streams = Streams::default();
        let (child, parent, grandparent) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
        let mut own = streams.watch(child, &[]);
        let mut handed = streams.watch(child, &[grandparent, parent]);
        streams.cut(grandparent, Status::Retired);
        assert_eq!(code(&mut handed).await, Code::AgentRetired);
        assert!(tokio::time::timeout(Duration::from_millis(20), code(&mut own)).await.is_err());
        streams.cut(child, Status::Frozen);
        assert_eq!(code(&mut own).await, Code::AgentFrozen);
        drop((own, handed));
        streams.ended().await;
    }

    #[tokio::test]
    async fn an_agent_without_streams_is_forgotten() {
        let streams = Streams::default();
        let agent = Uuid::new_v4();
        let (one, two) = (streams.watch(agent, &[]), streams.watch(agent, &[]));
        drop(one);
        assert_eq!(streams.0.lock().agents.len(), 1);
        drop(two);
        assert_eq!(streams.0.lock().agents.len(), 0);
    }

    #[tokio::test]
    async fn a_gateway_that_ends_cuts_all_streams_and_waits_for_the_last() {
        let streams = Streams::default();
        let mut open = streams.watch(Uuid::new_v4(), &[]);
        streams.stop();
        assert_eq!(code(&mut open).await, Code::GatewayStopping);
        assert_eq!(code(&mut streams.watch(Uuid::new_v4(), &[])).await, Code::GatewayStopping, "late");
        assert!(tokio::time::timeout(Duration::from_millis(20), streams.ended()).await.is_err());
        drop(open);
        streams.ended().await;
    }
}
