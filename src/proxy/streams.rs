//! Open replies, by agent and by token: freezing the one or revoking the other cuts what is still being read.

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
use crate::store::StoreError;
use crate::store::agent::Status;
use crate::store::cache::{Cache, Notice};

/// How often open streams are looked after.
const LOOK: Duration = Duration::from_millis(250);
/// Changes that are older than this have been heard, or the database is asked. With the above, and one
/// question, a freeze cuts within a second whatever became of the listening connection.
const CERTAINTY: Duration = Duration::from_millis(450);

/// What has open streams. Cheap to clone.
#[derive(Clone, Default)]
pub struct Streams(Arc<Shared>);

#[derive(Default)]
struct Shared {
    open: Mutex<Open>,
    watched: AtomicUsize,
}

#[derive(Default)]
struct Open {
    by: HashMap<Ground, Weak<Entry>>,
    /// Once the gateway ends, no stream begins.
    stopped: bool,
}

/// What a stream rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Ground {
    Agent(Uuid),
    /// A token's `jti`.
    Token(Uuid),
}

struct Entry {
    ground: Ground,
    cut: watch::Sender<Option<Code>>,
    shared: Arc<Shared>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut open = self.shared.lock();
        // A newer entry may have taken this one's place meanwhile.
        if open.by.get(&self.ground).is_some_and(|entry| entry.strong_count() == 0) {
            open.by.remove(&self.ground);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(self: &Arc<Self>, ground: Ground) -> Arc<Entry> {
        let mut open = self.lock();
        let known = open.by.get(&ground).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let cut = watch::Sender::new(open.stopped.then_some(Code::GatewayStopping));
            let entry = Arc::new(Entry { ground, cut, shared: Arc::clone(self) });
            open.by.insert(ground, Arc::downgrade(&entry));
            entry
        })
    }
}

/// One open stream's end of it.
pub struct Watched {
    shared: Arc<Shared>,
    cut: Pin<Box<dyn Future<Output = Code> + Send>>,
}

impl Watched {
    /// Waits until the agent may no longer act, or not with this token.
    pub async fn cut(&mut self) -> Code {
        self.cut.as_mut().await
    }

    /// Ready when the agent may no longer act, or not with this token.
    pub fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Code> {
        self.cut.as_mut().poll(cx)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.shared.watched.fetch_sub(1, Ordering::Release);
    }
}

impl Streams {
    /// Registers a stream of `agent`, on behalf of `principals`, with a token that rests on `tokens`, its own and those that
    /// it was made from; dropping it takes it off again.
    pub fn watch(&self, agent: Uuid, principals: &[Uuid], tokens: &[Uuid]) -> Watched {
        self.0.watched.fetch_add(1, Ordering::Relaxed);
        let agents = principals.iter().copied().chain([agent]).map(Ground::Agent);
        let grounds = agents.chain(tokens.iter().copied().map(Ground::Token));
        let mut cuts: Vec<_> = grounds.map(|ground| Box::pin(cut(self.0.entry(ground)))).collect();
        // Whichever is cut first cuts the stream.
        let first = move |cx: &mut Context<'_>| {
            let ready = cuts.iter_mut().find_map(|cut| match cut.as_mut().poll(cx) {
                Poll::Ready(code) => Some(code),
                Poll::Pending => None,
            });
            ready.map_or(Poll::Pending, Poll::Ready)
        };
        Watched { shared: Arc::clone(&self.0), cut: Box::pin(std::future::poll_fn(first)) }
    }

    /// Looks after open streams for as long as it is polled.
    pub async fn keep_watch(self, cache: Cache) {
        let mut notices = cache.notices();
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Whether the last question got no answer: it is asked until it does.
        let mut unanswered = false;
        loop {
            tokio::select! {
                notice = notices.recv() => match notice {
                    Ok(Notice::Agent(id)) => unanswered |= self.look_at(&cache, id).await.is_err(),
                    // Only a revocation tells of a token.
                    Ok(Notice::Token(jti)) => self.cut(Ground::Token(jti), Code::TokenInvalid),
                    Ok(Notice::Everything) | Err(RecvError::Lagged(_)) => unanswered = self.ask(&cache).await.is_err(),
                    Ok(_) => {}
                    Err(RecvError::Closed) => return,
                },
                _ = tick.tick() => if unanswered || !cache.is_certain(CERTAINTY) {
                    unanswered = self.ask(&cache).await.is_err();
                },
            }
        }
    }

    /// Cuts every stream, and each that begins from now on: the gateway ends.
    pub fn stop(&self) {
        let entries: Vec<_> = {
            let mut open = self.0.lock();
            open.stopped = true;
            open.by.drain().filter_map(|(_, entry)| entry.upgrade()).collect()
        };
        for entry in entries {
            entry.cut.send_replace(Some(Code::GatewayStopping));
        }
    }

    /// Waits until no stream is left. Only the end of the process waits for that, so nothing tells it.
    pub async fn ended(&self) {
        while self.0.watched.load(Ordering::Acquire) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// One agent has changed.
    async fn look_at(&self, cache: &Cache, id: Uuid) -> Result<(), StoreError> {
        if !self.0.lock().by.contains_key(&Ground::Agent(id)) {
            return Ok(());
        }
        self.cut_stopped(cache, &[id]).await
    }

    /// Anything may have changed: one question about all agents that have open streams, one about all tokens. Nothing new
    /// is admitted while the store is away; what was admitted goes on until it answers.
    async fn ask(&self, cache: &Cache) -> Result<(), StoreError> {
        let (mut agents, mut tokens) = (Vec::new(), Vec::new());
        for ground in self.0.lock().by.keys() {
            match ground {
                Ground::Agent(id) => agents.push(*id),
                Ground::Token(jti) => tokens.push(*jti),
            }
        }
        if !agents.is_empty() {
            self.cut_stopped(cache, &agents).await?;
        }
        if !tokens.is_empty() {
            for jti in cache.revoked_tokens(&tokens).await? {
                self.cut(Ground::Token(jti), Code::TokenInvalid);
            }
        }
        Ok(())
    }

    async fn cut_stopped(&self, cache: &Cache, agents: &[Uuid]) -> Result<(), StoreError> {
        for (id, status) in cache.stopped_agents(agents).await? {
            self.stop_agent(id, status);
        }
        Ok(())
    }

    fn stop_agent(&self, id: Uuid, status: Status) {
        match status {
            Status::Active => {}
            Status::Retired => self.cut(Ground::Agent(id), Code::AgentRetired),
            Status::Frozen | Status::Invited => self.cut(Ground::Agent(id), Code::AgentFrozen),
        }
    }

    fn cut(&self, ground: Ground, code: Code) {
        // Streams that begin from now on are another entry's: they are admitted after this, or not at all.
        let entry = self.0.lock().by.remove(&ground);
        if let Some(entry) = entry.and_then(|entry| entry.upgrade()) {
            entry.cut.send_replace(Some(code));
        }
    }
}

