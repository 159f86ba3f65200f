//! The text of an agent's master API key. Whether it is genuine only the vault can tell.

use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::b64;

/// Text that is not a master key. It says nothing of what was presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a master key: it reads tgpmk_<uuid>_<root version>.<generation>_<43 characters>")]
pub struct MasterKeyError;

/// `tgpmk_<uuid without dashes>_<root version>.<generation>_<base64url of 32 bytes>`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct MasterKey {
    #[zeroize(skip)]
    pub agent: Uuid,
    pub root_version: u32,
    pub generation: u32,
    // On the heap: what is moved about leaves copies on the stack, which nobody wipes.
    mac: Box<[u8; 32]>,
}

impl MasterKey {
    pub fn new(agent: Uuid, root_version: u32, generation: u32, mac: [u8; 32]) -> Self {
        Self { agent, root_version, generation, mac: Box::new(mac) }
    }

    pub fn parse(text: &str) -> Result<Self, MasterKeyError> {
        // The last part may hold underscores of its own.
        let mut parts = text.strip_prefix("tgpmk_").ok_or(MasterKeyError)?.splitn(3, '_');
        let mut part = || parts.next().ok_or(MasterKeyError);
        let (agent, numbers, mac) = (part()?, part()?, part()?);
        let (root_version, generation) = numbers.split_once('.').ok_or(MasterKeyError)?;
        let (agent, root_version) = (parse_simple_uuid(agent)?, parse_number(root_version)?);
        let mut key = Self { agent, root_version, generation: parse_number(generation)?, mac: Box::default() };
        if b64::decode_into(mac, &mut key.mac) { Ok(key) } else { Err(MasterKeyError) }
    }

    pub fn expose_mac(&self) -> &[u8; 32] {
        &self.mac
    }

    pub fn expose_text(&self) -> Zeroizing<String> {
        let mac = Zeroizing::new(b64::encode(&*self.mac));
        let Self { agent, root_version, generation, mac: _ } = self;
        // Room for all of it, so that no outgrown copy stays behind.
        let mut text = Zeroizing::new(String::with_capacity(128));
        text.push_str(&format!("tgpmk_{}_{root_version}.{generation}_", agent.simple()));
        text.push_str(&mac);
        text
    }
}

fn parse_simple_uuid(text: &str) -> Result<Uuid, MasterKeyError> {
    let uuid = Uuid::try_parse(text).map_err(|_| MasterKeyError)?;
    if uuid.simple().encode_lower(&mut Uuid::encode_buffer()) != text {
        return Err(MasterKeyError);
    }
    Ok(uuid)
}

fn parse_number(text: &str) -> Result<u32, MasterKeyError> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().map_err(|_| MasterKeyError) } else { Err(MasterKeyError) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: Uuid = Uuid::from_u128(0x0198f2c4_6d1e_7c3a_9b52_3f8e1a2b4c5d);

    #[test]
    fn a_master_key_reads_back_even_with_underscores_in_its_mac() {
        // 0xff bytes encode as underscores.
        let key = MasterKey::new(AGENT, 1, 12, [0xff; 32]);
        let text = key.expose_text();
        assert!(text.starts_with("tgpmk_0198f2c46d1e7c3a9b523f8e1a2b4c5d_1.12___"));
        let back = MasterKey::parse(&text).unwrap();
        assert_eq!((back.agent, back.root_version, back.generation), (AGENT, 1, 12));
        assert_eq!(back.expose_mac(), &[0xff; 32]);
    }

    #[test]
    fn other_spellings_are_refused() {
        let good = MasterKey::new(AGENT, 1, 1, [7; 32]).expose_text();
        assert!(MasterKey::parse(&good).is_ok());
        for bad in [
            String::new(),
            good.replace("tgpmk_", "tgpec_"),
            good.replace("_1.1_", "_01.1_"),
            good.replace("_1.1_", "_+1.1_"),
            good.replace("_1.1_", "_1.4294967296_"),
            good.replace("_1.1_", "_1_"),
            good.replace("_1.1_", "_.1_"),
            good.replace("0198f2c46d1e", "0198F2C46D1E"),
            good.replace("0198f2c46d1e7c3a", "0198f2c4-6d1e-7c3a"),
            format!("{}=", *good),
            format!("{}A", *good),
            good[..good.len() - 1].to_owned(),
        ] {
            assert!(MasterKey::parse(&bad).is_err(), "{bad}");
        }
    }
}
