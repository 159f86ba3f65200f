//! `tgp-proof soak`: mixed load at half of what the machine can take, with enrolments, renewals, freezes and a token that
//! goes away and comes back. It fails when memory, descriptors or latency grow.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::Failure;
use crate::agent::{LoadAgent, Work};
use crate::connection::Protocol;
use crate::cpu::{descriptors, rss_kib, tree};
use crate::load::{Doing, measure, quantile_ms};
use crate::record::record;
use crate::world::World;

const CONNECTIONS: usize = 16;
/// Between two samples.
const SAMPLE: Duration = Duration::from_secs(5);
/// Memory may wander by so much without growing.
const SLACK_KIB: u64 = 12 * 1024;

#[derive(Args)]
pub struct Soak {
    /// How long the load lasts
    #[arg(long, default_value_t = 1800)]
    seconds: u64,
    /// Judge memory and descriptors alone: on a machine with other work, latency says nothing
    #[arg(long)]
    untimed: bool,
    /// Write what came out into docs/RESULTS.md
    #[arg(long, conflicts_with = "untimed")]
    record: bool,
    /// Where soak.json goes
    #[arg(long, value_name = "DIRECTORY", default_value = "target/soak")]
    out: PathBuf,
}

#[derive(Clone, Debug, Serialize)]
struct Sample {
    at_s: u64,
    gateway_kib: u64,
    vault_kib: u64,
    descriptors: u64,
    requests: u64,
    p50_ms: f64,
    p99_ms: f64,
}

#[derive(Serialize)]
struct Report {
    seconds: u64,
    rps: f64,
    requests: u64,
    refused: u64,
    enrolments: u64,
    renewals: u64,
    freezes: u64,
    token_losses: u64,
    findings: Vec<String>,
    samples: Vec<Sample>,
}

/// What the callers saw since the last sample.
#[derive(Default)]
struct Seen {
    latencies_us: Mutex<Vec<u32>>,
    refused: AtomicU64,
}

#[derive(Default)]
struct Events {
    enrolments: u64,
    renewals: u64,
    freezes: u64,
    token_losses: u64,
}

impl Soak {
    pub fn run(self, tgp: &Path) -> Result<bool, Failure> {
        let mut world = World::start(tgp)?;
        let agents = world.agents(CONNECTIONS)?;
        let most = measure(
            &mut world,
            &agents,
            Doing::Asking(Work::List),
            Protocol::Http1,
            CONNECTIONS,
            Duration::from_secs(8),
        )?;
        let rps = most.rps / 2.0;
        println!("{:.0} calls/s at most, so {rps:.0}/s for {} s", most.rps, self.seconds);

        let (seen, stop) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
        let each = Duration::from_secs_f64(CONNECTIONS as f64 / rps);
        let mut callers = JoinSet::new();
        for (n, agent) in agents.iter().enumerate() {
            let protocol = if n % 2 == 0 { Protocol::Http1 } else { Protocol::Http2 };
            let caller = caller(Arc::clone(agent), protocol, each, Arc::clone(&seen), Arc::clone(&stop));
            callers.spawn_on(caller, world.runtime.handle());
        }
        let (samples, events) = observe(&mut world, self.seconds, &seen)?;
        stop.store(true, Ordering::Relaxed);
        world.runtime.block_on(callers.join_all());

        let findings = judge(&samples, self.untimed);
        let requests = samples.iter().map(|sample| sample.requests).sum();
        let Events { enrolments, renewals, freezes, token_losses } = events;
        let refused = seen.refused.load(Ordering::Relaxed);
        let report = Report {
            seconds: self.seconds,
            rps,
            requests,
            refused,
            enrolments,
            renewals,
            freezes,
            token_losses,
            findings,
            samples,
        };
        let text = report.text(self.untimed);
        print!("{text}");
        if self.record {
            record("soak", &format!("```\n{text}```"))?;
        }
        fs::create_dir_all(&self.out)?;
        fs::write(self.out.join("soak.json"), serde_json::to_string_pretty(&report)?)?;
        Ok(report.findings.is_empty())
    }
}

