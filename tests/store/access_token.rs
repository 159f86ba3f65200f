//! The claim to fetch an access token: one at a time, and nobody for ever.

use std::time::Duration;

use tgp::store::access_token::{AccessToken, Claimed, Holder};
use uuid::Uuid;

use crate::world::{World, credential};

const LONG: Duration = Duration::from_secs(60);

async fn world() -> (World, Holder) {
    let world = World::new().await;
    let mut change = world.store.change(world.tenant).await.unwrap();
    change.set_credential(&world.tool, &credential(5)).await.unwrap();
    change.commit(&world.act()).await.unwrap();
    let holder = Holder { tenant: world.tenant, tool: world.tool.clone(), credential: String::new(), version: 5 };
    (world, holder)
}

#[tokio::test]
async fn one_at_a_time_may_fetch_and_what_it_fetched_is_everybodys() {
    let (world, holder) = world().await;
    let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
    let claim = async |id, lifetime| world.store.claim_access_token(&holder, id, lifetime).await.unwrap();
    assert_eq!(world.store.access_token(&holder).await.unwrap(), None);
    assert_eq!(claim(one, LONG).await, Claimed::Ours(None));
    assert_eq!(claim(other, LONG).await, Claimed::Taken);
    // Who does not hold the claim keeps nothing.
    assert_eq!(world.store.put_access_token(&holder, other, b"other", 9).await.unwrap(), None);
    let token = world.store.put_access_token(&holder, one, b"sealed", 9).await.unwrap();
    assert_eq!(token, Some(AccessToken { record: b"sealed".to_vec(), fresh_until: 9, serial: 1 }));
    assert_eq!(world.store.access_token(&holder).await.unwrap(), token);
    assert_eq!(world.store.put_access_token(&holder, one, b"again", 9).await.unwrap(), None, "the claim has ended");
    assert_eq!(claim(other, LONG).await, Claimed::Ours(token.clone()));
    // Given back, and not by another.
    world.store.drop_claim(&holder, one).await.unwrap();
    assert_eq!(claim(one, LONG).await, Claimed::Taken);
    world.store.drop_claim(&holder, other).await.unwrap();
    assert_eq!(claim(one, LONG).await, Claimed::Ours(token));
}

#[tokio::test]
async fn a_claim_whose_holder_died_ends_and_a_token_that_was_refused_is_stale() {
    let (world, holder) = world().await;
    let (dead, heir) = (Uuid::new_v4(), Uuid::new_v4());
    let store = &world.store;
    assert_eq!(store.claim_access_token(&holder, dead, Duration::ZERO).await.unwrap(), Claimed::Ours(None));
    assert_eq!(store.claim_access_token(&holder, heir, LONG).await.unwrap(), Claimed::Ours(None));
    assert_eq!(store.put_access_token(&holder, dead, b"late", 9).await.unwrap(), None);
    store.put_access_token(&holder, heir, b"first", 9).await.unwrap().unwrap();
    // Of the one that was refused, and not of the one that came after it.
    store.spoil_access_token(&holder, 0).await.unwrap();
    assert_eq!(store.access_token(&holder).await.unwrap().map(|token| token.fresh_until), Some(9));
    store.spoil_access_token(&holder, 1).await.unwrap();
    assert_eq!(store.access_token(&holder).await.unwrap().map(|token| token.fresh_until), Some(0));
}

#[tokio::test]
async fn a_newer_credential_begins_anew_and_an_older_one_takes_nothing_from_it() {
    let (world, holder) = world().await;
    let (older, newer) = (Uuid::new_v4(), Uuid::new_v4());
    let next = Holder { version: 6, ..holder.clone() };
    let store = &world.store;
    store.claim_access_token(&holder, older, LONG).await.unwrap();
    store.put_access_token(&holder, older, b"older", 9).await.unwrap().unwrap();
    store.claim_access_token(&holder, older, LONG).await.unwrap();
    // Whoever fetches with the older one fetches in vain.
    assert_eq!(store.claim_access_token(&next, newer, LONG).await.unwrap(), Claimed::Ours(None));
    assert_eq!(store.access_token(&holder).await.unwrap(), None);
    assert_eq!(store.put_access_token(&holder, older, b"older", 9).await.unwrap(), None);
    store.put_access_token(&next, newer, b"newer", 9).await.unwrap().unwrap();
    assert_eq!(store.claim_access_token(&holder, older, LONG).await.unwrap(), Claimed::Taken);
}

#[tokio::test]
async fn another_tenant_sees_and_claims_nothing() {
    let (world, holder) = world().await;
    let (mine, theirs) = (Uuid::new_v4(), Uuid::new_v4());
    world.store.claim_access_token(&holder, mine, LONG).await.unwrap();
    world.store.put_access_token(&holder, mine, b"sealed", 9).await.unwrap().unwrap();
    let other = Holder { tenant: Uuid::new_v4(), ..holder.clone() };
    assert_eq!(world.store.access_token(&other).await.unwrap(), None);
    assert!(world.store.claim_access_token(&other, theirs, LONG).await.is_err());
    world.store.spoil_access_token(&other, 1).await.unwrap();
    assert_eq!(world.store.access_token(&holder).await.unwrap().map(|token| token.fresh_until), Some(9));
}
