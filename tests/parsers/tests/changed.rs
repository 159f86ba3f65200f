//! What holds of the seeds holds of what is beside them: a little of the fuzzer's work, in every run of the tests.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;
use tgp_parsers::seeds::{self, Seed};
use tgp_parsers::{TARGETS, target};

static SEEDS: LazyLock<Vec<Seed>> = LazyLock::new(seeds::all);

/// One thing that a fuzzer does to an input.
#[derive(Clone, Debug)]
enum Change {
    Put(Index, u8),
    Flip(Index, u8),
    Insert(Index, u8),
    Remove(Index, Index),
    Repeat(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let octet = prop_oneof![any::<u8>(), prop::sample::select(&b"\0\n\r \"%&./:;=?{}[]~,09afzAZ\x7f\x80\xff"[..])];
    prop_oneof![
        (any::<Index>(), octet.clone()).prop_map(|(at, octet)| Change::Put(at, octet)),
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (any::<Index>(), octet).prop_map(|(at, octet)| Change::Insert(at, octet)),
        (any::<Index>(), any::<Index>()).prop_map(|(at, length)| Change::Remove(at, length)),
        (any::<Index>(), any::<Index>()).prop_map(|(at, length)| Change::Repeat(at, length)),
    ]
}

fn changed(octets: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut octets = octets.to_vec();
    for change in changes {
        if octets.is_empty() {
            break;
        }
        let piece = |octets: &[u8], at: &Index, length: &Index| {
            let at = at.index(octets.len());
            at..(at + 1 + length.index(24)).min(octets.len())
        };
        match change {
            Change::Put(at, octet) => {
                let at = at.index(octets.len());
                octets[at] = *octet;
            }
            Change::Flip(at, bit) => {
                let at = at.index(octets.len());
                octets[at] ^= 1 << bit;
            }
            Change::Insert(at, octet) => octets.insert(at.index(octets.len()), *octet),
            Change::Remove(at, length) => drop(octets.drain(piece(&octets, at, length))),
            Change::Repeat(at, length) => {
                let range = piece(&octets, at, length);
                let copy = octets[range.clone()].to_vec();
                octets.splice(range.end..range.end, copy);
            }
        }
    }
    octets
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_seed_with_a_few_octets_changed_breaks_no_promise(at: Index, changes in prop::collection::vec(change(), 1..4)) {
        // Each target by turns, however many seeds it has.
        for target in TARGETS {
            let own: Vec<&Seed> = SEEDS.iter().filter(|seed| seed.target == target.name).collect();
            (target.check)(&changed(&own[at.index(own.len())].octets, &changes));
        }
    }

    #[test]
    fn every_operations_messages_read_back_whatever_was_changed_in_them(changes in prop::collection::vec(change(), 1..3)) {
        let wire = target("wire");
        for seed in SEEDS.iter().filter(|seed| seed.target == "wire") {
            let [op, status, body @ ..] = &seed.octets[..] else { continue };
            (wire.check)(&[&[*op, *status], &changed(body, &changes)[..]].concat());
        }
    }
}

#[test]
fn every_operation_has_a_call_and_a_reply_among_the_seeds() {
    for op in tgp_vault_client::wire::Op::ALL {
        for status in [0xff, 0] {
            let any = SEEDS.iter().any(|seed| seed.target == "wire" && seed.octets.starts_with(&[*op as u8, status]));
            assert!(any, "{op:?} {status}");
        }
    }
}
