//! A tool's manifest, as operators write it and agents may read it: what can be done there, and all that is told of it.
//!
//! Checked whole where it comes in. What a request *is* by it, `verify::manifest` judges; how one comes about from an OpenAPI
//! document, `openapi` knows. Nothing in it is a secret: the upstream's address and credential are no part of it.

mod diff;
mod request;

use http::HeaderName;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tgp_request::name::ActionName;
use tgp_request::target::PathTemplate;

pub use diff::{Change, Diff};
pub(crate) use request::holds_nul;
pub use request::{BodySchema, Parameter, Place, RequestSchema};

use crate::json::objects;
use crate::proxy::headers;
use crate::store::tool::{Action, NewAction};
use crate::verify::manifest::{Manifest, ManifestError};

pub const MOST_ACTIONS: usize = 4096;
/// Of a title and of a description, in characters.
pub const LONGEST_TITLE: usize = 200;
pub const LONGEST_DESCRIPTION: usize = 4000;
/// Of what one action says of its requests, as JSON.
pub const LARGEST_REQUEST: usize = 32 * 1024;
/// Public hosts, and header fields that go through beside those that always do.
const MOST_NAMES: usize = 32;

/// What a tool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Kind {
    /// Requests are told apart by method and path.
    #[default]
    Http,
}

/// What is told of the tool as a whole; it lies in clear beside the tool, and an empty object is one too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct About {
    pub kind: Kind,
    pub title: String,
    pub description: String,
    /// Where the tool's users meet it, `api.example.com`; says nothing of where the gateway goes.
    pub public_hosts: Vec<String>,
    /// Header fields of the agent's that go upstream beside those that always do.
    pub headers: Vec<String>,
}

/// The whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolManifest {
    #[serde(default)]
    pub kind: Kind,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub public_hosts: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    #[serde(deserialize_with = "objects")]
    pub actions: Vec<ManifestAction>,
}

/// One thing that can be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestAction {
    pub name: String,
    pub method: String,
    /// A template below the tool's resource: `/repos/{owner}/{repo}`.
    pub path: String,
    /// What a request touches, of the path's parameters: `{owner}/{repo}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Whether a body too large to be read whole is passed on as it comes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stream: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestSchema>,
}

/// Why a manifest cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    #[error("a tool has 1 to {MOST_ACTIONS} actions")]
    Actions,
    #[error("{what}: {why}")]
    Part { what: String, why: String },
}

impl Problem {
    fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Part { what: what.into(), why: why.into() }
    }
}

/// A manifest that holds together: only such a one is stored.
#[derive(Debug)]
pub struct CheckedManifest {
    manifest: ToolManifest,
    routes: Manifest,
}

impl ToolManifest {
    /// A manifest as it lies in the store.
    pub fn stored(about: &Value, actions: Vec<NewAction>) -> Result<Self, serde_json::Error> {
        let About { kind, title, description, public_hosts, headers } = About::deserialize(about)?;
        let actions = actions.into_iter().map(ManifestAction::stored).collect::<Result<_, _>>()?;
        Ok(Self { kind, title, description, public_hosts, headers, actions })
    }

    pub fn check(self) -> Result<CheckedManifest, Problem> {
        let Self { kind: Kind::Http, title, description, public_hosts, headers, actions } = &self;
        let tool = |problem: Problem| match problem {
            Problem::Part { what, why } => Problem::new(format!("the tool's {what}"), why),
            other => other,
        };
        texts(title, description).map_err(tool)?;
        for (what, names) in [("public_hosts", public_hosts), ("headers", headers)] {
            if names.len() > MOST_NAMES {
                return Err(Problem::new(what, format!("at most {MOST_NAMES}")));
            }
            if let Some(twice) = twice(names.iter()) {
                return Err(Problem::new(what, format!("{twice} stands there twice")));
            }
        }
        if let Some(host) = public_hosts.iter().find(|host| !is_host(host)) {
            return Err(Problem::new("public_hosts", format!("{host:.80?} is not a host in lower case")));
        }
        for name in headers {
            header(name).map_err(|why| Problem::new("headers", format!("{name:.80?} {why}")))?;
        }
        if actions.is_empty() || actions.len() > MOST_ACTIONS {
            return Err(Problem::Actions);
        }
        for action in actions {
            action.check().map_err(|problem| match problem {
                Problem::Part { what, why } => Problem::new(format!("action {:.128}: {what}", action.name), why),
                other => other,
            })?;
        }
        if let Some(name) = twice(actions.iter().map(|action| &action.name)) {
            return Err(Problem::new(format!("action {name}"), "there are two of this name"));
        }
        let shapes: Vec<(String, &String)> = actions.iter().map(|action| (action.shape(), &action.name)).collect();
        if let Some(shape) = twice(shapes.iter().map(|(shape, _)| shape)) {
            let names: Vec<&str> =
                shapes.iter().filter(|(other, _)| other == shape).map(|(_, name)| name.as_str()).collect();
            return Err(Problem::new(format!("actions {}", names.join(" and ")), format!("both are {shape}")));
        }
        let plain: Vec<Action> = actions.iter().map(ManifestAction::plain).collect();
        let routes = Manifest::parse(&plain)
            .map_err(|ManifestError { name, problem }| Problem::new(format!("action {name}"), problem))?;
        Ok(CheckedManifest { manifest: self, routes })
    }
}

