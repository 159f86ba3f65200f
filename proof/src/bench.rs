//! `tgp-proof bench`: what a request costs. Every figure is of one run, with the raw operations beside it, so that ratios
//! mean something on a machine whose speed nobody knows.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;

use crate::agent::{LoadAgent, Work};
use crate::connection::Protocol;
use crate::cpu::rss_kib;
use crate::faults::shim::Shim;
use crate::load::{Doing, measure};
use crate::record::record;
use crate::report::Results;
use crate::world::{self, World};
use crate::{Failure, raw, scale};

#[derive(Args)]
pub struct Bench {
    /// Seconds that each measurement lasts
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How many agents make the load
    #[arg(long, default_value_t = 64)]
    agents: usize,
    /// Where results.json and index.html go
    #[arg(long, value_name = "DIRECTORY", default_value = "target/bench")]
    out: PathBuf,
    /// Beside the primitives only what begins so: issuance, proxied, handshake, slow, scale
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Write the tables into docs/RESULTS.md
    #[arg(long, conflicts_with = "only")]
    record: bool,
    /// Agents in the database for `scale`
    #[arg(long, default_value_t = 100_000)]
    scale_agents: u64,
    /// Records in the database for `scale`
    #[arg(long, default_value_t = 10_000_000)]
    scale_records: u64,
}

impl Bench {
    pub fn run(self, tgp: &Path) -> Result<bool, Failure> {
        let length = Duration::from_secs(self.seconds);
        let wanted = |name: &str| self.only.as_deref().is_none_or(|only| name.starts_with(only));
        let mut results = Results::new();
        // Whatever is measured, it is judged by what the primitives cost in the same run.
        let directory = tempfile::tempdir()?;
        results.raw(raw::measure(directory.path())?);
        if wanted("slow") {
            slow_token(tgp, length, &mut results)?;
        }
        let mut world = World::start(tgp)?;
        let agents = world.agents(self.agents)?;
        for (name, work) in [("issuance", Work::Token), ("proxied", Work::List), ("proxied_post", Work::Send)] {
            if !wanted(name) {
                continue;
            }
            for protocol in [Protocol::Http1, Protocol::Http2] {
                for connections in [16, 64] {
                    results
                        .add(name, measure(&mut world, &agents, Doing::Asking(work), protocol, connections, length)?);
                }
            }
        }
        if wanted("handshake") {
            results.add("handshake", measure(&mut world, &agents, Doing::Connecting, Protocol::Http1, 16, length)?);
        }
        let kib = rss_kib(world.stack.gateway().id()) + rss_kib(world.stack.vault().id());
        results.figure("memory of gateway and vault, MiB", kib as f64 / 1024.0);
        if wanted("scale") {
            self.scale(&mut world, &agents, length, &mut results)?;
        }
        let met = results.write(&self.out)?;
        println!("\n{} and index.html beside it", self.out.join("results.json").display());
        if self.record {
            record("bench", &results.markdown())?;
        }
        Ok(met)
    }

    /// The same work before and after the database has grown.
    fn scale(
        &self,
        world: &mut World,
        agents: &[Arc<LoadAgent>],
        length: Duration,
        results: &mut Results,
    ) -> Result<(), Failure> {
        let kinds = [("issuance", Work::Token), ("proxied", Work::List)];
        let mut before = Vec::new();
        for (_, work) in kinds {
            before.push(measure(world, agents, Doing::Asking(work), Protocol::Http1, 16, length)?);
        }
        scale::fill(&world.stack, self.scale_agents, self.scale_records)?;
        for ((name, work), before) in kinds.into_iter().zip(before) {
            let after = measure(world, agents, Doing::Asking(work), Protocol::Http1, 16, length)?;
            let ratio = after.total_cpu_us / before.total_cpu_us;
            results.add(&format!("{name}_large"), after);
            results.figure(
                &format!("{name}: {} agents and {} records / few", self.scale_agents, self.scale_records),
                ratio,
            );
        }
        Ok(())
    }
}

/// Requests on live connections while new ones wait for a token that takes 5 ms longer for each signature.
fn slow_token(tgp: &Path, length: Duration, results: &mut Results) -> Result<(), Failure> {
    let directory = World::directory()?;
    let root = world::root(&directory);
    std::fs::create_dir_all(&root)?;
    let shim = Shim::build(&root)?;
    let mut world = World::start_in(directory, None, tgp, |options| shim.use_in(options, &[]))?;
    let agents = world.agents(16)?;
    let fast = measure(&mut world, &agents, Doing::Asking(Work::List), Protocol::Http1, 16, length)?;
    shim.slow(5_000)?;
    let stop = Arc::new(AtomicBool::new(false));
    let (newcomer, stopped) = (Arc::clone(&agents[0]), Arc::clone(&stop));
    world.runtime.spawn(async move {
        while !stopped.load(Ordering::Relaxed) {
            let _ = newcomer.connect(Protocol::Http1).await; // it waits for its signature, which is what it is here for
        }
    });
    let slow = measure(&mut world, &agents, Doing::Asking(Work::List), Protocol::Http1, 16, length)?;
    stop.store(true, Ordering::Relaxed);
    results.figure("p99 on live connections, ms", fast.p99_ms);
    results.figure("p99 on live connections, token 5 ms slower, ms", slow.p99_ms);
    Ok(())
}
