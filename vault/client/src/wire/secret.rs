//! A secret on its way through the socket.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::octets;

/// Octets that are wiped when dropped and never printed. It can be serialised because it is a wire
/// message; nothing else that holds a secret can.
#[derive(PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct WireSecret(Vec<u8>);

impl WireSecret {
    /// Takes the octets over.
    pub fn new(octets: Vec<u8>) -> Self {
        WireSecret(octets)
    }

    /// The octets.
    pub fn expose_secret(&self) -> &[u8] {
        &self.0
    }

    /// The octets as text, where they are UTF-8.
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl From<String> for WireSecret {
    fn from(text: String) -> Self {
        WireSecret(text.into_bytes())
    }
}

impl fmt::Debug for WireSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WireSecret(redacted)")
    }
}

impl Serialize for WireSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        octets::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for WireSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        octets::deserialize(deserializer).map(WireSecret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let secret = WireSecret::from(String::from("hunter2"));
        assert_eq!(format!("{secret:?}"), "WireSecret(redacted)");
        let octets = postcard::to_stdvec(&secret).expect("serialises");
        assert_eq!(postcard::from_bytes::<WireSecret>(&octets), Ok(secret));
    }
}
