//! What a search of the catalogue costs over 100,000 actions, with everything that a request waits for in the store:
//!
//!     scripts/with-postgres cargo bench --bench catalogue
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on should say where")]
#![allow(dead_code, reason = "the tests' world has more in it than this needs")]

#[path = "../tests/store/world.rs"]
mod world;

use std::time::{Duration, Instant};

use tgp::store::catalogue::Wanted;

use world::World;

/// Half a thousand tools that can each do ten things with twenty.
const FILL: &str = "
    insert into tool (slug, tenant, resource, upstream_sealed, upstream_version, manifest)
      select 'tool-' || n, $1, 'https://tgp.example/t/tool-' || n, '', 1, jsonb_build_object('title', 'Service ' || n)
      from generate_series(1, 500) n";
const ACTIONS: &str = "
    insert into tool_action (tenant, tool, name, method, template, title, description, request)
      select $1, 'tool-' || t, verb || initcap(noun) || t, 'GET', '/' || verb || '/' || noun, initcap(verb) || ' a ' || noun,
             format('This operation will %s one %s of the account, with everything that belongs to it.', verb, noun),
             '{\"parameters\":[]}'
      from generate_series(1, 500) t,
           unnest(array['list','create','update','delete','read','search','export','import','archive','restore']) verb,
           unnest(array['invoice','receipt','message','calendar','contact','repository','issue','branch','customer','refund',
                        'payment','shipment','order','ticket','document','folder','project','member','webhook','report']) noun";

/// From one that fits one action to one that fits all of them; misspelt, half written, and nothing at all.
const QUESTIONS: [&str; 10] = [
    "archive refund 77",
    "create invoice",
    "list pull requests",
    "list",
    "account",
    "reciept",
    "creat invioce",
    "resto cust",
    "elephant",
    "everything that belongs to a report",
];
const ROUNDS: usize = 40;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let world = World::new().await;
    let owner = world.database.owner().await;
    let begun = Instant::now();
    for statement in [FILL, ACTIONS] {
        sqlx::query(statement).bind(world.tenant).execute(&owner).await.unwrap();
    }
    sqlx::query("analyze").execute(&owner).await.unwrap();
    println!("100,000 actions of 500 tools, filled in {} s", begun.elapsed().as_secs());
    let mut all = Vec::new();
    for question in QUESTIONS {
        let mut took = Vec::new();
        let mut hits = 0;
        for _ in 0..ROUNDS {
            let wanted = Wanted { question: Some(question), most: 20, ..Wanted::default() };
            let begun = Instant::now();
            let (found, _) = world.store.catalogue(world.tenant, &wanted).await.unwrap();
            took.push(begun.elapsed());
            hits = found.len();
        }
        all.extend(took.iter().copied());
        println!("{question:<40} {hits:>3} on the page  {}", spread(&mut took));
    }
    println!("{:<40} {:>15}  {}", "all", "", spread(&mut all));
}

fn spread(took: &mut [Duration]) -> String {
    took.sort_unstable();
    let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)].as_secs_f64() * 1000.0;
    format!("p50 {:.1} ms  p99 {:.1} ms", at(50), at(99))
}
