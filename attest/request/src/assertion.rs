//! Client assertions: `private_key_jwt` of RFC 7523 §2.2, ES256K by the agent's identity key.
//!
//! `iss` and `sub` are the agent's UUID, `aud` is the issuer and nothing else, `exp` lies at most a minute ahead, `jti` is
//! spent with the assertion. Whoever remembers it files it under [`VerifiedAssertion::created`], a minute before its end:
//! a time that is signed, so that a replay is looked for where the first use was filed.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::b64;
use crate::jwk::{IdentityKey, IdentitySecret};
use crate::name::parse_uuid;

/// `client_assertion_type` of the token endpoint.
pub const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// How far ahead `exp` may lie, in seconds.
pub const MAX_AHEAD: i64 = 60;
/// The longest assertion that is looked at, in bytes.
const MAX_LENGTH: usize = 4 * 1024;
const MAX_JTI: usize = 256;
/// What a client's clock may be ahead of ours, in seconds: as for a signature's `created`.
const SKEW: i64 = 30;

/// Why an assertion is not accepted. It names no secret, and nothing that its sender does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssertionError {
    #[error("the assertion is not a JWT signed with ES256K")]
    Malformed,
    #[error("the assertion's claims are not iss, sub, aud, exp and jti in their form")]
    Claims,
    #[error("the assertion's iss and sub are not one agent's UUID")]
    Subject,
    #[error("the assertion's aud is not the issuer")]
    Audience,
    #[error("the assertion has expired")]
    Expired,
    #[error("the assertion's exp lies more than a minute ahead")]
    TooFarAhead,
    #[error("the assertion is of the future")]
    NotYet,
    #[error("the assertion is not signed by the agent's identity key")]
    Signature,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default, deserialize_with = "crate::jwk::present")]
    crit: bool,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: i64,
    jti: String,
    #[serde(default)]
    iat: Option<i64>,
    #[serde(default)]
    nbf: Option<i64>,
}

/// RFC 7519 §4.1.3: a string, or an array; here of that one string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Array([String; 1]),
}

/// An assertion whose form, claims and times hold.
pub struct UnverifiedAssertion<'a> {
    message: &'a str,
    signature: [u8; 64],
    kid: Option<String>,
    agent: Uuid,
    jti_digest: [u8; 32],
    expires: i64,
}

/// An assertion that the agent's key signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedAssertion {
    agent: Uuid,
    keyid: String,
    jti_digest: [u8; 32],
    expires: i64,
}

