//! The messages of the vault's socket, one struct per call.
//!
//! Every call names its operation ([`Op`]), its door ([`Door`]) and its reply. Bodies are postcard:
//! compact, not self-describing, so that both ends must be of one build. What authenticates each
//! argument stands beside it; the vault believes none of them merely because they arrived.

mod agent;
mod frame;
mod metadata;
pub mod octets;
mod op;
mod operator;
mod process;
mod refusal;
mod secret;
mod statement;

pub use agent::{
    AgentFacts, Certificate, Draw, Enrol, Enrolled, ExchangeToken, Fetched, MintToken, Minted, Proof, Release,
    Released, Renew, RequestEnvelope, SealAccessToken, SealedAccessToken,
};
pub use frame::{
    FRAME_LIMIT, FrameError, HEADER_LEN, HELLO_LEN, Header, Status, decode, decode_hello, encode, encode_call,
    encode_reply, hello,
};
pub use metadata::{BlindIndex, LoadDek, Open, OpenItem, Seal, SealItem, WrappedDek};
pub use op::{Door, Op};
pub use operator::{
    CertifyOperator, CertifyServer, GrantFacts, NewDek, Revoke, Revoked, SealedCredential, SealedGrant, SetCredential,
    SetGrant, SetRoster,
};
pub use process::{
    Attribute, CallCount, Count, Describe, Description, Health, HealthReport, Inventory, KeyEntry, Mode,
    SignStatusList, SignedStatusList, TlsSign,
};
pub use refusal::{Refusal, RefusalCode};
pub use secret::WireSecret;
pub use statement::StatementText;
pub use tgp_authority::Placement;

use serde::{Serialize, de::DeserializeOwned};

/// A typed call: what is asked, through which operation, and what comes back.
pub trait Call: Serialize + DeserializeOwned + Send {
    /// The operation's number on the wire.
    const OP: Op;
    /// What the vault answers when it does not refuse.
    type Reply: Serialize + DeserializeOwned + Send;
}
