//! The status list as it is served: made anew when it is some seconds old, so that nobody's polling costs a signature each.

use std::sync::Arc;

use tgp_request::status::MAX_ENTRIES;
use tgp_vault_client::wire::{SignStatusList, SignedStatusList};

use crate::gateway::Gateway;
use crate::refusal::Refusal;

/// Seconds for which a list is served again; what caches may keep it for, too.
pub const FRESH: i64 = 5;

/// The last list. One request at a time makes the next one.
#[derive(Default)]
pub struct StatusLists(tokio::sync::Mutex<Option<Arc<SignedStatusList>>>);

impl StatusLists {
    /// A list that is good. While store or vault are away the last one is served until it ends, and then none.
    pub async fn current(&self, gateway: &Gateway) -> Result<Arc<SignedStatusList>, Refusal> {
        let mut held = self.0.lock().await;
        let now = gateway.now();
        if let Some(list) = held.as_ref().filter(|list| (list.iat..list.iat + FRESH).contains(&now)) {
            return Ok(Arc::clone(list));
        }
        match make(gateway).await {
            Ok(list) => Ok(Arc::clone(held.insert(Arc::new(list)))),
            Err(refusal) => match held.as_ref().filter(|list| now < list.exp) {
                Some(list) => Ok(Arc::clone(list)),
                None => Err(refusal),
            },
        }
    }
}

async fn make(gateway: &Gateway) -> Result<SignedStatusList, Refusal> {
    // A list that leaves somebody out is worse than none: verifiers without one refuse.
    let stopped = gateway.store.status_list(MAX_ENTRIES).await?.ok_or_else(|| {
        tracing::error!(most = MAX_ENTRIES, "more agents or tokens were stopped lately than a status list may name");
        Refusal::store_unavailable()
    })?;
    let call = SignStatusList { agents: stopped.agents, tokens: stopped.tokens };
    Ok(gateway.vault.ask(call).await?)
}
