//! The audit as it is read: complete, in order, nothing skipped.

use std::time::Duration;

use sqlx::Executor as _;

use crate::world::{World, count, spend};

#[tokio::test]
async fn a_reader_never_passes_a_row_that_is_yet_to_come() {
    let world = World::new().await;
    let owner = world.database.owner().await;
    let begin = world.store.last_verdicts(world.tenant, 1).await.unwrap()[0].id;

    // One gateway has drawn its id and not committed; another commits a later one.
    let mut slow = owner.begin().await.unwrap();
    sqlx::query("insert into audit (request, kind, tenant, code) values (gen_random_uuid(), 'call', $1, 'slow')")
        .bind(world.tenant)
        .execute(&mut *slow)
        .await
        .unwrap();
    world.database.admission().deny(world.call(), "quick").await.unwrap();
    assert_eq!(count(&owner, "select count(*) from audit where code = 'quick'").await, 1);

    let reader = tokio::spawn({
        let (store, tenant) = (world.store.clone(), world.tenant);
        async move { store.verdicts(tenant, begin, 10).await.unwrap() }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    slow.commit().await.unwrap();
    let rows = reader.await.unwrap();
    assert_eq!(rows.iter().map(|row| row.code.as_str()).collect::<Vec<_>>(), ["slow", "quick"]);

    // One that does not let go holds the reader back; nobody is shown a gap.
    let mut stuck = owner.begin().await.unwrap();
    stuck
        .execute(
            sqlx::query(
                "insert into audit (request, kind, tenant, code) values (gen_random_uuid(), 'call', $1, 'stuck')",
            )
            .bind(world.tenant),
        )
        .await
        .unwrap();
    world.database.admission().deny(world.call(), "later").await.unwrap();
    assert!(world.store.verdicts(world.tenant, rows[1].id, 10).await.unwrap().is_empty());
    stuck.rollback().await.unwrap();
    let rows = world.store.verdicts(world.tenant, rows[1].id, 10).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.code.as_str()).collect::<Vec<_>>(), ["later"]);
}

#[tokio::test]
async fn pages_follow_each_other_and_the_last_ones_end_where_they_end() {
    let world = World::new().await;
    let admission = world.database.admission();
    for _ in 0..5 {
        admission.admit(world.permit().await, world.call(), Some(spend())).await.map(drop).unwrap();
    }
    let all = world.store.verdicts(world.tenant, 0, 100).await.unwrap();
    assert_eq!(all.len(), 6);
    assert!(all.windows(2).all(|pair| pair[0].id < pair[1].id));
    let page = world.store.verdicts(world.tenant, all[1].id, 2).await.unwrap();
    assert_eq!(page.iter().map(|row| row.id).collect::<Vec<_>>(), [all[2].id, all[3].id]);
    let last = world.store.last_verdicts(world.tenant, 2).await.unwrap();
    assert_eq!(last.iter().map(|row| row.id).collect::<Vec<_>>(), [all[4].id, all[5].id]);
}

#[tokio::test]
async fn an_operator_s_act_and_its_refusal_are_rows() {
    let world = World::new().await;
    let mut act = world.act();
    act.detail = Some(serde_json::json!({"act": "certify"}));
    world.store.record(&act).await.unwrap();
    world.store.record_refusal(&act, "certificate-invalid").await.unwrap();
    let rows = world.store.last_verdicts(world.tenant, 2).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.code.as_str()).collect::<Vec<_>>(), ["allowed", "certificate-invalid"]);
    assert_eq!(rows[0].detail, act.detail);
}
