//! The decision over an agent's grants: the pure rules of `tgp-policy` with facts from the store.

use std::sync::Arc;

use tgp_policy::{ActionPattern, AgentFact, Denial, Facts, GrantFact, Permit, Question, Status, ToolFact};
use tgp_request::name::{ActionName, Resource, ResourcePattern, Slug};

use super::tools::ReadyTool;
use crate::refusal::{Advice, Code, Refusal};
use crate::store::agent::{self, Agent};
use crate::store::grant::Grant;

/// What is asked: at issuance for one or more actions, at a call for the one that it is.
pub struct Asked<'a> {
    pub tool: &'a Slug,
    pub resource: &'a str,
    pub actions: &'a [ActionName],
    /// What the presented token covers; `None` at issuance.
    pub covered: Option<&'a [ActionName]>,
    /// At issuance the patterns that are asked for, at a call the token's.
    pub resources: &'a [ResourcePattern],
    /// At a call what it touches inside the tool.
    pub touched: Option<&'a Resource>,
}

/// Decides on each grant in turn; the first that permits is used.
pub fn decide<'g>(
    asked: &Asked<'_>,
    agent: &Agent,
    principals: &[Arc<Agent>],
    tool: Option<&ReadyTool>,
    grants: &'g [Grant],
    now: i64,
) -> Result<(Permit, &'g Grant), Denial> {
    let Asked { tool: slug, resource, actions, covered, resources, touched } = asked;
    let question = Question {
        agent: agent.id,
        principals: principals.iter().map(|principal| principal.id).collect(),
        tool: (*slug).clone(),
        resource: (*resource).to_owned(),
        actions: actions.to_vec(),
        covered: covered.map(<[_]>::to_vec),
        resources: resources.to_vec(),
        touched: touched.cloned(),
    };
    let mut facts = Facts {
        agent: agent_fact(agent),
        principals: principals.iter().map(|principal| agent_fact(principal)).collect(),
        tool: tool.map(tool_fact),
        grant: None,
    };
    let mut nearest = None;
    for grant in grants {
        facts.grant = grant_fact(grant);
        match tgp_policy::decide(&question, &facts, now) {
            Ok(permit) => return Ok((permit, grant)),
            Err(denial) if nearest.as_ref().is_none_or(|other| nearness(&denial) > nearness(other)) => {
                nearest = Some(denial);
            }
            Err(_) => {}
        }
    }
    if let Some(denial) = nearest {
        return Err(denial);
    }
    facts.grant = None;
    match tgp_policy::decide(&question, &facts, now) {
        Err(denial) => Err(denial),
        Ok(_) => Err(Denial::GrantMissing),
    }
}

/// Of several grants that all refuse, the one that came closest tells the caller most.
fn nearness(denial: &Denial) -> u8 {
    match denial {
        Denial::ResourceNotInToken { .. } => 7,
        Denial::ResourceNotGranted { .. } | Denial::ResourcesNotGranted => 6,
        Denial::ActionNotInToken { .. } => 5,
        Denial::ActionNotGranted { .. } | Denial::NothingAsked => 4,
        Denial::ResourceRefused => 3,
        Denial::GrantExpired { .. } | Denial::GrantNotYet { .. } => 2,
        _ => 1,
    }
}

fn agent_fact(agent: &Agent) -> AgentFact {
    let status = match agent.status {
        agent::Status::Invited => Status::Invited,
        agent::Status::Active => Status::Active,
        agent::Status::Frozen => Status::Frozen,
        agent::Status::Retired => Status::Retired,
    };
    AgentFact { id: agent.id, tenant: agent.tenant, status, version: agent.version }
}

fn tool_fact(ready: &ReadyTool) -> ToolFact {
    ToolFact { slug: ready.slug.clone(), tenant: ready.tool.tenant, version: ready.tool.version }
}

