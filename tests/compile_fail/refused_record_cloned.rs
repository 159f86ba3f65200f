//! One record made two.

use tgp::admission::Recorded;
use tgp_policy::Permit;

fn two(recorded: &Recorded<Permit>) -> Recorded<Permit> {
    recorded.clone()
}

fn main() {
    let _ = two;
}
