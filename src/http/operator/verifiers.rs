//! Verifier keys of tools. A key is made where the operator is; what comes here is its digest, which is of no use to
//! whoever sees it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::json;
use tgp_authority::Role;
use uuid::Uuid;

use super::{Act, Answered, OperatorRoutes, created, malformed, ok};
use crate::refusal::{Code, Refusal};
use crate::store::verifier::{MOST, VerifierKeyRow};
use crate::store::{Entry, StoreError};

/// How long the keys that a rotation replaces may stay good.
const LONGEST_OVERLAP: i32 = 30 * 24 * 60 * 60;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    /// base64url of `VerifierKey::digest`.
    digest: String,
    /// A rotation: in so many seconds the other keys of the tool end.
    #[serde(default)]
    overlap_s: Option<i32>,
}

impl OperatorRoutes {
    pub(super) async fn add_verifier_key(&self, act: &Act, slug: &str) -> Answered {
        let NewKey { digest, overlap_s } = act.body()?;
        let digest = URL_SAFE_NO_PAD.decode(&digest).ok().and_then(|octets| <[u8; 32]>::try_from(octets).ok());
        let digest = digest.ok_or_else(|| malformed("digest is base64url of 32 octets"))?;
        if overlap_s.is_some_and(|overlap| !(0..=LONGEST_OVERLAP).contains(&overlap)) {
            return Err(malformed("overlap_s is 0 to 2592000 seconds"));
        }
        let tool = self.find_tool(act, slug).await?;
        act.needs(tool.tenant, &[Role::Owner, Role::Granter])?;
        let key = Uuid::new_v4();
        let mut change = self.gateway.people.change(tool.tenant).await?;
        if let Some(overlap) = overlap_s {
            change.end_verifier_keys(slug, overlap).await?;
        }
        if !change.insert_verifier_key(key, slug, &digest).await? {
            let detail = format!("{slug} has {MOST} verifier keys that are good; revoke one first");
            return Err(Refusal::new(Code::Conflict, detail));
        }
        let verb = if overlap_s.is_some() { "verifier-key-rotate" } else { "verifier-key-add" };
        let mut entry = Entry { tool: Some(slug.to_owned()), ..act.entry(tool.tenant, verb) };
        entry.detail = Some(json!({ "act": verb, "key": key, "overlap_s": overlap_s }));
        change.commit(&entry).await?;
        Ok(created(&json!({ "key": key, "tool": slug, "overlap_s": overlap_s })))
    }

    pub(super) async fn verifier_keys(&self, act: &Act, slug: &str) -> Answered {
        let tool = self.find_tool(act, slug).await?;
        let keys = self.gateway.people.verifier_keys(tool.tenant, slug).await?;
        let shown = |VerifierKeyRow { id, created, ends, ended }: &VerifierKeyRow| json!({ "key": id, "created": created, "ends": ends, "ended": ended });
        Ok(ok(&json!({ "keys": keys.iter().map(shown).collect::<Vec<_>>() })))
    }

    pub(super) async fn revoke_verifier_key(&self, act: &Act, slug: &str, key: &str) -> Answered {
        let unknown = || Refusal::new(Code::NotFound, "the tool has no such key");
        let tool = self.find_tool(act, slug).await?;
        act.needs(tool.tenant, &[Role::Owner, Role::Granter])?;
        let key: Uuid = key.parse().map_err(|_| unknown())?;
        let mut change = self.gateway.people.change(tool.tenant).await?;
        change.end_verifier_key(key, slug).await.map_err(|error| match error {
            StoreError::NotFound => unknown(),
            other => other.into(),
        })?;
        let mut entry = Entry { tool: Some(slug.to_owned()), ..act.entry(tool.tenant, "verifier-key-revoke") };
        entry.detail = Some(json!({ "act": "verifier-key-revoke", "key": key }));
        change.commit(&entry).await?;
        Ok(ok(&json!({ "key": key, "tool": slug, "ended": true })))
    }
}
