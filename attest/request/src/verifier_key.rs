//! The text of a verifier key: what a tool logs in to the gateway with. It is random, so its digest is all that
//! anybody keeps: nobody finds 32 random octets by their SHA-256.

use sha2::{Digest as _, Sha256};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::b64;

const PREFIX: &str = "tgpvk_";

/// Text that is not a verifier key. It says nothing of what was presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a verifier key: it reads tgpvk_<43 characters>")]
pub struct VerifierKeyError;

/// `tgpvk_<base64url of 32 random bytes>`.
#[derive(ZeroizeOnDrop)]
pub struct VerifierKey([u8; 32]);

impl VerifierKey {
    pub fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    pub fn parse(text: &str) -> Result<Self, VerifierKeyError> {
        let text = text.strip_prefix(PREFIX).ok_or(VerifierKeyError)?;
        b64::decode_exact(text).map(Self).ok_or(VerifierKeyError)
    }

    /// What is kept of it: SHA-256 over `"tgp verifier key" ‖ 0 ‖ the 32 bytes`.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::new().chain_update(b"tgp verifier key\0").chain_update(self.0).finalize().into()
    }

    pub fn expose_text(&self) -> Zeroizing<String> {
        let random = Zeroizing::new(b64::encode(&self.0));
        // Room for all of it, so that no outgrown copy stays behind.
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + random.len()));
        text.push_str(PREFIX);
        text.push_str(&random);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_key_reads_back_and_has_one_spelling() {
        let key = VerifierKey::new([0xff; 32]);
        let text = key.expose_text();
        assert_eq!(VerifierKey::parse(&text).unwrap().digest(), key.digest());
        assert_ne!(VerifierKey::new([0xfe; 32]).digest(), key.digest());
        for bad in [
            String::new(),
            text.replace("tgpvk_", "tgpmk_"),
            text.to_uppercase(),
            format!("{}=", *text),
            format!("{}A", *text),
            format!(" {}", *text),
            text[..text.len() - 1].to_owned(),
            // Bits behind the last octet.
            format!("{}_", &VerifierKey::new([0; 32]).expose_text()[..48]),
        ] {
            assert!(VerifierKey::parse(&bad).is_err(), "{bad}");
        }
    }
}
