//! Load: a number of connections, each doing the same work again as soon as it is answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::Failure;
use crate::agent::{LoadAgent, Work};
use crate::connection::{Connection, Protocol};
use crate::cpu::{self, Part, Usage};
use crate::world::World;

/// Before the figures count: connections, caches and plans are warm.
const WARM_UP: Duration = Duration::from_secs(2);

/// One measurement of the server under load.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub connections: usize,
    pub protocol: &'static str,
    /// CPU µs per request of all server processes together.
    pub total_cpu_us: f64,
    pub per_process: BTreeMap<String, f64>,
    /// CPU µs per request of the generator itself, which shares the machine.
    pub generator_cpu_us: f64,
    pub rps: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub requests: u64,
}

/// What each connection does, again and again.
#[derive(Clone, Copy, Debug)]
pub enum Doing {
    /// The same work on one connection.
    Asking(Work),
    /// A full handshake with a client certificate, and no request.
    Connecting,
}

/// Each of `connections` connections does the same for `length` after a warm-up. Any answer but 200 or 201 ends it all.
pub fn measure(
    world: &mut World,
    agents: &[Arc<LoadAgent>],
    doing: Doing,
    protocol: Protocol,
    connections: usize,
    length: Duration,
) -> Result<Measured, Failure> {
    let parts = world.parts();
    let (counting, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let own = Part { name: "generator", pid: std::process::id() };
    world.runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for n in 0..connections {
            let agent = Arc::clone(&agents[n % agents.len()]);
            let (counting, stop) = (Arc::clone(&counting), Arc::clone(&stop));
            tasks.spawn(connection(agent, doing, protocol, counting, stop));
        }
        tokio::time::sleep(WARM_UP).await;
        counting.store(true, Ordering::Relaxed);
        let (before, own_before, begun) = (cpu::usage(&parts), cpu::usage(std::slice::from_ref(&own)), Instant::now());
        tokio::time::sleep(length).await;
        counting.store(false, Ordering::Relaxed);
        let (after, own_after, took) =
            (cpu::usage(&parts), cpu::usage(std::slice::from_ref(&own)), begun.elapsed().as_secs_f64());
        stop.store(true, Ordering::Relaxed);
        let mut latencies = Vec::new();
        while let Some(seen) = tasks.join_next().await {
            latencies.extend(seen??);
        }
        if latencies.is_empty() {
            return Err("no request was answered while it was measured".into());
        }
        let spent = Spent { server: (before, after), generator: (own_before, own_after), took };
        Ok(spent.measured(connections, protocol.name(), latencies))
    })
}

/// What was used between two moments.
struct Spent {
    server: (Usage, Usage),
    generator: (Usage, Usage),
    took: f64,
}

impl Spent {
    fn measured(self, connections: usize, protocol: &'static str, mut latencies: Vec<u32>) -> Measured {
        latencies.sort_unstable();
        let requests = latencies.len() as u64;
        let per_process = cpu::per_request(&self.server.0, &self.server.1, requests);
        Measured {
            connections,
            protocol,
            total_cpu_us: per_process.values().sum(),
            per_process,
            generator_cpu_us: cpu::per_request(&self.generator.0, &self.generator.1, requests).values().sum(),
            rps: requests as f64 / self.took,
            p50_ms: quantile_ms(&latencies, 0.5),
            p99_ms: quantile_ms(&latencies, 0.99),
            requests,
        }
    }
}

/// What each round took, in µs, while it counted.
async fn connection(
    agent: Arc<LoadAgent>,
    doing: Doing,
    protocol: Protocol,
    counting: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
) -> Result<Vec<u32>, Failure> {
    let mut connection = agent.connect(protocol).await?;
    if let Doing::Asking(Work::List | Work::Send) = doing {
        agent.take_token(&mut connection).await?;
    }
    let mut latencies_us = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let took = match doing {
            Doing::Asking(work) => ask(&mut connection, agent.request(work, protocol)?).await?,
            Doing::Connecting => {
                let begun = Instant::now();
                connection = agent.connect(protocol).await?;
                begun.elapsed()
            }
        };
        if counting.load(Ordering::Relaxed) {
            latencies_us.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        }
    }
    Ok(latencies_us)
}

async fn ask(connection: &mut Connection, request: Request<Full<Bytes>>) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let (status, _, body) = connection.exchange(request).await?;
    if !status.is_success() {
        return Err(format!("a request was answered {status}: {}", String::from_utf8_lossy(&body)).into());
    }
    Ok(begun.elapsed())
}

/// Of sorted latencies.
pub fn quantile_ms(sorted_us: &[u32], q: f64) -> f64 {
    let last = sorted_us.len().saturating_sub(1);
    let at = ((last as f64) * q).round() as usize;
    sorted_us.get(at).map_or(0.0, |us| f64::from(*us) / 1000.0)
}
