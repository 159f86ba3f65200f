//! From an OpenAPI document (3.0 and 3.1, JSON or YAML) to a tool's manifest, and in words what of it a manifest cannot say.
//!
//! Pure: it fetches nothing and follows no reference out of the document. It is read as a tree and not as the standard's types,
//! because one operation that is odd must not cost the others: each is taken or left by itself, with the reason. Everything
//! is bounded: the document's length and depth, each schema, their sum.
//!
//! - **Name**: the `operationId` where it can be an action's name; where it cannot, with each run of other characters as a dot
//!   (`repos/get` is `repos.get`); where there is none, method and path (`get.repos.owner.repo`). Operations that would share
//!   a name all get a digest of method and path behind it: none of them inherits what was granted to another.
//! - **Resource**: the path's parameters in their order, divided by slashes. `/repos/{owner}/{repo}/issues/{number}` touches
//!   `{owner}/{repo}/{number}`.
//! - **Request**: parameters and bodies with their schemas, references put in their place. One that comes back to itself ends
//!   where it does.
//! - **Header fields** that parameters name go through where a manifest may name them.

mod document;
mod name;
mod operation;
mod schema;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};
use tgp_request::target::{PathTemplate, TemplateError};

pub use document::{DocumentError, LONGEST_DOCUMENT};

use self::name::Names;
use self::operation::{Left, Operation};
use self::schema::Schemas;
use crate::manifest::{self, LONGEST_DESCRIPTION, LONGEST_TITLE, MOST_ACTIONS, ManifestAction, ToolManifest};
use crate::proxy::upstream::Upstream;
use crate::verify::manifest::check_resource;

/// Of all schemas that one manifest keeps, as JSON.
const LARGEST_SCHEMAS: usize = 6 * 1024 * 1024;
const MOST_NOTES: usize = 10_000;
const MOST_HEADERS: usize = 32;

/// What became of a document.
#[derive(Clone, Debug, Serialize)]
pub struct Import {
    /// The document's own.
    pub version: String,
    /// Its first server, where that is an address that a tool can have.
    pub upstream: Option<String>,
    /// What its security schemes ask for: `bearer`, `basic`, `header X-Api-Key`…
    pub credentials: Vec<String>,
    pub manifest: ToolManifest,
    pub notes: Vec<Note>,
}

/// What could not be taken as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// `GET /path`, or `document`.
    pub at: String,
    pub note: String,
}

#[derive(Default)]
struct Notes(Vec<Note>);

impl Notes {
    fn of_document(&mut self, note: impl Into<String>) {
        self.add("document".to_owned(), note);
    }

    fn add(&mut self, at: String, note: impl Into<String>) {
        if self.0.len() < MOST_NOTES {
            let cut = |text: String, most| clean(&text, most, false);
            self.0.push(Note { at: cut(at, 200), note: cut(note.into(), 400) });
        }
    }
}

/// Reads a document. What people set by hand in `before`, the tool's manifest until now, is kept: which actions stream, header
/// fields, public hosts.
pub fn import(text: &[u8], before: Option<&ToolManifest>) -> Result<Import, DocumentError> {
    let root = document::read(text)?;
    let mut notes = Notes::default();
    let upstream = upstream(&root, &mut notes);
    let mut schemas = Schemas::new(&root);
    let operations = operations(&root, upstream.as_deref(), &mut schemas, &mut notes);
    if operations.is_empty() {
        let first = notes.0.iter().find(|note| note.at != "document").or(notes.0.first());
        return Err(DocumentError::NoOperations(first.map(|note| format!("{}: {}", note.at, note.note))));
    }
    for absent in ["webhooks", "x-webhooks"] {
        if let Some(Value::Object(calls)) = root.get(absent) {
            notes
                .of_document(format!("{} {absent} are requests that the tool makes, not takes: left out", calls.len()));
        }
    }
    let mut manifest = ToolManifest {
        title: text_of(&root["info"], "title", LONGEST_TITLE, false),
        description: text_of(&root["info"], "description", LONGEST_DESCRIPTION, true),
        ..ToolManifest::default()
    };
    manifest.headers = headers(&operations, before, &mut notes);
    manifest.public_hosts = before.map(|before| before.public_hosts.clone()).unwrap_or_default();
    manifest.actions = actions(operations, before, &mut notes);
    Ok(Import {
        version: text_of(&root["info"], "version", LONGEST_TITLE, false),
        upstream,
        credentials: credentials(&root),
        manifest,
        notes: notes.0,
    })
}

/// Every operation that can be an action, by path and method.
fn operations(root: &Value, upstream: Option<&str>, schemas: &mut Schemas<'_>, notes: &mut Notes) -> Vec<Operation> {
    let empty = Map::new();
    let mut taken = Vec::new();
    let mut shapes: BTreeMap<String, String> = BTreeMap::new();
    for (path, item) in root["paths"].as_object().unwrap_or(&empty) {
        if path.starts_with("x-") {
            continue;
        }
        let Some(item) = schemas.resolve(item).and_then(Value::as_object) else {
            notes.add(path.clone(), "its path item cannot be read: left out");
            continue;
        };
        for (method, body) in item {
            if operation::IGNORED.contains(&method.as_str()) || method.starts_with("x-") {
                continue;
            }
            let at = format!("{} {path}", method.to_ascii_uppercase());
            let read = Operation::read(method, path, item, body, upstream, schemas);
            let Operation { method, notes: own, .. } = match &read {
                Ok(operation) => operation,
                Err(Left(why)) => {
                    notes.add(at, format!("left out: {why}"));
                    continue;
                }
            };
            if let Some(first) = shapes.insert(manifest::shape(method, path), at.clone()) {
                notes.add(at, format!("left out: its requests are those of {first}"));
                continue;
            }
            for note in own {
                notes.add(at.clone(), note.clone());
            }
            if taken.len() == MOST_ACTIONS {
                notes.of_document(format!("it has more than {MOST_ACTIONS} operations: the others are left out"));
                return taken;
            }
            taken.extend(read.ok());
        }
    }
    taken
}

