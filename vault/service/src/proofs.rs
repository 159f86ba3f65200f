//! Proofs that this vault has seen.
//!
//! The memory begins with the vault's start: a proof created at or before the horizon is refused,
//! whether it was seen or not. A proof created ahead of the clock moves the persisted horizon, so
//! that a restart cannot bring it back: [`Proofs::horizon_for`].

use std::collections::{BTreeMap, HashSet};

use sha2::{Digest, Sha256};
use tgp_vault_client::wire::RefusalCode;

use crate::failure::Failure;

/// More live proofs than this are not remembered but refused: the window is a minute and a half.
const LIMIT: usize = 4_000_000;
/// A horizon is moved this far beyond the proof that moves it, so that few moves are written.
pub(crate) const HORIZON_STEP_S: i64 = 30;

/// One signature's place in the replay memory.
pub(crate) struct Proof<'a> {
    pub keyid: &'a str,
    pub nonce_digest: [u8; 32],
    pub created: i64,
    pub expires: i64,
}

pub(crate) struct Proofs {
    horizon: i64,
    /// Whatever expired by then has been forgotten: a clock that was read earlier does not bring it back.
    forgotten_until: i64,
    seen: HashSet<[u8; 32]>,
    by_expiry: BTreeMap<i64, Vec<[u8; 32]>>,
}

impl Proofs {
    /// A memory that begins after `horizon`.
    pub(crate) fn since(horizon: i64) -> Self {
        Proofs { horizon, forgotten_until: i64::MIN, seen: HashSet::new(), by_expiry: BTreeMap::new() }
    }

    /// Refuses a proof from before this memory begins.
    pub(crate) fn check_age(&self, proof: &Proof<'_>) -> Result<(), Failure> {
        if proof.created <= self.horizon {
            return Err(Failure::refused(
                RefusalCode::SignatureExpired,
                "it was made before the vault's memory of proofs begins; sign again",
            ));
        }
        Ok(())
    }

    /// Spends a proof, whose signature has been verified and whose window has been checked.
    pub(crate) fn spend(&mut self, proof: &Proof<'_>, now: i64) -> Result<(), Failure> {
        self.check_age(proof)?;
        self.forget(now);
        if proof.expires <= self.forgotten_until {
            return Err(Failure::refused(RefusalCode::SignatureExpired, "it expired meanwhile; sign again"));
        }
        let digest: [u8; 32] = Sha256::new()
            .chain_update(proof.keyid)
            .chain_update([0])
            .chain_update(proof.nonce_digest)
            .finalize()
            .into();
        if self.seen.len() >= LIMIT {
            return Err(Failure::Unavailable("the memory of proofs is full".into()));
        }
        if !self.seen.insert(digest) {
            return Err(Failure::refused(
                RefusalCode::SignatureReplayed,
                "this vault has seen this proof; sign again with a fresh nonce",
            ));
        }
        self.by_expiry.entry(proof.expires).or_default().push(digest);
        Ok(())
    }

    /// The horizon to persist before a proof is acted on; `None` where the persisted one will do.
    pub(crate) fn horizon_for(created: i64, now: i64, persisted: i64) -> Option<i64> {
        (created > now && created > persisted).then(|| created.saturating_add(HORIZON_STEP_S))
    }

    fn forget(&mut self, now: i64) {
        self.forgotten_until = self.forgotten_until.max(now);
        while let Some(entry) = self.by_expiry.first_entry() {
            if *entry.key() > now {
                return;
            }
            for digest in entry.remove() {
                self.seen.remove(&digest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(nonce: u8, created: i64) -> Proof<'static> {
        Proof { keyid: "k", nonce_digest: [nonce; 32], created, expires: created + 60 }
    }

    fn code(result: Result<(), Failure>) -> Option<RefusalCode> {
        match result {
            Err(Failure::Refused(refusal)) => Some(refusal.code),
            _ => None,
        }
    }

    #[test]
    fn a_proof_is_spent_once_and_forgotten_once_it_has_expired() {
        let mut proofs = Proofs::since(100);
        assert!(proofs.spend(&proof(1, 101), 101).is_ok());
        let again = proofs.spend(&proof(1, 101), 102);
        assert_eq!(code(again), Some(RefusalCode::SignatureReplayed));
        assert!(proofs.spend(&proof(2, 101), 102).is_ok());
        let other_key = Proof { keyid: "l", ..proof(1, 101) };
        assert!(proofs.spend(&other_key, 102).is_ok());
        proofs.forget(160);
        assert_eq!(proofs.seen.len(), 3);
        proofs.forget(161);
        assert!(proofs.seen.is_empty() && proofs.by_expiry.is_empty());
    }

    #[test]
    fn a_proof_that_was_forgotten_is_not_new_to_a_thread_whose_clock_was_read_earlier() {
        let mut proofs = Proofs::since(100);
        assert!(proofs.spend(&proof(1, 101), 160).is_ok());
        assert!(proofs.spend(&proof(2, 150), 161).is_ok());
        assert_eq!(code(proofs.spend(&proof(1, 101), 160)), Some(RefusalCode::SignatureExpired));
    }

    #[test]
    fn a_proof_of_the_second_of_the_start_or_before_is_refused() {
        let mut proofs = Proofs::since(100);
        for created in [99, 100] {
            let refused = proofs.spend(&proof(1, created), 101);
            assert_eq!(code(refused), Some(RefusalCode::SignatureExpired));
        }
    }

    #[test]
    fn only_a_proof_ahead_of_the_clock_moves_the_horizon() {
        assert_eq!(Proofs::horizon_for(100, 100, 0), None);
        assert_eq!(Proofs::horizon_for(101, 100, 0), Some(131));
        assert_eq!(Proofs::horizon_for(120, 100, 131), None);
        assert_eq!(Proofs::horizon_for(132, 110, 131), Some(162));
    }
}
