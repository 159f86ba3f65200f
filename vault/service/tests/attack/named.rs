//! Several credentials of one tool: which one a request draws, its agent's grant says. The attacker holds every
//! record there is, and a live request of one agent.

use tgp_authority::{Credential, Grant, Operation, RecordKind, Revoke as RevokeOrder, salted_secret_sha256};
use tgp_vault_client::wire::{RefusalCode, Release, Revoke, SealedCredential, SealedGrant, SetCredential, WireSecret};
use uuid::Uuid;

use crate::actors::{SALT, Working, credential, grant, resource, set_grant};
use crate::deployment::{Deployment, refused};

const URL: &str = "https://gw.tgp.example:8443/t/mail/messages/1";

/// A credential of `mail` of this name, whose secret is its name.
fn named(at: &Deployment, name: &str) -> SealedCredential {
    let secret = format!("the secret of {name}").into_bytes();
    let order = Credential {
        name: Some(name.parse().unwrap()),
        secret_sha256: salted_secret_sha256(SALT, &secret),
        ..credential("mail", 1)
    };
    let statement = at.granter.order(at, &Operation::Credential(order));
    at.call(SetCredential { statement, salt: SALT.to_vec(), secret: WireSecret::new(secret), dek: at.dek }).unwrap()
}

fn naming(at: &Deployment, agent: Uuid, name: &str) -> SealedGrant {
    set_grant(at, &Grant { credential: Some(name.parse().unwrap()), ..grant(at, agent, "mail") }).unwrap()
}

#[test]
fn a_request_draws_the_credential_that_its_agents_grant_names_and_no_other() {
    let at = Deployment::start();
    let (alice, bob) = (Working::new(&at), Working::new(&at));
    let (hers, his) = (named(&at, "alice"), named(&at, "bob"));
    let (her_grant, his_grant) = (naming(&at, alice.agent.id, "alice"), naming(&at, bob.agent.id, "bob"));
    let token = alice.token(&at);
    let draw = |grant: &SealedGrant, credential: &SealedCredential| Release {
        grant_record: grant.record.clone(),
        credential_record: credential.record.clone(),
        ..alice.release_call(alice.agent.request(&at, &token, URL))
    };
    let released = at.call(draw(&her_grant, &hers)).unwrap();
    assert_eq!(released.secret.expose_secret(), b"the secret of alice");
    let unnamed = &alice.credential;
    at.call(draw(&alice.grant, unnamed)).unwrap();

    // Grants of hers that are not for this: for another action, another tool, another time.
    let with = |change: &dyn Fn(&mut Grant)| {
        let mut order = grant(&at, alice.agent.id, "mail");
        order.credential = Some("bob".parse().unwrap());
        change(&mut order);
        set_grant(&at, &order).unwrap()
    };
    let other_action = with(&|order| order.actions = vec!["calendar.*".parse().unwrap()]);
    let other_tool = with(&|order| (order.tool, order.resource) = ("files".parse().unwrap(), resource("files")));
    let over = with(&|order| (order.not_before, order.not_after) = (at.now() - 20, at.now() - 10));
    let not_yet = with(&|order| (order.not_before, order.not_after) = (at.now() + 600, at.now() + 700));
    let withdrawn = with(&|_| {});
    let id = withdrawn.facts.grant.to_string();
    let order = Operation::Revoke(RevokeOrder { tenant: withdrawn.facts.tenant, kind: RecordKind::Grant, id });
    at.call(Revoke { statements: vec![at.granter.order(&at, &order)] }).unwrap();

    use RefusalCode as Code;
    for (what, call, expected) in [
        ("his credential with her grant", draw(&her_grant, &his), Code::RecordMismatch),
        ("his credential with his grant", draw(&his_grant, &his), Code::RecordMismatch),
        ("her credential with his grant", draw(&his_grant, &hers), Code::RecordMismatch),
        ("his credential with a grant that names none", draw(&alice.grant, &his), Code::RecordMismatch),
        ("the unnamed one with a grant that names one", draw(&her_grant, unnamed), Code::RecordMismatch),
        ("a grant for another action", draw(&other_action, &his), Code::ScopeInsufficient),
        ("a grant for another tool", draw(&other_tool, &his), Code::RecordMismatch),
        ("a grant that is over", draw(&over, &his), Code::GrantMissing),
        ("a grant that has not begun", draw(&not_yet, &his), Code::GrantMissing),
        ("a grant that was withdrawn", draw(&withdrawn, &his), Code::RecordStale),
        (
            "a credential as grant",
            Release { grant_record: hers.record.clone(), ..draw(&her_grant, &hers) },
            Code::RecordInvalid,
        ),
        (
            "an agent as grant",
            Release { grant_record: alice.enrolled.record.clone(), ..draw(&her_grant, &hers) },
            Code::RecordInvalid,
        ),
        ("no grant", Release { grant_record: vec![], ..draw(&her_grant, &hers) }, Code::RecordInvalid),
    ] {
        assert_eq!(refused(what, at.call(call)), expected, "{what}");
    }
}

#[test]
fn a_credential_is_replaced_and_withdrawn_by_its_name() {
    let at = Deployment::start();
    let alice = Working::new(&at);
    let (hers, his) = (named(&at, "alice"), named(&at, "bob"));
    let grants = [naming(&at, alice.agent.id, "alice"), naming(&at, alice.agent.id, "bob")];
    let token = alice.token(&at);
    let draw = |grant: &SealedGrant, credential: &SealedCredential| {
        at.call(Release {
            grant_record: grant.record.clone(),
            credential_record: credential.record.clone(),
            ..alice.release_call(alice.agent.request(&at, &token, URL))
        })
    };
    let id = "mail/alice".to_owned();
    let order = Operation::Revoke(RevokeOrder { tenant: hers.tenant, kind: RecordKind::Credential, id });
    at.call(Revoke { statements: vec![at.granter.order(&at, &order)] }).unwrap();
    assert_eq!(refused("withdrawn", draw(&grants[0], &hers)), RefusalCode::RecordStale);
    draw(&grants[1], &his).unwrap();
    draw(&alice.grant, &alice.credential).unwrap();
}
