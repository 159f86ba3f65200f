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
}

impl Tool {
    /// The action of this name.
    pub fn action(&self, name: &ActionName) -> Option<&Action> {
        self.actions.iter().find(|action| action.name == *name)
    }
}

/// `GET /v1/tools` answers a list, bare or as the member `tools`.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum ToolList {
    Bare(Vec<Tool>),
    Member { tools: Vec<Tool> },
}

impl From<ToolList> for Vec<Tool> {
    fn from(list: ToolList) -> Self {
        match list {
            ToolList::Bare(tools) | ToolList::Member { tools } => tools,
        }
    }
}
