//! What a process has used, from /proc: CPU time with that of its ended children, memory, descriptors.

use std::collections::BTreeMap;
use std::fs;

/// A part of the server: one process, or one with its children (PostgreSQL's backends).
#[derive(Clone, Debug)]
pub struct Part {
    pub name: &'static str,
    pub pid: u32,
}

/// CPU time in microseconds, by part.
pub type Usage = BTreeMap<&'static str, u64>;

/// User and system time of each part so far, its living and ended children included.
pub fn usage(parts: &[Part]) -> Usage {
    let all = processes();
    parts.iter().map(|part| (part.name, tree_us(part.pid, &all))).collect()
}

/// `after − before` for each part, divided by `requests`.
pub fn per_request(before: &Usage, after: &Usage, requests: u64) -> BTreeMap<String, f64> {
    let share = |name: &&'static str, us: &u64| {
        let spent = us.saturating_sub(before.get(name).copied().unwrap_or(0));
        ((*name).to_owned(), spent as f64 / requests.max(1) as f64)
    };
    after.iter().map(|(name, us)| share(name, us)).collect()
}

/// Resident memory in KiB.
pub fn rss_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

/// Open descriptors.
pub fn descriptors(pid: u32) -> u64 {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |entries| entries.count() as u64)
}

/// CPU time of this thread, in nanoseconds (proc_pid_schedstat).
pub fn thread_ns() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// A process and all that descend from it, itself first.
pub fn tree(pid: u32) -> Vec<u32> {
    let all = processes();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(all.iter().filter(|(_, stat)| stat.parent == parent).map(|(child, _)| *child));
        next += 1;
    }
    found
}

struct Stat {
    parent: u32,
    own_us: u64,
    ended_children_us: u64,
}

fn processes() -> BTreeMap<u32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, stat(pid)?))
        })
        .collect()
}

/// Fields 4 and 14 to 17 of proc_pid_stat; ticks of 10 ms.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let number = |n: usize| fields.get(n)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        own_us: (number(11)? + number(12)?) * 10_000,
        ended_children_us: (number(13)? + number(14)?) * 10_000,
    })
}

fn tree_us(pid: u32, all: &BTreeMap<u32, Stat>) -> u64 {
    let Some(Stat { own_us, ended_children_us, .. }) = all.get(&pid) else { return 0 };
    let children = all.iter().filter(|(_, stat)| stat.parent == pid);
    own_us + ended_children_us + children.map(|(child, _)| tree_us(*child, all)).sum::<u64>()
}
