//! What an admitted row costs, at 1, 16 and 64 waiting callers:
//!
//!     scripts/with-postgres cargo bench --bench admission
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on should say where")]
#![allow(dead_code, reason = "the tests' world has more in it than this needs")]

#[path = "../tests/store/world.rs"]
mod world;

use std::fs;
use std::time::{Duration, Instant};

use sqlx::PgPool;
use tgp::store::Entry;
use tgp_policy::Permit;
use uuid::Uuid;

use world::{Asked, World, count, resource, spend};

/// User and system time of a process in microseconds, from /proc/<pid>/stat (100 ticks a second).
fn cpu(pid: &str) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((_, fields)) = stat.rsplit_once(')') else { return 0 };
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    (ticks(11) + ticks(12)) * 10_000
}

/// Active agents that may do what the first may, made by the owner in one go; each has its grant's id.
async fn more_agents(world: &World, owner: &PgPool, count: i32) -> Vec<Asked> {
    let ids: Vec<Uuid> = (0..count).map(|_| Uuid::new_v4()).collect();
    sqlx::query(
        "with a as (insert into agent (id, tenant, handle, aan, status, keyid, jwk, invitation, record)
                    select id, $2, 'agent-' || n, lpad(n::text, 16, '0'), 'active', 'more-' || n, '{}', '{}', ''
                    from unnest($1) with ordinality as t(id, n) returning id)
         insert into \"grant\" (id, tenant, agent, tool, resource, actions, not_before, not_after,
                              statement_version, statement, record)
         select id, $2, id, $3, $4, '{send}', 0, 99999999999, 1, '{}', '' from a",
    )
    .bind(&ids)
    .bind(world.tenant)
    .bind(&world.tool)
    .bind(resource(&world.tool))
    .execute(owner)
    .await
    .unwrap();
    let first = world.facts().await;
    ids.into_iter()
        .map(|id| {
            let (mut question, mut facts) = (first.question.clone(), first.facts.clone());
            question.agent = id;
            (facts.agent.id, facts.agent.version) = (id, 1);
            if let Some(grant) = &mut facts.grant {
                (grant.id, grant.agent, grant.version) = (id, id, 1);
            }
            Asked { question, facts }
        })
        .collect()
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    const ROWS: usize = 40_000;
    for waiting in [1, 16, 64] {
        let world = World::new().await;
        let owner = world.database.owner().await;
        // A thousand agents: with one, the count of its live nonces would be all that is measured.
        let agents = more_agents(&world, &owner, 1000).await;
        let admission = world.database.admission();
        let rows = if waiting == 1 { ROWS / 8 } else { ROWS };
        let one = world.permit().await;
        admission.admit(one, world.call(), Some(spend())).await.map(drop).unwrap();
        let pid = count(&owner, "select pid::bigint from pg_stat_activity where application_name = 'tgp admission' and datname = current_database()").await;
        let pid = pid.to_string();

        let mut permits: Vec<Permit> = Vec::new();
        for n in 0..rows {
            permits.push(agents[n % agents.len()].permit());
        }
        let (server, client, begun) = (cpu(&pid), cpu("self"), Instant::now());
        let mut tasks = tokio::task::JoinSet::new();
        let share = rows / waiting;
        for _ in 0..waiting {
            let (admission, permits) = (admission.clone(), permits.split_off(permits.len() - share));
            let entries: Vec<_> =
                permits.iter().map(|permit| Entry { agent: Some(permit.agent()), ..world.call() }).collect();
            tasks.spawn(async move {
                for (permit, entry) in permits.into_iter().zip(entries) {
                    admission.admit(permit, entry, Some(spend())).await.map(drop).unwrap();
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        let rows = u64::try_from(rows).unwrap();
        let took: Duration = begun.elapsed();
        let statements = count(&owner, "select count(distinct xmin::text) from audit where kind = 'call'").await;
        println!(
            "{waiting:>3} waiting, {:.1} rows a statement: {:>3} µs in postgresql, {:>3} µs in the client, {} rows/s",
            rows as f64 / statements as f64,
            (cpu(&pid) - server) / rows,
            (cpu("self") - client) / rows,
            u128::from(rows) * 1_000_000 / took.as_micros()
        );
        assert_eq!(
            count(&owner, "select count(*) from audit where kind = 'call'").await,
            i64::try_from(rows).unwrap() + 1
        );
    }
}
