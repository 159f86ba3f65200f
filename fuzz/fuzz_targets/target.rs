//! One source for every target: the binary's name says which.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tgp_parsers::Target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| tgp_parsers::target(env!("CARGO_BIN_NAME")));

fuzz_target!(|data: &[u8]| {
    (TARGET.check)(data);
});
