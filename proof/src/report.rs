//! Results as JSON for programs, as lines for who watches, and as a page with plots.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::Failure;
use crate::load::Measured;
use crate::raw::Raw;
use crate::record::machine;

/// A budget: CPU µs of all server processes on the machine that the budgets were measured on.
struct Target {
    name: &'static str,
    connections: usize,
    cpu_us: f64,
}

const TARGETS: [Target; 5] = [
    Target { name: "issuance", connections: 16, cpu_us: 220.0 },
    Target { name: "issuance", connections: 64, cpu_us: 170.0 },
    Target { name: "proxied", connections: 16, cpu_us: 230.0 },
    Target { name: "proxied", connections: 64, cpu_us: 180.0 },
    Target { name: "handshake", connections: 16, cpu_us: 430.0 },
];

/// What the primitives cost on that machine: the ratio to what they cost here is how much slower this one is.
const REFERENCE_US: [(&str, f64); 4] = [
    ("token_hmac", 10.0),
    ("token_p256_sign", 42.0),
    ("p256_verify_aws_lc_rs", 47.0),
    ("secp256k1_verify_libsecp256k1", 25.0),
];

/// One kind of request: its first run stands for it, the others are listed.
#[derive(Serialize)]
struct Kind {
    #[serde(flatten)]
    first: Measured,
    runs: Vec<Measured>,
}

#[derive(Serialize)]
pub struct Results {
    machine: String,
    /// How much slower the primitives ran here than where the budgets come from.
    slower: f64,
    #[serde(flatten)]
    kinds: BTreeMap<String, Kind>,
    raw: Raw,
    /// Other figures of this run: memory in KiB, ratios, milliseconds; the name says which.
    pub figures: BTreeMap<String, f64>,
}

/// A budget and what came of it.
struct Verdict {
    text: String,
    met: bool,
}

impl Results {
    pub fn new() -> Self {
        Self { machine: machine(), slower: 1.0, kinds: BTreeMap::new(), raw: Raw::new(), figures: BTreeMap::new() }
    }

    pub fn raw(&mut self, raw: Raw) {
        for (name, us) in &raw {
            println!("{name:36} {us:8.1} µs");
        }
        let ratios = REFERENCE_US.iter().filter_map(|(name, there)| Some(raw.get(*name)? / there));
        self.slower = geometric_mean(ratios);
        println!("the primitives cost {:.2} times what they cost where the budgets come from", self.slower);
        self.raw = raw;
    }

    pub fn add(&mut self, name: &str, measured: Measured) {
        println!("{}", line(name, &measured));
        match self.kinds.get_mut(name) {
            Some(kind) => kind.runs.push(measured),
            None => {
                self.kinds.insert(name.to_owned(), Kind { first: measured.clone(), runs: vec![measured] });
            }
        }
    }

    pub fn figure(&mut self, name: &str, value: f64) {
        println!("{name:50} {value:10.2}");
        self.figures.insert(name.to_owned(), value);
    }

    /// The run over HTTP/1.1 (or TLS alone) with so many connections.
    pub fn run(&self, name: &str, connections: usize) -> Option<&Measured> {
        self.kinds.get(name)?.runs.iter().find(|run| run.connections == connections)
    }

    /// Writes results.json and index.html and prints each budget with what came of it; whether all were met.
    pub fn write(&self, directory: &Path) -> Result<bool, Failure> {
        let verdicts = self.verdicts();
        println!();
        for Verdict { text, met } in &verdicts {
            println!("{} {text}", if *met { "met " } else { "OVER" });
        }
        fs::create_dir_all(directory)?;
        fs::write(directory.join("results.json"), serde_json::to_string_pretty(self)?)?;
        fs::write(directory.join("index.html"), self.page(&verdicts))?;
        Ok(verdicts.iter().all(|verdict| verdict.met))
    }

    fn verdicts(&self) -> Vec<Verdict> {
        let scale = self.slower;
        let budget = |target: &Target| {
            let run = self.run(target.name, target.connections)?;
            let scaled = run.total_cpu_us / scale;
            let Target { name, connections, cpu_us } = target;
            let text = format!(
                "{name} at {connections}: {:.0} µs CPU here, {scaled:.0} at the reference's speed; budget {cpu_us:.0}",
                run.total_cpu_us
            );
            Some(Verdict { text, met: scaled <= *cpu_us })
        };
        let mut verdicts: Vec<Verdict> = TARGETS.iter().filter_map(budget).collect();
        for (name, bare) in [
            ("verify_request_first_sight", &["p256_verify_aws_lc_rs", "secp256k1_verify_libsecp256k1"][..]),
            ("verify_request_token_known", &["secp256k1_verify_libsecp256k1"][..]),
        ] {
            let Some(whole) = self.raw.get(name) else { continue };
            let bare: f64 = bare.iter().filter_map(|name| self.raw.get(*name)).sum();
            let text = format!("{name}: {:.2} times the bare checks; budget 1.15", whole / bare);
            verdicts.push(Verdict { text, met: whole / bare <= 1.15 });
        }
        for name in ["issuance", "proxied"] {
            let Some(run) = self.run(name, 64) else { continue };
            let scaled = run.p99_ms / scale;
            let text = format!("{name} at 64: p99 {:.1} ms here, {scaled:.1} scaled; budget 12", run.p99_ms);
            verdicts.push(Verdict { text, met: scaled <= 12.0 });
        }
        if let Some(mib) = self.figures.get("memory of gateway and vault, MiB") {
            let text = format!("memory of gateway and vault {mib:.0} MiB; budget 120");
            verdicts.push(Verdict { text, met: *mib <= 120.0 });
        }
        verdicts
    }

