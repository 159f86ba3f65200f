//! What admission checks at the last moment, one request at a time.

use sqlx::PgPool;
use tgp::admission::{AdmissionError, Kind, Reason, Spend, Unrecorded};
use tgp::store::Entry;
use tgp::store::agent::Status;
use uuid::Uuid;

use crate::world::{World, action, count, credential, now, spend, spend_of};

async fn codes(owner: &PgPool, request: Uuid) -> Vec<String> {
    sqlx::query_scalar("select code from audit where request = $1 order by id")
        .bind(request)
        .fetch_all(owner)
        .await
        .unwrap()
}

/// Admits one call on `permit`; returns the answer and what was recorded of it.
async fn admit(world: &World, permit: tgp_policy::Permit, spend: Spend) -> (Result<(), AdmissionError>, Vec<String>) {
    admit_by(world, &world.database.admission(), permit, spend).await
}

async fn admit_by(
    world: &World,
    admission: &tgp::admission::Admission,
    permit: tgp_policy::Permit,
    spend: Spend,
) -> (Result<(), AdmissionError>, Vec<String>) {
    let entry = world.call();
    let request = entry.request_id;
    let answer = admission.admit(permit, entry, Some(spend)).await.map(drop);
    (answer, codes(&world.database.owner().await, request).await)
}

fn denied(answer: &Result<(), AdmissionError>) -> Option<Reason> {
    match answer {
        Err(AdmissionError::Denied(reason)) => Some(*reason),
        _ => None,
    }
}

#[tokio::test]
async fn an_admitted_request_is_recorded_with_what_its_decision_rested_on() {
    let world = World::new().await;
    let permit = world.permit().await;
    let versions = (permit.agent_version(), permit.tool_version(), permit.grant_version());
    let entry = world.call();
    let (request, jti) = (entry.request_id, entry.jti);
    let recorded = world.database.admission().admit(permit, entry, Some(spend())).await.unwrap();
    assert_eq!(recorded.into_inner().agent(), world.agent);

    let rows = world.store.last_verdicts(world.tenant, 10).await.unwrap();
    let row = rows.iter().find(|row| row.request_id == request).unwrap();
    assert_eq!(row.code, "allowed");
    assert_eq!(row.kind, "call");
    assert_eq!((row.agent, row.tool.as_deref(), row.grant), (Some(world.agent), Some("mail"), Some(world.grant)));
    assert_eq!(
        (row.agent_version, row.tool_version, row.grant_version),
        (Some(versions.0), Some(versions.1), Some(versions.2))
    );
    assert_eq!((row.action.as_deref(), row.method.as_deref()), (Some("send"), Some("POST")));
    assert_eq!((row.target_sha256.as_deref(), row.jti), (Some(&[9; 32][..]), jti));
    assert!((row.at / 1000 - now()).abs() < 5);
}

#[tokio::test]
async fn a_replayed_nonce_is_refused_and_both_are_recorded() {
    let world = World::new().await;
    let nonce = spend();
    let first = admit(&world, world.permit().await, nonce.clone()).await;
    assert!(first.0.is_ok() && first.1 == ["allowed"], "{first:?}");
    let second = admit(&world, world.permit().await, nonce).await;
    assert_eq!((denied(&second.0), &second.1[..]), (Some(Reason::Replayed), &["signature-replayed".to_owned()][..]));
}

#[tokio::test]
async fn a_nonce_signed_again_at_another_time_is_the_same_nonce() {
    let world = World::new().await;
    let nonce = Uuid::new_v4();
    // The owner plants the first use where each neighbouring ten minutes would have put it.
    let owner = world.database.owner().await;
    for (distance, replayed) in [(-2, true), (-1, true), (1, true), (-5, false)] {
        let spend = spend_of(Uuid::new_v4(), now());
        let planted = spend_key(&owner, &world, &spend).await;
        let bucket = i32::try_from(now() / 600).unwrap() + distance;
        let name = format!("nonce_{bucket}");
        sqlx::query("select make_partition('nonce', $1, $2, $3)")
            .bind(&name)
            .bind(bucket.to_string())
            .bind((bucket + 1).to_string())
            .execute(&owner)
            .await
            .unwrap();
        sqlx::query("update nonce set bucket = $2 where nonce = $1")
            .bind(planted)
            .bind(bucket)
            .execute(&owner)
            .await
            .unwrap();
        let again = admit(&world, world.permit().await, spend).await;
        assert_eq!(denied(&again.0) == Some(Reason::Replayed), replayed, "{distance}: {again:?}");
    }
    // And by the agent itself, within one.
    assert!(admit(&world, world.permit().await, spend_of(nonce, now())).await.0.is_ok());
    let again = admit(&world, world.permit().await, spend_of(nonce, now() - 20)).await;
    assert_eq!(denied(&again.0), Some(Reason::Replayed));
}

