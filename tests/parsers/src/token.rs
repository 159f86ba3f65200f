//! Access tokens: text as presented, or header and claims that are signed here (two JSON texts with a line end between),
//! since a fuzzer cannot forge the signature that stands before the claims.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use p256::ecdsa::signature::Signer as _;
use tgp_request::token::{Claims, MAX_LIFETIME, TokenError, VerifiedToken, assemble, signing_input};

use crate::vectors::{GATEWAY, ISSUER, NOW, SHARED, TOKEN_KEYS};

/// The access token of the vectors.
pub static TOKEN: LazyLock<VerifiedToken> = LazyLock::new(|| {
    let text = SHARED["access_token"].as_str().expect("a token");
    TOKEN_KEYS.verify(text, ISSUER, NOW).expect("genuine")
});

/// Text as it is, or header and claims with a signature by the gateway of the vectors.
pub fn signed(data: &[u8]) -> String {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => {
            let (header, claims) = (&data[..end], &data[end + 1..]);
            sign(format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims)))
        }
        None => String::from_utf8_lossy(data).into_owned(),
    }
}

pub fn check(data: &[u8]) -> bool {
    let token = signed(data);
    let Ok(verified) = TOKEN_KEYS.verify(&token, ISSUER, NOW) else { return false };

    let claims = verified.claims();
    let Claims { iss, client_id, aud, iat, nbf, exp, authorization_details, .. } = claims;
    assert_eq!(iss, ISSUER);
    assert_eq!(*client_id, verified.agent());
    assert!(*nbf <= NOW && NOW < *exp && (1..=MAX_LIFETIME).contains(&(exp - iat)));
    assert_eq!(verified.check_time(*exp), Err(TokenError::Expired));
    assert_eq!(authorization_details.len(), 1);
    assert!(!verified.actions().is_empty() && verified.actions().iter().all(|action| verified.covers(action)));
    assert_eq!(authorization_details[0].locations, [aud.as_str()]);

    // Another library reads the same in it, where it reads it at all.
    if let Some(theirs) = by_jsonwebtoken(&token, aud) {
        assert_eq!(&theirs, claims);
    }
    // Written again it says the same.
    let kid = TOKEN_KEYS.to_jwks().keys[0].kid.clone().unwrap();
    let again = TOKEN_KEYS.verify(&sign(signing_input(&kid, claims)), ISSUER, NOW).expect("our own spelling of it");
    assert_eq!(again.claims(), claims);
    assert_eq!(again.keyid(), verified.keyid());
    true
}

pub fn sign(input: String) -> String {
    let signature: p256::ecdsa::Signature = GATEWAY.sign(input.as_bytes());
    assemble(input, &signature.to_bytes().into())
}

fn by_jsonwebtoken(token: &str, aud: &str) -> Option<Claims> {
    let mut rules = Validation::new(Algorithm::ES256);
    // Its clock is the machine's; times are judged above.
    rules.validate_exp = false;
    rules.required_spec_claims.clear();
    rules.set_issuer(&[ISSUER]);
    rules.set_audience(&[aud]);
    let point = GATEWAY.verifying_key().to_sec1_point(false);
    let key = DecodingKey::from_ec_der(point.as_bytes());
    jsonwebtoken::decode::<Claims>(token, &key, &rules).ok().map(|decoded| decoded.claims)
}
