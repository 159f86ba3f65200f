//! Status lists: text as fetched, or header and claims that are signed here (two JSON texts with a line end between).

use tgp_request::status::{LIFETIME, StatusClaims, StatusError, StatusList, signing_input};

use crate::token::{TOKEN, sign, signed};
use crate::vectors::{ISSUER, NOW, TOKEN_KEYS};

pub fn check(data: &[u8]) -> bool {
    let text = signed(data);
    let Ok(list) = StatusList::verify(&TOKEN_KEYS, &text, ISSUER, NOW) else { return false };
    assert!(TOKEN_KEYS.verify(&text, ISSUER, NOW).is_err(), "a list is no token");
    let issued = list.issued();
    assert!(issued <= NOW + 30 && issued + LIFETIME > NOW);
    // A list that has ended says nothing.
    assert_eq!(list.check(&TOKEN, issued + LIFETIME), Err(StatusError::Expired));

    let payload = text.split('.').nth(1).expect("three parts");
    let payload = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, payload).expect("read");
    let claims: StatusClaims = serde_json::from_slice(&payload).expect("read");
    let named = claims.agents.contains(&TOKEN.agent()) || claims.tokens.contains(&TOKEN.claims().jti);
    assert_eq!(list.check(&TOKEN, NOW).is_err(), named);
    // Written again it says the same.
    let kid = TOKEN_KEYS.to_jwks().keys[0].kid.clone().unwrap();
    let again = sign(signing_input(&kid, &claims));
    let again = StatusList::verify(&TOKEN_KEYS, &again, ISSUER, NOW).expect("our own spelling of it");
    assert_eq!((again.issued(), again.check(&TOKEN, NOW)), (issued, list.check(&TOKEN, NOW)));
    true
}
