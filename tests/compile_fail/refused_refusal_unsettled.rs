//! A refusal answered before it was recorded.

fn answer(denied: tgp::verify::Denied) -> tgp::refusal::Refusal {
    denied.refusal
}

fn main() {
    let _ = answer;
}
