//! Partitions are there before they are needed, and go when nobody can need them.

use sqlx::{AssertSqlSafe, Executor as _, PgPool};
use tgp::store::partition::Maintained;

use crate::world::{World, count, now, spend};

async fn partitions(owner: &PgPool, parent: &str) -> Vec<String> {
    sqlx::query_scalar(
        "select c.relname::text from pg_class c join pg_inherits i on i.inhrelid = c.oid
         where i.inhparent = $1::text::regclass order by 1",
    )
    .bind(parent)
    .fetch_all(owner)
    .await
    .unwrap()
}

/// As the owner, at another time than now.
async fn maintain_at(owner: &PgPool, seconds: i64) -> (i32, i32) {
    sqlx::query_as("select made, dropped from maintain_partitions_at(now() + make_interval(secs => $1))")
        .bind(f64::from(i32::try_from(seconds).unwrap()))
        .fetch_one(owner)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_next_hour_and_the_next_days_are_there_after_the_migration() {
    let world = World::new().await;
    let owner = world.database.owner().await;
    let nonces = partitions(&owner, "nonce").await;
    for ahead in [-600, 0, 600, 3600] {
        assert!(nonces.contains(&format!("nonce_{}", (now() + ahead) / 600)), "{ahead}: {nonces:?}");
    }
    for parent in ["audit", "outcome"] {
        let days = partitions(&owner, parent).await;
        for ahead in [0, 1, 3] {
            let name: String =
                sqlx::query_scalar("select $1 || to_char((now() at time zone 'utc')::date + $2::int, '_YYYYMMDD')")
                    .bind(parent)
                    .bind(ahead)
                    .fetch_one(&owner)
                    .await
                    .unwrap();
            assert!(days.contains(&name), "{name}: {days:?}");
        }
    }
    for ahead in [0, 900, 3600] {
        assert!(partitions(&owner, "token").await.contains(&format!("token_{}", (now() + ahead) / 3600)));
    }
    let again = world.store.maintain_partitions().await.unwrap();
    assert_eq!(again.dropped, 0);
    assert!(again.made <= 2, "a boundary may have passed: {again:?}");
}

#[tokio::test]
async fn replay_memory_is_kept_a_quarter_of_an_hour_and_then_dropped_whole() {
    let world = World::new().await;
    let owner = world.database.owner().await;
    let nonce = spend();
    world.database.admission().admit(world.permit().await, world.call(), Some(nonce.clone())).await.map(drop).unwrap();
    let home = format!("nonce_{}", nonce.created / 600);
    // Its ten minutes end within ten minutes of now; fifteen more must pass.
    maintain_at(&owner, 15 * 60).await;
    assert!(partitions(&owner, "nonce").await.contains(&home));
    let (made, dropped) = maintain_at(&owner, 27 * 60).await;
    assert!(made > 0 && dropped > 0);
    let left = partitions(&owner, "nonce").await;
    assert!(!left.contains(&home) && !left.is_empty(), "{left:?}");
    assert_eq!(count(&owner, "select count(*) from nonce").await, 0);
}

#[tokio::test]
async fn the_audit_is_dropped_by_its_owner_and_by_nobody_else() {
    let world = World::new().await;
    let owner = world.database.owner().await;
    let before = partitions(&owner, "audit").await;
    // A month later the gateways' maintenance has made new days and dropped none.
    maintain_at(&owner, 30 * 24 * 3600).await;
    let after = partitions(&owner, "audit").await;
    assert!(before.iter().all(|day| after.contains(day)) && after.len() > before.len());
    assert_eq!(count(&owner, "select count(*) from audit").await, 1);
    let today: String =
        sqlx::query_scalar("select ((now() at time zone 'utc')::date)::text").fetch_one(&owner).await.unwrap();
    assert_eq!(
        count(&owner, &format!("select drop_audit_before('{today}')::bigint")).await,
        2,
        "yesterday's audit and outcomes"
    );
    assert_eq!(count(&owner, "select count(*) from audit").await, 1, "today's row");
    assert!(count(&owner, "select drop_audit_before('2999-01-01')::bigint").await > 2);
    assert_eq!(count(&owner, "select count(*) from audit").await, 0);
}

#[tokio::test]
async fn maintenance_gives_way_to_a_reader_and_catches_up_later() {
    let world = World::new().await;
    let owner = world.database.owner().await;
    let mut reader = owner.begin().await.unwrap();
    reader.execute("select count(*) from nonce").await.unwrap();
    let (_, dropped) = maintain_at(&owner, 2 * 3600).await;
    assert_eq!(dropped, 0);
    reader.rollback().await.unwrap();
    assert!(maintain_at(&owner, 2 * 3600).await.1 > 0);
}

#[tokio::test]
async fn admission_goes_on_while_partitions_are_made_and_dropped() {
    let world = World::new().await;
    let owner = world.database.owner().await;
    let admission = world.database.admission();
    for n in 0..4_i32 {
        owner
            .execute(AssertSqlSafe(format!("select make_partition('nonce', 'nonce_{n}', '{n}', '{}')", n + 1)))
            .await
            .unwrap();
        admission.admit(world.permit().await, world.call(), Some(spend())).await.map(drop).unwrap();
        let Maintained { dropped, .. } = world.store.maintain_partitions().await.unwrap();
        assert_eq!(dropped, 1, "that of 1970");
        admission.admit(world.permit().await, world.call(), Some(spend())).await.map(drop).unwrap();
    }
}