fn actions(operations: Vec<Operation>, before: Option<&ToolManifest>, notes: &mut Notes) -> Vec<ManifestAction> {
    let names = Names::of(&operations, notes);
    let streamed: BTreeSet<(String, String)> = before
        .iter()
        .flat_map(|before| &before.actions)
        .filter(|action| action.stream)
        .map(|action| (action.name.clone(), manifest::shape(&action.method, &action.path)))
        .collect();
    let mut room = LARGEST_SCHEMAS;
    let mut actions = Vec::with_capacity(operations.len());
    for (operation, name) in operations.into_iter().zip(names.0) {
        let Some(name) = name else { continue };
        let Operation { method, path, title, description, request, .. } = operation;
        let request = request.filter(|request| !request.is_empty());
        let size = request.as_ref().map_or(0, manifest::RequestSchema::size);
        let request = if size <= room {
            room -= size;
            request
        } else {
            notes.add(
                format!("{method} {path}"),
                format!("its schemas are not kept: all together have {LARGEST_SCHEMAS} bytes"),
            );
            None
        };
        let stream = streamed.contains(&(name.clone(), manifest::shape(&method, &path)));
        let resource = resource(&path).unwrap_or_else(|why| {
            notes.add(format!("{method} {path}"), format!("what it touches is not told: {why}"));
            None
        });
        actions.push(ManifestAction { name, method, path, resource, stream, title, description, request });
    }
    actions
}

/// The path's parameters in their order, where they make a resource.
fn resource(path: &str) -> Result<Option<String>, String> {
    let path: PathTemplate = path.parse().map_err(|error: TemplateError| error.to_string())?;
    let parameters: Vec<String> = path.parameters().map(|name| format!("{{{name}}}")).collect();
    if parameters.is_empty() {
        return Ok(None);
    }
    let resource = parameters.join("/");
    check_resource(&resource, &path).map(|()| Some(resource))
}

fn headers(operations: &[Operation], before: Option<&ToolManifest>, notes: &mut Notes) -> Vec<String> {
    let mut names: BTreeSet<&String> = before.iter().flat_map(|before| &before.headers).collect();
    for operation in operations {
        for name in &operation.headers {
            if names.len() < MOST_HEADERS || names.contains(name) {
                names.insert(name);
            } else {
                notes
                    .of_document(format!("header field {name} does not go through: a tool has at most {MOST_HEADERS}"));
            }
        }
    }
    names.into_iter().cloned().collect()
}

/// The first server's address, with its variables' defaults.
fn upstream(root: &Value, notes: &mut Notes) -> Option<String> {
    let servers = root["servers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(first) = servers.first() else {
        notes.of_document("it names no server: say where the tool is");
        return None;
    };
    if servers.len() > 1 {
        let others: Vec<String> = servers.iter().skip(1).take(4).map(operation::server_url).collect();
        notes.of_document(format!(
            "it has {} servers, and a tool is at one; the others: {}",
            servers.len(),
            others.join(" ")
        ));
    }
    let url = operation::server_url(first);
    match Upstream::parse(&url) {
        Ok(_) => Some(url),
        Err(error) => {
            notes.of_document(format!("its server {url:?} is {error}: say where the tool is"));
            None
        }
    }
}

fn credentials(root: &Value) -> Vec<String> {
    let schemes = root["components"]["securitySchemes"].as_object();
    let mut kinds: BTreeSet<String> = BTreeSet::new();
    for scheme in schemes.into_iter().flat_map(Map::values).take(32) {
        let text = |name: &str| clean(scheme[name].as_str().unwrap_or_default(), 80, false);
        kinds.insert(
            match (text("type").as_str(), text("scheme").to_ascii_lowercase().as_str(), text("in").as_str()) {
                ("http", "bearer", _) => "bearer".to_owned(),
                ("http", "basic", _) => "basic".to_owned(),
                ("apiKey", _, "header") => format!("header {}", text("name")),
                ("apiKey", _, place) => format!("{place} {}", text("name")),
                ("http", scheme, _) => format!("http {scheme}"),
                (kind, ..) => kind.to_owned(),
            },
        );
    }
    kinds.into_iter().filter(|kind| !kind.is_empty()).collect()
}

/// A member's text, fit for a manifest.
fn text_of(value: &Value, member: &str, most: usize, lines: bool) -> String {
    clean(value[member].as_str().unwrap_or_default(), most, lines)
}

/// Without control characters, and cut where it is too long.
fn clean(text: &str, most: usize, lines: bool) -> String {
    let mut out = String::with_capacity(text.len().min(most * 2));
    for (n, c) in text.trim().chars().filter(|c| *c != '\r').enumerate() {
        if n + 1 == most {
            out.push('…');
            break;
        }
        out.push(if c.is_control() && !(lines && matches!(c, '\n' | '\t')) { ' ' } else { c });
    }
    out
}

#[cfg(test)]
mod tests;
