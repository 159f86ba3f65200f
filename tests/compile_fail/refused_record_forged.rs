//! A record that admission did not make.

use tgp::admission::Recorded;
use tgp_policy::Permit;

fn forge(permit: Permit) -> Recorded<Permit> {
    Recorded(permit)
}

fn made(permit: Permit) -> Recorded<Permit> {
    Recorded::new(permit)
}

fn main() {
    let _ = (forge, made);
}
