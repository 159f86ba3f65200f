//! Tokens that were verified lately, so that each is verified once. Keyed on SHA-256 of the text;
//! the clock is asked on every hit, and revocation by admission on every request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tgp_request::name::TrustDomain;
use tgp_request::token::{TokenError, TokenKeys, VerifiedToken};

/// Past this many the expired are dropped, and all of them if that is not enough.
const CAPACITY: usize = 100_000;

/// The keys, and what was verified with them.
pub struct Tokens {
    issuer: String,
    trust_domain: TrustDomain,
    keys: TokenKeys,
    seen: Mutex<HashMap<[u8; 32], Arc<VerifiedToken>>>,
}

impl Tokens {
    pub fn new(issuer: &str, trust_domain: TrustDomain, keys: TokenKeys) -> Self {
        Self { issuer: issuer.to_owned(), trust_domain, keys, seen: Mutex::default() }
    }

    /// `hash` must be the digest of `token`: `UnverifiedRequest::bearer_hash`.
    pub fn verify(&self, token: &str, hash: &[u8; 32], now: i64) -> Result<Arc<VerifiedToken>, TokenError> {
        if let Some(token) = self.lock().get(hash).cloned() {
            token.check_time(now)?;
            return Ok(token);
        }
        let verified = Arc::new(self.keys.verify(token, &self.issuer, now)?);
        // Certificates are of this trust domain, and a token names its agent as its certificate does.
        if verified.claims().sub.trust_domain != self.trust_domain {
            return Err(TokenError::Claims("sub is of another trust domain"));
        }
        if verified.hash() == hash {
            self.keep(&verified, now);
        }
        Ok(verified)
    }

    fn keep(&self, token: &Arc<VerifiedToken>, now: i64) {
        let mut seen = self.lock();
        if seen.len() >= CAPACITY {
            seen.retain(|_, token| token.check_time(now).is_ok());
            if seen.len() >= CAPACITY {
                seen.clear();
            }
        }
        seen.insert(*token.hash(), Arc::clone(token));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Arc<VerifiedToken>>> {
        // Every entry is whole before it is in the map.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};
    use tgp_request::token::TokenKey;

    use super::*;

    // Of the vector; its key is a test key.
    const ISSUER: &str = "https://gw.tgp.example";
    const ISSUED: i64 = 1_795_000_000;

    fn vector() -> (Tokens, String) {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/attest/request/tests/vectors/request-signature.json");
        let text = std::fs::read_to_string(path).expect("the vector");
        let vector: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let jwk = serde_json::from_value(vector["gateway_jwk"].clone()).expect("a JWK");
        let keys = TokenKeys::new([TokenKey::from_jwk(&jwk).expect("a key")]);
        (
            Tokens::new(ISSUER, "tgp.example".parse().expect("a trust domain"), keys),
            vector["access_token"].as_str().expect("text").to_owned(),
        )
    }

    #[test]
    fn a_token_that_was_seen_still_expires() {
        let (tokens, token) = vector();
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        assert!(tokens.verify(&token, &hash, ISSUED).is_ok());
        assert_eq!(tokens.lock().len(), 1);
        assert!(tokens.verify(&token, &hash, ISSUED + 299).is_ok());
        assert_eq!(tokens.verify(&token, &hash, ISSUED + 300).err(), Some(TokenError::Expired));
    }

    #[test]
    fn a_token_is_not_kept_under_another_digest() {
        let (tokens, token) = vector();
        assert!(tokens.verify(&token, &[0; 32], ISSUED).is_ok());
        assert_eq!(tokens.lock().len(), 0);
    }
}
