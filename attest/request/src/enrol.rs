//! The enrolment code and the bodies of `POST /v1/enrol`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::b64;
use crate::jwk::{IdentitySecret, Jwk};

/// Text that is not an enrolment code. It says nothing of what was presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an enrolment code: {0}")]
pub struct EnrolmentCodeError(&'static str);

/// What an operator hands to an agent once: `tgpec_` and base64url of 89 bytes
/// (version 1, agent, expiry, SHA-256 of the CA's SPKI, private scalar).
///
/// The scalar never goes over the wire: it signs the enrolment.
pub struct EnrolmentCode {
    pub agent: Uuid,
    /// Unix seconds.
    pub expires: u64,
    /// What the client pins for its first connection.
    pub ca_spki_sha256: [u8; 32],
    secret: IdentitySecret,
}

impl EnrolmentCode {
    const PREFIX: &'static str = "tgpec_";
    const VERSION: u8 = 1;
    const LENGTH: usize = 1 + 16 + 8 + 32 + 32;

    pub fn new(agent: Uuid, expires: u64, ca_spki_sha256: [u8; 32], secret: IdentitySecret) -> Self {
        Self { agent, expires, ca_spki_sha256, secret }
    }

    pub fn parse(text: &str) -> Result<Self, EnrolmentCodeError> {
        let body = text.strip_prefix(Self::PREFIX).ok_or(EnrolmentCodeError("it starts with tgpec_"))?;
        let bytes = b64::decode_exact::<{ Self::LENGTH }>(body)
            .map(Zeroizing::new)
            .ok_or(EnrolmentCodeError("it is cut short or altered"))?;
        let (version, rest) = bytes.split_at(1);
        let (agent, rest) = rest.split_at(16);
        let (expires, rest) = rest.split_at(8);
        let (ca_spki_sha256, scalar) = rest.split_at(32);
        if version != [Self::VERSION] {
            return Err(EnrolmentCodeError("its version is unknown to this program"));
        }
        let scalar: &[u8; 32] = scalar.try_into().expect("32 bytes are left of 89");
        Ok(Self {
            agent: Uuid::from_slice(agent).expect("16 bytes are a UUID"),
            expires: u64::from_be_bytes(expires.try_into().expect("8 bytes were split off")),
            ca_spki_sha256: ca_spki_sha256.try_into().expect("32 bytes were split off"),
            secret: IdentitySecret::from_bytes(scalar).map_err(|_| EnrolmentCodeError("its key is out of range"))?,
        })
    }

    /// The text to hand over. It is a secret until it is used or has expired.
    pub fn text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0u8; Self::LENGTH]);
        bytes[0] = Self::VERSION;
        bytes[1..17].copy_from_slice(self.agent.as_bytes());
        bytes[17..25].copy_from_slice(&self.expires.to_be_bytes());
        bytes[25..57].copy_from_slice(&self.ca_spki_sha256);
        bytes[57..].copy_from_slice(&*self.secret.dangerous_to_bytes());
        let body = Zeroizing::new(b64::encode(&*bytes));
        let mut text = Zeroizing::new(String::with_capacity(Self::PREFIX.len() + body.len()));
        text.push_str(Self::PREFIX);
        text.push_str(&body);
        text
    }

    /// The key that signs with the tag `tgp-enrol-code`; its public half stands in the invitation.
    pub fn secret(&self) -> &IdentitySecret {
        &self.secret
    }
}

/// The body of `POST /v1/enrol`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolmentRequest {
    #[serde(with = "crate::name::uuid_text")]
    pub agent: Uuid,
    /// PKCS#10 in PEM; only its P-256 key is used.
    pub csr: String,
    pub jwk: Jwk,
}

/// The body of its 201. The master key is shown this once.
#[derive(Serialize, Deserialize)]
pub struct EnrolmentReply {
    #[serde(with = "crate::name::uuid_text")]
    pub agent: Uuid,
    pub aan: crate::name::Aan,
    /// PEM, leaf first.
    pub certificate_chain: String,
    /// PEM.
    pub ca_bundle: String,
    pub master_key: Zeroizing<String>,
}

impl std::fmt::Debug for EnrolmentReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnrolmentReply")
            .field("agent", &self.agent)
            .field("aan", &self.aan)
            .field("master_key", &"<redacted>")
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code() -> EnrolmentCode {
        let secret = IdentitySecret::from_bytes(&[7; 32]).expect("it is in range");
        EnrolmentCode::new(Uuid::from_u128(1), 1_795_000_000, [9; 32], secret)
    }

    #[test]
    fn the_bytes_of_a_code_are_where_the_protocol_puts_them() {
        let text = code().text();
        let bytes = b64::decode(text.strip_prefix("tgpec_").unwrap()).unwrap();
        assert_eq!(bytes.len(), 89);
        assert_eq!(bytes[0], 1);
        assert_eq!(bytes[1..17], 1u128.to_be_bytes());
        assert_eq!(bytes[17..25], 1_795_000_000u64.to_be_bytes());
        assert_eq!(bytes[25..57], [9; 32]);
        assert_eq!(bytes[57..], [7; 32]);
    }

    #[test]
    fn a_code_that_is_altered_or_of_another_version_is_refused() {
        let good = code().text();
        let body = b64::decode(good.strip_prefix("tgpec_").unwrap()).unwrap();
        let with = |change: fn(&mut Vec<u8>)| {
            let mut bytes = body.clone();
            change(&mut bytes);
            format!("tgpec_{}", b64::encode(&bytes))
        };
        for bad in [
            with(|bytes| bytes[0] = 2),
            with(|bytes| bytes[57..].fill(0)),
            with(|bytes| bytes[57..].fill(0xff)),
            with(|bytes| bytes.truncate(88)),
            with(|bytes| bytes.push(0)),
            good.replace("tgpec_", "tgpmk_"),
            format!("{}=", *good),
            format!(" {}", *good),
            String::new(),
        ] {
            assert!(EnrolmentCode::parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_enrolment_with_a_member_too_many_is_refused() {
        let jwk = serde_json::to_string(&code().secret().public().to_jwk()).unwrap();
        let good = format!(r#"{{"agent":"0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d","csr":"","jwk":{jwk}}}"#);
        assert!(serde_json::from_str::<EnrolmentRequest>(&good).is_ok());
        let more = good.replacen('{', r#"{"tenant":"x","#, 1);
        assert!(serde_json::from_str::<EnrolmentRequest>(&more).is_err());
    }

    #[test]
    fn a_reply_does_not_print_its_master_key() {
        let reply = EnrolmentReply {
            agent: Uuid::from_u128(1),
            aan: "7284019953310473".parse().unwrap(),
            certificate_chain: String::new(),
            ca_bundle: String::new(),
            master_key: Zeroizing::new("tgpmk_x".to_owned()),
        };
        assert!(!format!("{reply:?}").contains("tgpmk"));
        assert!(serde_json::to_string(&reply).unwrap().contains("tgpmk_x"));
    }
}
