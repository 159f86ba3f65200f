//! The section "Hostile requests" of `docs/RESULTS.md` is what the tables are. `WRITE=1 make hostile` writes it anew.

use std::collections::BTreeSet;

use crate::table::Case;
use crate::{
    assertions, catalogue, certificates, components, digests, ecdsa, enrolment, exchange, frames, heads, issuance,
    limits, operators, parameters, paths, tokens, uploads, verifiers,
};

/// What each table is about, its test and its cases.
fn families() -> Vec<(&'static str, &'static str, usize)> {
    vec![
        ("covered components", "components", cases(components::CASES)),
        ("signature parameters, labels, structured fields", "parameters", cases(parameters::CASES)),
        ("r and s", "ecdsa", cases(ecdsa::CASES)),
        ("content digests", "digests", cases(digests::CASES)),
        ("access tokens", "tokens", cases(tokens::CASES)),
        ("paths and targets", "paths", cases(paths::CASES)),
        ("HTTP/1.1 heads and framing", "heads", cases(heads::CASES)),
        ("HTTP/2 frames", "frames", cases(frames::CASES)),
        ("certificates", "certificates", cases(certificates::CASES)),
        ("the token endpoint", "issuance", cases(issuance::CASES)),
        ("client assertions", "assertions", cases(assertions::CASES)),
        ("token exchange", "exchange", cases(exchange::CASES) + cases(exchange::USES)),
        ("enrolment and renewal", "enrolment", enrolment::COUNT),
        ("the catalogue", "catalogue", cases(catalogue::CASES)),
        ("long bodies", "uploads", cases(uploads::CASES)),
        ("the operators' listener", "operators", cases(operators::CASES)),
        ("limits", "limits", cases(limits::CASES)),
        ("what tools ask: introspect, revoke, verify, forward-auth", "verifiers", cases(verifiers::CASES)),
    ]
}

/// Codes of PROTOCOL.md that stand in no table here: not built yet, or tried where their cause can be made.
const ELSEWHERE: &[(&str, &str)] = &[
    ("approval-required", "approvals are not built yet"),
    ("limit-exceeded", "spending limits are not built yet"),
    ("upstream-refused", "tests/it/tools.rs"),
    ("upstream-broken", "tests/it/edges.rs"),
    ("upstream-timeout", "tests/it/edges.rs"),
    ("vault-unavailable", "tests/it/edges.rs"),
    ("store-unavailable", "tests/it/edges.rs"),
    ("clock-skew", "tests/store/admission.rs"),
    ("gateway-stopping", "tests/it/streams.rs"),
];

/// Every code that a table expects.
fn codes() -> BTreeSet<&'static str> {
    fn of<F>(table: &'static [Case<F>]) -> impl Iterator<Item = &'static str> {
        table.iter().map(|(.., code)| code.rsplit(' ').next().unwrap_or_default())
    }
    let tables = of(components::CASES).chain(of(parameters::CASES)).chain(of(ecdsa::CASES)).chain(of(digests::CASES));
    let tables = tables.chain(of(tokens::CASES)).chain(of(paths::CASES)).chain(of(heads::CASES));
    let tables = tables.chain(of(catalogue::CASES)).chain(of(uploads::CASES));
    let tables = tables.chain(of(verifiers::CASES)).chain(of(certificates::CASES)).chain(of(issuance::CASES));
    let tables = tables.chain(of(limits::CASES));
    let tables = tables.chain(of(assertions::CASES)).chain(of(exchange::CASES)).chain(of(exchange::USES));
    tables.chain(enrolment::codes()).collect()
}

#[test]
fn every_code_of_the_protocol_is_expected_somewhere() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/PROTOCOL.md")).expect("PROTOCOL.md");
    let table = page.split("| status | codes |").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("the table");
    let is_code =
        |text: &&str| text.contains('-') && text.bytes().all(|octet| octet.is_ascii_lowercase() || octet == b'-');
    let listed: BTreeSet<&str> = table.split('`').skip(1).step_by(2).filter(is_code).collect();
    assert!(listed.len() > 35, "the table of codes was not found: {listed:?}");
    let here = codes();
    let elsewhere: BTreeSet<&str> = ELSEWHERE.iter().map(|(code, _)| *code).collect();
    let missing: Vec<_> = listed.iter().filter(|code| !here.contains(**code) && !elsewhere.contains(**code)).collect();
    assert!(missing.is_empty(), "no table expects {missing:?}");
    let both: Vec<_> = elsewhere.intersection(&here).collect();
    assert!(both.is_empty(), "a table does expect {both:?}");
}

fn cases<F>(table: &[Case<F>]) -> usize {
    let names: BTreeSet<&str> = table.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names.len(), table.len(), "a name stands twice in a table");
    table.len()
}

fn section() -> String {
    let families = families();
    let total: usize = families.iter().map(|(_, _, cases)| cases).sum();
    let rows: String = families
        .iter()
        .map(|(about, module, cases)| format!("| {about} | {cases} | `make hostile ONLY={module}` |\n"))
        .collect();
    format!(
        "## Hostile requests\n\n\
         Each case is one line of a table in `tests/hostile/`: how a request differs from a good one, and the status and code\n\
         that must come back from a running gateway. Nothing but the good ones may reach the tool, and each refusal of an agent\n\
         is on record once, with its reason. Written and checked by the suite itself.\n\n\
         | family | cases | command |\n|---|---|---|\n{rows}| all | {total} | `make hostile` |\n\n"
    )
}

#[test]
fn the_results_page_has_the_counts_of_these_tables() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/RESULTS.md");
    let page = std::fs::read_to_string(path).expect("docs/RESULTS.md");
    let start = page.find("## Hostile requests\n").expect("the section");
    let end = page[start + 3..].find("\n## ").map_or(page.len(), |end| start + 3 + end + 1);
    let section = section();
    if std::env::var_os("WRITE").is_some() {
        std::fs::write(path, format!("{}{section}{}", &page[..start], &page[end..])).expect("written");
        return;
    }
    assert_eq!(&page[start..end], section, "run `WRITE=1 make hostile ONLY=results`");
}
