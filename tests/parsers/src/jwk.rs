//! Public keys as JWK, as key set and as SEC1 points.

use tgp_request::jwk::{IdentityKey, Jwk};
use tgp_request::token::{Jwks, TokenKey, TokenKeys};

pub fn check(data: &[u8]) -> bool {
    let mut accepted = point(data);
    if let Ok(jwks) = serde_json::from_slice::<Jwks>(data)
        && let Ok(keys) = TokenKeys::from_jwks(&jwks)
    {
        let shown = keys.to_jwks();
        assert_eq!(TokenKeys::from_jwks(&shown).expect("our own spelling").to_jwks(), shown);
        accepted = true;
    }
    let Ok(jwk) = serde_json::from_slice::<Jwk>(data) else { return accepted };
    let text = serde_json::to_string(&jwk).unwrap();
    let public: Jwk = serde_json::from_str(&text).expect("what was written reads back");
    assert!(!text.contains("\"d\":"), "a private member was kept: {text}");
    if let Ok(key) = IdentityKey::from_jwk(&jwk) {
        assert_eq!(public, jwk);
        assert_eq!((&key.to_jwk().x, &key.to_jwk().y), (&jwk.x, &jwk.y), "one key has one text");
        for form in [key.to_jwk(), key.to_cnf_jwk()] {
            assert_eq!(IdentityKey::from_jwk(&form).expect("our own spelling"), key);
        }
        point(&key.to_sec1());
        accepted = true;
    }
    if let Ok(key) = TokenKey::from_jwk(&jwk) {
        assert_eq!(TokenKey::from_jwk(&key.to_jwk()).expect("our own spelling"), key);
        assert_eq!(TokenKey::from_sec1(&key.to_sec1()).expect("the same point"), key);
        accepted = true;
    }
    accepted
}

/// libsecp256k1 and k256 agree on what is a point of the curve.
fn point(sec1: &[u8]) -> bool {
    let ours = IdentityKey::from_sec1(sec1);
    let ours_ok = ours.is_ok();
    if matches!((sec1.len(), sec1.first()), (33, Some(2 | 3)) | (65, Some(4))) {
        let theirs = k256::PublicKey::from_sec1_bytes(sec1);
        assert_eq!(ours.is_ok(), theirs.is_ok());
        if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
            assert_eq!(&ours.to_sec1()[..], &theirs.to_sec1_bytes()[..]);
        }
    } else {
        assert!(ours.is_err());
    }
    ours_ok
}
