//! Writes every seed below a folder, one folder for each target: what a fuzzer's corpus begins with.
#![allow(clippy::unwrap_used, reason = "run by scripts/fuzz; a panic is its report")]

use std::path::PathBuf;

fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("the folder"));
    for (at, seed) in tgp_parsers::seeds::all().into_iter().enumerate() {
        let folder = folder.join(seed.target);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("seed-{at:04}")), seed.octets).unwrap();
    }
}
