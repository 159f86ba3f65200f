//! Manifests: read, made from an OpenAPI document, and put in the place of another. The gateway fetches no document: whoever asks
//! sends it, and what it became comes back before anything is changed.

use serde_json::json;
use tgp_authority::Role;
use tgp_policy::ActionPattern;
use tgp_request::name::ActionName;
use tokio::sync::Semaphore;

use super::tools::unknown;
use super::{Act, Answered, OperatorRoutes, malformed, ok};
use crate::manifest::{Diff, ToolManifest};
use crate::openapi::{self, Import};
use crate::refusal::{Code, Refusal};
use crate::store::Entry;
use crate::store::grant::Grant;
use crate::store::tool::Tool;

/// A document of 16 MiB takes ten times that while it is read: one at a time.
static IMPORTS: Semaphore = Semaphore::const_new(1);

impl OperatorRoutes {
    /// What an OpenAPI document becomes as a manifest, for `?tool=` with what was set there by hand. Stores nothing.
    pub(super) async fn import_openapi(&self, act: &Act) -> Answered {
        act.needs(act.tenant()?, &[Role::Owner, Role::Granter])?;
        let before = match act.parameter("tool") {
            Some(slug) => Some(self.manifest_of(&self.find_tool(act, slug).await?).await?),
            None => None,
        };
        let document = act.body.clone();
        let _one = IMPORTS.acquire().await.map_err(|error| Refusal::internal(&error))?;
        let read = tokio::task::spawn_blocking(move || openapi::import(&document, before.as_ref())).await;
        let import: Import =
            read.map_err(|error| Refusal::internal(&error))?.map_err(|error| malformed(&error.to_string()))?;
        Ok(ok(&json!(import)))
    }

    pub(super) async fn manifest(&self, act: &Act, slug: &str) -> Answered {
        let tool = self.find_tool(act, slug).await?;
        let manifest = self.manifest_of(&tool).await?;
        Ok(ok(&json!({ "tool": tool.slug, "version": tool.version, "manifest": manifest })))
    }

    /// `?dry_run=true` tells what would change and changes nothing; `?version=` is the version that was looked at.
    pub(super) async fn replace_manifest(&self, act: &Act, slug: &str) -> Answered {
        let gateway = &self.gateway;
        let manifest: ToolManifest = act.body()?;
        let dry_run = match act.parameter("dry_run") {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(malformed("dry_run is true or false")),
        };
        let tool = self.find_tool(act, slug).await?;
        act.needs(tool.tenant, &[Role::Owner, Role::Granter])?;
        if act.number("version")?.is_some_and(|version| version != tool.version) {
            return Err(Refusal::new(Code::Conflict, "the tool was changed meanwhile; look at it again"));
        }
        let checked = manifest.check().map_err(|problem| malformed(&problem.to_string()))?;
        let diff = Diff::between(&self.manifest_of(&tool).await?, checked.as_written());
        let grants = gateway.people.grants(tool.tenant, None, Some(slug)).await?;
        let mut touched = Vec::new();
        for grant in grants.iter().filter(|grant| !grant.revoked && gateway.now() < grant.not_after) {
            let Some(effect) = Effect::on(grant, &diff) else { continue };
            let handle = gateway.cache.agent(grant.agent).await?.map(|agent| agent.handle.clone());
            let Effect { loses, moves, gains } = effect;
            touched.push(json!({
                "grant": grant.id,
                "agent": grant.agent,
                "handle": handle,
                "actions": grant.actions,
                "loses": loses,
                "moves": moves,
                "gains": gains,
            }));
        }
        let changes = !dry_run && !diff.is_empty();
        if changes {
            let (about, actions) = checked.into_stored().map_err(|error| Refusal::internal(&error))?;
            let mut change = gateway.people.change(tool.tenant).await?;
            change.replace_manifest(slug, tool.version, &about, &actions).await?;
            change.commit(&Entry { tool: Some(slug.to_owned()), ..act.entry(tool.tenant, "tool-manifest") }).await?;
        }
        Ok(ok(&json!({ "tool": slug, "applied": changes, "diff": diff, "grants": touched })))
    }

    async fn manifest_of(&self, tool: &Tool) -> Result<ToolManifest, Refusal> {
        let current = self.gateway.people.described_actions(tool.tenant, &tool.slug).await?;
        if current.is_empty() {
            return Err(unknown());
        }
        ToolManifest::stored(&tool.manifest, current).map_err(|error| Refusal::internal(&error))
    }
}

/// What a change of actions does to a grant, which itself stays as it was signed.
struct Effect<'d> {
    /// Names that it covers and that are there no longer.
    loses: Vec<&'d str>,
    /// Names that it covers and that stand for other requests now.
    moves: Vec<&'d str>,
    /// Names that are new, and that one of its patterns covers.
    gains: Vec<&'d str>,
}

impl<'d> Effect<'d> {
    fn on(grant: &Grant, diff: &'d Diff) -> Option<Self> {
        let patterns: Vec<ActionPattern> = grant.actions.iter().filter_map(|text| text.parse().ok()).collect();
        let covers = |name: &&str| {
            let name: Option<ActionName> = name.parse().ok();
            name.is_some_and(|name| patterns.iter().any(|pattern| pattern.covers(&name)))
        };
        let effect = Self {
            loses: diff.lost().filter(covers).collect(),
            moves: diff.moved().filter(covers).collect(),
            gains: diff.added.iter().map(|change| change.name.as_str()).filter(covers).collect(),
        };
        let Self { loses, moves, gains } = &effect;
        (!loses.is_empty() || !moves.is_empty() || !gains.is_empty()).then_some(effect)
    }
}
