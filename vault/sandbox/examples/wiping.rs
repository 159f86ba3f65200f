//! What wiping freed memory costs: `cargo run --release -p tgp-sandbox --example wiping` prints the table of
//! docs/RESULTS.md.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::time::Instant;

use zeroizing_alloc::ZeroAlloc;

const ROUNDS: u32 = 200_000;

fn main() {
    println!(
        "| octets | malloc and free, ns | and written, ns | and wiped, ns | wiping costs, ns |\n|---:|---:|---:|---:|---:|"
    );
    for size in [64, 1024, 16 * 1024, 64 * 1024] {
        // The least of several: others share the machine.
        let least = |measure: &dyn Fn() -> f64| (0..7).map(|_| measure()).fold(f64::INFINITY, f64::min);
        let bare = least(&|| nanoseconds(&System, size, false));
        let written = least(&|| nanoseconds(&System, size, true));
        let wiped = least(&|| nanoseconds(&ZeroAlloc(System), size, true));
        println!("| {size} | {bare:.0} | {written:.0} | {wiped:.0} | {:.0} |", wiped - written);
    }
}

/// Of one allocation that is freed again; `write` puts an octet everywhere, as what is about to be wiped was
/// written.
#[expect(unsafe_code, reason = "an allocator that is not the global one is only called so")]
fn nanoseconds(allocator: &impl GlobalAlloc, size: usize, write: bool) -> f64 {
    let layout = Layout::from_size_align(size, 16).expect("a layout");
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        // SAFETY: the layout has a size, the memory is written within it and freed once with the same layout.
        unsafe {
            let memory = allocator.alloc(layout);
            assert!(!memory.is_null());
            if write {
                black_box(memory).write_bytes(1, size);
            }
            allocator.dealloc(black_box(memory), layout);
        }
    }
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS)
}
