//! CPU time of the vault per call, on SoftHSM: `cargo run --release -p tgp-vault --example vault-cpu`.
//!
//! A vault process as the tests start one, driven through its socket by frames written 16 at a time,
//! as a gateway with 16 busy connections does. What is printed is the vault's own CPU time from
//! /proc, user and system together, the socket's cost on its side included.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on ends here")]
#![allow(dead_code, reason = "the tests' actors can do more than is measured")]

#[path = "../tests/attack/actors.rs"]
mod actors;
#[path = "../tests/attack/child.rs"]
mod child;
#[path = "../tests/attack/deployment.rs"]
mod deployment;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use tgp_vault_client::wire::{self, Call, Describe, Door, HEADER_LEN, Header, Status};

use actors::{Working, resource};
use deployment::Deployment;

const CALLS: usize = 20_000;
const AT_ONCE: usize = 16;

fn main() {
    if child::act() {
        return;
    }
    let at = Deployment::start();
    let working = Working::new(&at);
    measure(&at, "describe", (0..CALLS).map(|_| Describe {}));
    measure(&at, "mint_token", (0..CALLS).map(|_| working.mint_call()));
    let token = working.token(&at);
    let url = format!("{}/messages/1", resource("mail"));
    let calls: Vec<_> = (0..CALLS).map(|_| working.release_call(working.agent.request(&at, &token, &url))).collect();
    measure(&at, "release", calls.into_iter());
}

fn measure<C: Call>(at: &Deployment, what: &str, calls: impl Iterator<Item = C>) {
    let mut frames = Vec::new();
    let mut batches = Vec::new();
    for (n, call) in (0_u64..).zip(calls) {
        wire::encode_call(&mut frames, n, &call).unwrap();
        if (n as usize).is_multiple_of(AT_ONCE) {
            batches.push(std::mem::take(&mut frames));
        }
    }
    batches.push(frames);
    let mut stream = UnixStream::connect(at.socket()).unwrap();
    stream.write_all(&wire::hello(Door::Calls)).unwrap();
    let (cpu, begun) = (cpu_us(at.pid()), Instant::now());
    for batch in &batches {
        stream.write_all(batch).unwrap();
        let mut left = count(batch);
        while left > 0 {
            let mut head = [0; HEADER_LEN];
            stream.read_exact(&mut head).unwrap();
            let header = Header::parse(&head).unwrap().unwrap();
            let mut body = vec![0; header.body_len];
            stream.read_exact(&mut body).unwrap();
            assert_eq!(Status::from_byte(header.kind), Some(Status::Ok), "{what}");
            left -= 1;
        }
    }
    let (cpu, wall) = (cpu_us(at.pid()) - cpu, begun.elapsed().as_micros());
    println!("{what:12} {:6.1} us CPU {:6.1} us wall", cpu as f64 / CALLS as f64, wall as f64 / CALLS as f64);
}

fn count(mut frames: &[u8]) -> usize {
    let mut count = 0;
    while let Ok(Some(header)) = Header::parse(frames) {
        frames = &frames[HEADER_LEN + header.body_len..];
        count += 1;
    }
    count
}

/// utime and stime, fields 14 and 15 of proc(5), in ticks of 10 ms.
fn cpu_us(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = |n| fields.split_whitespace().nth(n).unwrap().parse::<u64>().unwrap();
    (ticks(11) + ticks(12)) * 10_000
}
