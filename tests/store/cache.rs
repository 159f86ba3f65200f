//! The cache may be old for a moment, never for longer.

use std::time::Duration;

use tgp::store::agent::Status;
use tgp::store::cache::{Cache, Notice};

use crate::world::{World, action, credential};

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..100 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}

async fn listening(world: &World) -> Cache {
    let cache = Cache::new(world.store.clone());
    tokio::spawn(cache.clone().keep_listening(world.database.gateway_url()));
    until("the cache is live", async || cache.is_live()).await;
    cache
}

#[tokio::test]
async fn what_has_not_changed_is_not_loaded_again() {
    let world = World::new().await;
    let cache = listening(&world).await;
    let (one, two) =
        (cache.agent(world.agent).await.unwrap().unwrap(), cache.agent(world.agent).await.unwrap().unwrap());
    assert!(std::sync::Arc::ptr_eq(&one, &two));
    let (one, two) = (cache.tool("mail").await.unwrap().unwrap(), cache.tool("mail").await.unwrap().unwrap());
    assert!(std::sync::Arc::ptr_eq(&one, &two));
    let grants = async || cache.grants(world.tenant, world.agent, "mail").await.unwrap();
    let (one, two) = (grants().await, grants().await);
    assert!(std::sync::Arc::ptr_eq(&one, &two) && one.len() == 1);
}

#[tokio::test]
async fn a_change_is_heard_and_what_it_touches_is_loaded_anew() {
    let world = World::new().await;
    let cache = listening(&world).await;
    let agent = cache.agent(world.agent).await.unwrap().unwrap();
    let tool = cache.tool("mail").await.unwrap().unwrap();
    assert_eq!(cache.grants(world.tenant, world.agent, "mail").await.unwrap().len(), 1);
    let mut notices = cache.notices();

    world.set_status(Status::Frozen).await;
    assert_eq!(notices.recv().await.unwrap(), Notice::Agent(world.agent));
    let frozen = cache.agent(world.agent).await.unwrap().unwrap();
    assert_eq!((frozen.status, frozen.version), (Status::Frozen, agent.version + 1));

    let mut change = world.store.change(world.tenant).await.unwrap();
    world.replace_actions(&mut change, &[action("send", "POST", "/v2/messages")]).await.unwrap();
    change.set_credential("mail", &credential(2)).await.unwrap();
    change.revoke_grant(world.grant).await.unwrap();
    change.commit(&world.act()).await.unwrap();
    until("the tool and the grant are heard of", async || {
        let changed = cache.tool("mail").await.unwrap().unwrap();
        changed.version > tool.version
            && changed.actions.len() == 1
            && changed.credential("").unwrap().version == 2
            && cache.grants(world.tenant, world.agent, "mail").await.unwrap().is_empty()
    })
    .await;
}

#[tokio::test]
async fn while_nobody_listens_nothing_is_kept() {
    let world = World::new().await;
    let cache = Cache::new(world.store.clone());
    assert_eq!(cache.agent(world.agent).await.unwrap().unwrap().status, Status::Active);
    world.set_status(Status::Frozen).await;
    assert_eq!(cache.agent(world.agent).await.unwrap().unwrap().status, Status::Frozen);
}

#[tokio::test]
async fn a_broken_listening_connection_drops_the_whole_cache() {
    let world = World::new().await;
    let cache = listening(&world).await;
    let before = cache.agent(world.agent).await.unwrap().unwrap();
    let mut notices = cache.notices();
    // The connection ends and cannot be made again; those of the store live on, and there are several,
    // since one that was used a moment ago is still on its way back.
    {
        let answer = tokio::join!(world.store.ping(), world.store.ping(), world.store.ping(), world.store.ping());
        assert!(answer.0.is_ok() && answer.1.is_ok() && answer.2.is_ok() && answer.3.is_ok());
    }
    world.database.admit_nobody_new().await;
    let owner = world.database.admin().await;
    end_listener(owner, world.database.name()).await;
    let heard = tokio::time::timeout(Duration::from_secs(10), notices.recv()).await;
    assert_eq!(heard.unwrap().unwrap(), Notice::Everything);
    assert!(!cache.is_live());
    assert!(!std::sync::Arc::ptr_eq(&before, &cache.agent(world.agent).await.unwrap().unwrap()));
    // What nobody hears is seen all the same.
    world.set_status(Status::Frozen).await;
    assert_eq!(cache.agent(world.agent).await.unwrap().unwrap().status, Status::Frozen);

    world.database.admit_again().await;
    until("it listens again", async || cache.is_live()).await;
    let mut notices = cache.notices();
    world.set_status(Status::Active).await;
    until("a change is heard again", async || notices.try_recv() == Ok(Notice::Agent(world.agent))).await;
}

async fn end_listener(mut admin: sqlx::PgConnection, database: &str) {
    let ended: i64 = sqlx::query_scalar(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity
         where datname = $1 and application_name = 'tgp listen'",
    )
    .bind(database)
    .fetch_one(&mut admin)
    .await
    .unwrap();
    assert_eq!(ended, 1);
}

#[tokio::test]
async fn what_a_stale_decision_came_from_is_forgotten_on_request() {
    let world = World::new().await;
    let cache = listening(&world).await;
    let before = cache.agent(world.agent).await.unwrap().unwrap();
    cache.forget(world.agent, "mail");
    assert!(!std::sync::Arc::ptr_eq(&before, &cache.agent(world.agent).await.unwrap().unwrap()));
    assert!(cache.agent(uuid::Uuid::new_v4()).await.unwrap().is_none());
    assert!(cache.tool("nowhere").await.unwrap().is_none());
}
