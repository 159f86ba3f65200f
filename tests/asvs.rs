//! docs/ASVS.md is complete and adds up: every requirement of ASVS 5.0.0 once, each with what shows it or an honest gap,
//! and the table at its top counts what stands below.

use std::collections::BTreeMap;

/// Chapters' sections and how many requirements each has in ASVS 5.0.0. V17 (WebRTC) is one line: there is none here.
const SECTIONS: &[(&str, &[u32])] = &[
    ("V1", &[2, 10, 12, 3, 3]),
    ("V2", &[3, 3, 5, 2]),
    ("V3", &[1, 3, 5, 8, 8, 1, 5]),
    ("V4", &[5, 5, 2, 4]),
    ("V5", &[1, 6, 3, 3]),
    ("V6", &[3, 12, 8, 6, 8, 4, 2, 4]),
    ("V7", &[3, 4, 2, 5, 3, 2]),
    ("V8", &[4, 4, 3, 2]),
    ("V9", &[3, 4]),
    ("V10", &[2, 3, 5, 16, 5, 2, 3]),
    ("V11", &[4, 5, 5, 4, 2, 2, 2]),
    ("V12", &[5, 2, 5]),
    ("V13", &[4, 6, 4, 7]),
    ("V14", &[2, 8, 3]),
    ("V15", &[5, 5, 7, 4]),
    ("V16", &[1, 5, 4, 3, 4]),
];

fn page(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split(" | ").map(str::trim).collect()
}

/// Rows of requirements: id, level, requirement, status, what shows it.
fn rows(text: &str) -> Vec<Vec<&str>> {
    text.lines().filter(|line| line.starts_with("| V") && line.matches('.').count() >= 2).map(cells).collect()
}

#[test]
fn every_requirement_of_asvs_stands_there_once_and_in_order() {
    let text = page("docs/ASVS.md");
    let listed: Vec<&str> = rows(&text).iter().map(|row| row[0]).collect();
    let mut wanted = Vec::new();
    for (chapter, sections) in SECTIONS {
        for (section, count) in (1..).zip(*sections) {
            wanted.extend((1..=*count).map(|n| format!("{chapter}.{section}.{n}")));
        }
    }
    assert_eq!(wanted.len(), 333, "ASVS 5.0.0 without V17");
    assert_eq!(listed, wanted);
}

#[test]
fn every_requirement_is_met_by_something_that_exists_or_says_why_not() {
    let text = page("docs/ASVS.md");
    for row in rows(&text) {
        let [id, level, requirement, status, shown] = row[..] else { panic!("{row:?} has not five columns") };
        assert!(["1", "2", "3"].contains(&level) && !requirement.is_empty(), "{row:?}");
        match status {
            "met" => assert!(shown.contains("`test: ") || shown.contains("`doc: "), "{id} is met by nothing"),
            "gap" | "n/a" => assert!(shown.len() >= 12, "{id} does not say why"),
            other => panic!("{id} is {other}"),
        }
        for named in shown.split("`doc: ").skip(1) {
            let named = named.split('`').next().expect("closed");
            let (path, heading) = named.split_once(", ").unwrap_or_else(|| panic!("{id}: {named} names no heading"));
            let found = page(path).lines().any(|l| l.starts_with('#') && l.trim_start_matches('#').trim() == heading);
            assert!(found, "{id}: {path} has no heading {heading:?}");
        }
    }
}

#[test]
fn the_summary_of_asvs_counts_what_stands_below() {
    let text = page("docs/ASVS.md");
    let mut counts: BTreeMap<String, [u32; 3]> = BTreeMap::new();
    for row in rows(&text) {
        let column = ["met", "gap", "n/a"].iter().position(|status| *status == row[3]).expect("a status");
        let chapter = row[0].split('.').next().expect("a chapter");
        for key in [chapter, "all"] {
            counts.entry(key.to_owned()).or_default()[column] += 1;
        }
    }
    let mut told = BTreeMap::new();
    for line in text.lines().filter(|l| (l.starts_with("| V") && !l.contains('.')) || l.starts_with("| all")) {
        let cells = cells(line);
        let name = cells[0].split(' ').next().expect("a name").to_owned();
        let [met, gap, not] = [1, 2, 3].map(|n| cells[n].parse().unwrap_or_else(|_| panic!("{line}")));
        told.insert(name, [met, gap, not]);
    }
    assert_eq!(told, counts);
}
