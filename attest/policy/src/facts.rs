//! What is asked and what is known.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tgp_authority::ActionPattern;
use tgp_request::name::{ActionName, Resource, ResourcePattern, Slug};
use uuid::Uuid;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The authenticated agent.
    pub agent: Uuid,
    /// Those on whose behalf it acts: the one whose grant is used, then whoever handed the token on. None where it acts
    /// for itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub principals: Vec<Uuid>,
    /// The tool it wants to use.
    pub tool: Slug,
    /// The resource it names: at issuance the one asked for, at a call the token's `aud`.
    pub resource: String,
    /// At issuance the actions asked for, one or more; at a call exactly the one that the request is.
    pub actions: Vec<ActionName>,
    /// At a call the actions that the presented token covers; `None` at issuance.
    pub covered: Option<Vec<ActionName>>,
    /// At issuance the patterns that are asked for, none for all that the grant has; at a call the token's own, none
    /// where it restricts nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<ResourcePattern>,
    /// At a call what the request touches inside the tool, where the manifest says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub touched: Option<Resource>,
}

/// What is known, each fact with the version it was read at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The agent.
    pub agent: AgentFact,
    /// Those on whose behalf it acts, as the question names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub principals: Vec<AgentFact>,
    /// The tool, if there is one of that name.
    pub tool: Option<ToolFact>,
    /// The grant of that agent for that tool and resource, if there is one.
    pub grant: Option<GrantFact>,
}

/// An agent as known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentFact {
    /// Who.
    pub id: Uuid,
    /// Where it belongs.
    pub tenant: Uuid,
    /// Whether it may act.
    pub status: Status,
    /// The row's version.
    pub version: i64,
}

/// Where an agent is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Status {
    /// Invited and not yet enrolled.
    Invited,
    /// Enrolled; the only status that may act.
    Active,
    /// Stopped until an operator says otherwise.
    Frozen,
    /// Stopped for ever.
    Retired,
}

/// A tool as known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolFact {
    /// Its name.
    pub slug: Slug,
    /// Where it belongs.
    pub tenant: Uuid,
    /// The row's version.
    pub version: i64,
}

/// A grant as known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantFact {
    /// Its UUID.
    pub id: Uuid,
    /// Its version.
    pub version: i64,
    /// Where it holds.
    pub tenant: Uuid,
    /// For whom.
    pub agent: Uuid,
    /// At which tool.
    pub tool: Slug,
    /// At which resource.
    pub resource: String,
    /// For which actions.
    pub actions: Vec<ActionPattern>,
    /// On what inside the tool; none restrict nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<ResourcePattern>,
    /// First second of validity, Unix seconds.
    pub not_before: i64,
    /// First second after validity.
    pub not_after: i64,
}

impl Status {
    /// As it is stored and written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invited => "invited",
            Self::Active => "active",
            Self::Frozen => "frozen",
            Self::Retired => "retired",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Text that is no status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an agent status")]
pub struct UnknownStatus;

impl FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        [Self::Invited, Self::Active, Self::Frozen, Self::Retired]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(UnknownStatus)
    }
}
