//! What is new when requests share a statement, and when gateways share a database.

use std::collections::HashMap;

use serde_json::json;
use tgp::admission::{AdmissionError, Outcome, Reason};
use uuid::Uuid;

use crate::world::{World, count, now, spend, spend_of};

#[tokio::test]
async fn the_same_nonce_twice_in_one_batch_is_admitted_once_and_recorded_twice() {
    let world = World::new().await;
    let admission = world.database.admission();
    let nonce = spend();
    let (first, second, third) = (world.call(), world.call(), world.call());
    let requests = [first.request_id, second.request_id, third.request_id];
    let permits = (world.permit().await, world.permit().await, world.permit().await);
    // On one thread all three are queued before the writer runs.
    let answers = tokio::join!(
        admission.admit(permits.0, first, Some(nonce.clone())),
        admission.admit(permits.1, second, Some(nonce)),
        admission.admit(permits.2, third, Some(spend())),
    );
    assert!(answers.0.is_ok() && answers.2.is_ok());
    assert!(matches!(answers.1.map(drop), Err(AdmissionError::Denied(Reason::Replayed))));
    let owner = world.database.owner().await;
    let rows: Vec<(Uuid, String)> = sqlx::query_as("select request, code from audit where kind = 'call' order by id")
        .fetch_all(&owner)
        .await
        .unwrap();
    let expected = ["allowed", "signature-replayed", "allowed"].map(str::to_owned);
    assert_eq!(rows, requests.into_iter().zip(expected).collect::<Vec<_>>());
    assert_eq!(count(&owner, "select count(distinct xmin::text) from audit where kind = 'call'").await, 1, "one batch");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_gateways_accept_a_nonce_once_between_them_and_record_each_answer() {
    const NONCES: usize = 400;
    let world = World::new().await;
    let gateways = [world.database.admission_with(0, 100_000), world.database.admission_with(0, 100_000)];
    let facts = world.facts().await;
    let nonces: Vec<_> = (0..NONCES).map(|n| (n, spend())).collect();
    // The second gets them from the other end: statements that did not sort would deadlock.
    let turned = nonces.iter().rev();
    let mut waiting = tokio::task::JoinSet::new();
    for ((n, nonce), (m, other)) in nonces.iter().zip(turned) {
        for (n, nonce, gateway) in [(*n, nonce, &gateways[0]), (*m, other, &gateways[1])] {
            let (gateway, permit, entry, nonce) = (gateway.clone(), facts.permit(), world.call(), nonce.clone());
            waiting.spawn(async move {
                let request = entry.request_id;
                (n, request, gateway.admit(permit, entry, Some(nonce)).await.map(drop))
            });
        }
    }
    let mut answers: HashMap<Uuid, &str> = HashMap::new();
    let mut admitted = vec![0; NONCES];
    while let Some(answer) = waiting.join_next().await {
        let (n, request, answer) = answer.unwrap();
        let code = match answer {
            Ok(()) => {
                admitted[n] += 1;
                "allowed"
            }
            Err(AdmissionError::Denied(Reason::Replayed)) => "signature-replayed",
            Err(other) => panic!("{other:?}"),
        };
        answers.insert(request, code);
    }
    assert!(admitted.iter().all(|times| *times == 1));
    let owner = world.database.owner().await;
    let rows: Vec<(Uuid, String)> =
        sqlx::query_as("select request, code from audit where kind = 'call'").fetch_all(&owner).await.unwrap();
    assert_eq!(rows.len(), 2 * NONCES, "one row for each answer");
    for (request, code) in rows {
        assert_eq!(answers.remove(&request), Some(code.as_str()));
    }
}

#[tokio::test]
async fn the_cap_counts_within_a_batch_too() {
    let world = World::new().await;
    let admission = world.database.admission_with(0, 2);
    let permits = (world.permit().await, world.permit().await, world.permit().await);
    let answers = tokio::join!(
        admission.admit(permits.0, world.call(), Some(spend())),
        admission.admit(permits.1, world.call(), Some(spend())),
        admission.admit(permits.2, world.call(), Some(spend())),
    );
    assert!(answers.0.is_ok() && answers.1.is_ok());
    assert!(matches!(answers.2.map(drop), Err(AdmissionError::Denied(Reason::NonceCap))));
}

#[tokio::test]
async fn a_call_beyond_the_cap_was_never_forwarded_and_leaves_no_outcome() {
    let world = World::new().await;
    let admission = world.database.admission_with(0, 1);
    let first = admission.admit_call(world.permit().await, world.call(), Some(spend())).await.unwrap();
    let beyond = admission.admit_call(world.permit().await, world.call(), Some(spend())).await.map(drop);
    assert!(matches!(beyond, Err(AdmissionError::Denied(Reason::NonceCap))));
    drop(first);
    admission.flush().await;
    let owner = world.database.owner().await;
    assert_eq!(count(&owner, "select count(*) from audit where code = 'rate-limited'").await, 1);
    assert_eq!(count(&owner, "select count(*) from outcome").await, 1, "of the one that was admitted");
}

#[tokio::test]
async fn a_refused_request_s_nonce_stays_fresh_beside_admitted_ones() {
    let world = World::new().await;
    let admission = world.database.admission();
    let nonce = spend();
    let old = spend_of(Uuid::new_v4(), now() - 10_000);
    let permits = (world.permit().await, world.permit().await);
    let answers = tokio::join!(
        admission.admit(permits.0, world.call(), Some(old)),
        admission.admit(permits.1, world.call(), Some(nonce)),
    );
    assert!(matches!(answers.0.map(drop), Err(AdmissionError::Denied(Reason::ClockSkew))));
    assert!(answers.1.is_ok());
}

#[tokio::test]
async fn one_impossible_row_does_not_take_the_others_with_it() {
    let world = World::new().await;
    let admission = world.database.admission();
    let mut impossible = world.call();
    // PostgreSQL's jsonb holds no NUL.
    impossible.detail = Some(json!({"note": "\0"}));
    let permits = (world.permit().await, world.permit().await, world.permit().await);
    let answers = tokio::join!(
        admission.admit(permits.0, world.call(), Some(spend())),
        admission.admit(permits.1, impossible, Some(spend())),
        admission.admit(permits.2, world.call(), Some(spend())),
    );
    assert!(answers.0.is_ok() && answers.2.is_ok());
    assert!(matches!(answers.1.map(drop), Err(AdmissionError::Unavailable(_))));
    let owner = world.database.owner().await;
    assert_eq!(count(&owner, "select count(*) from audit where kind = 'call'").await, 2);
    assert_eq!(count(&owner, "select count(*) from nonce").await, 2);
}

#[tokio::test]
async fn outcomes_are_recorded_in_batches_and_read_back() {
    let world = World::new().await;
    let admission = world.database.admission();
    let outcome = |status, error| Outcome {
        request_id: Uuid::new_v4(),
        tenant: world.tenant,
        status,
        bytes: 7,
        digest: Some([4; 32]),
        error,
        masked: 2,
    };
    let (one, two) = (outcome(Some(200), None), outcome(None, Some("upstream-timeout")));
    let requests = [one.request_id, two.request_id];
    let (first, second) = tokio::join!(admission.outcome(one), admission.outcome(two));
    first.unwrap();
    second.unwrap();
    let rows = world.store.endings(world.tenant, 0, 10).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.request_id).collect::<Vec<_>>(), requests);
    assert_eq!((rows[0].status, rows[0].bytes, rows[0].sha256.as_deref()), (Some(200), 7, Some(&[4; 32][..])));
    assert_eq!(rows[0].masked, 2);
    assert_eq!((rows[1].status, rows[1].error.as_deref()), (None, Some("upstream-timeout")));
}

#[tokio::test]
async fn failures_before_authentication_are_counted_by_the_minute() {
    let world = World::new().await;
    let (one, two) = (world.database.admission(), world.database.admission());
    for _ in 0..1000 {
        one.unauthenticated("token-missing");
    }
    two.unauthenticated("token-missing");
    two.unauthenticated("signature-missing");
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    one.unauthenticated("token-missing");
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let owner = world.database.owner().await;
    let sums: Vec<(String, i64)> =
        sqlx::query_as("select code, sum(count)::bigint from failure_summary group by code order by code")
            .fetch_all(&owner)
            .await
            .unwrap();
    assert_eq!(sums, [("signature-missing".to_owned(), 1), ("token-missing".to_owned(), 1002)]);
    assert!(count(&owner, "select count(*) from failure_summary").await <= 6, "rows by minute, gateway and code");
}
