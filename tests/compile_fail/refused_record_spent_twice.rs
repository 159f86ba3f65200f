//! One record, two credentials.

use tgp::admission::Recorded;
use tgp::proxy::Credential;
use tgp::proxy::credential::Claim;
use tgp::vault::Vault;
use tgp_policy::Permit;

async fn twice(vault: &Vault, recorded: Recorded<Permit>, one: Claim<'_>, two: Claim<'_>) {
    let _ = Credential::release(vault, recorded, one).await;
    let _ = Credential::release(vault, recorded, two).await;
}

fn main() {
    let _ = twice;
}
