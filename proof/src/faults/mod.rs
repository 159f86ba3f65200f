//! `tgp-proof faults`: things break while calls go on. For each: what callers see, how long until all is well again without
//! anybody's help but a service manager's restarts, and whether a promise was broken. The faults are a table in
//! [`table`]; adding one is a line there.

mod check;
mod forward;
pub mod shim;
mod table;
pub mod traffic;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use self::check::check;
pub use self::forward::Forward;
use self::shim::Shim;
use self::table::{Fault, Keeping, TABLE};
use self::traffic::{Ledger, Traffic, works};
use crate::Failure;
use crate::agent::LoadAgent;
use crate::record::record;
use crate::upstream::Upstream;
use crate::world::World;

/// The tool's credential in this proof.
const CREDENTIAL: &str = "faults-probe-credential-5f0c1e";
/// A deployment that is not well again after this needs help.
const HELPLESS: Duration = Duration::from_secs(90);
/// This long without trouble, and all is well.
const QUIET: Duration = Duration::from_secs(2);

#[derive(Args)]
pub struct Faults {
    /// Only the faults whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Write the table into docs/RESULTS.md
    #[arg(long, conflicts_with = "only")]
    record: bool,
    /// Where faults.json goes
    #[arg(long, value_name = "DIRECTORY", default_value = "target/faults")]
    out: PathBuf,
}

/// The deployment with everything that can be broken.
pub struct Scene {
    pub world: World,
    pub shim: Shim,
    pub agents: Vec<Arc<LoadAgent>>,
    /// Between the second gateway and the database.
    pub wire: forward::Wire,
    /// What a fault has to give back when it is over.
    pub held: Vec<Box<dyn std::any::Any>>,
}

#[derive(Serialize)]
struct Row {
    fault: String,
    seen: String,
    well_after_s: f64,
    logins: u64,
    violations: Vec<String>,
}

impl Faults {
    pub fn run(self, tgp: &Path) -> Result<bool, Failure> {
        let mut scene = Scene::set(tgp)?;
        let (upstream, address) = scene.world.runtime.block_on(Upstream::start(CREDENTIAL))?;
        scene.prepare_probe(&address.to_string())?;
        let traffic = scene.world.runtime.block_on(async { Traffic::start(&scene.agents) });
        let ledger = Arc::clone(&traffic.ledger);
        let mut rows = Vec::new();
        for fault in TABLE.iter().filter(|fault| self.only.as_deref().is_none_or(|only| fault.name.contains(only))) {
            let row = scene.endure(fault, &ledger, &upstream)?;
            println!("{:58} well after {:5.1} s  {}", row.fault, row.well_after_s, row.seen);
            for violation in &row.violations {
                println!("  VIOLATION {violation}");
            }
            rows.push(row);
        }
        scene.world.runtime.block_on(traffic.stop());
        let findings = check(&scene.world.stack, &scene.world.issuer(), &ledger.answers(), &upstream.arrivals())?;
        let sum = format!(
            "{} answers, {} arrivals at the tool, {} violations, {} forwarded calls without an outcome",
            findings.answers,
            findings.arrivals,
            findings.violations.len(),
            findings.without_outcome
        );
        println!("\n{sum}");
        if self.record {
            record("faults", &markdown(&rows, &sum))?;
        }
        std::fs::create_dir_all(&self.out)?;
        std::fs::write(self.out.join("faults.json"), serde_json::to_string_pretty(&rows)?)?;
        let unbroken = findings.violations.is_empty() && rows.iter().all(|row| row.violations.is_empty());
        // What is not well by itself has ended the run before.
        Ok(unbroken && findings.answers > 100 && findings.arrivals > 100)
    }
}

fn markdown(rows: &[Row], sum: &str) -> String {
    let mut text = String::from("| fault | callers saw, beside what is usual | well after |\n|---|---|---:|\n");
    for Row { fault, seen, well_after_s, logins: _, violations } in rows {
        let seen = if seen.is_empty() { "nothing" } else { seen };
        let broken = if violations.is_empty() { "" } else { ", **a promise was broken**" };
        text.push_str(&format!("| {fault} | {seen}{broken} | {well_after_s:.1} s |\n"));
    }
    format!("{text}\n{sum}.\n")
}

/// Answers that are as they should be.
fn is_usual(what: &str) -> bool {
    what.starts_with("200") || what == "400 signature-replayed"
}

impl Scene {
    fn endure(&mut self, fault: &Fault, ledger: &Arc<Ledger>, upstream: &Upstream) -> Result<Row, Failure> {
        self.wait_well(ledger, fault.name)?;
        ledger.take_seen();
        let logins = self.shim.logins()?;
        (fault.inflict)(self)?;
        let begun = Instant::now();
        while begun.elapsed() < fault.lasts {
            std::thread::sleep(Duration::from_millis(250));
            if fault.keeping == Keeping::Supervised {
                // What does not start yet is tried again, as a service manager does.
                let _ = self.world.stack.start_what_ended();
            }
        }
        (fault.mend)(self)?;
        let mended = Instant::now();
        let well = self.wait_well(ledger, fault.name)?;
        let seen = ledger.take_seen().into_iter().filter(|(what, _)| !is_usual(what));
        let seen: Vec<String> = seen.map(|(what, count)| format!("{what} ×{count}")).collect();
        let findings = check(&self.world.stack, &self.world.issuer(), &ledger.answers(), &upstream.arrivals())?;
        Ok(Row {
            fault: fault.name.to_owned(),
            seen: seen.join(", "),
            well_after_s: well.saturating_duration_since(mended).as_secs_f64(),
            logins: self.shim.logins()? - logins,
            violations: findings.violations,
        })
    }

    /// Until a fresh connection, a token and a call succeed and nobody has had trouble for a while; when that began.
    fn wait_well(&mut self, ledger: &Ledger, during: &str) -> Result<Instant, Failure> {
        let begun = Instant::now();
        let mut worked = None;
        loop {
            let _ = self.world.stack.start_what_ended();
            let probes = [self.agents[0].as_ref(), self.agents[self.agents.len() - 1].as_ref()];
            let now = self.world.runtime.block_on(async {
                for probe in probes {
                    works(probe, &format!("well-{}", uuid::Uuid::new_v4())).await?;
                }
                Ok::<_, Failure>(())
            });
            let now_works = now.is_ok();
            worked = if now_works { worked.or(Some(Instant::now())) } else { None };
            let trouble = *ledger.last_trouble.lock().unwrap_or_else(PoisonError::into_inner);
            let quiet = trouble.is_none_or(|at| at.elapsed() > QUIET);
            if let Some(worked) = worked
                && quiet
            {
                return Ok(trouble.map_or(worked, |at| at.max(worked).min(Instant::now())));
            }
            if begun.elapsed() > HELPLESS {
                let why = now.err().map_or_else(|| "callers still have trouble".to_owned(), |e| e.to_string());
                return Err(format!("{during}: not well by itself within {HELPLESS:?}: {why}").into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
