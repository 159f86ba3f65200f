//! What acts and calls cost with a hundred agents and with a hundred thousand, on SoftHSM:
//! `TMPDIR=/dev/shm cargo run --release -p tgp-vault --example acts -- 100000`.
//!
//! Every agent is enrolled and given a grant through the socket, as a gateway does it. CPU is the vault's
//! own, from /proc, user and system together. In a directory on disk acts wait for `fsync` as well; the
//! rate says how long.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on ends here")]
#![allow(dead_code, reason = "the tests' actors can do more than is measured")]

#[path = "../tests/attack/actors.rs"]
mod actors;
#[path = "../tests/attack/child.rs"]
mod child;
#[path = "../tests/attack/deployment.rs"]
mod deployment;

use std::time::{Duration, Instant};

use tgp_authority::Operation;
use tgp_vault_client::Blocking;
use tgp_vault_client::wire::{Call, Describe, Door, Seal, SealItem, SetGrant};

use actors::{Agent, Working, grant, resource};
use deployment::{Deployment, TENANT};

const ACTS: usize = 500;
const CALLS: usize = 4000;
const FEW: usize = 100;

fn main() {
    if child::act() {
        return;
    }
    let many = std::env::args().nth(1).map_or(100_000, |text| text.parse().unwrap());
    let mut at = Deployment::start();
    let working = Working::new(&at);
    populate(&at, FEW - 1);
    println!("| agents | call | vault CPU µs | per second, one at a time |\n|---|---|---|---|");
    measure_all(&at, &working, FEW);
    if many > FEW {
        populate(&at, many - FEW - ACTS);
        measure_all(&at, &working, many);
    }
    let (file, memory) = (std::fs::metadata(at.state()).unwrap().len(), resident_kib(at.pid()));
    at.stop();
    let begun = Instant::now();
    at.serve();
    println!(
        "\nwith {many} agents: state file {} KiB, resident {memory} KiB, after a restart, which took {} ms, {} KiB",
        file / 1024,
        begun.elapsed().as_millis(),
        resident_kib(at.pid()),
    );
}

/// Enrols so many agents and gives each a grant.
fn populate(at: &Deployment, count: usize) {
    let mut door = at.connect(Door::Slow).unwrap();
    for _ in 0..count {
        let agent = Agent::invited(at);
        door.call(&agent.enrol_call(at)).unwrap();
        let statement = at.granter.order(at, &Operation::Grant(grant(at, agent.id, "mail")));
        door.call(&SetGrant { statement, dek: at.dek }).unwrap();
    }
}

fn measure_all(at: &Deployment, working: &Working, agents: usize) {
    let agents_to_be: Vec<_> = (0..ACTS).map(|_| Agent::invited(at)).collect();
    let enrolments: Vec<_> = agents_to_be.iter().map(|agent| agent.enrol_call(at)).collect();
    measure(at, agents, "enrol", &enrolments);
    let order = |agent: &Agent| at.granter.order(at, &Operation::Grant(grant(at, agent.id, "mail")));
    let grants: Vec<_> = agents_to_be.iter().map(|a| SetGrant { statement: order(a), dek: at.dek }).collect();
    measure(at, agents, "set_grant", &grants);
    let mints: Vec<_> = (0..CALLS).map(|_| working.mint_call()).collect();
    measure(at, agents, "mint_token", &mints);
    let (token, url) = (working.token(at), format!("{}/messages/1", resource("mail")));
    let release = || working.release_call(working.agent.request(at, &token, &url));
    measure(at, agents, "release", &(0..CALLS).map(|_| release()).collect::<Vec<_>>());
    let item =
        || SealItem { table: "t".into(), column: "c".into(), key: "k".into(), version: 1, plaintext: vec![7; 40] };
    let seal = || Seal { tenant: TENANT, dek: at.metadata_dek, items: vec![item()] };
    measure(at, agents, "seal", &(0..CALLS).map(|_| seal()).collect::<Vec<_>>());
    let describe: Vec<_> = (0..CALLS).map(|_| Describe {}).collect();
    measure(at, agents, "describe (the socket)", &describe);
}

fn measure<C: Call>(at: &Deployment, agents: usize, what: &str, calls: &[C]) {
    let mut door: Blocking = at.connect(C::OP.door()).unwrap();
    let (cpu, begun) = (cpu_us(at.pid()), Instant::now());
    for call in calls {
        door.call(call).unwrap();
    }
    let (cpu, wall): (u64, Duration) = (cpu_us(at.pid()) - cpu, begun.elapsed());
    let each = calls.len() as f64;
    println!("| {agents} | {what} | {:.0} | {:.0} |", cpu as f64 / each, each / wall.as_secs_f64());
}

/// utime and stime, fields 14 and 15 of proc(5), in ticks of 10 ms.
fn cpu_us(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = |n| fields.split_whitespace().nth(n).unwrap().parse::<u64>().unwrap();
    (ticks(11) + ticks(12)) * 10_000
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim_end_matches("kB").trim().parse().unwrap()
}
