//! One decision, admitted twice.

use tgp::admission::{Admission, Entry};
use tgp_policy::Permit;

async fn twice(admission: &Admission, permit: Permit, entry: Entry) {
    let _ = admission.admit(permit, entry.clone(), None).await;
    let _ = admission.admit(permit, entry, None).await;
}

fn main() {
    let _ = twice;
}
