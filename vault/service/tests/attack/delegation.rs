//! Attacks on `exchange_token`, and on what is done with what it makes.

use tgp_authority::{Invite, Method, Operation, RecordKind, Revoke as RevokeOrder, Role, RosterChange, Tenants};
use tgp_request::token::{Jwks, TokenKeys, VerifiedToken};
use tgp_vault_client::wire::{
    Enrolled, ExchangeToken, MintToken, Proof, RefusalCode as Code, Release, Revoke, SetRoster, WireSecret,
};
use uuid::Uuid;

use crate::actors::{Agent, Person, SECRET, Working, grant, invite, resource, set_grant};
use crate::deployment::{Deployment, ISSUER, OTHER_TENANT, TENANT, refused};

const URL: &str = "https://gw.tgp.example:8443/t/mail/messages/1";

/// A parent with a grant, and a child without one.
struct Family {
    parent: Working,
    child: Working,
}

impl Family {
    fn new(at: &Deployment) -> Self {
        Self { parent: Working::new(at), child: Working::new(at) }
    }

    fn handed(&self, at: &Deployment) -> String {
        made_out(at, &self.parent, self.child.agent.id)
    }

    fn call(&self, token: &str) -> ExchangeToken {
        exchange(&self.child, token, &[&self.parent], &self.parent)
    }
}

/// A token of `holder`, made out to another.
fn made_out(at: &Deployment, holder: &Working, to: Uuid) -> String {
    let call = MintToken { may_act: Some(to), actions: texts(&["mail.send", "mail.read"]), ..holder.mint_call() };
    text(&at.call(call).unwrap().token)
}

/// An exchange of `token`, which was handed on by `chain`, under the grant of its first.
fn exchange(child: &Working, token: &str, chain: &[&Working], holder: &Working) -> ExchangeToken {
    let (parent, principals) = chain.split_last().unwrap();
    ExchangeToken {
        agent_record: child.enrolled.record.clone(),
        proof: child.mint_call().proof,
        subject_token: WireSecret::from(token.to_owned()),
        parent_record: parent.enrolled.record.clone(),
        principal_records: principals.iter().map(|one| one.enrolled.record.clone()).collect(),
        grant_record: holder.grant.record.clone(),
        actions: texts(&["mail.send"]),
        resources: vec![],
        may_act: None,
        lifetime_s: 300,
    }
}

fn text(token: &WireSecret) -> String {
    token.expose_text().unwrap().to_owned()
}

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn verified(at: &Deployment, token: &str) -> VerifiedToken {
    let jwks: Jwks = serde_json::from_str(&at.about().jwks).unwrap();
    TokenKeys::from_jwks(&jwks).unwrap().verify(token, ISSUER, at.now()).unwrap()
}

#[test]
fn a_child_gets_a_token_that_says_whose_grant_it_is_and_who_acts() {
    let at = Deployment::start();
    let family = Family::new(&at);
    let (parent, child) = (&family.parent, &family.child);
    let subject = at.call(MintToken { may_act: Some(child.agent.id), lifetime_s: 60, ..parent.mint_call() }).unwrap();
    let minted = at.call(family.call(&text(&subject.token))).unwrap();
    let token = verified(&at, &text(&minted.token));
    assert_eq!((token.agent(), token.subject()), (child.agent.id, parent.agent.id));
    assert_eq!(token.principals(), [parent.agent.id]);
    assert_eq!(token.derived_from(), [subject.jti]);
    assert_eq!(token.keyid(), child.agent.identity.public().keyid());
    assert_eq!(token.claims().aan.to_string(), child.enrolled.facts.aan);
    assert_eq!(token.claims().exp, subject.exp, "it ends no later than its parent's");
    assert_eq!(token.claims().aud, resource("mail"));
    assert!(token.may_act().is_none());

    let token = text(&minted.token);
    let request = child.agent.request(&at, &token, URL);
    let principal_records = vec![parent.enrolled.record.clone()];
    let own = Release { principal_records: principal_records.clone(), ..child.release_call(request.clone()) };
    assert_eq!(refused("under the child's own grant", at.call(own)), Code::RecordMismatch);
    let grant_record = parent.grant.record.clone();
    let released = at.call(Release { principal_records, grant_record, ..child.release_call(request) }).unwrap();
    assert_eq!(released.secret.expose_secret(), SECRET);
}

