//! Schemas with their references put in their place, within bounds: whoever reads one has no document beside it.

use serde_json::{Map, Value, json};

use super::clean;
use crate::manifest::LARGEST_REQUEST;

/// References behind one another.
const LONGEST_CHAIN: usize = 16;
/// Schemas in one another, whichever way they came there.
const DEEPEST: usize = 64;
/// A description within a schema, in characters.
const LONGEST_DESCRIPTION: usize = 500;

/// Members whose own members are names, not words of the schema's language.
const OF_NAMES: &[&str] = &["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];
/// Members that hold data.
const DATA: &[&str] = &["enum", "const", "default", "required", "type"];
/// Members that tell a program nothing.
const LEFT_OUT: &[&str] = &["example", "examples", "externalDocs", "xml"];

/// The document's schemas, and how much room the operation that is read has left for them.
pub(super) struct Schemas<'d> {
    root: &'d Value,
    room: usize,
    overran: bool,
    missing: Vec<String>,
}

impl<'d> Schemas<'d> {
    pub(super) fn new(root: &'d Value) -> Self {
        Self { root, room: 0, overran: false, missing: Vec::new() }
    }

    /// Another operation begins.
    pub(super) fn begin(&mut self) {
        // Some are left out at the end, so it may take more on the way.
        (self.room, self.overran) = (2 * LARGEST_REQUEST, false);
        self.missing.clear();
    }

    /// Whether something had to be left out for want of room.
    pub(super) fn overran(&self) -> bool {
        self.overran
    }

    /// References that lead nowhere in this document, once each.
    pub(super) fn missing(&mut self) -> Vec<String> {
        let mut missing = std::mem::take(&mut self.missing);
        missing.sort_unstable();
        missing.dedup();
        missing.truncate(5);
        missing.into_iter().map(|text| format!("{text} is not in the document: anything will do there")).collect()
    }

    /// What a value stands for: itself, or what its references lead to.
    pub(super) fn resolve<'v>(&self, value: &'v Value) -> Option<&'v Value>
    where
        'd: 'v,
    {
        let mut value = value;
        for _ in 0..LONGEST_CHAIN {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return Some(value) };
            value = self.local(reference)?;
        }
        None
    }

    fn local(&self, reference: &str) -> Option<&'d Value> {
        let pointer = reference.strip_prefix('#')?;
        // RFC 6901 §6: in a fragment a pointer is percent-encoded.
        self.root.pointer(&crate::issue::form::decode(&pointer.replace('+', "%2B"))?)
    }

    pub(super) fn expand(&mut self, schema: &Value) -> Value {
        self.inner(schema, &mut Vec::new(), 0)
    }

    fn inner(&mut self, schema: &Value, within: &mut Vec<String>, depth: usize) -> Value {
        let anything = || Value::Object(Map::new());
        if depth > DEEPEST || !self.take(16) {
            self.overran |= depth > DEEPEST;
            return anything();
        }
        let members = match schema {
            Value::Object(members) => members,
            Value::Array(items) => return items.iter().map(|item| self.inner(item, within, depth + 1)).collect(),
            other => return self.copy(other),
        };
        let mut out = Map::new();
        if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
            let name = reference.rsplit('/').next().unwrap_or_default();
            if within.iter().any(|outer| outer == reference) {
                return json!({ "$comment": clean(&format!("{name} again"), 100, false) });
            }
            match self.local(reference) {
                Some(target) if within.len() < LONGEST_CHAIN => {
                    within.push(reference.to_owned());
                    let expanded = self.inner(target, within, depth + 1);
                    within.pop();
                    match expanded {
                        Value::Object(expanded) => out = expanded,
                        other => return other,
                    }
                }
                Some(_) => return json!({ "$comment": clean(name, 100, false) }),
                None => {
                    self.missing.push(clean(reference, 120, false));
                    return anything();
                }
            }
        }
        // OpenAPI 3.1: what stands beside a reference counts as well.
        for (name, value) in members {
            if name == "$ref" || LEFT_OUT.contains(&name.as_str()) || name.starts_with("x-") {
                continue;
            }
            if !self.take(name.len()) {
                break;
            }
            let value = match (name.as_str(), value) {
                ("description" | "title", Value::String(text)) => {
                    let text = clean(text, LONGEST_DESCRIPTION, true);
                    self.take(text.len());
                    Value::String(text)
                }
                (name, Value::Object(named)) if OF_NAMES.contains(&name) => {
                    let mut out = Map::new();
                    for (name, value) in named {
                        if !self.take(name.len()) {
                            break;
                        }
                        out.insert(name.clone(), self.inner(value, within, depth + 1));
                    }
                    Value::Object(out)
                }
                (name, value) if DATA.contains(&name) => self.copy(value),
                (_, value) => self.inner(value, within, depth + 1),
            };
            out.insert(name.clone(), value);
        }
        Value::Object(out)
    }

    /// Data as it is, or nothing of it.
    fn copy(&mut self, value: &Value) -> Value {
        let size = match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 8,
            Value::String(text) => text.len(),
            other => serde_json::to_vec(other).map_or(usize::MAX, |text| text.len()),
        };
        if self.take(size) { value.clone() } else { Value::Null }
    }

    fn take(&mut self, octets: usize) -> bool {
        match self.room.checked_sub(octets) {
            Some(left) => self.room = left,
            None => {
                self.room = 0;
                self.overran = true;
            }
        }
        !self.overran
    }
}
