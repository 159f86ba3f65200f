//! Calls over sealed columns.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Call, Op};

/// A data encryption key, wrapped by the token's KEK. Everything in it is bound as AAD.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappedDek {
    /// Names it in every envelope.
    pub id: Uuid,
    /// Whose values it seals.
    pub tenant: Uuid,
    /// `record` or `metadata`.
    pub purpose: String,
    /// Version of `kek`.
    pub kek_version: u32,
    /// What `kek` made of it.
    #[serde(with = "super::octets")]
    pub wrapped: Vec<u8>,
}

/// Gives the vault a key that it made earlier.
#[derive(Debug, Serialize, Deserialize)]
pub struct LoadDek {
    /// Authenticated by the KEK.
    pub dek: WrappedDek,
}

impl Call for LoadDek {
    const OP: Op = Op::LoadDek;
    type Reply = ();
}

/// Seals many values of one tenant.
#[derive(Serialize, Deserialize)]
pub struct Seal {
    /// Must be the DEK's tenant.
    pub tenant: Uuid,
    /// A metadata DEK.
    pub dek: Uuid,
    /// Each is bound to where it stands.
    pub items: Vec<SealItem>,
}

impl Call for Seal {
    const OP: Op = Op::Seal;
    /// One envelope per item, in order.
    type Reply = Vec<Vec<u8>>;
}

/// A value and the place it belongs to.
#[derive(Serialize, Deserialize)]
pub struct SealItem {
    /// Table; not one of the vault's record types.
    pub table: String,
    /// Column.
    pub column: String,
    /// Primary key, as text.
    pub key: String,
    /// Version of this value, not of the row.
    pub version: u32,
    /// The value.
    #[serde(with = "super::octets")]
    pub plaintext: Vec<u8>,
}

/// Opens many values of one tenant.
#[derive(Debug, Serialize, Deserialize)]
pub struct Open {
    /// Must be the tenant of each envelope's DEK.
    pub tenant: Uuid,
    /// Each must be what was sealed for that very place.
    pub items: Vec<OpenItem>,
}

impl Call for Open {
    const OP: Op = Op::Open;
    /// One plaintext per item, in order.
    type Reply = Vec<Vec<u8>>;
}

/// An envelope and the place it was found at.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OpenItem {
    /// Table.
    pub table: String,
    /// Column.
    pub column: String,
    /// Primary key, as text.
    pub key: String,
    /// Version of this value.
    pub version: u32,
    /// The envelope.
    #[serde(with = "super::octets")]
    pub sealed: Vec<u8>,
}

/// The index under which a sealed value is found by exact match.
#[derive(Serialize, Deserialize)]
pub struct BlindIndex {
    /// Two tenants' equal values have different indexes.
    pub tenant: Uuid,
    /// Table.
    pub table: String,
    /// Column.
    pub column: String,
    /// The value, in the form that is searched for.
    #[serde(with = "super::octets")]
    pub value: Vec<u8>,
}

impl Call for BlindIndex {
    const OP: Op = Op::BlindIndex;
    type Reply = [u8; 32];
}

/// Plaintexts are personal data: only the place is printed.
impl std::fmt::Debug for SealItem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealItem({}.{} {})", self.table, self.column, self.key)
    }
}
