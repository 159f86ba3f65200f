//! Why not.

use tgp_request::name::{ActionName, Resource};

/// The first rule that did not hold. The text is for the log; callers see [`Denial::code`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denial {
    /// The agent has not enrolled.
    #[error("the agent is invited and has not enrolled")]
    AgentInvited,
    /// The agent is frozen.
    #[error("the agent is frozen")]
    AgentFrozen,
    /// The agent is retired.
    #[error("the agent is retired")]
    AgentRetired,
    /// An agent on whose behalf it acts is frozen, or has never enrolled.
    #[error("an agent on whose behalf it acts is frozen")]
    PrincipalFrozen,
    /// An agent on whose behalf it acts is retired.
    #[error("an agent on whose behalf it acts is retired")]
    PrincipalRetired,
    /// The facts are about another agent than the question: nothing is known of the one that asks.
    #[error("nothing is known of the agent that asks")]
    AgentUnknown,
    /// No such tool in the agent's tenant.
    #[error("the tool is not one of the agent's tenant")]
    ToolUnknown,
    /// No grant of this agent for this tool in this tenant.
    #[error("there is no grant for this agent and tool")]
    GrantMissing,
    /// The grant's time has not come.
    #[error("the grant is valid from {not_before} on")]
    GrantNotYet {
        /// First second of validity.
        not_before: i64,
    },
    /// The grant's time is over.
    #[error("the grant was valid until {not_after}")]
    GrantExpired {
        /// First second after validity.
        not_after: i64,
    },
    /// The grant is for another resource.
    #[error("the grant is for another resource")]
    ResourceRefused,
    /// No action was asked for.
    #[error("no action was asked for")]
    NothingAsked,
    /// The grant does not cover an action that was asked for.
    #[error("the grant does not cover {action}")]
    ActionNotGranted {
        /// Which.
        action: ActionName,
    },
    /// The token does not cover the action that the request is.
    #[error("the token does not cover {action}")]
    ActionNotInToken {
        /// Which.
        action: ActionName,
    },
    /// A pattern that was asked for reaches beyond the grant's.
    #[error("the grant does not cover the resources that were asked for")]
    ResourcesNotGranted,
    /// The grant's patterns do not cover what the request touches, or nothing says what it touches.
    #[error("the grant does not cover {}", shown(touched))]
    ResourceNotGranted {
        /// What the request touches, where that is known.
        touched: Option<Resource>,
    },
    /// The token's patterns do not cover it.
    #[error("the token does not cover {}", shown(touched))]
    ResourceNotInToken {
        /// What the request touches, where that is known.
        touched: Option<Resource>,
    },
}

fn shown(touched: &Option<Resource>) -> &str {
    touched.as_ref().map_or("a request without a resource", Resource::as_str)
}

impl Denial {
    /// The protocol's code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            // An agent that has not enrolled holds nothing to authenticate with; who comes as one anyway
            // is told what holds: it may not act now.
            Self::AgentInvited | Self::AgentFrozen | Self::PrincipalFrozen => "agent-frozen",
            Self::AgentRetired | Self::PrincipalRetired => "agent-retired",
            Self::ToolUnknown => "tool-unknown",
            Self::AgentUnknown | Self::GrantMissing | Self::GrantNotYet { .. } | Self::GrantExpired { .. } => {
                "grant-missing"
            }
            Self::ResourceRefused
            | Self::ResourcesNotGranted
            | Self::ResourceNotGranted { .. }
            | Self::ResourceNotInToken { .. } => "resource-refused",
            Self::NothingAsked | Self::ActionNotGranted { .. } | Self::ActionNotInToken { .. } => "scope-insufficient",
        }
    }
}
