//! Tables and how they are run: every case is sent, those that went otherwise are listed together at the end.

use std::collections::BTreeMap;

use crate::world::World;

/// One line of a table: what is wrong, how the request comes to be so, and the status and code of the answer. A status
/// without a code: it is good, and the tool saw it once (and answered so; 200 stands for all that is well).
pub type Case<F> = (&'static str, F, u16, &'static str);

/// What came back for one case.
pub struct Answer {
    pub status: u16,
    pub code: String,
    /// The gateway's own number of the request; empty when nothing came that has one.
    pub request_id: String,
    /// What else was wrong with it.
    pub problem: Option<String>,
    /// Whether a certificate named an agent that we know: then the refusal has exactly one record.
    pub recorded: bool,
    /// Whether a good request of this kind reaches the tool.
    pub forwarded: bool,
}

impl Answer {
    /// Nothing came that could be read; `code` says what happened instead.
    pub fn none(code: impl Into<String>) -> Self {
        let (request_id, problem) = (String::new(), None);
        Self { status: 0, code: code.into(), request_id, problem, recorded: false, forwarded: false }
    }

    pub fn of(reply: &crate::wire::Reply, recorded: bool) -> Self {
        let id = reply.headers.get("tgp-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
        let problem = form(reply).err();
        Self { status: reply.status, code: reply.code(), request_id: id, problem, recorded, forwarded: recorded }
    }
}

/// Every refusal is a problem document or an OAuth error, whole and of its content type.
fn form(reply: &crate::wire::Reply) -> Result<(), String> {
    if reply.status < 400 {
        return Ok(());
    }
    let kind = reply.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let json = reply.json();
    let whole = match kind {
        "application/problem+json" => {
            let ends = json["type"].as_str().is_some_and(|kind| kind.ends_with(&format!("/problems/{}", reply.code())));
            ends && json["status"] == reply.status && json["detail"].is_string() && json["request_id"].is_string()
        }
        "application/json" => json["error"].is_string() && json["tgp_code"].is_string(),
        _ => false,
    };
    let challenged = reply.status != 401 || reply.headers.contains_key("www-authenticate");
    let later = !matches!(reply.status, 429 | 503) || reply.headers.contains_key("retry-after");
    match (whole, challenged, later) {
        (true, true, true) => Ok(()),
        _ => Err(format!("the refusal is not of its form: {kind}, {:?}", String::from_utf8_lossy(&reply.body))),
    }
}

/// Runs a table: `send` makes and sends one case. Nothing but good cases may reach the tool.
pub fn run<F: Copy>(world: &World, cases: &[Case<F>], mut send: impl FnMut(&World, F) -> Answer) {
    let mut failures = Vec::new();
    let mut refused: Vec<(&str, &str, Answer)> = Vec::new();
    for &(name, with, status, code) in cases {
        let before = world.seen();
        let answer = send(world, with);
        let reached = world.seen() - before;
        if (answer.status, answer.code.as_str()) != (status, code) {
            failures.push(format!("{name}: wanted {status} {code}, got {} {}", answer.status, answer.code));
        }
        if let Some(problem) = &answer.problem {
            failures.push(format!("{name}: {problem}"));
        }
        if reached != usize::from(code.is_empty() && answer.forwarded) {
            failures.push(format!("{name}: the tool saw {reached} requests"));
        }
        refused.push((name, code, answer));
    }
    failures.extend(unrecorded(world, &refused));
    assert!(failures.is_empty(), "{} of {} cases failed:\n  {}", failures.len(), cases.len(), failures.join("\n  "));
}

/// One record with this very reason for each request of an agent, none for anybody else's.
fn unrecorded(world: &World, answers: &[(&str, &str, Answer)]) -> Vec<String> {
    let mut records: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in world.deployment.records() {
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        records.entry(text("request_id")).or_default().push(text("verdict"));
    }
    let mut failures = Vec::new();
    for (name, code, answer) in answers {
        let found = records.get(&answer.request_id).cloned().unwrap_or_default();
        let wanted = match (answer.recorded, *code) {
            (false, _) => Vec::new(),
            (true, "") => vec!["allow".to_owned()],
            // At the token endpoint RFC 6749's name stands before ours.
            (true, code) => vec![code.rsplit(' ').next().unwrap_or_default().to_owned()],
        };
        // A renewal that succeeds is on record as decided, and as done.
        let mut found = found;
        if code.is_empty() {
            found.dedup();
        }
        if !answer.request_id.is_empty() && found != wanted {
            failures.push(format!("{name}: on record as {found:?}, not as {wanted:?}"));
        }
    }
    failures
}