impl CheckedManifest {
    /// What requests are by it.
    pub fn routes(&self) -> &Manifest {
        &self.routes
    }

    pub fn as_written(&self) -> &ToolManifest {
        &self.manifest
    }

    /// In the store's two parts: what is told of the tool, and its actions.
    pub fn into_stored(self) -> Result<(Value, Vec<NewAction>), serde_json::Error> {
        let ToolManifest { kind, title, description, public_hosts, headers, actions } = self.manifest;
        let about = json!({
            "kind": kind,
            "title": title,
            "description": description,
            "public_hosts": public_hosts,
            "headers": headers,
        });
        Ok((about, actions.into_iter().map(ManifestAction::into_stored).collect::<Result<_, _>>()?))
    }
}

impl ManifestAction {
    fn stored(new: NewAction) -> Result<Self, serde_json::Error> {
        let NewAction { action, title, description, request } = new;
        let Action { name, method, template, stream, resource } = action;
        let request = request.as_ref().map(RequestSchema::deserialize).transpose()?;
        Ok(Self { name, method, path: template, resource, stream, title, description, request })
    }

    fn into_stored(self) -> Result<NewAction, serde_json::Error> {
        let action = self.plain();
        let Self { title, description, request, .. } = self;
        Ok(NewAction { action, title, description, request: request.map(serde_json::to_value).transpose()? })
    }

    fn plain(&self) -> Action {
        Action {
            name: self.name.clone(),
            method: self.method.clone(),
            template: self.path.clone(),
            stream: self.stream,
            resource: self.resource.clone(),
        }
    }

    fn check(&self) -> Result<(), Problem> {
        let Self { name, method: _, path, resource, stream: _, title, description, request } = self;
        name.parse::<ActionName>().map_err(|error| Problem::new("name", error.to_string()))?;
        if path.len() > 1024 || resource.as_ref().is_some_and(|resource| resource.len() > 1024) {
            return Err(Problem::new("path", "path and resource have at most 1024 characters"));
        }
        texts(title, description)?;
        if let Some(request) = request {
            request.check().map_err(|why| Problem::new("request", why))?;
        }
        Ok(())
    }

    /// Method and path with the parameters' names left out: two actions of one shape are the same requests.
    fn shape(&self) -> String {
        shape(&self.method, &self.path)
    }
}

/// See [`ManifestAction::shape`].
pub(crate) fn shape(method: &str, path: &str) -> String {
    let mut text = format!("{method} ");
    let mut inside = false;
    for c in path.chars() {
        match c {
            '{' => inside = true,
            '}' => inside = false,
            _ if inside => continue,
            _ => {}
        }
        text.push(c);
    }
    text
}

/// The requests that a template stands for, apart from its parameters' names.
pub(crate) fn is_template(path: &str) -> Result<(), String> {
    path.parse::<PathTemplate>().map(drop).map_err(|error| error.to_string())
}

/// A field that may go through.
pub(crate) fn header(name: &str) -> Result<HeaderName, &'static str> {
    if name.len() > 128 {
        return Err("has more than 128 characters");
    }
    let parsed = HeaderName::from_lowercase(name.as_bytes()).map_err(|_| "is not a field name in lower case")?;
    if headers::may_be_named(&parsed) { Ok(parsed) } else { Err("is a field that never goes upstream") }
}

fn texts(title: &str, description: &str) -> Result<(), Problem> {
    for (what, text, most) in [("title", title, LONGEST_TITLE), ("description", description, LONGEST_DESCRIPTION)] {
        if text.chars().count() > most {
            return Err(Problem::new(what, format!("at most {most} characters")));
        }
        if text.chars().any(|c| c.is_control() && !(what == "description" && matches!(c, '\n' | '\t'))) {
            return Err(Problem::new(what, "it holds control characters"));
        }
    }
    Ok(())
}

/// A domain name or address, with or without a port.
fn is_host(text: &str) -> bool {
    let authority = text.len() <= 255 && text.parse::<http::uri::Authority>().is_ok_and(|it| it.as_str() == text);
    authority && !text.contains('@') && !text.bytes().any(|b| b.is_ascii_uppercase())
}

fn twice<'t>(names: impl Iterator<Item = &'t String>) -> Option<&'t String> {
    let mut names: Vec<&String> = names.collect();
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

#[cfg(test)]
mod tests;
