//! Tools as this agent may see them.

use serde::{Deserialize, Serialize};
use tgp_request::name::{ActionName, Slug};

/// A tool that the agent holds a grant for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tool {
    pub slug: Slug,
    /// The URL prefix that is called and signed.
    pub resource: String,
    pub actions: Vec<Action>,
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
}

impl Tool {
    /// The action of this name.
    pub fn action(&self, name: &ActionName) -> Option<&Action> {
        self.actions.iter().find(|action| action.name == *name)
    }
}

/// What `GET /v1/tools` answers.
#[derive(Deserialize)]
pub(crate) struct ToolList {
    pub tools: Vec<Tool>,
}
