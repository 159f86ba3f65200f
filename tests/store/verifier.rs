//! Verifier keys, and what a status list names.

use tgp::store::agent::Status;
use tgp::store::{Conflict, StoreError};
use uuid::Uuid;

use crate::world::{World, digest, new_tool};

#[tokio::test]
async fn a_key_speaks_for_its_tool_until_it_has_ended_and_ends_for_good() {
    let world = World::new().await;
    let (tool, digest, id) = (world.tool.as_str(), digest(), Uuid::new_v4());
    let mut change = world.store.change(world.tenant).await.unwrap();
    assert!(change.insert_verifier_key(id, tool, &digest).await.unwrap());
    change.commit(&world.act()).await.unwrap();
    let found = world.store.verifier(&digest).await.unwrap().expect("it is good");
    assert_eq!((found.key, found.tenant, found.tool.as_str()), (id, world.tenant, tool));

    let mut change = world.store.change(world.tenant).await.unwrap();
    change.end_verifier_keys(tool, 3600).await.unwrap();
    change.commit(&world.act()).await.unwrap();
    assert!(world.store.verifier(&digest).await.unwrap().is_some(), "it overlaps");
    let mut change = world.store.change(world.tenant).await.unwrap();
    change.end_verifier_key(id, tool).await.unwrap();
    change.commit(&world.act()).await.unwrap();
    assert!(world.store.verifier(&digest).await.unwrap().is_none());

    let mut change = world.store.change(world.tenant).await.unwrap();
    change.end_verifier_keys(tool, 3600).await.unwrap();
    assert!(matches!(change.end_verifier_key(id, "elsewhere").await, Err(StoreError::NotFound)));
    change.commit(&world.act()).await.unwrap();
    assert!(world.store.verifier(&digest).await.unwrap().is_none(), "an end does not move away");
    let ended = world.store.verifier_keys(world.tenant, tool).await.unwrap();
    assert!(ended.iter().any(|key| key.id == id && key.ended), "{ended:?}");
}

#[tokio::test]
async fn a_tool_has_sixteen_good_keys_and_a_key_one_tool() {
    let world = World::new().await;
    let twice = digest();
    let mut change = world.store.change(world.tenant).await.unwrap();
    change.insert_tool(&new_tool("shop")).await.unwrap();
    let mut more = 0;
    while change.insert_verifier_key(Uuid::new_v4(), "shop", &digest()).await.unwrap() {
        more += 1;
    }
    assert_eq!(more, 16);
    change.end_verifier_keys("shop", 0).await.unwrap();
    assert!(change.insert_verifier_key(Uuid::new_v4(), "shop", &twice).await.unwrap(), "those that ended do not count");
    change.commit(&world.act()).await.unwrap();
    let mut change = world.store.change(world.tenant).await.unwrap();
    let again = change.insert_verifier_key(Uuid::new_v4(), &world.tool, &twice).await;
    assert!(matches!(again, Err(StoreError::Conflict(Conflict::VerifierKeyExists))), "{again:?}");
    drop(change);
    let mut change = world.store.change(world.tenant).await.unwrap();
    let mut twin = new_tool("twin");
    twin.resource = new_tool("shop").resource;
    let taken = change.insert_tool(&twin).await;
    assert!(matches!(taken, Err(StoreError::Conflict(Conflict::ResourceTaken))), "{taken:?}");
}

#[tokio::test]
async fn a_status_list_names_whoever_was_stopped_while_a_token_may_live() {
    let world = World::new().await;
    let owner = world.database.owner().await;
    assert!(world.store.status_list(10).await.unwrap().expect("a list").agents.is_empty());
    let mut change = world.store.change(world.tenant).await.unwrap();
    change.set_agent_status(world.agent, Status::Frozen).await.unwrap();
    change.commit(&world.act()).await.unwrap();
    sqlx::query("insert into token_revocation (jti, tenant, agent, expires) select gen_random_uuid(), $1, $2, extract(epoch from now()) + n from unnest(array[100, 200, -100]) n")
        .bind(world.tenant)
        .bind(world.agent)
        .execute(&owner)
        .await
        .unwrap();
    let list = world.store.status_list(10).await.unwrap().expect("a list");
    assert_eq!((list.agents, list.tokens.len()), (vec![world.agent], 2), "an expired token is none");
    assert!(world.store.status_list(1).await.unwrap().is_none(), "a list that would leave somebody out is none");
    sqlx::query("alter table agent disable trigger agent_changes").execute(&owner).await.unwrap();
    sqlx::query("update agent set frozen = now() - interval '17 minutes'").execute(&owner).await.unwrap();
    assert!(world.store.status_list(10).await.unwrap().expect("a list").agents.is_empty(), "its tokens have expired");
}
