//! Agents, tools and grants as the hot path needs them, kept until the database says that they changed.
//!
//! The cache is allowed to be old: admission compares versions in the same statement that records, and
//! says [`Stale`](crate::admission::AdmissionError::Stale). It is not allowed to stay old: while nobody
//! listens it keeps nothing, and when listening breaks it forgets everything.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::Instant;
use uuid::Uuid;

use super::agent::{Agent, Status};
use super::grant::Grant;
use super::listen::Ear;
pub use super::listen::Notice;
use super::tool::Tool;
use super::{Store, StoreError};

/// Past this many entries of a kind the map is emptied: simple, and far above a busy gateway's working set.
const CAPACITY: usize = 200_000;

/// Cheap to clone; clones share what they hold.
#[derive(Clone)]
pub struct Cache {
    store: Store,
    state: Arc<RwLock<State>>,
    notices: broadcast::Sender<Notice>,
}

#[derive(Default)]
struct State {
    /// Whether somebody listens; nothing is kept otherwise.
    live: bool,
    /// When it was last certain that no change had gone unheard.
    heard: Option<Instant>,
    /// Grows with every notice: what was read before one came is not kept after it.
    generation: u64,
    agents: HashMap<Uuid, Arc<Agent>>,
    tools: HashMap<String, Arc<Tool>>,
    grants: HashMap<Uuid, HashMap<String, Arc<[Grant]>>>,
    /// Of all agents together; at least as many as there are.
    kept_grants: usize,
}

impl State {
    fn forget(&mut self, notice: &Notice) {
        self.generation += 1;
        match notice {
            Notice::Agent(id) => drop(self.agents.remove(id)),
            Notice::Tool(slug) => drop(self.tools.remove(slug)),
            Notice::Grant(agent, tool) => {
                if let Some(grants) = self.grants.get_mut(agent) {
                    grants.remove(tool);
                    if grants.is_empty() {
                        self.grants.remove(agent);
                    }
                }
            }
            Notice::Token(_) => {}
            Notice::Everything => {
                self.agents.clear();
                self.tools.clear();
                self.grants.clear();
                self.kept_grants = 0;
            }
        }
    }
}

impl Cache {
    pub fn new(store: Store) -> Self {
        let (notices, _) = broadcast::channel(1024);
        Self { store, state: Arc::default(), notices }
    }

    /// An agent of any tenant, by id.
    pub async fn agent(&self, id: Uuid) -> Result<Option<Arc<Agent>>, StoreError> {
        if let Some(agent) = self.read(|state| state.agents.get(&id).cloned()) {
            return Ok(Some(agent));
        }
        let generation = self.read(|state| state.generation);
        let Some(tenant) = self.store.tenant_of_agent(id).await? else { return Ok(None) };
        let Some(agent) = self.store.agent(tenant, id).await?.map(Arc::new) else { return Ok(None) };
        self.keep(generation, |state| {
            if state.agents.len() >= CAPACITY {
                state.agents.clear();
            }
            state.agents.insert(id, agent.clone());
        });
        Ok(Some(agent))
    }

    /// A tool of any tenant, by slug.
    pub async fn tool(&self, slug: &str) -> Result<Option<Arc<Tool>>, StoreError> {
        if let Some(tool) = self.read(|state| state.tools.get(slug).cloned()) {
            return Ok(Some(tool));
        }
        let generation = self.read(|state| state.generation);
        let Some(tenant) = self.store.tenant_of_tool(slug).await? else { return Ok(None) };
        let Some(tool) = self.store.tool(tenant, slug).await?.map(Arc::new) else { return Ok(None) };
        self.keep(generation, |state| {
            if state.tools.len() >= CAPACITY {
                state.tools.clear();
            }
            state.tools.insert(slug.to_owned(), tool.clone());
        });
        Ok(Some(tool))
    }

