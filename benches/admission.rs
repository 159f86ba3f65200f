//! What an admitted row costs, at 1, 16 and 64 waiting callers:
//!
//!     scripts/with-postgres cargo bench --bench admission
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on should say where")]
#![allow(dead_code, reason = "the tests' world has more in it than this needs")]

#[path = "../tests/store/world.rs"]
mod world;

use std::fs;
use std::time::{Duration, Instant};

use tgp::store::Entry;
use tgp_policy::Permit;

use world::{World, count, spend};

/// User and system time of a process in microseconds, from /proc/<pid>/stat (100 ticks a second).
fn cpu(pid: &str) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((_, fields)) = stat.rsplit_once(')') else { return 0 };
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    (ticks(11) + ticks(12)) * 10_000
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    const ROWS: usize = 40_000;
    for waiting in [1, 16, 64] {
        let world = World::new().await;
        let owner = world.database.owner().await;
        // A thousand agents: with one, the count of its live nonces would be all that is measured.
        let agents = world.more_agents(&owner, 1000).await;
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