/// A grant that does not parse permits nothing.
fn grant_fact(grant: &Grant) -> Option<GrantFact> {
    if grant.revoked {
        return None;
    }
    let actions: Result<Vec<ActionPattern>, _> = grant.actions.iter().map(|pattern| pattern.parse()).collect();
    let resources: Result<Vec<ResourcePattern>, _> = grant.resources.iter().map(|pattern| pattern.parse()).collect();
    Some(GrantFact {
        id: grant.id,
        version: grant.version,
        tenant: grant.tenant,
        agent: grant.agent,
        tool: grant.tool.parse().ok()?,
        resource: grant.resource.clone(),
        actions: actions.ok()?,
        resources: resources.ok()?,
        not_before: grant.not_before,
        not_after: grant.not_after,
    })
}

/// The denial as the caller sees it.
pub fn refusal(denial: &Denial, tool: &Slug) -> Refusal {
    let code = Code::from_text(denial.code()).unwrap_or(Code::GrantMissing);
    match denial {
        Denial::AgentInvited => Refusal::new(code, "the agent has not enrolled"),
        Denial::AgentFrozen => Refusal::new(code, "the agent is frozen; ask its operator"),
        Denial::AgentRetired => Refusal::new(code, "the agent is retired"),
        Denial::PrincipalFrozen => {
            Refusal::new(code, "an agent on whose behalf the token acts is frozen; ask its operator")
        }
        Denial::PrincipalRetired => Refusal::new(code, "an agent on whose behalf the token acts is retired"),
        Denial::ToolUnknown => Refusal::new(code, format!("there is no tool {tool}")),
        Denial::ActionNotInToken { action } => {
            Refusal::new(code, format!("the token does not cover {tool}:{action}; get one that does"))
                .advise(Advice::Scope(format!("{tool}:{action}")))
        }
        Denial::ActionNotGranted { action } => {
            Refusal::new(code, format!("no grant covers {tool}:{action}; ask a granter"))
                .advise(Advice::Scope(format!("{tool}:{action}")))
        }
        Denial::GrantExpired { .. } => Refusal::new(code, format!("the grant for {tool} has ended; ask a granter")),
        Denial::GrantNotYet { .. } => Refusal::new(code, format!("the grant for {tool} has not begun")),
        Denial::ResourceRefused => Refusal::new(code, format!("the grant for {tool} is for another resource")),
        Denial::ResourcesNotGranted => {
            Refusal::new(code, format!("no grant for {tool} reaches as far as the resources that were asked for"))
        }
        Denial::ResourceNotInToken { touched } => Refusal::new(code, not_covered("the token", touched.as_ref())),
        Denial::ResourceNotGranted { touched } => Refusal::new(code, not_covered("the grant", touched.as_ref())),
        Denial::NothingAsked => Refusal::new(code, "name at least one action"),
        _ => Refusal::new(code, format!("the agent has no grant for {tool}; ask a granter")),
    }
}

