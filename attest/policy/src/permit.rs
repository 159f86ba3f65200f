//! A yes, with what it rests on.

use tgp_request::name::{ActionName, Slug};
use uuid::Uuid;

/// A decision to allow, made by [`decide`](crate::decide()) alone.
///
/// It is neither `Clone` nor constructible elsewhere: it moves into admission, which checks its
/// versions against the store and spends it.
///
/// ```compile_fail,E0599
/// fn twice(permit: tgp_policy::Permit) -> (tgp_policy::Permit, tgp_policy::Permit) {
///     (permit.clone(), permit)
/// }
/// ```
///
/// ```compile_fail,E0451
/// fn forged(question: tgp_policy::Question) -> tgp_policy::Permit {
///     tgp_policy::Permit { actions: question.actions, ..unreachable!() }
/// }
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Permit {
    pub(crate) agent: Uuid,
    pub(crate) principals: Vec<Uuid>,
    pub(crate) agent_version: i64,
    pub(crate) tenant: Uuid,
    pub(crate) tool: Slug,
    pub(crate) tool_version: i64,
    pub(crate) grant: Uuid,
    pub(crate) grant_version: i64,
    pub(crate) grant_not_after: i64,
    pub(crate) resource: String,
    pub(crate) actions: Vec<ActionName>,
    pub(crate) decided_at: i64,
}

impl Permit {
    /// Who may.
    #[must_use]
    pub fn agent(&self) -> Uuid {
        self.agent
    }

    /// On whose behalf, the holder of the grant first; none for the agent's own.
    #[must_use]
    pub fn principals(&self) -> &[Uuid] {
        &self.principals
    }

    /// The version of the agent that the decision used.
    #[must_use]
    pub fn agent_version(&self) -> i64 {
        self.agent_version
    }

    /// The tenant of agent, tool and grant.
    #[must_use]
    pub fn tenant(&self) -> Uuid {
        self.tenant
    }

    /// At which tool.
    #[must_use]
    pub fn tool(&self) -> &Slug {
        &self.tool
    }

    /// The version of the tool that the decision used.
    #[must_use]
    pub fn tool_version(&self) -> i64 {
        self.tool_version
    }

    /// By which grant.
    #[must_use]
    pub fn grant(&self) -> Uuid {
        self.grant
    }

    /// The version of the grant that the decision used.
    #[must_use]
    pub fn grant_version(&self) -> i64 {
        self.grant_version
    }

    /// First second after the grant's validity: nothing derived from it should outlive that.
    #[must_use]
    pub fn grant_not_after(&self) -> i64 {
        self.grant_not_after
    }

    /// At which resource.
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// Which actions: those that were asked for, all of them.
    #[must_use]
    pub fn actions(&self) -> &[ActionName] {
        &self.actions
    }

    /// The second that the decision was made for.
    #[must_use]
    pub fn decided_at(&self) -> i64 {
        self.decided_at
    }
}
