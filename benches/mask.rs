//! What masking costs a reply that reflects nothing: the needles built, the head and one body of 1 KiB searched.
//!
//!   cargo bench --bench mask

use std::hint::black_box;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt as _, Full};
use tgp::proxy::mask::Masked;
use tgp::proxy::needles::Needles;

const ROUNDS: u32 = 200_000;

fn head() -> HeaderMap {
    [
        ("content-type", "application/json; charset=utf-8"),
        ("content-length", "1024"),
        ("date", "Wed, 25 Nov 2026 04:00:00 GMT"),
        ("server", "uvicorn"),
        ("cache-control", "no-store"),
        ("x-request-id", "5f2b1c1e-8f0e-4f7a-9a83-6a1b2c3d4e5f"),
        ("vary", "accept, origin"),
        ("etag", "\"33a64df551425fcc55e4d42a148795d9f25f89d4\""),
    ]
    .into_iter()
    .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
    .collect()
}

fn body() -> Bytes {
    let row = "{\"id\":12,\"from\":\"alice@example.com\",\"subject\":\"Quarterly report\",\"unread\":true},";
    Bytes::from(format!("[{}", row.repeat(13)).into_bytes()).slice(..1024)
}

/// Nanoseconds that this thread has had a processor for: others may be using the machine too.
fn on_cpu() -> u128 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells");
    stat.split(' ').next().and_then(|first| first.parse().ok()).expect("a number")
}

/// Nanoseconds of processor for one reply.
fn measure(needles: impl Fn() -> Option<Needles>) -> u128 {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let (head, body) = (head(), body());
    runtime.block_on(async {
        let begun = on_cpu();
        for _ in 0..ROUNDS {
            let mut head = head.clone();
            let mut masked = Masked::new(Full::new(body.clone()), black_box(needles()), &head);
            masked.mask_head(&mut head);
            while let Some(frame) = masked.frame().await {
                black_box(frame).expect("no error");
            }
        }
        (on_cpu() - begun) / u128::from(ROUNDS)
    })
}

fn main() {
    let none = measure(|| None);
    println!("none: {none} ns a reply, the harness itself");
    for (kind, secret, pair) in [
        ("bearer of 40 octets", "sk-live-51H8x2KJ0pQmZt9aVbNcRfYdL3wUeGhS", false),
        ("pair of 25 octets", "bot:calendar-secret-12345", true),
        ("header of 64 octets", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", false),
    ] {
        let all = measure(|| Needles::of(black_box(secret.as_bytes()), pair));
        println!("{kind}: {} ns a reply more", all.saturating_sub(none));
    }
}
