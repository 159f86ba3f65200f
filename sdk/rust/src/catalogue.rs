//! Tools as this agent may see them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tgp_request::name::{ActionName, Slug};

/// A tool of the agent's tenant, with the actions that were asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tool {
    pub slug: Slug,
    /// The URL prefix that is called and signed.
    pub resource: String,
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub description: String,
    /// Whether it can be called: an operator has handed in what its upstream wants.
    #[serde(default)]
    pub ready: bool,
    pub actions: Vec<Action>,
    /// There are more actions: the cursor that continues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One thing that a tool does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Action {
    pub name: ActionName,
    pub method: String,
    /// A path template below the resource, `/messages/{id}`.
    pub path: String,
    /// What a call touches, composed of the path's parameters: `{owner}/{repo}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub description: String,
    /// Parameters and bodies as JSON Schema; only where one tool was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Value>,
    /// Until when a grant of the agent's covers it, Unix seconds; none if none does now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted_until: Option<i64>,
}

/// One page of the catalogue, best first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Page {
    pub tools: Vec<Tool>,
    /// The cursor that continues, if there is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Tool {
    /// The action of this name, if it is among those that were asked for.
    pub fn action(&self, name: &ActionName) -> Option<&Action> {
        self.actions.iter().find(|action| action.name == *name)
    }
}
