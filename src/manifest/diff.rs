//! What one manifest has that another has not: shown before a manifest takes the place of another.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{ManifestAction, ToolManifest};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Members of the manifest itself that differ: `title`, `headers`…
    pub about: Vec<&'static str>,
    pub added: Vec<Change>,
    pub removed: Vec<Change>,
    pub changed: Vec<Change>,
}

/// One action, and the requests that it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    pub name: String,
    pub method: String,
    pub path: String,
    /// Which members differ; empty for one that came or went.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differs: Vec<&'static str>,
    /// `GET /old/path`, where the name now stands for other requests: a grant for it opens these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

impl Diff {
    pub fn between(old: &ToolManifest, new: &ToolManifest) -> Self {
        let ToolManifest { kind, title, description, public_hosts, headers, actions } = new;
        let about = [
            ("kind", *kind != old.kind),
            ("title", *title != old.title),
            ("description", *description != old.description),
            ("public_hosts", *public_hosts != old.public_hosts),
            ("headers", *headers != old.headers),
        ];
        let mut before: BTreeMap<&str, &ManifestAction> =
            old.actions.iter().map(|action| (action.name.as_str(), action)).collect();
        let mut diff = Self { about: named(&about), ..Self::default() };
        for action in actions {
            match before.remove(action.name.as_str()) {
                None => diff.added.push(Change::of(action)),
                Some(old) => diff.changed.extend(Change::between(old, action)),
            }
        }
        diff.removed.extend(before.values().map(|action| Change::of(action)));
        for list in [&mut diff.added, &mut diff.changed] {
            list.sort_by(|one, other| one.name.cmp(&other.name));
        }
        diff
    }

    pub fn is_empty(&self) -> bool {
        let Self { about, added, removed, changed } = self;
        about.is_empty() && added.is_empty() && removed.is_empty() && changed.is_empty()
    }

    /// Names that no longer stand for what they stood for.
    pub fn lost(&self) -> impl Iterator<Item = &str> {
        self.removed.iter().map(|change| change.name.as_str())
    }

    /// Names that now stand for other requests.
    pub fn moved(&self) -> impl Iterator<Item = &str> {
        self.changed.iter().filter(|change| change.before.is_some()).map(|change| change.name.as_str())
    }
}

impl Change {
    fn of(action: &ManifestAction) -> Self {
        let ManifestAction { name, method, path, .. } = action;
        Self { name: name.clone(), method: method.clone(), path: path.clone(), differs: Vec::new(), before: None }
    }

    fn between(old: &ManifestAction, new: &ManifestAction) -> Option<Self> {
        let ManifestAction { name: _, method, path, resource, stream, title, description, request } = new;
        let moved = *method != old.method || *path != old.path;
        let differs = named(&[
            ("method", *method != old.method),
            ("path", *path != old.path),
            ("resource", *resource != old.resource),
            ("stream", *stream != old.stream),
            ("title", *title != old.title),
            ("description", *description != old.description),
            ("request", *request != old.request),
        ]);
        let before = moved.then(|| format!("{} {}", old.method, old.path));
        (!differs.is_empty()).then(|| Self { differs, before, ..Self::of(new) })
    }
}

fn named(parts: &[(&'static str, bool)]) -> Vec<&'static str> {
    parts.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect()
}
