//! What admission asks about those on whose behalf an agent acts.

use tgp::admission::{AdmissionError, Reason};
use tgp::store::agent::Status;
use tgp_policy::AgentFact;
use uuid::Uuid;

use crate::world::{Asked, World, spend};

/// `child` acts on behalf of the world's agent, whose grant it is.
async fn acting(world: &World, child: Uuid) -> Asked {
    let mut asked = world.facts().await;
    let fact = world.store.agent(world.tenant, child).await.unwrap().unwrap();
    asked.question.principals = vec![world.agent];
    asked.question.agent = child;
    asked.facts.principals = vec![asked.facts.agent.clone()];
    asked.facts.agent =
        AgentFact { id: child, tenant: world.tenant, status: tgp_policy::Status::Active, version: fact.version };
    asked
}

/// What came of a call that was decided on `asked`, and how it was recorded.
async fn admit(world: &World, asked: &Asked, derived_from: &[Uuid]) -> (Result<(), AdmissionError>, Vec<String>) {
    let mut entry = world.call();
    entry.agent = Some(asked.question.agent);
    entry.derived_from = derived_from.to_vec();
    let request = entry.request_id;
    let answer = world.database.admission().admit(asked.permit(), entry, Some(spend())).await.map(drop);
    let owner = world.database.owner().await;
    let codes = sqlx::query_scalar("select code from audit where request = $1 and agent = $2");
    (answer, codes.bind(request).bind(asked.question.agent).fetch_all(&owner).await.unwrap())
}

#[track_caller]
fn refused((answer, codes): (Result<(), AdmissionError>, Vec<String>), reason: Reason) {
    assert!(matches!(answer, Err(AdmissionError::Denied(given)) if given == reason), "{answer:?}");
    assert_eq!(codes, [reason.code()]);
}

#[tokio::test]
async fn what_an_agent_does_for_another_is_admitted_only_while_that_one_may_act_itself() {
    let world = World::new().await;
    let child = world.another_agent("child-bot").await;
    // Decided once, before anything happens.
    let asked = acting(&world, child).await;
    assert!(admit(&world, &asked, &[]).await.0.is_ok());
    world.set_status(Status::Frozen).await;
    refused(admit(&world, &asked, &[]).await, Reason::Frozen);
    world.set_status(Status::Active).await;
    assert!(admit(&world, &asked, &[]).await.0.is_ok());

    // A token of before, and one of another tenant with the same number.
    let owner = world.database.owner().await;
    let revoke = async |jti: Uuid, tenant: Uuid| {
        let insert = "insert into token_revocation (jti, tenant, agent, expires) values ($1, $2, $3, 2000000000)";
        sqlx::query(insert).bind(jti).bind(tenant).bind(world.agent).execute(&owner).await.unwrap();
    };
    let (ours, theirs) = (Uuid::new_v4(), Uuid::new_v4());
    let chain = [Uuid::new_v4(), ours];
    assert!(admit(&world, &asked, &chain).await.0.is_ok());
    revoke(ours, world.tenant).await;
    revoke(theirs, Uuid::new_v4()).await;
    refused(admit(&world, &asked, &chain).await, Reason::Revoked);
    assert!(admit(&world, &asked, &[theirs]).await.0.is_ok());

    world.set_status(Status::Retired).await;
    refused(admit(&world, &asked, &[]).await, Reason::Retired);
}

#[tokio::test]
async fn a_grant_is_the_first_principals_and_nobody_elses() {
    let world = World::new().await;
    let (child, between) = (world.another_agent("child-bot").await, world.another_agent("between-bot").await);
    let mut asked = acting(&world, child).await;
    let fact = |id| AgentFact { id, tenant: world.tenant, status: tgp_policy::Status::Active, version: 1 };
    asked.question.principals.push(between);
    asked.facts.principals.push(fact(between));
    assert!(admit(&world, &asked, &[]).await.0.is_ok());
    // Facts that the database does not confirm are no facts.
    let mut forged = acting(&world, child).await;
    forged.question.principals[0] = between;
    forged.facts.principals[0] = fact(between);
    forged.facts.grant.as_mut().unwrap().agent = between;
    assert!(matches!(admit(&world, &forged, &[]).await.0, Err(AdmissionError::Stale)), "another's grant");
    let mut unknown = acting(&world, child).await;
    let nobody = Uuid::new_v4();
    unknown.question.principals.push(nobody);
    unknown.facts.principals.push(fact(nobody));
    assert!(matches!(admit(&world, &unknown, &[]).await.0, Err(AdmissionError::Stale)), "an agent that is not there");
}
