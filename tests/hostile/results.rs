//! The section "Hostile requests" of `docs/RESULTS.md` is what the tables are. `WRITE=1 make hostile` writes it anew.

use std::collections::BTreeSet;

use crate::table::Case;
use crate::{
    certificates, components, digests, ecdsa, enrolment, frames, heads, issuance, limits, operators, parameters, paths,
    tokens,
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
        ("enrolment and renewal", "enrolment", enrolment::COUNT),
        ("the operators' listener", "operators", cases(operators::CASES)),
        ("limits", "limits", cases(limits::CASES)),
    ]
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