/// Spends a nonce and returns the key it is kept under.
async fn spend_key(owner: &PgPool, world: &World, spend: &Spend) -> Vec<u8> {
    let before: Vec<Vec<u8>> = sqlx::query_scalar("select nonce from nonce").fetch_all(owner).await.unwrap();
    assert!(admit(world, world.permit().await, spend.clone()).await.0.is_ok());
    sqlx::query_scalar("select nonce from nonce where not nonce = any($1)").bind(before).fetch_one(owner).await.unwrap()
}

#[tokio::test]
async fn a_freeze_between_decision_and_admission_holds() {
    let world = World::new().await;
    let (permit, nonce) = (world.permit().await, spend());
    world.set_status(Status::Frozen).await;
    let answer = admit(&world, permit, nonce.clone()).await;
    assert_eq!((denied(&answer.0), &answer.1[..]), (Some(Reason::Frozen), &["agent-frozen".to_owned()][..]));
    // The nonce was not spent by the refusal; the agent may send the same request when it may again.
    world.set_status(Status::Active).await;
    assert!(admit(&world, world.permit().await, nonce).await.0.is_ok());

    let permit = world.permit().await;
    world.set_status(Status::Retired).await;
    assert_eq!(denied(&admit(&world, permit, spend()).await.0), Some(Reason::Retired));
}

#[tokio::test]
async fn a_decision_on_facts_that_changed_is_stale_and_leaves_no_row() {
    let world = World::new().await;
    for change_of in ["agent", "action", "credential", "upstream", "grant"] {
        let permit = world.permit().await;
        let mut change = world.store.change(world.tenant).await.unwrap();
        match change_of {
            "agent" => {
                change.set_agent_status(world.agent, Status::Frozen).await.unwrap();
                change.set_agent_status(world.agent, Status::Active).await.unwrap();
            }
            "action" => world.replace_actions(&mut change, &[action("send", "PUT", "/messages")]).await.unwrap(),
            "credential" => change.set_credential("mail", &credential(2)).await.unwrap(),
            "upstream" => {
                let moved = tgp::store::Sealed { version: 2, bytes: b"elsewhere".to_vec() };
                change.set_upstream("mail", &moved, true).await.unwrap();
            }
            _ => {
                let mut grant = world.new_grant(world.grant);
                (grant.actions, grant.statement_version) = (vec!["*".into()], 2);
                change.put_grant(&grant).await.unwrap();
            }
        }
        change.commit(&world.act()).await.unwrap();
        let answer = admit(&world, permit, spend()).await;
        assert!(matches!(answer.0, Err(AdmissionError::Stale)), "{change_of}: {answer:?}");
        assert!(answer.1.is_empty(), "{change_of}: a stale decision is no verdict");
        // Decided again, it goes through.
        assert!(admit(&world, world.permit().await, spend()).await.0.is_ok(), "{change_of}");
    }
    let permit = world.permit().await;
    let mut change = world.store.change(world.tenant).await.unwrap();
    change.revoke_grant(world.grant).await.unwrap();
    change.commit(&world.act()).await.unwrap();
    assert!(matches!(admit(&world, permit, spend()).await.0, Err(AdmissionError::Stale)));
    assert!(world.decide().await.is_err(), "and decided again it is a denial");
}

#[tokio::test]
async fn what_no_decision_depends_on_makes_none_stale() {
    let world = World::new().await;
    let permit = world.permit().await;
    let mut change = world.store.change(world.tenant).await.unwrap();
    let name = tgp::store::Sealed { version: 2, bytes: b"renamed".to_vec() };
    change.set_agent_description(world.agent, Some(&name), None, None).await.unwrap();
    change.commit(&world.act()).await.unwrap();
    assert!(admit(&world, permit, spend()).await.0.is_ok());
}

#[tokio::test]
async fn a_revoked_token_admits_nothing() {
    let world = World::new().await;
    let admission = world.database.admission();
    let (jti, expires) = (Uuid::new_v4(), now() + 300);
    let minted = Unrecorded::new("token", jti, expires, vec!["send".into()]);
    let issued = admission.issue(world.permit().await, minted, world.call(), None).await.unwrap();
    assert_eq!(issued.into_inner(), "token");
    let call = || Entry { jti: Some(jti), ..world.call() };
    admission.admit(world.permit().await, call(), Some(spend())).await.map(drop).unwrap();

    let mut change = world.store.change(world.tenant).await.unwrap();
    // Twice is once, and somebody else's token is not there to be revoked.
    change.revoke_token(jti, world.agent, expires).await.unwrap();
    change.revoke_token(jti, world.agent, expires).await.unwrap();
    assert!(change.revoke_token(Uuid::new_v4(), world.agent, expires).await.is_err());
    change.commit(&world.act()).await.unwrap();

    let answer = admission.admit(world.permit().await, call(), Some(spend())).await.map(drop);
    assert_eq!(denied(&answer), Some(Reason::Revoked));
    assert!(world.store.token(world.tenant, jti, expires).await.unwrap().unwrap().revoked);
}

