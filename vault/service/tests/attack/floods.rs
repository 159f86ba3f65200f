//! Floods and peers that are slow: they cost themselves, and are counted.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tgp_vault_client::wire::{self, Call, Describe, Door, Health, MintToken, Op, RefusalCode, TlsSign};

use crate::actors::Working;
use crate::deployment::{Deployment, refused};
use crate::socket::{frame, is_closed, open, reply};

fn met(at: &Deployment, what: &str) -> u64 {
    let report = at.call(Health {}).unwrap();
    report.connections.iter().find(|row| row.name == what).unwrap().count
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn peers_that_are_slow_stall_nobody_and_are_cut_and_counted() {
    let at = Deployment::start();
    let working = Working::new(&at);
    let calls = wire::hello(Door::Calls);
    let begun = frame(1, Op::Describe as u8, b"");
    // Ten thousand calls whose answers nobody takes: the vault waits in its write.
    let mut deaf = open(&at, &calls);
    deaf.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let stuck = deaf.write_all(&begun.repeat(10_000)).is_err()
        || (0..100).any(|_| deaf.write_all(&begun.repeat(1000)).is_err());
    assert!(stuck, "the vault buffers replies without end");
    let silent = open(&at, b"");
    let half_a_hello = open(&at, &calls[..5]);
    let half_a_frame = open(&at, &[&calls[..], &begun[..7]].concat());
    // One octet at a time of a frame that it never finishes: each comes in time, and all together do not.
    let mut dripping = open(&at, &[&calls[..], &frame(1, Op::Describe as u8, &[0; 1000])[..13]].concat());
    let slow = 5;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let drip = scope.spawn({
            let (done, dripping) = (&done, &mut dripping);
            move || {
                while !done.load(Relaxed) && dripping.write_all(&[0]).is_ok() {
                    std::thread::sleep(Duration::from_millis(200));
                }
            }
        });
        // All of them are there, none has been cut, and every door serves others.
        assert_eq!(met(&at, "cut-slow"), 0);
        let mut bystander = at.connect(Door::Calls).unwrap();
        for _ in 0..100 {
            bystander.call(&Describe {}).unwrap();
            bystander.call(&working.mint_call()).unwrap();
        }
        let context = b"TLS 1.3, server CertificateVerify\0";
        let message = [&[b' '; 64][..], context, &[7; 32]].concat();
        at.call(TlsSign { scheme: 0x0403, message }).unwrap();
        Working::new(&at).mint(&at);
        until("a slow peer was not cut", || met(&at, "cut-slow") == slow);
        done.store(true, Relaxed);
        drip.join().unwrap();
        bystander.call(&Describe {}).unwrap();
    });
    for (what, mut stream) in
        [("silent", silent), ("half a hello", half_a_hello), ("half a frame", half_a_frame), ("dripping", dripping)]
    {
        assert!(is_closed(&mut stream), "{what}");
    }
    let mut drained = vec![0; 1 << 20];
    loop {
        match deaf.read(&mut drained) {
            Ok(0) => break,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Ok(_) => {}
            Err(error) => panic!("it was not cut: {error}"),
        }
    }
}

#[test]
fn connections_beyond_the_limit_are_turned_away_and_counted_and_others_go_on() {
    let at = Deployment::start();
    let mut bystander = at.connect(Door::Calls).unwrap();
    let mut health = at.connect(Door::Slow).unwrap();
    bystander.call(&Describe {}).unwrap();
    let mut turned_away = || {
        let report = health.call(&Health {}).unwrap();
        report.connections.iter().find(|row| row.name == "turned-away-full").unwrap().count
    };
    let greeted = |_| {
        let mut stream = UnixStream::connect(at.socket()).unwrap();
        // One that was turned away may be closed already.
        drop(stream.write_all(&wire::hello(Door::Calls)));
        stream
    };
    let held: Vec<UnixStream> = (0..200).map(greeted).collect();
    // 64 are served at once, of which the bystander and health are two; a few that were closed before may not have
    // been given back when the flood began.
    let deadline = Instant::now() + Duration::from_secs(30);
    while turned_away() < 200 - 62 {
        assert!(Instant::now() < deadline, "only {} of 200 were turned away", turned_away());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(turned_away() <= 200 - 50);
    for _ in 0..100 {
        bystander.call(&Describe {}).unwrap();
    }
    drop(held);
    until("no connection came free", || at.call(Describe {}).is_ok());
}

#[test]
fn a_flood_of_calls_that_are_refused_is_counted_one_by_one_and_stalls_nobody() {
    const FLOODS: u64 = 6;
    const EACH: u64 = 1500;
    let at = Deployment::start();
    let (one, two) = (Working::new(&at), Working::new(&at));
    // The costliest refusal: both records open, and the token computes the other agent's master key.
    let call = MintToken { proof: two.mint_call().proof, ..one.mint_call() };
    assert_eq!(refused("another's master key", at.call(call)), RefusalCode::MasterKeyInvalid);
    let call = MintToken { proof: two.mint_call().proof, ..one.mint_call() };
    let mut octets = Vec::new();
    wire::encode_call(&mut octets, 1, &call).unwrap();
    let before = at.call(Health {}).unwrap();
    let calls = &octets.repeat(100);
    std::thread::scope(|scope| {
        let floods: Vec<_> = (0..FLOODS)
            .flat_map(|_| {
                let mut writer = open(&at, &wire::hello(Door::Calls));
                let mut reader = writer.try_clone().unwrap();
                [
                    scope.spawn(move || (0..EACH / 100).for_each(|_| writer.write_all(calls).unwrap())),
                    scope.spawn(move || (0..EACH).for_each(|_| drop(reply(&mut reader)))),
                ]
            })
            .collect();
        let mut bystander = at.connect(Door::Calls).unwrap();
        let mut served_beside = 0;
        while floods.iter().any(|flood| !flood.is_finished()) {
            bystander.call(&one.mint_call()).unwrap();
            served_beside += 1;
        }
        assert!(served_beside >= 20, "only {served_beside} calls were served beside the flood");
    });
    let after = at.call(Health {}).unwrap();
    let code = |report: &wire::HealthReport| {
        let row = report.refusals.iter().find(|row| row.name == RefusalCode::MasterKeyInvalid.as_str());
        row.map_or(0, |row| row.count)
    };
    assert_eq!(code(&after) - code(&before), FLOODS * EACH);
    let op =
        |report: &wire::HealthReport| report.calls.iter().find(|row| row.op == MintToken::OP.as_str()).unwrap().refused;
    assert_eq!(op(&after) - op(&before), FLOODS * EACH);
}