impl<'a> UnverifiedAssertion<'a> {
    /// All that can be told without the agent's key. `issuer` is compared as text.
    pub fn parse(text: &'a str, issuer: &str, now: i64) -> Result<Self, AssertionError> {
        if text.len() > MAX_LENGTH {
            return Err(AssertionError::Malformed);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(AssertionError::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(AssertionError::Malformed)?;
        let signature = b64::decode_exact::<64>(signature).ok_or(AssertionError::Malformed)?;
        let header = b64::decode(header).ok_or(AssertionError::Malformed)?;
        let Header { alg, typ, kid, crit } = serde_json::from_slice(&header).map_err(|_| AssertionError::Malformed)?;
        // The second is what RFC 7523 is being revised to say.
        let known = typ.is_none_or(|typ| matches!(typ.as_str(), "JWT" | "client-authentication+jwt"));
        if alg != "ES256K" || !known || crit {
            return Err(AssertionError::Malformed);
        }
        let payload = b64::decode(payload).ok_or(AssertionError::Malformed)?;
        let claims: Claims = serde_json::from_slice(&payload).map_err(|_| AssertionError::Claims)?;
        let (agent, jti_digest, expires) = claims.check(issuer, now)?;
        Ok(Self { message, signature, kid, agent, jti_digest, expires })
    }

    /// Who it says that it is of.
    pub fn agent(&self) -> Uuid {
        self.agent
    }

    /// `key` is the agent's active identity key.
    pub fn verify(self, key: &IdentityKey) -> Result<VerifiedAssertion, AssertionError> {
        let Self { message, signature, kid, agent, jti_digest, expires } = self;
        if kid.is_some_and(|kid| kid != key.keyid()) {
            return Err(AssertionError::Signature);
        }
        key.verify(message.as_bytes(), &signature).map_err(|_| AssertionError::Signature)?;
        Ok(VerifiedAssertion { agent, keyid: key.keyid().to_owned(), jti_digest, expires })
    }
}

impl Claims {
    fn check(self, issuer: &str, now: i64) -> Result<(Uuid, [u8; 32], i64), AssertionError> {
        let Self { iss, sub, aud, exp, jti, iat, nbf } = self;
        if iss != sub {
            return Err(AssertionError::Subject);
        }
        let agent = parse_uuid(&sub).map_err(|_| AssertionError::Subject)?;
        let (Audience::One(audience) | Audience::Array([audience])) = aud;
        if audience != issuer {
            return Err(AssertionError::Audience);
        }
        if now >= exp {
            return Err(AssertionError::Expired);
        }
        if exp.saturating_sub(now) > MAX_AHEAD {
            return Err(AssertionError::TooFarAhead);
        }
        if [iat, nbf].into_iter().flatten().any(|time| time.saturating_sub(now) > SKEW) {
            return Err(AssertionError::NotYet);
        }
        if jti.is_empty() || jti.len() > MAX_JTI {
            return Err(AssertionError::Claims);
        }
        Ok((agent, Sha256::digest(jti.as_bytes()).into(), exp))
    }
}

impl VerifiedAssertion {
    pub fn agent(&self) -> Uuid {
        self.agent
    }

    pub fn keyid(&self) -> &str {
        &self.keyid
    }

    /// SHA-256 of `jti`: what replay memory is keyed on, beside the keyid.
    pub fn jti_digest(&self) -> [u8; 32] {
        self.jti_digest
    }

    /// Where replay memory files it. Not before it was made, but for what a clock was wrong by.
    pub fn created(&self) -> i64 {
        self.expires.saturating_sub(MAX_AHEAD)
    }

    pub fn expires(&self) -> i64 {
        self.expires
    }
}

/// An assertion for the token endpoint of `issuer`, good until a minute from `now`.
pub fn assert(agent: Uuid, issuer: &str, key: &IdentitySecret, jti: &str, now: i64) -> String {
    #[derive(Serialize)]
    struct Said<'a> {
        iss: String,
        sub: String,
        aud: &'a str,
        exp: i64,
        iat: i64,
        jti: &'a str,
    }
    let agent = agent.to_string();
    // A second short of what is allowed: the gateway's clock may be behind by as much.
    let said = Said { iss: agent.clone(), sub: agent, aud: issuer, exp: now + MAX_AHEAD - 1, iat: now, jti };
    let header = format!(r#"{{"typ":"JWT","alg":"ES256K","kid":"{}"}}"#, key.public().keyid());
    let claims = serde_json::to_vec(&said).expect("texts and numbers always serialise");
    let message = format!("{}.{}", b64::encode(header.as_bytes()), b64::encode(&claims));
    let signature = b64::encode(&key.sign(message.as_bytes()));
    format!("{message}.{signature}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ISSUER: &str = "https://gw.tgp.example";
    const NOW: i64 = 1_795_000_000;
    const AGENT: &str = "0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d";

    fn key() -> IdentitySecret {
        IdentitySecret::from_bytes(&[7; 32]).unwrap()
    }

    fn made(header: &Value, claims: &str) -> String {
        let message = format!("{}.{}", b64::encode(header.to_string().as_bytes()), b64::encode(claims.as_bytes()));
        let signature = key().sign(message.as_bytes());
        format!("{message}.{}", b64::encode(&signature))
    }

    fn claims() -> Value {
        json!({ "iss": AGENT, "sub": AGENT, "aud": ISSUER, "exp": NOW + 60, "jti": "one" })
    }

    fn judged(text: &str) -> Result<VerifiedAssertion, AssertionError> {
        UnverifiedAssertion::parse(text, ISSUER, NOW)?.verify(key().public())
    }

    #[test]
    fn what_we_make_is_accepted_and_filed_under_what_was_signed() {
        let text = assert(parse_uuid(AGENT).unwrap(), ISSUER, &key(), "one", NOW);
        let verified = judged(&text).unwrap();
        assert_eq!(verified.agent().to_string(), AGENT);
        assert_eq!(verified.keyid(), key().public().keyid());
        assert_eq!((verified.created(), verified.expires()), (NOW - 1, NOW + 59));
        let later = UnverifiedAssertion::parse(&text, ISSUER, NOW + 30).unwrap().verify(key().public()).unwrap();
        assert_eq!(later, verified, "whenever it is looked at");
    }

    #[test]
    fn each_rule_has_its_refusal() {
        let with = |change: &dyn Fn(&mut Value)| {
            let mut claims = claims();
            change(&mut claims);
            judged(&made(&json!({ "alg": "ES256K" }), &claims.to_string())).map(|_| ())
        };
        assert_eq!(with(&|_| {}), Ok(()));
        assert_eq!(with(&|c| c["aud"] = json!([ISSUER])), Ok(()));
        assert_eq!(with(&|c| c["iat"] = json!(NOW + 30)), Ok(()));
        assert_eq!(with(&|c| c["other"] = json!({})), Ok(()));
        for (change, error) in [
            ((&|c: &mut Value| c["exp"] = json!(NOW)) as &dyn Fn(&mut Value), AssertionError::Expired),
            (&|c| c["exp"] = json!(i64::MIN), AssertionError::Expired),
            (&|c| c["exp"] = json!(NOW + 61), AssertionError::TooFarAhead),
            (&|c| c["exp"] = json!(i64::MAX), AssertionError::TooFarAhead),
            (&|c| c["exp"] = json!(1e300), AssertionError::Claims),
            (&|c| c["exp"] = json!("1"), AssertionError::Claims),
            (&|c| c["iat"] = json!(NOW + 31), AssertionError::NotYet),
            (&|c| c["nbf"] = json!(i64::MAX), AssertionError::NotYet),
            (&|c| c["aud"] = json!(format!("{ISSUER}/oauth2/token")), AssertionError::Audience),
            (&|c| c["aud"] = json!(format!("{ISSUER}/")), AssertionError::Audience),
            (&|c| c["aud"] = json!([ISSUER, "x"]), AssertionError::Claims),
            (&|c| c["aud"] = json!([]), AssertionError::Claims),
            (&|c| c["iss"] = json!("x"), AssertionError::Subject),
            (&|c| (c["iss"], c["sub"]) = (json!("x"), json!("x")), AssertionError::Subject),
            (&|c| c["sub"] = json!(AGENT.to_uppercase()), AssertionError::Subject),
            (&|c| c["jti"] = json!(""), AssertionError::Claims),
            (&|c| c["jti"] = json!("x".repeat(257)), AssertionError::Claims),
            (&|c| c["jti"] = json!(1), AssertionError::Claims),
            (&|c| drop(c.as_object_mut().unwrap().remove("jti")), AssertionError::Claims),
        ] {
            assert_eq!(with(change), Err(error));
        }
    }

    #[test]
    fn header_signature_and_form_are_judged_strictly() {
        let good = claims().to_string();
        let of = |header: Value| judged(&made(&header, &good)).map(|_| ());
        let keyid = key().public().keyid().to_owned();
        assert_eq!(of(json!({ "alg": "ES256K", "typ": "client-authentication+jwt", "kid": keyid })), Ok(()));
        for header in [
            json!({ "alg": "ES256" }),
            json!({ "alg": "none" }),
            json!({ "alg": "HS256" }),
            json!({ "alg": "ES256K", "typ": "at+jwt" }),
            json!({ "alg": "ES256K", "crit": ["exp"] }),
            json!({ "alg": "ES256K", "crit": null }),
            json!({}),
        ] {
            assert_eq!(of(header), Err(AssertionError::Malformed));
        }
        assert_eq!(of(json!({ "alg": "ES256K", "kid": "other" })), Err(AssertionError::Signature));
        let text = made(&json!({ "alg": "ES256K" }), &good);
        let other = IdentitySecret::from_bytes(&[8; 32]).unwrap();
        let parsed = UnverifiedAssertion::parse(&text, ISSUER, NOW).unwrap();
        assert_eq!(parsed.verify(other.public()), Err(AssertionError::Signature));
        let twice = good.replacen('{', r#"{"jti":"two","#, 1);
        assert_eq!(judged(&made(&json!({ "alg": "ES256K" }), &twice)), Err(AssertionError::Claims));
        for bad in ["", "a", "a.b", "..", &text[..text.len() - 1], &format!("{text}="), &format!("{text}.x")] {
            assert_eq!(judged(bad), Err(AssertionError::Malformed), "{bad}");
        }
        assert_eq!(judged(&"a".repeat(5000)), Err(AssertionError::Malformed));
    }
}
