//! Every denial, the time bounds, and that a denial stays one.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use proptest::prelude::*;
use tgp_policy::{AgentFact, Denial, Facts, GrantFact, Question, Status, ToolFact, decide};
use uuid::{Uuid, uuid};

const NOW: i64 = 1_900_000_000;
const TENANT: Uuid = uuid!("00000000-0000-4000-8000-000000000001");
const OTHER: Uuid = uuid!("00000000-0000-4000-8000-000000000002");
const AGENT: Uuid = uuid!("6f1c1c52-6a53-4a5e-9f0e-0d5f5f5a0001");
const GRANT: Uuid = uuid!("90000000-0000-4000-8000-000000000001");

/// Whose grant it is, and who handed it on.
const HOLDER: Uuid = uuid!("6f1c1c52-6a53-4a5e-9f0e-0d5f5f5a0002");
const PARENT: Uuid = uuid!("6f1c1c52-6a53-4a5e-9f0e-0d5f5f5a0003");

/// A call of `mail.send` that is allowed, on behalf of two others.
fn allowed() -> (Question, Facts) {
    let resource = "https://tgp.example/t/mail";
    let question = Question {
        agent: AGENT,
        principals: vec![HOLDER, PARENT],
        tool: "mail".parse().unwrap(),
        resource: resource.to_owned(),
        actions: vec!["mail.send".parse().unwrap()],
        covered: Some(vec!["mail.send".parse().unwrap()]),
        resources: vec!["octocat/*".parse().unwrap()],
        touched: Some("octocat/hello".parse().unwrap()),
    };
    let facts = Facts {
        agent: AgentFact { id: AGENT, tenant: TENANT, status: Status::Active, version: 3 },
        principals: [HOLDER, PARENT]
            .map(|id| AgentFact { id, tenant: TENANT, status: Status::Active, version: 1 })
            .to_vec(),
        tool: Some(ToolFact { slug: "mail".parse().unwrap(), tenant: TENANT, version: 5 }),
        grant: Some(GrantFact {
            id: GRANT,
            version: 7,
            tenant: TENANT,
            agent: HOLDER,
            tool: "mail".parse().unwrap(),
            resource: resource.to_owned(),
            actions: vec!["mail.*".parse().unwrap(), "list".parse().unwrap()],
            resources: vec!["octocat/**".parse().unwrap(), "drafts/*".parse().unwrap()],
            not_before: NOW - 10,
            not_after: NOW + 10,
        }),
    };
    (question, facts)
}

#[test]
fn a_permit_says_what_it_rests_on() {
    let (question, facts) = allowed();
    let permit = decide(&question, &facts, NOW).unwrap();
    assert_eq!((permit.agent(), permit.agent_version()), (AGENT, 3));
    assert_eq!(permit.principals(), [HOLDER, PARENT]);
    assert_eq!((permit.tool().as_str(), permit.tool_version()), ("mail", 5));
    assert_eq!((permit.grant(), permit.grant_version(), permit.grant_not_after()), (GRANT, 7, NOW + 10));
    assert_eq!((permit.tenant(), permit.resource()), (TENANT, "https://tgp.example/t/mail"));
    assert_eq!(permit.actions(), question.actions);
    assert_eq!(permit.decided_at(), NOW);
}

#[test]
fn at_issuance_several_actions_are_allowed_together_or_not_at_all() {
    let (mut question, facts) = allowed();
    question.covered = None;
    question.actions = vec!["mail.send".parse().unwrap(), "list".parse().unwrap()];
    assert_eq!(decide(&question, &facts, NOW).unwrap().actions().len(), 2);
    question.actions.push("delete".parse().unwrap());
    let action = "delete".parse().unwrap();
    assert_eq!(decide(&question, &facts, NOW), Err(Denial::ActionNotGranted { action }));
}

type Change = fn(&mut Question, &mut Facts);

fn grant(facts: &mut Facts) -> &mut GrantFact {
    facts.grant.as_mut().unwrap()
}

