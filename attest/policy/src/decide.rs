//! The rules, in the order in which they are told.

use tgp_request::name::{all_within, covered as on};

use crate::denial::Denial;
use crate::facts::{AgentFact, Facts, GrantFact, Question, Status, ToolFact};
use crate::permit::Permit;

/// Decide `question` on `facts` for the second `now` (Unix seconds).
///
/// A grant holds while `not_before ≤ now < not_after`. Names, resources and actions are compared byte
/// for byte. All actions asked for are allowed, or none. Where grant or token have resource patterns, a
/// request that touches nothing known is not covered.
///
/// # Errors
/// The first rule that does not hold: agent, those on whose behalf it acts, tool, grant and its time, resource, actions under the
/// grant, actions under the token, what is touched under the token and under the grant.
pub fn decide(question: &Question, facts: &Facts, now: i64) -> Result<Permit, Denial> {
    // Taken apart whole, so that a new field must be decided here.
    let Question { agent, principals, tool, resource, actions, covered, resources, touched } = question;
    let Facts { agent: agent_fact, principals: principal_facts, tool: tool_fact, grant: grant_fact } = facts;

    let AgentFact { id, tenant, status, version: agent_version } = agent_fact;
    if id != agent {
        return Err(Denial::AgentUnknown);
    }
    match status {
        Status::Active => {}
        Status::Invited => return Err(Denial::AgentInvited),
        Status::Frozen => return Err(Denial::AgentFrozen),
        Status::Retired => return Err(Denial::AgentRetired),
    }
    // What was handed on is worth as little as the weakest of those who handed it on.
    if principals.len() != principal_facts.len() || principals.contains(agent) {
        return Err(Denial::AgentUnknown);
    }
    for (principal, AgentFact { id, tenant: of, status, version: _ }) in principals.iter().zip(principal_facts) {
        if id != principal || of != tenant {
            return Err(Denial::AgentUnknown);
        }
        match status {
            Status::Active => {}
            Status::Invited | Status::Frozen => return Err(Denial::PrincipalFrozen),
            Status::Retired => return Err(Denial::PrincipalRetired),
        }
    }
    let holder = principals.first().unwrap_or(agent);

    let Some(ToolFact { slug, tenant: tool_tenant, version: tool_version }) = tool_fact else {
        return Err(Denial::ToolUnknown);
    };
    if slug != tool || tool_tenant != tenant {
        return Err(Denial::ToolUnknown);
    }

    let Some(grant) = grant_fact else {
        return Err(Denial::GrantMissing);
    };
    let GrantFact {
        id: grant_id,
        version: grant_version,
        tenant: grant_tenant,
        agent: grant_agent,
        tool: grant_tool,
        resource: grant_resource,
        actions: patterns,
        resources: granted,
        not_before,
        not_after,
    } = grant;
    if grant_tenant != tenant || grant_agent != holder || grant_tool != tool {
        return Err(Denial::GrantMissing);
    }
    if now < *not_before {
        return Err(Denial::GrantNotYet { not_before: *not_before });
    }
    if now >= *not_after {
        return Err(Denial::GrantExpired { not_after: *not_after });
    }
    if grant_resource != resource {
        return Err(Denial::ResourceRefused);
    }

    if actions.is_empty() {
        return Err(Denial::NothingAsked);
    }
    for action in actions {
        if !patterns.iter().any(|pattern| pattern.covers(action)) {
            return Err(Denial::ActionNotGranted { action: action.clone() });
        }
        if covered.as_ref().is_some_and(|covered| !covered.contains(action)) {
            return Err(Denial::ActionNotInToken { action: action.clone() });
        }
    }
    let touched = touched.as_ref();
    match covered {
        // Asking for no pattern is asking for the grant's own.
        None if resources.is_empty() || all_within(resources, granted) => {}
        None => return Err(Denial::ResourcesNotGranted),
        Some(_) if !on(resources, touched) => return Err(Denial::ResourceNotInToken { touched: touched.cloned() }),
        Some(_) if !on(granted, touched) => return Err(Denial::ResourceNotGranted { touched: touched.cloned() }),
        Some(_) => {}
    }

    Ok(Permit {
        agent: *agent,
        principals: principals.clone(),
        agent_version: *agent_version,
        tenant: *tenant,
        tool: tool.clone(),
        tool_version: *tool_version,
        grant: *grant_id,
        grant_version: *grant_version,
        grant_not_after: *not_after,
        resource: resource.clone(),
        actions: actions.clone(),
        decided_at: now,
    })
}
