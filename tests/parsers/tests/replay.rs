//! The kept corpus of every target and its seeds, replayed: a finding that was mended stays mended.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tgp_parsers::{TARGETS, Target, seeds, target};

/// More would be a copy of the fuzzer's own corpus, which is kept elsewhere.
const MOST_FILES: usize = 220;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// Name and content of each file in a target's corpus.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = folder().join("corpus").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{target} has no corpus: {error}"));
    let mut files: Vec<(String, Vec<u8>)> = files
        .map(|file| file.unwrap())
        .map(|file| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap()))
        .collect();
    files.sort();
    files
}

/// Names the input before it is tried, so that a panic tells which it was.
fn accepted(target: &Target, name: &str, octets: &[u8]) -> bool {
    println!("{} {name}", target.name);
    (target.check)(octets)
}

#[test]
fn every_target_holds_over_its_corpus() {
    for target in TARGETS {
        let files = corpus(target.name);
        assert!((3..=MOST_FILES).contains(&files.len()), "{} has {} files", target.name, files.len());
        let reached = files.iter().filter(|(name, octets)| accepted(target, name, octets)).count();
        assert!(reached > 0 && reached < files.len(), "{}: {reached} of {} are accepted", target.name, files.len());
    }
}

#[test]
fn every_seed_is_judged_as_it_should_be() {
    let seeds = seeds::all();
    let wrong: Vec<String> = seeds
        .iter()
        .enumerate()
        .filter(|(at, seed)| {
            let is = accepted(target(seed.target), &format!("seed {at}"), &seed.octets);
            seed.accepted.is_some_and(|wanted| wanted != is)
        })
        .map(|(at, seed)| format!("{} {at}, not {:?}", seed.target, seed.accepted))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for target in TARGETS {
        for wanted in [true, false] {
            let any = seeds.iter().any(|seed| seed.target == target.name && seed.accepted == Some(wanted));
            assert!(any, "{} has no seed that is accepted: {wanted}", target.name);
        }
    }
}

#[test]
fn the_list_the_binaries_and_the_corpus_name_the_same_targets() {
    let listed: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(listed.len(), TARGETS.len(), "a target is listed twice");
    let manifest = std::fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    let bins = manifest.split("[[bin]]\nname = \"").skip(1);
    let bins: BTreeSet<String> = bins.map(|rest| rest.split('"').next().unwrap().to_owned()).collect();
    assert_eq!(bins, listed, "fuzz/Cargo.toml");
    let kept = std::fs::read_dir(folder().join("corpus")).unwrap();
    let kept: BTreeSet<String> = kept.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(kept, listed, "fuzz/corpus");
}