/// Every way to spoil the allowed call, the denial that must come, and its code.
fn faults() -> Vec<(&'static str, Change, Denial, &'static str)> {
    let action = || "mail.send".parse().unwrap();
    vec![
        ("facts of another agent", |_, f| f.agent.id = OTHER, Denial::AgentUnknown, "grant-missing"),
        ("invited", |_, f| f.agent.status = Status::Invited, Denial::AgentInvited, "agent-frozen"),
        ("frozen", |_, f| f.agent.status = Status::Frozen, Denial::AgentFrozen, "agent-frozen"),
        ("retired", |_, f| f.agent.status = Status::Retired, Denial::AgentRetired, "agent-retired"),
        (
            "the holder is frozen",
            |_, f| f.principals[0].status = Status::Frozen,
            Denial::PrincipalFrozen,
            "agent-frozen",
        ),
        (
            "the parent is frozen",
            |_, f| f.principals[1].status = Status::Frozen,
            Denial::PrincipalFrozen,
            "agent-frozen",
        ),
        (
            "the parent is retired",
            |_, f| f.principals[1].status = Status::Retired,
            Denial::PrincipalRetired,
            "agent-retired",
        ),
        (
            "the parent is nobody yet",
            |_, f| f.principals[1].status = Status::Invited,
            Denial::PrincipalFrozen,
            "agent-frozen",
        ),
        (
            "the parent is another tenant's",
            |_, f| f.principals[1].tenant = OTHER,
            Denial::AgentUnknown,
            "grant-missing",
        ),
        ("facts of another parent", |_, f| f.principals[1].id = OTHER, Denial::AgentUnknown, "grant-missing"),
        ("no fact of the parent", |_, f| f.principals.truncate(1), Denial::AgentUnknown, "grant-missing"),
        (
            "the agent on its own behalf",
            |q, f| (q.principals[1], f.principals[1].id) = (AGENT, AGENT),
            Denial::AgentUnknown,
            "grant-missing",
        ),
        (
            "the parent in the holder's place",
            |q, f| {
                q.principals.remove(0);
                f.principals.remove(0);
            },
            Denial::GrantMissing,
            "grant-missing",
        ),
        (
            "for itself by another's grant",
            |q, f| {
                q.principals.clear();
                f.principals.clear()
            },
            Denial::GrantMissing,
            "grant-missing",
        ),
        ("no tool", |_, f| f.tool = None, Denial::ToolUnknown, "tool-unknown"),
        (
            "another tool's fact",
            |_, f| f.tool.as_mut().unwrap().slug = "mall".parse().unwrap(),
            Denial::ToolUnknown,
            "tool-unknown",
        ),
        ("another tool asked for", |q, _| q.tool = "mall".parse().unwrap(), Denial::ToolUnknown, "tool-unknown"),
        (
            "a tool of another tenant",
            |_, f| f.tool.as_mut().unwrap().tenant = OTHER,
            Denial::ToolUnknown,
            "tool-unknown",
        ),
        ("no grant", |_, f| f.grant = None, Denial::GrantMissing, "grant-missing"),
        ("a grant of another tenant", |_, f| grant(f).tenant = OTHER, Denial::GrantMissing, "grant-missing"),
        ("another agent's grant", |_, f| grant(f).agent = OTHER, Denial::GrantMissing, "grant-missing"),
        (
            "a grant for another tool",
            |_, f| grant(f).tool = "mall".parse().unwrap(),
            Denial::GrantMissing,
            "grant-missing",
        ),
        (
            "a grant of tomorrow",
            |_, f| grant(f).not_before = NOW + 1,
            Denial::GrantNotYet { not_before: NOW + 1 },
            "grant-missing",
        ),
        (
            "a grant of yesterday",
            |_, f| grant(f).not_after = NOW,
            Denial::GrantExpired { not_after: NOW },
            "grant-missing",
        ),
        (
            "a grant for another resource",
            |_, f| grant(f).resource.push('s'),
            Denial::ResourceRefused,
            "resource-refused",
        ),
        ("another resource asked for", |q, _| q.resource.push('/'), Denial::ResourceRefused, "resource-refused"),
        ("nothing asked for", |q, _| q.actions.clear(), Denial::NothingAsked, "scope-insufficient"),
        (
            "an action not granted",
            |_, f| grant(f).actions = vec!["list".parse().unwrap()],
            Denial::ActionNotGranted { action: action() },
            "scope-insufficient",
        ),
        (
            "a grant of nothing",
            |_, f| grant(f).actions.clear(),
            Denial::ActionNotGranted { action: action() },
            "scope-insufficient",
        ),
        (
            "an action the token lacks",
            |q, _| q.covered = Some(vec!["list".parse().unwrap()]),
            Denial::ActionNotInToken { action: action() },
            "scope-insufficient",
        ),
        (
            "a token of nothing",
            |q, _| q.covered = Some(vec![]),
            Denial::ActionNotInToken { action: action() },
            "scope-insufficient",
        ),
        (
            "a resource the token lacks",
            |q, _| q.touched = Some("octodog/hello".parse().unwrap()),
            Denial::ResourceNotInToken { touched: Some("octodog/hello".parse().unwrap()) },
            "resource-refused",
        ),
        (
            "no resource under a token for some",
            |q, _| q.touched = None,
            Denial::ResourceNotInToken { touched: None },
            "resource-refused",
        ),
        (
            "a resource the grant lacks",
            |q, _| (q.resources, q.touched) = (vec![], Some("octodog/hello".parse().unwrap())),
            Denial::ResourceNotGranted { touched: Some("octodog/hello".parse().unwrap()) },
            "resource-refused",
        ),
        (
            "no resource under a grant for some",
            |q, _| (q.resources, q.touched) = (vec![], None),
            Denial::ResourceNotGranted { touched: None },
            "resource-refused",
        ),
        (
            "a pattern beyond the grant's at issuance",
            |q, _| (q.covered, q.resources) = (None, vec!["*/hello".parse().unwrap()]),
            Denial::ResourcesNotGranted,
            "resource-refused",
        ),
    ]
}

