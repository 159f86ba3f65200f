//! A sealed value as the database keeps it: bytes that only the vault can open, and the version of the
//! value that they were bound to.

use std::fmt;

/// `version` counts changes of this one value, not of its row: freezing an agent must not reseal a name.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    pub version: u32,
    pub bytes: Vec<u8>,
}

impl Sealed {
    pub(crate) fn from_columns(bytes: Option<Vec<u8>>, version: i32) -> Option<Self> {
        bytes.map(|bytes| Self { version: unsigned(version), bytes })
    }
}

/// Ciphertext says nothing to a reader of logs.
impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed(version {}, {} bytes)", self.version, self.bytes.len())
    }
}

/// Version numbers are counted from 0 by us and kept in signed columns.
pub(crate) fn unsigned(version: i32) -> u32 {
    u32::try_from(version).unwrap_or(0)
}

pub(crate) fn signed(version: u32) -> Result<i32, super::StoreError> {
    i32::try_from(version).map_err(|_| super::StoreError::Bug("a version number past 2^31".into()))
}