#[test]
fn nothing_but_a_parents_token_made_out_to_it_brings_a_child_one() {
    let at = Deployment::start();
    let family = Family::new(&at);
    let (parent, child) = (&family.parent, &family.child);
    let sibling = Working::new(&at);
    let handed = family.handed(&at);
    let call = || family.call(&handed);
    let with = |token: &str| ExchangeToken { subject_token: WireSecret::from(token.to_owned()), ..call() };
    let sealed_grant = |change: &dyn Fn(&mut tgp_authority::Grant)| {
        let mut grant = grant(&at, parent.agent.id, "mail");
        change(&mut grant);
        set_grant(&at, &grant).unwrap().record
    };
    let mut spoiled = handed.clone();
    spoiled.replace_range(spoiled.len() - 8.., "AAAAAAAA");
    let cases: Vec<(&str, ExchangeToken, Code)> = vec![
        ("a token that was only seen", with(&parent.token(&at)), Code::DelegationRefused),
        ("one made out to a sibling", with(&made_out(&at, parent, sibling.agent.id)), Code::DelegationRefused),
        ("one made out to a stranger", with(&made_out(&at, parent, Uuid::new_v4())), Code::DelegationRefused),
        ("a sibling with the child's", exchange(&sibling, &handed, &[parent], parent), Code::DelegationRefused),
        ("no token", with(""), Code::TokenInvalid),
        ("a token spoiled", with(&spoiled), Code::TokenInvalid),
        ("the child's own", with(&child.token(&at)), Code::RecordMismatch),
        (
            "a sibling in the parent's place",
            ExchangeToken { parent_record: sibling.enrolled.record.clone(), ..call() },
            Code::RecordMismatch,
        ),
        (
            "the child in the parent's place",
            ExchangeToken { parent_record: child.enrolled.record.clone(), ..call() },
            Code::RecordMismatch,
        ),
        (
            "a grant as parent",
            ExchangeToken { parent_record: parent.grant.record.clone(), ..call() },
            Code::RecordInvalid,
        ),
        (
            "principals that the token has not",
            ExchangeToken { principal_records: vec![sibling.enrolled.record.clone()], ..call() },
            Code::RecordMismatch,
        ),
        ("the parent's proof", ExchangeToken { proof: parent.mint_call().proof, ..call() }, Code::MasterKeyInvalid),
        (
            "no proof",
            ExchangeToken { proof: Proof::Assertion(WireSecret::from(String::new())), ..call() },
            Code::AssertionInvalid,
        ),
        (
            "the child's grant",
            ExchangeToken { grant_record: child.grant.record.clone(), ..call() },
            Code::RecordMismatch,
        ),
        ("no grant", ExchangeToken { grant_record: vec![], ..call() }, Code::RecordInvalid),
        (
            "a grant for another tool",
            ExchangeToken { grant_record: sealed_grant(&|g| g.tool = "files".parse().unwrap()), ..call() },
            Code::GrantMissing,
        ),
        (
            "a grant of the past",
            ExchangeToken { grant_record: sealed_grant(&|g| (g.not_before, g.not_after) = (1, 2)), ..call() },
            Code::GrantMissing,
        ),
        (
            "a grant without the action",
            ExchangeToken { grant_record: sealed_grant(&|g| g.actions = vec!["mail.read".parse().unwrap()]), ..call() },
            Code::ScopeInsufficient,
        ),
        (
            "an action of the grant that the token has not",
            ExchangeToken { actions: texts(&["mail.delete"]), ..call() },
            Code::ScopeInsufficient,
        ),
        ("no action", ExchangeToken { actions: vec![], ..call() }, Code::OutOfRange),
        ("a pattern that is none", ExchangeToken { resources: texts(&["a*"]), ..call() }, Code::ResourceRefused),
        ("no lifetime", ExchangeToken { lifetime_s: 0, ..call() }, Code::OutOfRange),
        ("a second too long", ExchangeToken { lifetime_s: 901, ..call() }, Code::OutOfRange),
        ("made out to itself", ExchangeToken { may_act: Some(child.agent.id), ..call() }, Code::OutOfRange),
    ];
    for (what, call, expected) in cases {
        assert_eq!(refused(what, at.call(call)), expected, "{what}");
    }
    at.call(call()).unwrap();
}

