//! `tgp-proof bench`: what a request costs. Every figure is of one run, with the raw operations beside it, so that ratios
//! mean something on a machine whose speed nobody knows.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::Failure;
use crate::agent::Work;
use crate::connection::Protocol;
use crate::cpu::rss_kib;
use crate::load::{measure, measure_handshakes};
use crate::raw;
use crate::report::{Memory, Results};
use crate::world::World;

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
    /// Only the measurements whose name begins so: issuance, proxied, handshake, raw
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

impl Bench {
    pub fn run(self, tgp: &Path) -> Result<bool, Failure> {
        let length = Duration::from_secs(self.seconds);
        let wanted = |name: &str| self.only.as_deref().is_none_or(|only| name.starts_with(only));
        let mut results = Results::new();
        if wanted("raw") {
            let directory = tempfile::tempdir()?;
            results.raw(raw::measure(directory.path())?);
        }
        let mut world = World::start(tgp)?;
        let agents = world.agents(self.agents)?;
        for (name, work) in [("issuance", Work::Token), ("proxied", Work::List), ("proxied_post", Work::Send)] {
            if !wanted(name) {
                continue;
            }
            for protocol in [Protocol::Http1, Protocol::Http2] {
                for connections in [16, 64] {
                    results.add(name, measure(&mut world, &agents, work, protocol, connections, length)?);
                }
            }
        }
        if wanted("handshake") {
            results.add("handshake", measure_handshakes(&mut world, &agents, 16, length)?);
        }
        results.memory =
            Memory { gateway_kib: rss_kib(world.stack.gateway().id()), vault_kib: rss_kib(world.stack.vault().id()) };
        results.write(&self.out)?;
        println!("\n{} and index.html beside it", self.out.join("results.json").display());
        Ok(true)
    }
}
