//! The database goes away: nothing is admitted, nobody waits for ever, and it heals by itself.

use std::time::{Duration, Instant};

use sqlx::{Executor as _, PgPool};
use tgp::admission::{AdmissionError, Outcome};
use tgp::store::{Store, StoreError};
use uuid::Uuid;

use crate::world::{Database, World, count, spend};

/// Ends every connection to the database and lets nobody in.
async fn close(database: &Database) {
    database.admit_nobody_new().await;
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1";
    sqlx::query(end).bind(database.name()).execute(&mut database.admin().await).await.unwrap();
}

#[tokio::test]
async fn without_the_database_nothing_is_admitted_and_with_it_again_everything_is() {
    let world = World::new().await;
    let admission = world.database.admission();
    admission.admit(world.permit().await, world.call(), Some(spend())).await.map(drop).unwrap();
    let permits = (world.permit().await, world.permit().await, world.permit().await);

    close(&world.database).await;
    let begun = Instant::now();
    let nonce = spend();
    for permit in [permits.0, permits.1] {
        let answer = admission.admit(permit, world.call(), Some(nonce.clone())).await.map(drop);
        assert!(matches!(answer, Err(AdmissionError::Unavailable(StoreError::Unavailable(_)))), "{answer:?}");
    }
    assert!(matches!(admission.deny(world.call(), "grant-missing").await, Err(AdmissionError::Unavailable(_))));
    assert!(matches!(world.store.ping().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(world.store.agent(world.tenant, world.agent).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(world.store.change(world.tenant).await.map(drop), Err(StoreError::Unavailable(_))));
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());

    world.database.admit_again().await;
    let mut again = admission.admit(permits.2, world.call(), Some(nonce.clone())).await.map(drop);
    for _ in 0..50 {
        if again.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        again = admission.admit(world.permit().await, world.call(), Some(nonce.clone())).await.map(drop);
    }
    again.unwrap();
    let owner = world.database.owner().await;
    assert_eq!(count(&owner, "select count(*) from audit where kind = 'call'").await, 2);
    assert_eq!(count(&owner, "select count(*) from nonce").await, 2);
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_of_a_statement_is_unavailable_and_leaves_no_half_state() {
    let world = World::new().await;
    let owner = world.database.owner().await;
    let admission = world.database.admission();
    let permit = world.permit().await;
    // The statement waits here for the audit table, and is killed there.
    let mut lock = owner.begin().await.unwrap();
    lock.execute("lock table audit in access exclusive mode").await.unwrap();
    let waiting = tokio::spawn({
        let (admission, entry) = (admission.clone(), world.call());
        async move { admission.admit(permit, entry, Some(spend())).await.map(drop) }
    });
    let killed = async {
        loop {
            let killed: i64 = sqlx::query_scalar(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity
                 where datname = current_database() and application_name = 'tgp admission' and wait_event_type = 'Lock'",
            )
            .fetch_one(&owner)
            .await
            .unwrap();
            if killed > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), killed).await.unwrap();
    let answer = waiting.await.unwrap();
    assert!(matches!(answer, Err(AdmissionError::Unavailable(StoreError::Unavailable(_)))), "{answer:?}");
    lock.rollback().await.unwrap();
    assert_eq!(count(&owner, "select count(*) from audit where kind = 'call'").await, 0);
    assert_eq!(count(&owner, "select count(*) from nonce").await, 0);
    admission.admit(world.permit().await, world.call(), Some(spend())).await.map(drop).unwrap();
}

#[tokio::test]
async fn a_statement_that_never_ends_is_given_up() {
    let world = World::new().await;
    let owner = world.database.owner().await;
    let admission = world.database.admission();
    let permit = world.permit().await;
    let mut lock = owner.begin().await.unwrap();
    lock.execute("lock table audit in access exclusive mode").await.unwrap();
    let begun = Instant::now();
    let answer = admission.admit(permit, world.call(), Some(spend())).await.map(drop);
    assert!(matches!(answer, Err(AdmissionError::Unavailable(StoreError::Unavailable(_)))), "{answer:?}");
    assert!(begun.elapsed() < Duration::from_secs(7));
    lock.rollback().await.unwrap();
}

/// Waits until somebody holds up a statement of an admission's connection, and ends that connection.
async fn kill_whoever_waits(owner: &PgPool) {
    let killed = async {
        while count(
            owner,
            "select count(pg_terminate_backend(pid)) from pg_stat_activity
             where datname = current_database() and application_name = 'tgp admission' and wait_event_type = 'Lock'",
        )
        .await
            == 0
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), killed).await.unwrap();
}

fn outcome(world: &World) -> Outcome {
    let request_id = Uuid::new_v4();
    Outcome { request_id, tenant: world.tenant, status: Some(200), bytes: 1, digest: None, error: None, masked: 0 }
}

#[tokio::test]
async fn an_outcome_whose_connection_broke_is_written_again_and_one_that_was_written_is_not_doubled() {
    let world = World::new().await;
    let owner = world.database.owner().await;
    let admission = world.database.admission();
    // The writer knows the last outcome before things go wrong.
    admission.outcome(outcome(&world)).await.unwrap();
    let (lost, written) = (outcome(&world), outcome(&world));
    let requests = [lost.request_id, written.request_id];
    let mut lock = owner.begin().await.unwrap();
    lock.execute("lock table outcome in share row exclusive mode").await.unwrap();
    // As the attempt leaves it that was committed and whose answer never came.
    sqlx::query("insert into outcome (request, tenant, bytes) values ($1, $2, 1)")
        .bind(written.request_id)
        .bind(world.tenant)
        .execute(&mut *lock)
        .await
        .unwrap();
    let waiting = tokio::spawn({
        let admission = admission.clone();
        async move { tokio::join!(admission.outcome(lost), admission.outcome(written)) }
    });
    kill_whoever_waits(&owner).await;
    let (lost, _) = waiting.await.unwrap();
    assert!(matches!(lost, Err(AdmissionError::Unavailable(StoreError::Unavailable(_)))), "{lost:?}");
    lock.commit().await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), admission.flush()).await.unwrap();
    for request in requests {
        let rows: i64 = sqlx::query_scalar("select count(*) from outcome where request = $1")
            .bind(request)
            .fetch_one(&owner)
            .await
            .unwrap();
        assert_eq!(rows, 1);
    }
}

