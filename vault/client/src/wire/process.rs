//! Calls about the vault itself, and the TLS signature.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Call, Op};

/// What a gateway needs to know of its vault.
#[derive(Debug, Serialize, Deserialize)]
pub struct Describe {}

impl Call for Describe {
    const OP: Op = Op::Describe;
    type Reply = Description;
}

/// Public facts of the deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// base64url of SHA-256 of roster 1.
    pub deployment: String,
    /// This vault's name in statements.
    pub vault: String,
    /// Of every SPIFFE ID.
    pub trust_domain: String,
    /// `iss` of every token.
    pub issuer: String,
    /// The JWK Set of token-signing keys, JSON text.
    pub jwks: String,
    /// The agent CA's certificate, PEM.
    pub ca_pem: String,
    /// The gateway's server certificate and its CA, PEM.
    pub server_chain_pem: String,
    /// The roster in force, JSON text.
    pub roster: String,
    /// Its version.
    pub roster_version: u32,
}

/// A TLS server's handshake signature.
#[derive(Debug, Serialize, Deserialize)]
pub struct TlsSign {
    /// TLS SignatureScheme; only `ecdsa_secp256r1_sha256` (0x0403).
    pub scheme: u16,
    /// The structure to sign: RFC 8446 §4.4.3 or RFC 5246 §7.4.3, nothing else.
    #[serde(with = "super::octets")]
    pub message: Vec<u8>,
}

impl Call for TlsSign {
    const OP: Op = Op::TlsSign;
    /// DER ECDSA-Sig-Value.
    type Reply = Vec<u8>;
}

/// The status list that offline verifiers fetch. Its times, issuer and form are the vault's own.
#[derive(Debug, Serialize, Deserialize)]
pub struct SignStatusList {
    /// Agents that were stopped. Not authenticated: the caller can leave one out. The vault drops those that it never
    /// enrolled, and adds those whose retirement it has carried out itself.
    pub agents: Vec<Uuid>,
    /// The `jti` of tokens that were revoked. Not authenticated.
    pub tokens: Vec<Uuid>,
}

impl Call for SignStatusList {
    const OP: Op = Op::SignStatusList;
    type Reply = SignedStatusList;
}

/// A signed list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedStatusList {
    /// The JWT.
    pub text: String,
    /// Unix seconds.
    pub iat: i64,
    /// Unix seconds.
    pub exp: i64,
}

/// Every key of the token.
#[derive(Debug, Serialize, Deserialize)]
pub struct Inventory {}

impl Call for Inventory {
    const OP: Op = Op::Inventory;
    type Reply = Vec<KeyEntry>;
}

/// One object of the token, as the token describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyEntry {
    /// CKA_LABEL.
    pub label: String,
    /// CKA_ID, hexadecimal.
    pub id: String,
    /// `private-key`, `public-key`, `secret-key`.
    pub class: String,
    /// Algorithm and size, as the token has it.
    pub kind: String,
    /// SHA-256 of the SPKI, or the check value; hexadecimal.
    pub fingerprint: String,
    /// Whether the state file pins it.
    pub pinned: bool,
    /// Read one at a time, in the order they were read.
    pub attributes: Vec<Attribute>,
}

/// An attribute's value; absent is not false.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// `CKA_…`.
    pub name: String,
    /// As text; `None` where the token has no such attribute.
    pub value: Option<String>,
}

/// Is the vault able to do its work?
#[derive(Debug, Serialize, Deserialize)]
pub struct Health {}

impl Call for Health {
    const OP: Op = Op::Health;
    type Reply = HealthReport;
}

/// A known-answer operation on a pinned key, and counters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthReport {
    /// The pinned key answered as known.
    pub known_answer: bool,
    /// Acts can be written down: neither the state file nor the token's version of it failed last.
    pub state_sound: bool,
    /// Unix seconds.
    pub started: i64,
    /// Whether gateway and vault are two users.
    pub mode: Mode,
    /// Calls since the start.
    pub calls: Vec<CallCount>,
    /// Refused calls since the start, by the code of the refusal.
    pub refusals: Vec<Count>,
    /// What became of connections since the start.
    pub connections: Vec<Count>,
    /// Version of the state file.
    pub state_version: u64,
    /// How memory that holds keys is kept from disk.
    pub memory: String,
    /// What the process gave up, and what of it this kernel does not know.
    pub sandbox: String,
    /// How often the token was given a PIN since the start: once, and once for each recovery.
    pub logins: u64,
    /// How often the token's module was started, also where the token was not there.
    pub token_starts: u64,
}

/// Calls of one operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallCount {
    /// The operation's name.
    pub op: String,
    /// Answered.
    pub ok: u64,
    /// Refused.
    pub refused: u64,
    /// Not possible: token away, or a key to load first.
    pub failed: u64,
}

/// How often something happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// What.
    pub name: String,
    /// How often.
    pub count: u64,
}

/// Whether the claims about a conquered gateway apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// One user runs both: they do not.
    SingleDomain,
    /// Two users.
    TwoDomain,
}

impl Mode {
    /// `single-domain` or `two-domain`.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::SingleDomain => "single-domain",
            Mode::TwoDomain => "two-domain",
        }
    }
}