fn not_covered(what: &str, touched: Option<&Resource>) -> String {
    match touched {
        Some(resource) => format!("{what} does not cover {resource:.200}"),
        None => format!("{what} is for some resources only, and this action names none"),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::proxy::guard::Reach;
    use crate::proxy::upstream::Upstream;
    use crate::store::Sealed;
    use crate::store::tool::Tool;
    use crate::verify::manifest::Manifest;

    const RESOURCE: &str = "https://gw.tgp.example/t/mail";

    fn agent(status: agent::Status) -> Agent {
        Agent {
            id: Uuid::from_u128(1),
            tenant: Uuid::from_u128(2),
            handle: "bot".into(),
            aan: String::new(),
            status,
            version: 3,
            keyid: None,
            jwk: None,
            invitation: serde_json::Value::Null,
            record: None,
            record_version: 0,
            name: None,
            description: None,
            created: 0,
            enrolled: None,
            frozen: None,
            retired: None,
        }
    }

    fn tool() -> ReadyTool {
        ReadyTool {
            slug: "mail".parse().expect("a slug"),
            tool: std::sync::Arc::new(Tool {
                slug: "mail".into(),
                tenant: Uuid::from_u128(2),
                version: 4,
                resource: RESOURCE.into(),
                upstream: Sealed { version: 1, bytes: Vec::new() },
                allow_private: false,
                manifest: serde_json::Value::Null,
                actions: Vec::new(),
                credentials: Vec::new(),
                created: 0,
            }),
            manifest: Manifest::parse(&[]).expect("empty"),
            headers: Vec::new(),
            upstream: Upstream::parse("https://mail.example").expect("an address"),
            reach: Reach::Public,
        }
    }

    fn grant(actions: &[&str], not_after: i64) -> Grant {
        Grant {
            id: Uuid::from_u128(5),
            tenant: Uuid::from_u128(2),
            agent: Uuid::from_u128(1),
            tool: "mail".into(),
            resource: RESOURCE.into(),
            actions: actions.iter().map(|&action| action.to_owned()).collect(),
            resources: Vec::new(),
            not_before: 0,
            not_after,
            revoked: false,
            version: 6,
            statement_version: 1,
            statement: serde_json::Value::Null,
            record: Vec::new(),
            credential: String::new(),
            created: 0,
        }
    }

    fn outcome(grants: &[Grant], action: &str, covered: Option<&str>) -> Result<Uuid, Denial> {
        let slug: Slug = "mail".parse().expect("a slug");
        let actions = [action.parse().expect("an action")];
        let covered: Option<Vec<ActionName>> = covered.map(|name| vec![name.parse().expect("an action")]);
        let asked = Asked {
            tool: &slug,
            resource: RESOURCE,
            actions: &actions,
            covered: covered.as_deref(),
            resources: &[],
            touched: None,
        };
        decide(&asked, &agent(agent::Status::Active), &[], Some(&tool()), grants, 50).map(|(permit, _)| permit.grant())
    }

    #[test]
    fn the_grant_that_covers_decides_among_several() {
        let mut second = grant(&["send"], 100);
        second.id = Uuid::from_u128(9);
        assert_eq!(outcome(&[grant(&["read"], 100), second], "send", None), Ok(Uuid::from_u128(9)));
    }

    #[test]
    fn the_nearest_refusal_is_told() {
        let grants = [grant(&["send"], 10), grant(&["read"], 100)];
        let action = "send".parse().expect("an action");
        assert_eq!(outcome(&grants, "send", None), Err(Denial::ActionNotGranted { action }));
        assert_eq!(outcome(&grants[..1], "send", None), Err(Denial::GrantExpired { not_after: 10 }));
        assert_eq!(outcome(&[], "send", None), Err(Denial::GrantMissing));
    }

    #[test]
    fn a_grant_for_all_does_not_widen_a_token_for_one() {
        let action: ActionName = "delete".parse().expect("an action");
        let denied = outcome(&[grant(&["*"], 100)], "delete", Some("send")).expect_err("not covered");
        assert_eq!(denied, Denial::ActionNotInToken { action });
        let refusal = refusal(&denied, &"mail".parse().expect("a slug"));
        assert_eq!(refusal.code, Code::ScopeInsufficient);
        assert_eq!(refusal.advice, Some(Advice::Scope("mail:delete".into())));
    }

    #[test]
    fn a_revoked_or_unreadable_grant_permits_nothing() {
        let mut revoked = grant(&["send"], 100);
        revoked.revoked = true;
        assert_eq!(outcome(&[revoked], "send", None), Err(Denial::GrantMissing));
        assert_eq!(outcome(&[grant(&["se**nd"], 100)], "send", None), Err(Denial::GrantMissing));
        let unreadable = Grant { resources: vec!["a*".into()], ..grant(&["send"], 100) };
        assert_eq!(outcome(&[unreadable], "send", None), Err(Denial::GrantMissing));
    }
}
