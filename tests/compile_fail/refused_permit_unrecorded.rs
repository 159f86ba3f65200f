//! A credential drawn for a decision that nobody recorded.

use tgp::proxy::Credential;
use tgp::proxy::credential::Claim;
use tgp::vault::Vault;
use tgp_policy::Permit;

async fn early(vault: &Vault, permit: Permit, claim: Claim<'_>) {
    let _ = Credential::release(vault, permit, claim).await;
}

fn main() {
    let _ = early;
}