    /// For the page of results: every run, the primitives, every budget.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "The primitives cost {:.2} times what they cost where the budgets come from; the column \"scaled\" is divided by that.\n\n\
             | request | connections | CPU µs here (gateway, PostgreSQL, vault) | scaled | per second | p50 ms | p99 ms |\n\
             |---|---:|---:|---:|---:|---:|---:|\n",
            self.slower
        );
        for (name, kind) in &self.kinds {
            for run in &kind.runs {
                let Measured { connections, protocol, total_cpu_us, per_process, rps, p50_ms, p99_ms, .. } = run;
                let parts: Vec<String> = per_process.values().map(|us| format!("{us:.0}")).collect();
                let _ = writeln!(
                    text,
                    "| {name}, {protocol} | {connections} | {total_cpu_us:.0} ({}) | {:.0} | {rps:.0} | {p50_ms:.1} | {p99_ms:.1} |",
                    parts.join(", "),
                    total_cpu_us / self.slower
                );
            }
        }
        text.push_str("\n| primitive, figure | |\n|---|---:|\n");
        for (name, value) in self.raw.iter().chain(&self.figures) {
            let unit = if self.raw.contains_key(name) { " (CPU µs)" } else { "" };
            let _ = writeln!(text, "| {name}{unit} | {value:.1} |");
        }
        text.push('\n');
        for Verdict { text: budget, met } in self.verdicts() {
            let _ = writeln!(text, "- {}{budget}", if met { "" } else { "**over**: " });
        }
        text
    }

    fn page(&self, verdicts: &[Verdict]) -> String {
        let mut page = String::from(HEAD);
        let _ = write!(page, "<p>{}. Primitives {:.2} times the reference's.</p>", self.machine, self.slower);
        page.push_str("<h2>Budgets</h2><ul>");
        for Verdict { text, met } in verdicts {
            let _ = write!(page, "<li>{} {text}</li>", if *met { "✓" } else { "✗ <b>over:</b>" });
        }
        page.push_str("</ul>");
        for (name, kind) in &self.kinds {
            let _ = write!(page, "<h2>{name}</h2>{}", bars(&kind.runs));
        }
        page.push_str("<h2>Primitives, CPU µs</h2><table>");
        for (name, us) in &self.raw {
            let _ = write!(page, "<tr><td>{name}</td><td>{us:.1}</td></tr>");
        }
        page.push_str("</table><h2>Other figures</h2><table>");
        for (name, value) in &self.figures {
            let _ = write!(page, "<tr><td>{name}</td><td>{value:.2}</td></tr>");
        }
        page.push_str("</table></body></html>\n");
        page
    }
}

fn line(name: &str, measured: &Measured) -> String {
    let Measured { connections, protocol, total_cpu_us, per_process, rps, p50_ms, p99_ms, .. } = measured;
    let parts: Vec<String> = per_process.iter().map(|(name, us)| format!("{name} {us:.0}")).collect();
    let parts = parts.join(", ");
    format!(
        "{name:14} {protocol:8} {connections:3} connections {total_cpu_us:6.0} µs CPU ({parts}) {rps:7.0}/s p50 {p50_ms:.1} ms p99 {p99_ms:.1} ms"
    )
}

/// A bar for each run, one shade for each process; the numbers stand beside it, so that nobody needs the shades.
fn bars(runs: &[Measured]) -> String {
    let most = runs.iter().map(|run| run.total_cpu_us).fold(1.0, f64::max);
    let height = runs.len() * 34 + 10;
    let mut svg = format!("<svg viewBox=\"0 0 900 {height}\" role=\"img\">");
    for (n, run) in runs.iter().enumerate() {
        let (y, mut x) = (n * 34 + 6, 190.0);
        let _ = write!(svg, "<text x=\"0\" y=\"{}\">{} × {}</text>", y + 16, run.protocol, run.connections);
        for (shade, us) in run.per_process.values().enumerate() {
            let width = us / most * 330.0;
            let _ = write!(svg, "<rect class=\"s{shade}\" x=\"{x:.0}\" y=\"{y}\" width=\"{width:.0}\" height=\"22\"/>");
            x += width;
        }
        let parts: Vec<String> = run.per_process.iter().map(|(name, us)| format!("{name} {us:.0}")).collect();
        let _ = write!(
            svg,
            "<text x=\"{:.0}\" y=\"{}\">{:.0} µs ({}), {:.0}/s, p99 {:.1} ms</text>",
            x + 8.0,
            y + 16,
            run.total_cpu_us,
            parts.join(", "),
            run.rps,
            run.p99_ms
        );
    }
    svg.push_str("</svg>");
    svg
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>tgp bench</title><style>\
    body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b2733}\
    td{padding:.1rem 1rem .1rem 0}svg{width:100%}text{font:13px system-ui,sans-serif;fill:#1b2733}\
    .s0{fill:#31688e}.s1{fill:#8fb8d0}.s2{fill:#c9a227}</style></head><body><h1>What a request costs</h1>";

fn geometric_mean(values: impl Iterator<Item = f64>) -> f64 {
    let logs: Vec<f64> = values.map(f64::ln).collect();
    if logs.is_empty() { 0.0 } else { (logs.iter().sum::<f64>() / logs.len() as f64).exp() }
}
