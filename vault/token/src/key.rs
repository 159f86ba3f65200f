//! The keys: what each is for, how it is named, how it is recognised again.

use std::fmt;

use sha2::{Digest, Sha256};

/// What a key of the token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// EC P-256: access tokens (ES256).
    TokenSigning,
    /// EC P-256: agents' and operators' certificates.
    AgentCa,
    /// EC P-256: the gateway's TLS handshakes.
    ServerTls,
    /// AES-256: wraps data encryption keys.
    Kek,
    /// Generic secret of 32 octets: agents' master keys.
    MasterRoot,
    /// Generic secret of 32 octets: the vault's state file.
    StateMac,
    /// Generic secret of 32 octets: lookups over sealed columns.
    BlindIndex,
    /// Ed25519 where the token has it, else EC P-256: audit checkpoints and statements.
    LogSigning,
}

impl Role {
    /// Every role, in the order in which keys are made.
    pub const ALL: [Role; 8] = [
        Role::TokenSigning,
        Role::AgentCa,
        Role::ServerTls,
        Role::Kek,
        Role::MasterRoot,
        Role::StateMac,
        Role::BlindIndex,
        Role::LogSigning,
    ];

    /// `token-signing`: CKA_LABEL without its version.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::TokenSigning => "token-signing",
            Role::AgentCa => "agent-ca",
            Role::ServerTls => "server-tls",
            Role::Kek => "kek",
            Role::MasterRoot => "master-root",
            Role::StateMac => "state-mac",
            Role::BlindIndex => "blind-index",
            Role::LogSigning => "log-signing",
        }
    }

    /// `token-signing.1`: CKA_LABEL. A key that cannot be modified keeps it for ever.
    pub fn label(self, version: u32) -> String {
        format!("{}.{version}", self.as_str())
    }

    /// Role and version of a label of ours.
    pub fn parse_label(label: &str) -> Option<(Role, u32)> {
        let (name, version) = label.rsplit_once('.')?;
        let role = Role::ALL.into_iter().find(|role| role.as_str() == name)?;
        let version = version.parse().ok()?;
        (role.label(version) == label).then_some((role, version))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a key computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// ECDSA on P-256 over a digest that we made (CKM_ECDSA).
    EcP256,
    /// Ed25519 (CKM_EDDSA).
    Ed25519,
    /// AES-256-GCM (CKM_AES_GCM).
    Aes256,
    /// HMAC-SHA-256 (CKM_SHA256_HMAC) with 32 octets.
    HmacSha256,
}

impl Algorithm {
    /// The algorithm's name for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::EcP256 => "EC P-256",
            Algorithm::Ed25519 => "Ed25519",
            Algorithm::Aes256 => "AES-256",
            Algorithm::HmacSha256 => "generic secret 32 B",
        }
    }

    /// Whether the key has a public half.
    pub fn is_pair(self) -> bool {
        matches!(self, Algorithm::EcP256 | Algorithm::Ed25519)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A key that was found in the token: its name, not its handle, so that it outlives sessions and
/// restarts of the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyRef {
    pub(crate) role: Role,
    pub(crate) version: u32,
    pub(crate) label: String,
    pub(crate) id: Vec<u8>,
    pub(crate) algorithm: Algorithm,
}

impl KeyRef {
    /// What it is for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The version in its label.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// CKA_LABEL.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// CKA_ID: 16 random octets.
    pub fn id(&self) -> &[u8] {
        &self.id
    }

    /// What it computes.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

/// The public half of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublicKey {
    /// SEC 1, uncompressed: 04 ‖ x ‖ y.
    P256([u8; 65]),
    /// RFC 8032.
    Ed25519([u8; 32]),
}

// RFC 5480 §2 and RFC 8410 §4: SubjectPublicKeyInfo up to the key's octets.
const P256_SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

impl PublicKey {
    /// SubjectPublicKeyInfo, DER.
    pub fn spki_der(&self) -> Vec<u8> {
        match self {
            PublicKey::P256(point) => [P256_SPKI.as_slice(), point].concat(),
            PublicKey::Ed25519(key) => [ED25519_SPKI.as_slice(), key].concat(),
        }
    }

    /// SHA-256 of the SPKI.
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(self.spki_der()).into()
    }
}

/// By which a secret key is recognised again: the first eight octets of its known answer.
///
/// - HMAC keys: HMAC-SHA-256 over [`CHECK_BLOCK`] ‖ label. [`crate::KeyOps::hmac`] refuses data that
///   begin with the block, so no other use of the key shares an input with it.
/// - AES keys: the raw AES of [`CHECK_BLOCK`] (CKM_AES_ECB, one block). Not the customary AES of the
///   zero block (CKA_CHECK_VALUE): that is GCM's hash key, of which nothing may be published. Our
///   block could only meet one of GCM's counter blocks past 2^30 blocks of a message.
pub type CheckValue = [u8; CHECK_VALUE_LENGTH];

/// Octets of a [`CheckValue`]: far too few to forge with, enough to tell keys apart.
pub const CHECK_VALUE_LENGTH: usize = 8;

/// The one block of AES, and the beginning of the HMAC's data.
pub const CHECK_BLOCK: &[u8; 16] = b"tgp key check v1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_parsed_back_to_its_role_and_version() {
        for role in Role::ALL {
            assert_eq!(Role::parse_label(&role.label(1)), Some((role, 1)));
        }
    }

    #[test]
    fn a_label_that_is_not_exactly_ours_has_no_role() {
        for label in ["kek", "kek.", "kek.01", "kek.+1", "kek.-1", "Kek.1", " kek.1", "kek.1.1", "other.1", "", "."] {
            assert_eq!(Role::parse_label(label), None, "{label:?}");
        }
    }
}