    /// The grants of an agent for a tool that are not revoked; of any time, since the clock moves and the
    /// cache does not.
    pub async fn grants(&self, tenant: Uuid, agent: Uuid, tool: &str) -> Result<Arc<[Grant]>, StoreError> {
        if let Some(grants) = self.read(|state| state.grants.get(&agent)?.get(tool).cloned()) {
            return Ok(grants);
        }
        let generation = self.read(|state| state.generation);
        let mut grants = self.store.grants(tenant, Some(agent), Some(tool)).await?;
        grants.retain(|grant| !grant.revoked);
        let grants: Arc<[Grant]> = grants.into();
        self.keep(generation, |state| {
            // Each name that an agent asks for leaves an entry, whether there is such a tool or not.
            if state.kept_grants >= CAPACITY {
                state.grants.clear();
                state.kept_grants = 0;
            }
            state.kept_grants += 1;
            state.grants.entry(agent).or_default().insert(tool.to_owned(), grants.clone());
        });
        Ok(grants)
    }

    /// Forgets what a stale decision was made from, before it is loaded again.
    pub fn forget(&self, agent: Uuid, tool: &str) {
        let mut state = self.state.write().expect("no holder of the cache's lock panics");
        state.forget(&Notice::Agent(agent));
        state.forget(&Notice::Tool(tool.to_owned()));
        state.forget(&Notice::Grant(agent, tool.to_owned()));
    }

    /// Every change as it is heard, for what hangs on an agent or a token outside this cache: open streams,
    /// verified tokens. A receiver that lags must take it for [`Notice::Everything`].
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    /// Whether changes are being heard.
    pub fn is_live(&self) -> bool {
        self.read(|state| state.live)
    }

    /// Whether all that changed until `age` ago has been heard. A connection whose other end went without
    /// a word stays live for some seconds, and is not certain meanwhile.
    pub fn is_certain(&self, age: Duration) -> bool {
        self.read(|state| state.live && state.heard.is_some_and(|heard| heard.elapsed() <= age))
    }

    /// Those of `agents` that may not act, and why, as the database knows it now.
    pub async fn stopped_agents(&self, agents: &[Uuid]) -> Result<Vec<(Uuid, Status)>, StoreError> {
        self.store.for_people().stopped_agents(agents).await
    }

    /// Those of `tokens` that were revoked, as the database knows it now.
    pub async fn revoked_tokens(&self, tokens: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
        self.store.for_people().revoked_tokens(tokens).await
    }

    fn proven(&self) {
        self.state.write().expect("no holder of the cache's lock panics").heard = Some(Instant::now());
    }

    /// Listens for as long as it is polled. Until the first success, and from a break to the next, every
    /// look-up goes to the database.
    pub async fn keep_listening(self, url: String) {
        loop {
            match Ear::connect(&url).await {
                Ok(mut ear) => {
                    // Listening has begun: what is read from here on is kept.
                    self.set_live(true);
                    let broken = loop {
                        match ear.next().await {
                            Ok(Some(notice)) => self.hear(notice),
                            Ok(None) => self.proven(),
                            Err(error) => break error,
                        }
                    };
                    tracing::warn!(error = %broken, "lost the listening connection, dropped the cache");
                    self.set_live(false);
                }
                Err(error) => tracing::warn!(%error, "cannot listen for changes"),
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    fn hear(&self, notice: Notice) {
        {
            let mut state = self.state.write().expect("no holder of the cache's lock panics");
            state.forget(&notice);
            state.heard = Some(Instant::now());
        }
        // Nobody may be subscribed.
        let _ = self.notices.send(notice);
    }

    fn set_live(&self, live: bool) {
        self.state.write().expect("no holder of the cache's lock panics").live = live;
        self.hear(Notice::Everything);
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().expect("no holder of the cache's lock panics"))
    }

    fn keep(&self, generation: u64, insert: impl FnOnce(&mut State)) {
        let mut state = self.state.write().expect("no holder of the cache's lock panics");
        if state.live && state.generation == generation {
            insert(&mut state);
        }
    }
}
