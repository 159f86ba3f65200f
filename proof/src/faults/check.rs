//! The promises, compared with what was written down: the callers' answers, the tool's arrivals, the database's records.

use std::collections::{HashMap, HashSet};
use std::process::Command;

use sha2::{Digest as _, Sha256};
use tgp::dev::Stack;

use super::traffic::{Answer, Kind};
use crate::Failure;

/// What was found, in numbers; each list of violations is empty when all is well.
pub struct Findings {
    pub answers: usize,
    pub arrivals: usize,
    pub violations: Vec<String>,
    /// Forwarded calls whose ending was never recorded.
    pub without_outcome: usize,
}

struct Record {
    code: String,
    target: String,
}

pub fn check(
    stack: &Stack,
    issuer: &str,
    answers: &[Answer],
    arrivals: &HashMap<String, u32>,
) -> Result<Findings, Failure> {
    let mut records: HashMap<String, Vec<Record>> = HashMap::new();
    for line in query(stack, "select request, code, coalesce(encode(target_sha256, 'hex'), '') from audit")?.lines() {
        let mut fields = line.split('|').map(str::to_owned);
        let (Some(request), Some(code), Some(target)) = (fields.next(), fields.next(), fields.next()) else { continue };
        records.entry(request).or_default().push(Record { code, target });
    }
    let mut violations = Vec::new();
    for answer in answers.iter().filter(|answer| is_verdict(answer)) {
        let Answer { request_id, kind, status, code } = answer;
        let found: Vec<&str> =
            records.get(request_id).into_iter().flatten().map(|record| record.code.as_str()).collect();
        let expected = if *status == 200 { "allowed" } else { code };
        if found != [expected] {
            violations.push(format!("{kind:?} {request_id} was answered {status} {code}; its records: {found:?}"));
        }
        if *kind == Kind::Replay && *status == 200 {
            violations.push(format!("a request passed twice: {request_id}"));
        }
    }
    let allowed: HashSet<&str> = records
        .values()
        .flatten()
        .filter(|record| record.code == "allowed")
        .map(|record| record.target.as_str())
        .collect();
    for (target, count) in arrivals {
        if *count != 1 {
            violations.push(format!("{target} reached the tool {count} times"));
        }
        let digest = Sha256::digest(format!("{issuer}/t/probe{target}"));
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        if !allowed.contains(hex.as_str()) {
            violations.push(format!("{target} reached the tool with its credential and has no record"));
        }
    }
    let without = "select count(*) from audit a where kind = 'call' and code = 'allowed' \
                   and not exists (select from outcome o where o.request = a.request)";
    let without_outcome = query(stack, without)?.trim().parse()?;
    Ok(Findings { answers: answers.len(), arrivals: arrivals.len(), violations, without_outcome })
}

/// An answer that must have its record: all that decided something about an authenticated caller.
fn is_verdict(answer: &Answer) -> bool {
    answer.status == 200 || answer.status == 403 || answer.code == "signature-replayed"
}

fn query(stack: &Stack, sql: &str) -> Result<String, Failure> {
    let mut psql = Command::new("psql");
    psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &stack.database("postgres"), "-c", sql]);
    let output = psql.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