/// Why what rests on this was cut, once it is.
async fn cut(entry: Arc<Entry>) -> Code {
    match entry.cut.subscribe().wait_for(Option::is_some).await.map(|code| *code) {
        Ok(code) => code.unwrap_or(Code::AgentFrozen),
        // The sender lives as long as the stream that holds its entry.
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
        let stream = |agent| streams.watch(agent, &[], &[Uuid::new_v4()]);
        let (mut one, mut two, mut third) = (stream(frozen), stream(frozen), stream(other));
        streams.stop_agent(frozen, Status::Frozen);
        assert_eq!(code(&mut one).await, Code::AgentFrozen);
        assert_eq!(code(&mut two).await, Code::AgentFrozen);
        let pending = tokio::time::timeout(Duration::from_millis(20), code(&mut third)).await;
        assert!(pending.is_err());
    }

    #[tokio::test]
    async fn cutting_a_token_cuts_its_streams_and_not_the_agents_others() {
        let streams = Streams::default();
        let (agent, revoked) = (Uuid::new_v4(), Uuid::new_v4());
        let mut one = streams.watch(agent, &[], &[revoked]);
        let mut handed = streams.watch(Uuid::new_v4(), &[agent], &[revoked, Uuid::new_v4()]);
        let mut other = streams.watch(agent, &[], &[Uuid::new_v4()]);
        streams.cut(Ground::Token(revoked), Code::TokenInvalid);
        assert_eq!(code(&mut one).await, Code::TokenInvalid);
        assert_eq!(code(&mut handed).await, Code::TokenInvalid, "made from it");
        assert!(tokio::time::timeout(Duration::from_millis(20), code(&mut other)).await.is_err());
    }

    #[tokio::test]
    async fn stopping_whoever_handed_a_token_on_cuts_the_streams_that_it_opened() {
        let streams = Streams::default();
        let (child, parent, grandparent) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
        let mut own = streams.watch(child, &[], &[Uuid::new_v4()]);
        let mut handed = streams.watch(child, &[grandparent, parent], &[Uuid::new_v4()]);
        streams.stop_agent(grandparent, Status::Retired);
        assert_eq!(code(&mut handed).await, Code::AgentRetired);
        assert!(tokio::time::timeout(Duration::from_millis(20), code(&mut own)).await.is_err());
        streams.stop_agent(child, Status::Frozen);
        assert_eq!(code(&mut own).await, Code::AgentFrozen);
        drop((own, handed));
        streams.ended().await;
    }

    #[tokio::test]
    async fn an_agent_without_streams_is_forgotten() {
        let streams = Streams::default();
        let (agent, jti) = (Uuid::new_v4(), Uuid::new_v4());
        let (one, two) = (streams.watch(agent, &[], &[jti]), streams.watch(agent, &[], &[jti]));
        drop(one);
        assert_eq!(streams.0.lock().by.len(), 2, "the agent and the token");
        drop(two);
        assert_eq!(streams.0.lock().by.len(), 0);
    }

    #[tokio::test]
    async fn a_gateway_that_ends_cuts_all_streams_and_waits_for_the_last() {
        let streams = Streams::default();
        let stream = || streams.watch(Uuid::new_v4(), &[], &[Uuid::new_v4()]);
        let mut open = stream();
        streams.stop();
        assert_eq!(code(&mut open).await, Code::GatewayStopping);
        assert_eq!(code(&mut stream()).await, Code::GatewayStopping, "late");
        assert!(tokio::time::timeout(Duration::from_millis(20), streams.ended()).await.is_err());
        drop(open);
        streams.ended().await;
    }
}
