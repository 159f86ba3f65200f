//! One decision made two.

fn two(permit: &tgp_policy::Permit) -> tgp_policy::Permit {
    permit.clone()
}

fn main() {
    let _ = two;
}