#[test]
fn patterns_restrict_and_their_absence_does_not() {
    let (mut question, mut facts) = allowed();
    question.touched = Some("octocat/hello".parse().unwrap());
    grant(&mut facts).resources.clear();
    assert!(decide(&question, &facts, NOW).is_ok(), "the token's hold");
    question.resources.clear();
    question.touched = None;
    assert!(decide(&question, &facts, NOW).is_ok(), "nobody restricts");
    let (mut question, facts) = allowed();
    question.covered = None;
    for (asked, allowed) in [
        (vec![], true),
        (vec!["octocat/hello"], true),
        (vec!["octocat/hello", "drafts/*"], true),
        (vec!["octocat/hello", "drafts"], false),
        (vec!["**"], false),
    ] {
        question.resources = asked.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(decide(&question, &facts, NOW).is_ok(), allowed, "{asked:?}");
    }
}

#[test]
fn every_fault_alone_is_denied_by_its_rule() {
    let (question, facts) = allowed();
    assert!(decide(&question, &facts, NOW).is_ok());
    for (what, change, denial, code) in faults() {
        let (mut question, mut facts) = allowed();
        change(&mut question, &mut facts);
        assert_eq!(decide(&question, &facts, NOW), Err(denial.clone()), "{what}");
        assert_eq!(denial.code(), code, "{what}");
    }
}

#[test]
fn a_grant_holds_from_not_before_on_and_not_at_not_after() {
    let (question, facts) = allowed();
    for (now, expected) in [
        (NOW - 11, Err(Denial::GrantNotYet { not_before: NOW - 10 })),
        (NOW - 10, Ok(())),
        (NOW + 9, Ok(())),
        (NOW + 10, Err(Denial::GrantExpired { not_after: NOW + 10 })),
        (i64::MIN, Err(Denial::GrantNotYet { not_before: NOW - 10 })),
        (i64::MAX, Err(Denial::GrantExpired { not_after: NOW + 10 })),
    ] {
        assert_eq!(decide(&question, &facts, now).map(|_| ()), expected, "{now}");
    }
}

#[test]
fn a_token_s_pattern_is_no_pattern() {
    // What the token covers is names; only grants have patterns, and a name can't be written like one.
    let (mut question, facts) = allowed();
    question.covered = Some(vec!["mail.".parse().unwrap(), "mail".parse().unwrap()]);
    assert_eq!(decide(&question, &facts, NOW).unwrap_err().code(), "scope-insufficient");
    assert!("mail.*".parse::<tgp_request::name::ActionName>().is_err());
}