#[tokio::test]
async fn a_token_is_valid_from_its_record_on_and_never_without_one() {
    let world = World::new().await;
    let admission = world.database.admission();
    let (jti, expires) = (Uuid::new_v4(), now() + 300);
    let minted = || Unrecorded::new((), jti, expires, vec!["send".into(), "read".into()]);
    let permit = world.permit().await;
    world.set_status(Status::Frozen).await;
    assert!(admission.issue(permit, minted(), world.call(), None).await.is_err());
    assert!(world.store.token(world.tenant, jti, expires).await.unwrap().is_none());
    world.set_status(Status::Active).await;

    let mut entry = world.call();
    entry.kind = Kind::Token;
    admission.issue(world.permit().await, minted(), entry, None).await.unwrap().into_inner();
    let token = world.store.token(world.tenant, jti, expires).await.unwrap().unwrap();
    assert_eq!((token.agent, token.grant, token.tool.as_str()), (world.agent, world.grant, "mail"));
    assert_eq!((token.actions, token.revoked), (vec!["send".to_owned(), "read".to_owned()], false));
    let rows = world.store.last_verdicts(world.tenant, 1).await.unwrap();
    assert_eq!((rows[0].kind.as_str(), rows[0].jti), ("token", Some(jti)));
}

#[tokio::test]
async fn a_gateway_whose_clock_is_off_by_more_than_thirty_seconds_refuses() {
    let world = World::new().await;
    for (ahead, refused) in [(45, true), (-45, true), (20, false), (-20, false)] {
        let admission = world.database.admission_with(ahead, 600);
        let nonce = spend_of(Uuid::new_v4(), now() + ahead);
        let answer = admit_by(&world, &admission, world.permit().await, nonce.clone()).await;
        assert_eq!(denied(&answer.0) == Some(Reason::ClockSkew), refused, "{ahead}: {answer:?}");
        assert_eq!(answer.1, [if refused { "clock-skew" } else { "allowed" }], "{ahead}");
        if refused {
            assert!(admit(&world, world.permit().await, nonce).await.0.is_ok(), "a refusal spends no nonce");
        }
    }
}

#[tokio::test]
async fn a_signature_from_outside_the_database_s_window_is_refused_alone() {
    let world = World::new().await;
    for created in [now() - 100_000, now() + 100_000, 0, i64::MAX / 2, -5] {
        let answer = admit(&world, world.permit().await, spend_of(Uuid::new_v4(), created)).await;
        assert_eq!(denied(&answer.0), Some(Reason::ClockSkew), "{created}: {answer:?}");
    }
}

#[tokio::test]
async fn live_nonces_are_capped_for_each_agent_and_refused_ones_do_not_count() {
    let world = World::new().await;
    let owner = world.database.owner().await;
    let admission = world.database.admission_with(0, 3);
    for n in 0..5 {
        let answer = admit_by(&world, &admission, world.permit().await, spend()).await;
        assert_eq!(denied(&answer.0), (n >= 3).then_some(Reason::NonceCap), "{n}: {answer:?}");
    }
    assert_eq!(count(&owner, "select count(*) from audit where code = 'rate-limited'").await, 2);
    // Another agent has its own.
    let other = world.another_agent("other-bot").await;
    let entry = Entry { agent: Some(other), kind: Kind::Renew, ..world.call() };
    admission.admit_agent(other, entry, Some(spend())).await.map(drop).unwrap();
    // A nonce that was refused was not spent, and gives its place back.
    let admission = world.database.admission_with(0, 3);
    let again = spend();
    for n in 0..5 {
        let answer = admit_by(&world, &admission, world.permit().await, again.clone()).await;
        assert_eq!(denied(&answer.0), (n > 0).then_some(Reason::Replayed), "{n}: {answer:?}");
    }
    assert!(admit_by(&world, &admission, world.permit().await, spend()).await.0.is_ok());
}

#[tokio::test]
async fn an_act_without_a_grant_still_needs_an_active_agent_and_a_fresh_nonce() {
    let world = World::new().await;
    let admission = world.database.admission();
    let renewal = || Entry { kind: Kind::Renew, ..world.call() };
    let nonce = spend();
    admission.admit_agent(world.agent, renewal(), Some(nonce.clone())).await.map(drop).unwrap();
    let again = admission.admit_agent(world.agent, renewal(), Some(nonce)).await.map(drop);
    assert_eq!(denied(&again), Some(Reason::Replayed));
    world.set_status(Status::Frozen).await;
    let frozen = admission.admit_agent(world.agent, renewal(), Some(spend())).await.map(drop);
    assert_eq!(denied(&frozen), Some(Reason::Frozen));
    let unknown = admission.admit_agent(Uuid::new_v4(), renewal(), Some(spend())).await.map(drop);
    assert!(matches!(unknown, Err(AdmissionError::Stale)));
}

#[tokio::test]
async fn a_denial_is_recorded_with_its_code_and_spends_nothing() {
    let world = World::new().await;
    let owner = world.database.owner().await;
    let entry = world.call();
    let request = entry.request_id;
    world.database.admission().deny(entry, "grant-missing").await.unwrap();
    assert_eq!(codes(&owner, request).await, ["grant-missing"]);
    assert_eq!(count(&owner, "select count(*) from nonce").await, 0);
}