/// Samples every five seconds, and what people and machines do meanwhile.
fn observe(world: &mut World, seconds: u64, seen: &Seen) -> Result<(Vec<Sample>, Events), Failure> {
    let mut events = Events::default();
    let mut samples = Vec::new();
    let victim = world.enrolled("soak-victim")?;
    let victim_agent = tgp_client::Agent::load(&victim)?;
    let begun = Instant::now();
    let mut turn = 0_u64;
    while begun.elapsed().as_secs() < seconds {
        let next = begun + SAMPLE * u32::try_from(turn + 1).unwrap_or(u32::MAX);
        turn += 1;
        world.enrolled(&format!("soak-{turn}"))?;
        events.enrolments += 1;
        world.runtime.block_on(victim_agent.renew_certificate())?;
        events.renewals += 1;
        if turn.is_multiple_of(2) {
            world.stack.operator(&["agent", "freeze", &format!("soak-{turn}")])?;
            events.freezes += 1;
        }
        // Once a minute the token goes away for a second.
        if turn % 12 == 6 {
            let (here, there) = (world.stack.layout().path("token"), world.stack.layout().path("token.away"));
            fs::rename(&here, &there)?;
            std::thread::sleep(Duration::from_secs(1));
            fs::rename(&there, &here)?;
            world.stack.wait_ready()?;
            events.token_losses += 1;
        }
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        let mut latencies = std::mem::take(&mut *seen.latencies_us.lock().unwrap_or_else(PoisonError::into_inner));
        latencies.sort_unstable();
        let (gateway, vault) = (world.stack.gateway().id(), world.stack.vault().id());
        let postgres = world.stack.postgres().id();
        samples.push(Sample {
            at_s: begun.elapsed().as_secs(),
            gateway_kib: rss_kib(gateway),
            vault_kib: rss_kib(vault),
            descriptors: descriptors(gateway) + descriptors(vault) + tree(postgres).len() as u64,
            requests: latencies.len() as u64,
            p50_ms: quantile_ms(&latencies, 0.5),
            p99_ms: quantile_ms(&latencies, 0.99),
        });
    }
    Ok((samples, events))
}

async fn caller(agent: Arc<LoadAgent>, protocol: Protocol, each: Duration, seen: Arc<Seen>, stop: Arc<AtomicBool>) {
    let mut pace = interval(each);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connection = None;
    for turn in 0_u64.. {
        pace.tick().await;
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let mut live = match connection.take() {
            Some(live) => live,
            None => match agent.connect(protocol).await {
                Ok(live) => live,
                Err(_) => {
                    seen.refused.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
            },
        };
        // A token for many calls, as an agent that caches it does; a new connection now and then.
        let renew = turn % 200 == 0 || !agent.has_token();
        let work = match turn % 10 {
            _ if renew => Work::MailToken,
            1..=7 => Work::List,
            8 => Work::Send,
            _ => Work::Token,
        };
        let Ok(request) = agent.request(work, protocol) else { continue };
        let begun = Instant::now();
        match live.exchange(request).await {
            Ok((status, _, body)) if status.is_success() => {
                let took = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
                seen.latencies_us.lock().unwrap_or_else(PoisonError::into_inner).push(took);
                if renew {
                    agent.keep_token(&body);
                }
                if turn % 500 != 499 {
                    connection = Some(live);
                }
            }
            Ok(_) => {
                seen.refused.fetch_add(1, Ordering::Relaxed);
                connection = Some(live);
            }
            Err(_) => {
                seen.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// The last quarter against the second: the first is warm-up. Medians, since one sample in twelve has a lost token in it.
fn judge(samples: &[Sample], untimed: bool) -> Vec<String> {
    let quarter = samples.len() / 4;
    if quarter == 0 {
        return vec!["too short to tell growth: fewer than four samples".to_owned()];
    }
    let (early, late) = (&samples[quarter..2 * quarter], &samples[samples.len() - quarter..]);
    let mut findings = Vec::new();
    let mut grew = |what: &str, of: fn(&Sample) -> f64, factor: f64, slack: f64| {
        let (before, after) = (median(early, of), median(late, of));
        if after > before * factor + slack {
            findings.push(format!("{what} grew from {before:.1} to {after:.1}"));
        }
    };
    let slack = SLACK_KIB as f64;
    grew("the gateway's memory (KiB)", |s| s.gateway_kib as f64, 1.05, slack);
    grew("the vault's memory (KiB)", |s| s.vault_kib as f64, 1.05, slack);
    grew("open descriptors and backends", |s| s.descriptors as f64, 1.0, 8.0);
    if !untimed {
        grew("p50 (ms)", |s| s.p50_ms, 1.5, 0.5);
        grew("p99 (ms)", |s| s.p99_ms, 2.0, 2.0);
    }
    findings
}

fn median(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

impl Report {
    fn text(&self, untimed: bool) -> String {
        let samples = self.samples.iter().step_by((self.samples.len() / 8).max(1)).chain(self.samples.last());
        let mut text = format!("{:.0} calls/s, half of the most, for {} s\n", self.rps, self.seconds);
        text.push_str("   at s  gateway KiB  vault KiB  descriptors  p50 ms  p99 ms\n");
        for Sample { at_s, gateway_kib, vault_kib, descriptors, requests: _, p50_ms, p99_ms } in samples {
            let _ =
                writeln!(text, "{at_s:7} {gateway_kib:12} {vault_kib:10} {descriptors:12} {p50_ms:7.1} {p99_ms:7.1}");
        }
        let _ = writeln!(
            text,
            "{} requests, {} failed (the token's losses), {} enrolments, {} renewals, {} freezes, {} token losses",
            self.requests, self.refused, self.enrolments, self.renewals, self.freezes, self.token_losses
        );
        match self.findings.as_slice() {
            [] => {
                let _ = writeln!(text, "no growth of memory, descriptors{}", if untimed { "" } else { " or latency" });
            }
            findings => findings.iter().for_each(|finding| {
                let _ = writeln!(text, "GROWTH {finding}");
            }),
        }
        text
    }
}
