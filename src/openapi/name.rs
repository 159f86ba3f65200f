//! What operations are called as actions: the same whatever else stands in the document.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use tgp_request::name::ActionName;

use super::Notes;
use super::operation::Operation;

const LONGEST: usize = 128;
/// A dot and six digits.
const DIGEST: usize = 7;
const ROUNDS: usize = 3;

/// One for each operation, in their order; none for one that is left out.
pub(super) struct Names(pub(super) Vec<Option<String>>);

impl Names {
    pub(super) fn of(operations: &[Operation], notes: &mut Notes) -> Self {
        let mut respelt: Vec<(&str, String)> = Vec::new();
        let mut names: Vec<String> = Vec::with_capacity(operations.len());
        for operation in operations {
            let id = operation.id.as_deref();
            let name = id.filter(|id| id.parse::<ActionName>().is_ok()).map(str::to_owned);
            let dotted = || {
                let (id, dotted) = id.and_then(|id| Some((id, dotted(id)?)))?;
                respelt.push((id, dotted.clone()));
                Some(dotted)
            };
            names.push(name.or_else(dotted).unwrap_or_else(|| of_route(&operation.method, &operation.path)));
        }
        if let Some((id, dotted)) = respelt.first() {
            notes.of_document(format!(
                "{} operationIds hold what no action's name may: that is a dot now ({id} is {dotted})",
                respelt.len()
            ));
        }
        // A document may name one operation as another would be called then; each round costs it one more.
        for _ in 0..ROUNDS {
            if !part(operations, &mut names, notes) {
                break;
            }
        }
        let mut taken = BTreeSet::new();
        let once = |(operation, name): (&Operation, String)| {
            let first = taken.insert(name.clone());
            if !first {
                let at = format!("{} {}", operation.method, operation.path);
                notes.add(at, format!("left out: another operation is called {name}"));
            }
            first.then_some(name)
        };
        Self(operations.iter().zip(names).map(once).collect())
    }
}

/// Puts a digest behind every name that several have; whether there was one.
fn part(operations: &[Operation], names: &mut [String], notes: &mut Notes) -> bool {
    let mut shared: BTreeMap<String, usize> = BTreeMap::new();
    for name in names.iter() {
        *shared.entry(name.clone()).or_default() += 1;
    }
    shared.retain(|_, count| *count > 1);
    for (operation, name) in operations.iter().zip(names) {
        if let Some(count) = shared.get(name.as_str()) {
            let own = with_digest(name, &operation.method, &operation.path);
            let at = format!("{} {}", operation.method, operation.path);
            notes.add(at, format!("{count} operations would be called {name}: this one is {own}"));
            *name = own;
        }
    }
    !shared.is_empty()
}

/// Each run of characters that no name has as one dot.
fn dotted(id: &str) -> Option<String> {
    let mut name = String::with_capacity(id.len());
    for c in id.chars() {
        if c.is_ascii_alphanumeric() || "_.:-".contains(c) {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('.') {
            name.push('.');
        }
    }
    let name = name.trim_end_matches('.');
    name.parse::<ActionName>().is_ok().then(|| name.to_owned())
}

/// `get.repos.owner.repo`
fn of_route(method: &str, path: &str) -> String {
    let mut name = method.to_ascii_lowercase();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        let segment: String = segment
            .chars()
            .filter(|c| !matches!(c, '{' | '}'))
            .map(|c| if c.is_ascii_alphanumeric() || "_.:-".contains(c) { c } else { '-' })
            .collect();
        let _ = write!(name, ".{segment}");
    }
    if name.len() <= LONGEST { name } else { with_digest(&name, method, path) }
}

fn with_digest(name: &str, method: &str, path: &str) -> String {
    let digest = Sha256::digest(format!("{method} {path}"));
    let room = name.len().min(LONGEST - DIGEST);
    let mut name = name[..room].to_owned();
    name.push('.');
    for byte in &digest[..3] {
        let _ = write!(name, "{byte:02x}");
    }
    name
}
