//! Tools as the gateway uses them: manifest parsed, upstream address opened. Kept per version of the
//! tool; the version that admission compares is the one that was used.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderName;
use serde::Deserialize as _;
use tgp_request::name::Slug;
use tgp_vault_client::wire::{Open, OpenItem};

use super::manifest::Manifest;
use crate::manifest::{self, About};
use crate::proxy::guard::Reach;
use crate::proxy::upstream::Upstream;
use crate::refusal::Refusal;
use crate::store::cache::Cache;
use crate::store::tool::Tool;
use crate::vault::Vault;

const CAPACITY: usize = 10_000;

/// One tool, ready for use.
pub struct ReadyTool {
    pub slug: Slug,
    pub tool: Arc<Tool>,
    pub manifest: Manifest,
    /// Fields of the agent's that go upstream beside those that always do.
    pub headers: Vec<HeaderName>,
    pub upstream: Upstream,
    pub reach: Reach,
}

pub struct Tools {
    cache: Cache,
    vault: Vault,
    ready: Mutex<HashMap<String, Arc<ReadyTool>>>,
}

impl Tools {
    pub fn new(cache: Cache, vault: Vault) -> Self {
        Self { cache, vault, ready: Mutex::default() }
    }

    /// The tool of this slug, if there is one.
    pub async fn find(&self, slug: &str) -> Result<Option<Arc<ReadyTool>>, Refusal> {
        let Ok(name) = slug.parse::<Slug>() else { return Ok(None) };
        let Some(tool) = self.cache.tool(slug).await? else { return Ok(None) };
        let held = self.lock().get(slug).cloned();
        if let Some(ready) = held
            && ready.tool.version == tool.version
            && ready.tool.tenant == tool.tenant
        {
            return Ok(Some(ready));
        }
        let ready = Arc::new(self.prepare(name, tool).await?);
        let mut kept = self.lock();
        if kept.len() >= CAPACITY {
            kept.clear();
        }
        kept.insert(slug.to_owned(), Arc::clone(&ready));
        Ok(Some(ready))
    }

    async fn prepare(&self, slug: Slug, tool: Arc<Tool>) -> Result<ReadyTool, Refusal> {
        let open = || Open { tenant: tool.tenant, items: vec![sealed_upstream(&tool)] };
        let opened = self.vault.call(tool.tenant, open).await?;
        let text = opened.into_iter().next().unwrap_or_default();
        let text = std::str::from_utf8(&text).map_err(|error| Refusal::internal(&error))?;
        let upstream = Upstream::parse(text).map_err(|error| Refusal::internal(&error))?;
        let routes = Manifest::parse(&tool.actions).map_err(|error| Refusal::internal(&error))?;
        let about = About::deserialize(&tool.manifest).map_err(|error| Refusal::internal(&error))?;
        let headers: Result<_, _> = about.headers.iter().map(|name| manifest::header(name)).collect();
        let headers = headers.map_err(|why| Refusal::internal(&why))?;
        let reach = if tool.allow_private { Reach::Private } else { Reach::Public };
        Ok(ReadyTool { slug, tool, manifest: routes, headers, upstream, reach })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<ReadyTool>>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a tool's upstream address lies sealed.
pub fn sealed_upstream(tool: &Tool) -> OpenItem {
    OpenItem {
        table: "tool".to_owned(),
        column: "upstream".to_owned(),
        key: tool.slug.clone(),
        version: tool.upstream.version,
        sealed: tool.upstream.bytes.clone(),
    }
}
