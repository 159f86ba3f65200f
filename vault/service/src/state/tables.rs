//! What the state says: a head that is read whole, and tables that are looked up in.
//!
//! The tables grow with agents and grants, so nothing here walks through them but writing a snapshot
//! and reading one: an act costs the same with a hundred agents as with a hundred thousand.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::hash::Hash;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tgp_authority::{RecordKind, RosterDoc};
use tgp_vault_client::wire::{Refusal, RefusalCode};
use uuid::Uuid;

use crate::mark::Mark;
use crate::record::kind_text;

/// A record whose floor is not written down has this one.
pub(super) const IMPLICIT_FLOOR: u32 = 1;

/// The part that does not grow with agents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    pub version: u64,
    /// base64url of SHA-256 of roster 1.
    pub deployment: String,
    /// This vault's name in statements.
    pub vault: String,
    pub roster: RosterDoc,
    pub ca_pem: String,
    pub server_chain_pem: String,
    pub pins: Vec<Pin>,
    /// Whatever ended by then has been forgotten, and is refused whatever the clock says later.
    pub forgotten_until: i64,
    /// Proofs created by then are refused after a restart.
    pub horizon: i64,
    /// How far the clock had come.
    #[serde(default)]
    pub mark: Mark,
}

/// A key of the token, as it was when it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pin {
    pub label: String,
    /// CKA_ID, hexadecimal.
    pub id: String,
    /// SHA-256 of the SPKI, or the check value; hexadecimal.
    pub fingerprint: String,
}

/// The part that grows with agents and grants.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tables {
    pub(super) floors: Floors,
    /// Statement nonces and when each may be forgotten.
    pub(super) spent: Expiring<String, i64>,
    /// Invitations in use, by agent.
    pub(super) enrolments: Expiring<Uuid, Enrolment>,
    /// Every agent that was ever enrolled: its UUID is taken for good, in every tenant.
    pub(super) enrolled: HashSet<Uuid>,
}

impl Tables {
    /// Drops what has expired.
    pub(super) fn forget(&mut self, now: i64) {
        self.spent.forget(now);
        self.enrolments.forget(now);
    }

    /// The lowest version of a record that is accepted.
    pub(crate) fn floor(&self, kind: RecordKind, tenant: Uuid, id: &str) -> u32 {
        self.floors.find(kind, tenant, id).unwrap_or(IMPLICIT_FLOOR)
    }

    /// Refuses a version below the floor.
    pub(crate) fn check_floor(&self, kind: RecordKind, tenant: Uuid, id: &str, version: u32) -> Result<(), Refusal> {
        let floor = self.floor(kind, tenant, id);
        if version >= floor {
            return Ok(());
        }
        Err(Refusal::new(
            RefusalCode::RecordStale,
            format!(
                "version {version} of this {} was replaced or revoked; {floor} is the lowest accepted",
                kind_text(kind)
            ),
        ))
    }

    /// The use of an agent's invitation, unless that was forgotten by `since`.
    pub(crate) fn enrolment(&self, agent: Uuid, since: i64) -> Option<&Enrolment> {
        self.enrolments.find(&agent, since)
    }

    pub(crate) fn was_enrolled(&self, agent: Uuid) -> bool {
        self.enrolled.contains(&agent)
    }
}

/// The lowest version that is accepted, by kind, tenant and id; of grants and credentials every one is here.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Floors(HashMap<RecordKind, HashMap<Uuid, HashMap<Box<str>, u32>>>);

impl Floors {
    pub(super) fn find(&self, kind: RecordKind, tenant: Uuid, id: &str) -> Option<u32> {
        self.0.get(&kind)?.get(&tenant)?.get(id).copied()
    }

    pub(super) fn set(&mut self, kind: RecordKind, tenant: Uuid, id: &str, floor: u32) {
        self.0.entry(kind).or_default().entry(tenant).or_default().insert(id.into(), floor);
    }
}

/// An invitation's use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Enrolment {
    /// SHA-256 of the signed statement.
    #[serde(with = "digest")]
    pub invitation: [u8; 32],
    /// SHA-256 of the identity key's thumbprint.
    #[serde(with = "digest")]
    pub identity_key: [u8; 32],
    /// SHA-256 of the TLS key's SPKI.
    #[serde(with = "digest")]
    pub tls_key: [u8; 32],
    pub first_use: i64,
    pub forget_after: i64,
}

