//! Client assertions: text as presented, or header and claims that are signed here (two JSON texts with a line end
//! between), since a fuzzer cannot forge the signature that stands before nothing else.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tgp_request::assertion::{MAX_AHEAD, UnverifiedAssertion, assert as made};
use tgp_request::jwk::IdentitySecret;

use crate::vectors::{ISSUER, NOW};

pub fn check(data: &[u8]) -> bool {
    let key = IdentitySecret::from_bytes(&[7; 32]).unwrap();
    let text = match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => {
            let (header, claims) = (&data[..end], &data[end + 1..]);
            let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
            let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()));
            format!("{message}.{signature}")
        }
        None => String::from_utf8_lossy(data).into_owned(),
    };
    let Ok(parsed) = UnverifiedAssertion::parse(&text, ISSUER, NOW) else { return false };
    let agent = parsed.agent();
    // At any other issuer it is nothing, and a minute later it is over.
    assert!(UnverifiedAssertion::parse(&text, &format!("{ISSUER}/"), NOW).is_err());
    assert!(UnverifiedAssertion::parse(&text, ISSUER, NOW + MAX_AHEAD).is_err());
    let other = IdentitySecret::from_bytes(&[8; 32]).unwrap();
    assert!(UnverifiedAssertion::parse(&text, ISSUER, NOW).unwrap().verify(other.public()).is_err());
    let Ok(verified) = parsed.verify(key.public()) else { return true };
    assert_eq!(verified.agent(), agent);
    assert!(NOW < verified.expires() && verified.expires() <= NOW + MAX_AHEAD);
    assert!(verified.created() <= NOW, "it is never filed ahead of the clock");
    let again = made(agent, ISSUER, &key, "one", NOW);
    let again = UnverifiedAssertion::parse(&again, ISSUER, NOW).expect("our own").verify(key.public()).expect("ours");
    assert_eq!((again.agent(), again.keyid()), (agent, verified.keyid()));
    true
}