#[test]
fn patterns_only_narrow_from_grant_to_token_to_child() {
    let at = Deployment::start();
    let family = Family::new(&at);
    let mut restricted = grant(&at, family.parent.agent.id, "mail");
    restricted.resources = vec!["octocat/**".parse().unwrap()];
    let grant_record = set_grant(&at, &restricted).unwrap().record;
    let mint = |resources: &[&str]| {
        let may_act = Some(family.child.agent.id);
        let (grant_record, resources) = (grant_record.clone(), texts(resources));
        at.call(MintToken { grant_record, resources, may_act, ..family.parent.mint_call() })
    };
    for beyond in [&["**"][..], &["octodog/x"], &["octocat/x", "*/x"], &["octocat"], &["octocat/../x"], &["a*"]] {
        assert_eq!(refused(&format!("{beyond:?}"), mint(beyond)), Code::ResourceRefused);
    }
    let many: Vec<String> = (0..17).map(|n| format!("octocat/{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(refused("seventeen", mint(&many)), Code::OutOfRange);
    let own = mint(&[]).unwrap();
    assert_eq!(own.resources, ["octocat/**"], "what is not asked for is the grant's");
    let narrow = mint(&["octocat/*"]).unwrap();
    assert_eq!(verified(&at, &text(&narrow.token)).resources()[0].as_str(), "octocat/*");

    let exchange = |resources: &[&str]| {
        let (grant_record, resources) = (grant_record.clone(), texts(resources));
        at.call(ExchangeToken { grant_record, resources, ..family.call(&text(&narrow.token)) })
    };
    for beyond in [&["octocat/**"][..], &["octocat/a/b"], &["**"]] {
        assert_eq!(refused(&format!("{beyond:?}"), exchange(beyond)), Code::ResourceRefused);
    }
    assert_eq!(exchange(&[]).unwrap().resources, ["octocat/*"]);
    assert_eq!(exchange(&["octocat/hello"]).unwrap().resources, ["octocat/hello"]);
    // A grant that knows no patterns any more does not widen the token, and one that has them now narrows it.
    let open = ExchangeToken { ..family.call(&text(&narrow.token)) };
    assert_eq!(at.call(open).unwrap().resources, ["octocat/*"]);
    let unrestricted = ExchangeToken { grant_record: grant_record.clone(), ..family.call(&family.handed(&at)) };
    assert_eq!(refused("wider than the grant is now", at.call(unrestricted)), Code::ResourceRefused);
}

#[test]
fn a_token_is_handed_on_three_times_and_no_further_and_never_back() {
    let at = Deployment::start();
    let all: Vec<Working> = (0..5).map(|_| Working::new(&at)).collect();
    let mut token = made_out(&at, &all[0], all[1].agent.id);
    for depth in 1..=3 {
        let chain: Vec<&Working> = all[..depth].iter().collect();
        let back = ExchangeToken { may_act: Some(all[0].agent.id), ..exchange(&all[depth], &token, &chain, &all[0]) };
        let returned = text(&at.call(back).unwrap().token);
        let longer: Vec<&Working> = all[..=depth].iter().collect();
        let again = exchange(&all[0], &returned, &longer, &all[0]);
        assert_eq!(refused("back to the first", at.call(again)), Code::DelegationRefused);

        let onward = Some(all[depth + 1].agent.id);
        let call = ExchangeToken { may_act: onward, ..exchange(&all[depth], &token, &chain, &all[0]) };
        token = text(&at.call(call).unwrap().token);
        let read = verified(&at, &token);
        let ids: Vec<Uuid> = all[..depth].iter().map(|one| one.agent.id).collect();
        assert_eq!((read.principals(), read.agent()), (&ids[..], all[depth].agent.id));
        assert_eq!(read.derived_from().len(), depth);
    }
    let chain: Vec<&Working> = all[..4].iter().collect();
    let fourth = exchange(&all[4], &token, &chain, &all[0]);
    assert_eq!(refused("a fourth time", at.call(fourth)), Code::DelegationRefused);
    // The principals' records are asked for in their order, all of them.
    let last = &all[3];
    let draw = |principals: &[&Working]| {
        let principal_records = principals.iter().map(|one| one.enrolled.record.clone()).collect();
        let grant_record = all[0].grant.record.clone();
        at.call(Release { principal_records, grant_record, ..last.release_call(last.agent.request(&at, &token, URL)) })
    };
    draw(&[&all[0], &all[1], &all[2]]).unwrap();
    for wrong in [&[&all[1], &all[0], &all[2]][..], &[&all[0], &all[1]], &[], &[&all[0], &all[1], &all[4]]] {
        assert_eq!(refused("other principals", draw(wrong)), Code::RecordMismatch);
    }
}

#[test]
fn who_was_withdrawn_is_acted_for_no_more() {
    let mut at = Deployment::start();
    let family = Family::new(&at);
    let (parent, child) = (&family.parent, &family.child);
    let handed = family.handed(&at);
    let token = text(&at.call(family.call(&handed)).unwrap().token);
    let draw = |at: &Deployment| {
        let request = child.agent.request(at, &token, URL);
        let principal_records = vec![parent.enrolled.record.clone()];
        let grant_record = parent.grant.record.clone();
        at.call(Release { principal_records, grant_record, ..child.release_call(request) })
    };
    draw(&at).unwrap();
    let order = RevokeOrder { tenant: TENANT, kind: RecordKind::Agent, id: parent.agent.id.to_string() };
    let statements = vec![at.owner.order(&at, &Operation::Revoke(order))];
    at.call(Revoke { statements }).unwrap();
    assert_eq!(refused("draw", draw(&at)), Code::RecordStale);
    assert_eq!(refused("exchange", at.call(family.call(&handed))), Code::RecordStale);
    at.restart_later(0);
    assert_eq!(refused("draw after a restart", draw(&at)), Code::RecordStale);
}

fn enrolled(at: &Deployment, inviter: &Person, change: impl FnOnce(&mut Invite), dek: Uuid) -> (Agent, Enrolled) {
    let mut agent = Agent::invited(at);
    let mut order = invite(agent.id, &agent.code, at.now() + 600);
    change(&mut order);
    agent.invitation = inviter.signed(at, &Operation::Invite(order), 600);
    let enrolled = at.call(tgp_vault_client::wire::Enrol { dek, ..agent.enrol_call(at) }).unwrap();
    (agent, enrolled)
}

#[test]
fn a_child_of_another_inviter_or_tenant_is_nobodys_child() {
    let at = Deployment::start();
    let parent = Working::new(&at);
    let other = Person::new();
    let mut roster = at.roster.clone();
    roster.version = 2;
    roster.operators.push(other.entry(vec![Role::Inviter], Tenants::Only(vec![TENANT])));
    let statements = vec![at.owner.order(&at, &Operation::Roster(RosterChange { roster }))];
    at.call(SetRoster { statements }).unwrap();
    let strangers = [
        ("another inviter", enrolled(&at, &other, |_| {}, at.dek)),
        ("another tenant", enrolled(&at, &at.outsider, |it| it.tenant = OTHER_TENANT, at.other_dek)),
    ];
    for (what, (agent, enrolled)) in strangers {
        let token = made_out(&at, &parent, agent.id);
        let call = ExchangeToken {
            agent_record: enrolled.record.clone(),
            proof: Proof::MasterKey(WireSecret::from(text(&enrolled.master_key))),
            ..exchange(&parent, &token, &[&parent], &parent)
        };
        assert_eq!(refused(what, at.call(call)), Code::DelegationRefused, "{what}");
    }
    // The same child, invited by the right person.
    let (agent, enrolled) = enrolled(&at, &at.inviter, |it| it.methods = vec![Method::ClientSecretBasic], at.dek);
    let token = made_out(&at, &parent, agent.id);
    let call = ExchangeToken {
        agent_record: enrolled.record.clone(),
        proof: Proof::MasterKey(WireSecret::from(text(&enrolled.master_key))),
        ..exchange(&parent, &token, &[&parent], &parent)
    };
    at.call(call).unwrap();
}
