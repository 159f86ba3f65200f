//! Results as JSON for programs, as lines for who watches, and as a page.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::Failure;
use crate::load::Measured;
use crate::raw::Raw;

#[derive(Serialize)]
pub struct Results {
    machine: String,
    #[serde(flatten)]
    measured: BTreeMap<String, Vec<Measured>>,
    raw: Raw,
    pub memory: Memory,
}

#[derive(Default, Serialize)]
pub struct Memory {
    pub gateway_kib: u64,
    pub vault_kib: u64,
}

impl Results {
    pub fn new() -> Self {
        Self { machine: machine(), measured: BTreeMap::new(), raw: Raw::new(), memory: Memory::default() }
    }

    pub fn raw(&mut self, raw: Raw) {
        for (name, us) in &raw {
            println!("{name:36} {us:8.1} µs");
        }
        self.raw = raw;
    }

    pub fn add(&mut self, name: &str, measured: Measured) {
        let Measured { connections, protocol, total_cpu_us, per_process, rps, p50_ms, p99_ms, .. } = &measured;
        let parts: Vec<String> = per_process.iter().map(|(name, us)| format!("{name} {us:.0}")).collect();
        println!(
            "{name:12} {protocol:8} {connections:3} connections {total_cpu_us:6.0} µs CPU ({}) {rps:7.0}/s \
             p50 {p50_ms:.1} ms p99 {p99_ms:.1} ms",
            parts.join(", ")
        );
        self.measured.entry(name.to_owned()).or_default().push(measured);
    }

    pub fn write(&self, directory: &Path) -> Result<(), Failure> {
        fs::create_dir_all(directory)?;
        fs::write(directory.join("results.json"), serde_json::to_string_pretty(self)?)?;
        Ok(())
    }
}

fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    format!("{}, {cores} cores", model.trim_start_matches([' ', '\t', ':']))
}
