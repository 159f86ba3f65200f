//! The chain of types cannot be broken: each of the programs in `compile_fail/` must not compile, for
//! the reason that stands beside it. A failure here means that a step of the order can be skipped or
//! repeated.

use tgp::admission::{Admission, Entry, Recorded, Spend};
use tgp::proxy::Credential;
use tgp::proxy::credential::Claim;
use tgp::vault::Vault;
use tgp_policy::{Facts, Permit, Question, decide};

#[test]
fn the_order_of_checks_and_records_does_not_compile_otherwise() {
    // That this one compiles shows that the others fail for what they get wrong.
    let _ = in_order;
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}

/// The chain in its one order.
async fn in_order(
    (question, facts): (&Question, &Facts),
    admission: &Admission,
    (entry, spend): (Entry, Spend),
    vault: &Vault,
    claim: Claim<'_>,
) -> Option<Credential> {
    let permit: Permit = decide(question, facts, 0).ok()?;
    let recorded: Recorded<Permit> = admission.admit(permit, entry, Some(spend)).await.ok()?;
    Credential::release(vault, recorded, claim).await.ok()
}
