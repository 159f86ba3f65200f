//! What a proof found, written into `docs/RESULTS.md` between two marks of its own: nobody copies figures by hand.

use std::fs;
use std::process::Command;

use crate::Failure;

const PAGE: &str = "docs/RESULTS.md";

/// Replaces what stands between `<!-- NAME -->` and `<!-- end of NAME -->` with when, where and `text`.
pub fn record(name: &str, text: &str) -> Result<(), Failure> {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let page =
        fs::read_to_string(PAGE).map_err(|error| format!("{PAGE}: {error}; run this from the project's root"))?;
    let missing = || format!("{PAGE} has no marks {begin:?} and {end:?}");
    let (before, rest) = page.split_once(&begin).ok_or_else(missing)?;
    let (_, after) = rest.split_once(&end).ok_or_else(missing)?;
    let stamp = format!("{}, commit {}, {}.", said("date", &["-u", "+%F"])?, commit()?, machine());
    fs::write(PAGE, format!("{before}{begin}{stamp}\n\n{}\n{end}{after}", text.trim_end()))?;
    println!("\n{PAGE}: section {name} written");
    Ok(())
}

/// Of the tree that was measured, with a mark when it was changed since.
fn commit() -> Result<String, Failure> {
    said("git", &["describe", "--always", "--dirty", "--exclude", "*"])
}

fn said(program: &str, args: &[&str]) -> Result<String, Failure> {
    let output = Command::new(program).args(args).output()?;
    if !output.status.success() {
        return Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The processor and how many cores of it.
pub fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    format!("{}, {cores} cores", model.trim_start_matches([' ', '\t', ':']))
}