/// What may be forgotten once its time has come.
pub(super) trait Expires {
    fn end(&self) -> i64;
}

impl Expires for i64 {
    fn end(&self) -> i64 {
        *self
    }
}

impl Expires for Enrolment {
    fn end(&self) -> i64 {
        self.forget_after
    }
}

/// A map that knows which of its entries ends first.
pub(super) struct Expiring<K, V> {
    map: HashMap<K, V>,
    by_end: BinaryHeap<Reverse<(i64, K)>>,
}

impl<K: Clone + Ord + Hash, V: Expires> Expiring<K, V> {
    /// What is remembered of a key, unless its time had come by `since`.
    pub(super) fn find(&self, key: &K, since: i64) -> Option<&V> {
        self.map.get(key).filter(|value| value.end() > since)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        self.by_end.push(Reverse((value.end(), key.clone())));
        self.map.insert(key, value);
    }

    fn forget(&mut self, now: i64) {
        while self.by_end.peek().is_some_and(|Reverse((end, _))| *end <= now) {
            let Some(Reverse((_, key))) = self.by_end.pop() else { return };
            // The key may have been used again since, with a later end.
            if self.map.get(&key).is_some_and(|value| value.end() <= now) {
                self.map.remove(&key);
            }
        }
    }
}

impl<K, V> Default for Expiring<K, V>
where
    K: Ord,
{
    fn default() -> Self {
        Expiring { map: HashMap::new(), by_end: BinaryHeap::new() }
    }
}

impl<K: Serialize + Eq + Hash, V: Serialize> Serialize for Expiring<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.map.serialize(serializer)
    }
}

impl<'de, K, V> Deserialize<'de> for Expiring<K, V>
where
    K: Deserialize<'de> + Clone + Ord + Hash,
    V: Deserialize<'de> + Expires,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = HashMap::<K, V>::deserialize(deserializer)?;
        let by_end = map.iter().map(|(key, value)| Reverse((value.end(), key.clone()))).collect();
        Ok(Expiring { map, by_end })
    }
}

/// 32 octets as base64url.
mod digest {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(digest: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(digest))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        let octets = URL_SAFE_NO_PAD.decode(text).map_err(D::Error::custom)?;
        octets.try_into().map_err(|_| D::Error::custom("a digest has 32 octets"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_again_is_forgotten_at_its_later_end() {
        let mut spent = Expiring::<String, i64>::default();
        spent.insert("a".into(), 10);
        spent.insert("b".into(), 20);
        spent.insert("a".into(), 30);
        spent.forget(10);
        assert_eq!((spent.find(&"a".into(), 10), spent.find(&"b".into(), 10)), (Some(&30), Some(&20)));
        assert_eq!(spent.find(&"b".into(), 20), None);
        spent.forget(29);
        assert_eq!((spent.map.len(), spent.by_end.len()), (1, 1));
        spent.forget(30);
        assert_eq!((spent.map.len(), spent.by_end.len()), (0, 0));
    }

    #[test]
    fn tables_are_read_back_as_they_were_written() {
        let mut tables = Tables::default();
        let (tenant, agent) = (Uuid::from_u128(1), Uuid::from_u128(2));
        tables.floors.set(RecordKind::Credential, tenant, "mail", 7);
        tables.spent.insert("nonce".into(), 50);
        tables.enrolled.insert(agent);
        let used =
            Enrolment { invitation: [1; 32], identity_key: [2; 32], tls_key: [3; 32], first_use: 4, forget_after: 60 };
        tables.enrolments.insert(agent, used.clone());
        let text = serde_json::to_string(&tables).expect("plain data");
        let mut read: Tables = serde_json::from_str(&text).expect("the same form");
        assert_eq!(read.floor(RecordKind::Credential, tenant, "mail"), 7);
        assert_eq!(read.floor(RecordKind::Grant, tenant, "mail"), IMPLICIT_FLOOR);
        assert_eq!(read.enrolment(agent, 0), Some(&used));
        assert!(read.was_enrolled(agent) && !read.was_enrolled(tenant));
        // What ends is known again, too.
        read.forget(60);
        assert_eq!((read.spent.map.len(), read.enrolments.map.len()), (0, 0));
        assert!(read.was_enrolled(agent));
    }
}
