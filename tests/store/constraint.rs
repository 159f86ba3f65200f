//! What the schema refuses, in the words of the store.

use serde_json::json;
use sqlx::Executor as _;
use tgp::store::agent::Status;
use tgp::store::roster::Roster;
use tgp::store::{Change, Conflict, StoreError};
use uuid::Uuid;

use crate::world::{World, action, count, credential, enrolment, new_agent, new_tool};

async fn change(world: &World) -> Change {
    world.store.change(world.tenant).await.unwrap()
}

fn conflict(refused: Result<(), StoreError>) -> Conflict {
    match refused {
        Err(StoreError::Conflict(conflict)) => conflict,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn agents_that_may_not_be() {
    let world = World::new().await;
    let other = world.another_agent("other-bot").await;
    let taken = world.store.agent(world.tenant, world.agent).await.unwrap().unwrap();

    let mut new = new_agent(Uuid::new_v4(), &taken.handle);
    assert_eq!(conflict(change(&world).await.insert_agent(&new).await), Conflict::HandleTaken);
    new.handle = "Not A Handle".into();
    assert_eq!(conflict(change(&world).await.insert_agent(&new).await), Conflict::Form);
    (new.handle, new.aan) = ("fresh".into(), taken.aan.clone());
    assert_eq!(conflict(change(&world).await.insert_agent(&new).await), Conflict::NumberTaken);
    new.aan = "72840199".into();
    assert_eq!(conflict(change(&world).await.insert_agent(&new).await), Conflict::Form);
    let new = new_agent(world.agent, "fresh");
    let refused = conflict(change(&world).await.insert_agent(&new_agent_with_number(&new, "7284000000000001")).await);
    assert_eq!(refused, Conflict::AgentExists);
    assert_eq!(conflict(change(&world).await.enrol_agent(other, &enrolment(world.agent)).await), Conflict::KeyTaken);

    let mut begun = change(&world).await;
    let invited = Uuid::new_v4();
    begun.insert_agent(&new_agent(invited, "invited")).await.unwrap();
    assert_eq!(conflict(begun.set_agent_status(invited, Status::Active).await), Conflict::AgentNotEnrolled);
    drop(begun);
    world.set_status(Status::Retired).await;
    assert_eq!(
        conflict(change(&world).await.set_agent_status(world.agent, Status::Active).await),
        Conflict::AgentRetired
    );
}

fn new_agent_with_number(agent: &tgp::store::agent::NewAgent, aan: &str) -> tgp::store::agent::NewAgent {
    tgp::store::agent::NewAgent { aan: aan.into(), ..agent.clone() }
}

#[tokio::test]
async fn enrolment_repeats_with_the_same_key_and_with_no_other() {
    let world = World::new().await;
    let mut begun = change(&world).await;
    begun.enrol_agent(world.agent, &enrolment(world.agent)).await.unwrap();
    begun.commit(&world.act()).await.unwrap();
    let mut other = enrolment(world.agent);
    other.keyid = "another-key".into();
    assert!(matches!(change(&world).await.enrol_agent(world.agent, &other).await, Err(StoreError::NotFound)));
    let agent = world.store.agent(world.tenant, world.agent).await.unwrap().unwrap();
    assert_eq!((agent.keyid, agent.version), (Some(enrolment(world.agent).keyid), 2));
    // Frozen before or during: enrolling again does not thaw.
    world.set_status(Status::Frozen).await;
    let mut begun = change(&world).await;
    begun.enrol_agent(world.agent, &enrolment(world.agent)).await.unwrap();
    begun.commit(&world.act()).await.unwrap();
    assert_eq!(world.store.agent(world.tenant, world.agent).await.unwrap().unwrap().status, Status::Frozen);
}

#[tokio::test]
async fn a_number_is_never_given_twice_not_even_after_its_agent_is_gone() {
    let world = World::new().await;
    let owner = world.database.owner().await;
    let agent = world.store.agent(world.tenant, world.agent).await.unwrap().unwrap();
    for sql in [
        "delete from token",
        "delete from \"grant\"",
        "delete from agent_certificate",
        "delete from agent_key",
        "delete from agent",
    ] {
        owner.execute(sql).await.unwrap();
    }
    assert_eq!(count(&owner, "select count(*) from agent").await, 0);
    let new = new_agent_with_number(&new_agent(Uuid::new_v4(), "second"), &agent.aan);
    assert_eq!(conflict(change(&world).await.insert_agent(&new).await), Conflict::NumberTaken);
    for sql in ["delete from aan", "update aan set agent = gen_random_uuid()", "truncate aan cascade"] {
        let refused = owner.execute(sql).await.unwrap_err();
        assert!(refused.to_string().contains("never changed or removed"), "{sql}: {refused}");
    }
}

#[tokio::test]
async fn tools_and_grants_that_may_not_be() {
    let world = World::new().await;
    assert_eq!(conflict(change(&world).await.insert_tool(&new_tool("mail")).await), Conflict::SlugTaken);
    assert_eq!(conflict(change(&world).await.insert_tool(&new_tool("No Slug")).await), Conflict::Form);
    for (second, expected) in [
        (action("send", "PUT", "/other"), Conflict::ActionTaken),
        (action("other", "POST", "/messages"), Conflict::RouteTaken),
        (action("not a name", "PUT", "/other"), Conflict::Form),
    ] {
        let actions = [action("send", "POST", "/messages"), second];
        assert_eq!(conflict(world.replace_actions(&mut change(&world).await, &actions).await), expected);
    }
    assert_eq!(conflict(change(&world).await.set_credential("mail", &credential(1)).await), Conflict::VersionOld);
    assert_eq!(conflict(change(&world).await.set_credential("nowhere", &credential(1)).await), Conflict::UnknownTool);

    let mut grant = world.new_grant(Uuid::new_v4());
    grant.tool = "nowhere".into();
    assert_eq!(conflict(change(&world).await.put_grant(&grant).await), Conflict::UnknownTool);
    let mut grant = world.new_grant(Uuid::new_v4());
    grant.agent = Uuid::new_v4();
    assert_eq!(conflict(change(&world).await.put_grant(&grant).await), Conflict::UnknownAgent);
    let mut grant = world.new_grant(Uuid::new_v4());
    grant.actions.clear();
    assert_eq!(conflict(change(&world).await.put_grant(&grant).await), Conflict::GrantEmpty);
    let mut grant = world.new_grant(world.grant);
    grant.agent = world.another_agent("other-bot").await;
    assert_eq!(conflict(change(&world).await.put_grant(&grant).await), Conflict::GrantTaken);
    let mut grant = world.new_grant(world.grant);
    grant.statement_version = 0;
    assert_eq!(conflict(change(&world).await.put_grant(&grant).await), Conflict::VersionOld);

    let mut begun = change(&world).await;
    begun.revoke_grant(world.grant).await.unwrap();
    begun.commit(&world.act()).await.unwrap();
    let mut grant = world.new_grant(world.grant);
    grant.statement_version = 9;
    assert_eq!(conflict(change(&world).await.put_grant(&grant).await), Conflict::GrantRevoked);
}

#[tokio::test]
async fn what_is_recorded_once_is_recorded_once() {
    let world = World::new().await;
    let roster = Roster { version: 1, document: json!({}), statements: json!([]) };
    assert_eq!(conflict(change(&world).await.insert_roster(&roster).await), Conflict::RosterExists);
    let dek = world.store.newest_dek(world.tenant, "record").await.unwrap().unwrap();
    let again = change(&world).await.insert_dek(dek.id, "record", b"", &json!({})).await;
    assert_eq!(conflict(again), Conflict::DekExists);
    assert_eq!(conflict(change(&world).await.insert_tenant("again").await), Conflict::TenantTaken);
    let nowhere = world.store.change(Uuid::new_v4()).await.unwrap().insert_tool(&new_tool("calendar")).await;
    assert_eq!(conflict(nowhere), Conflict::UnknownTenant);
}

/// Every constraint that a migration names is answered in words, or is one that only we could violate.
#[tokio::test]
async fn no_constraint_was_forgotten() {
    const OURS_ALONE: [&str; 21] = [
        "access_token_claim_whole",
        "access_token_credential_fkey",
        "access_token_pkey",
        "access_token_tool_fkey",
        "aan_is_forever",
        "agent_status_known",
        "agent_enrolled_whole",
        "agent_aan_fkey",
        "agent_certificate_sha256_form",
        "audit_pkey",
        "dek_purpose_known",
        "failure_summary_pkey",
        "grant_status_known",
        "key_record_pkey",
        "nonce_form",
        "nonce_pkey",
        "outcome_pkey",
        "tool_credential_pkey",
        "tool_word_pkey",
        "tool_word_tenant_fkey",
        "verifier_key_digest_form",
    ];
    let world = World::new().await;
    let owner = world.database.owner().await;
    let named: Vec<String> = sqlx::query_scalar(
        "select conname::text from pg_constraint c join pg_class t on t.oid = c.conrelid
         where t.relnamespace = 'public'::regnamespace and not t.relispartition and t.relname <> '_sqlx_migrations'
           and c.contype in ('p', 'u', 'f', 'c')",
    )
    .fetch_all(&owner)
    .await
    .unwrap();
    assert!(named.len() > 40);
    let source = include_str!("../../src/store/error.rs");
    for name in named {
        let mapped = source.contains(&format!("\"{name}\""));
        let ours = OURS_ALONE.contains(&name.as_str()) || name == "token_pkey";
        assert!(mapped != ours, "{name}: mapped {mapped}, ours alone {ours}");
    }
}