#[tokio::test]
async fn outcomes_wait_in_order_until_the_database_takes_them() {
    let world = World::new().await;
    let owner = world.database.owner().await;
    let admission = world.database.admission();
    world.database.admit_nobody_new().await;
    let ended: Vec<_> = (0..600).map(|_| outcome(&world)).collect();
    let requests: Vec<_> = ended.iter().map(|outcome| outcome.request_id).collect();
    let mut told = tokio::task::JoinSet::new();
    for outcome in ended {
        let mut sending = Box::pin({
            let admission = admission.clone();
            async move { admission.outcome(outcome).await }
        });
        // The first poll puts it into the queue: they go in this order.
        std::future::poll_fn(|cx| {
            let _ = sending.as_mut().poll(cx);
            std::task::Poll::Ready(())
        })
        .await;
        told.spawn(sending);
    }
    assert!(told.join_next().await.unwrap().unwrap().is_err(), "whoever waits for it is told");
    world.database.admit_again().await;
    tokio::time::timeout(Duration::from_secs(20), admission.flush()).await.unwrap();
    let written: Vec<Uuid> =
        sqlx::query_scalar("select request from outcome order by id").fetch_all(&owner).await.unwrap();
    assert_eq!(written, requests);
}

#[tokio::test]
async fn a_caller_that_goes_away_while_its_verdict_is_committed_leaves_an_outcome() {
    let world = World::new().await;
    let owner = world.database.owner().await;
    let admission = world.database.admission();
    let (permit, entry) = (world.permit().await, world.call());
    let request = entry.request_id;
    let mut lock = owner.begin().await.unwrap();
    lock.execute("lock table audit in share row exclusive mode").await.unwrap();
    let waiting = tokio::spawn({
        let admission = admission.clone();
        async move { admission.admit_call(permit, entry, Some(spend())).await.map(drop) }
    });
    let held = "select count(*) from pg_stat_activity
                where datname = current_database() and application_name = 'tgp admission' and wait_event_type = 'Lock'";
    let there = async {
        while count(&owner, held).await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3), there).await.unwrap();
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    lock.commit().await.unwrap();
    // Whoever commits next does so after that one.
    admission.admit(world.permit().await, world.call(), Some(spend())).await.map(drop).unwrap();
    admission.flush().await;
    let recorded = world.store.endings(world.tenant, 0, 10).await.unwrap();
    assert_eq!(recorded.len(), 1);
    assert_eq!((recorded[0].request_id, recorded[0].error.as_deref()), (request, Some("agent-gone")));
}

#[tokio::test]
async fn a_change_that_is_not_committed_never_happened() {
    let world = World::new().await;
    let mut change = world.store.change(world.tenant).await.unwrap();
    change.insert_tool(&crate::world::new_tool("calendar")).await.unwrap();
    drop(change);
    assert!(world.store.tool(world.tenant, "calendar").await.unwrap().is_none());
    let owner = world.database.owner().await;
    assert_eq!(count(&owner, "select count(*) from audit").await, 1, "that of the world's making alone");
}

#[tokio::test]
async fn a_database_that_was_never_migrated_says_what_to_do() {
    // Roles are the cluster's: the migration of any database makes them.
    let _ = Database::new().await;
    let database = Database::empty().await;
    let error = Store::connect(&database.gateway_url()).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("hint: run tgp migrate"), "{error}");
    // And once, and twice.
    for _ in 0..2 {
        tgp::store::migrate::migrate(&database.owner_url()).await.unwrap();
    }
    Store::connect(&database.gateway_url()).await.map(drop).unwrap();
}

#[tokio::test]
async fn a_url_that_leads_nowhere_is_refused_at_start_without_its_password() {
    let url = "postgres://tgp_gateway:hunter2@localhost/nowhere?host=/nonexistent";
    let error = Store::connect(url).await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    let error = Store::connect("not a url, hunter2").await.map(drop).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}