#[test]
fn facts_and_questions_survive_the_auditor_s_files() {
    let (question, facts) = allowed();
    let text = serde_json::to_string(&(&question, &facts)).unwrap();
    let again: (Question, Facts) = serde_json::from_str(&text).unwrap();
    assert_eq!(again, (question, facts));
    assert!(serde_json::from_str::<AgentFact>(r#"{"id":"6f1c1c52-6a53-4a5e-9f0e-0d5f5f5a0001","tenant":"6f1c1c52-6a53-4a5e-9f0e-0d5f5f5a0001","status":"active","version":1,"x":1}"#).is_err());
}

/// All that may be widened without touching what one fault spoils.
#[derive(Clone, Debug)]
struct Widening {
    versions: [i64; 3],
    longer_before: i64,
    longer_after: i64,
    patterns: Vec<String>,
    covered: Vec<String>,
    no_token: bool,
    fewer_asked: bool,
}

fn widening() -> impl Strategy<Value = Widening> {
    let patterns = prop::collection::vec("[a-z]{1,6}(\\.\\*)?|\\*", 0..6);
    let covered = prop::collection::vec("[a-z]{1,6}\\.[a-z]{1,6}", 0..6);
    let times = 0..1_000_000_i64;
    (any::<[i64; 3]>(), times.clone(), times, patterns, covered, any::<bool>(), any::<bool>()).prop_map(
        |(versions, longer_before, longer_after, patterns, covered, no_token, fewer_asked)| Widening {
            versions,
            longer_before,
            longer_after,
            patterns,
            covered,
            no_token,
            fewer_asked,
        },
    )
}

/// Widen everything but what `spared` names.
fn widen(question: &mut Question, facts: &mut Facts, by: &Widening, spared: &Denial) {
    facts.agent.version = by.versions[0];
    if let Some(tool) = &mut facts.tool {
        tool.version = by.versions[1];
    }
    if let Some(grant) = &mut facts.grant {
        grant.version = by.versions[2];
        if !matches!(spared, Denial::GrantNotYet { .. }) {
            grant.not_before -= by.longer_before;
        }
        if !matches!(spared, Denial::GrantExpired { .. }) {
            grant.not_after += by.longer_after;
        }
        if !matches!(spared, Denial::ActionNotGranted { .. }) {
            grant.actions.extend(by.patterns.iter().map(|text| text.parse().unwrap()));
        }
    }
    let of_resources = spared.code() == "resource-refused";
    if !of_resources && by.fewer_asked {
        question.resources.clear();
        facts.grant.iter_mut().for_each(|grant| grant.resources.clear());
    }
    if !of_resources && !matches!(spared, Denial::ActionNotInToken { .. }) {
        match &mut question.covered {
            _ if by.no_token => question.covered = None,
            Some(covered) => covered.extend(by.covered.iter().map(|text| text.parse().unwrap())),
            None => {}
        }
    }
    if by.fewer_asked && question.actions.len() > 1 {
        question.actions.truncate(1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn widening_what_a_denial_is_not_about_never_makes_a_permit(
        fault in any::<prop::sample::Index>(), by in widening(),
    ) {
        let faults = faults();
        let (_, change, denial, _) = fault.get(&faults);
        let (mut question, mut facts) = allowed();
        change(&mut question, &mut facts);
        widen(&mut question, &mut facts, &by, denial);
        prop_assert_eq!(decide(&question, &facts, NOW).unwrap_err(), denial.clone());
    }

    #[test]
    fn a_permit_means_that_each_rule_holds(
        agent in 0..4_usize, same in prop::collection::vec(prop::bool::weighted(0.9), 8), offset in -12..12_i64,
        pattern in prop::sample::select(vec!["*", "mail.*", "mail.send", "list", "*.send"]),
        covered in prop::option::of(prop::sample::select(vec!["mail.send", "list"])),
    ) {
        let (mut question, mut facts) = allowed();
        let id = |same: bool, right: Uuid| if same { right } else { OTHER };
        facts.agent.status = [Status::Invited, Status::Active, Status::Frozen, Status::Retired][agent];
        facts.agent.id = id(same[0], AGENT);
        facts.tool.as_mut().unwrap().tenant = id(same[1], TENANT);
        grant(&mut facts).tenant = id(same[2], TENANT);
        grant(&mut facts).agent = id(same[3], HOLDER);
        if !same[4] { grant(&mut facts).resource.clear(); }
        if !same[5] { grant(&mut facts).tool = "mall".parse().unwrap(); }
        if !same[6] { facts.tool = None; }
        if !same[7] { facts.grant = None; }
        if let Some(grant) = &mut facts.grant { grant.actions = vec![pattern.parse().unwrap()]; }
        question.covered = covered.map(|name| vec![name.parse().unwrap()]);

        let expected = agent == 1
            && same.iter().all(|same| *same)
            && (-10..10).contains(&offset)
            && pattern != "list"
            && covered != Some("list");
        prop_assert_eq!(decide(&question, &facts, NOW + offset).is_ok(), expected);
    }
}
