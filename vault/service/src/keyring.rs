//! The keys of the token that this vault uses, and their pins.
//!
//! A key is found by its label and must be the one that the state file pins: by CKA_ID and by its
//! public half, or by its check value where it has none. Nothing here makes a key.

use sha2::{Digest, Sha256};
use tgp_request::token::{TokenKey, TokenKeys};
use tgp_token::{CheckValue, KeyOps, KeyRef, Role, TokenSession};

use crate::certificate::{hex, spki_der};
use crate::failure::VaultError;
use crate::state::Pin;

/// The version of every key until rotation comes.
const FIRST: u32 = 1;

pub(crate) struct KeyRing {
    pub token_signing: KeyRef,
    pub token_kid: String,
    pub agent_ca: KeyRef,
    pub agent_ca_sec1: [u8; 65],
    pub server_tls: KeyRef,
    pub server_spki: Vec<u8>,
    pub kek: KeyRef,
    pub current_kek: u32,
    roots: Vec<(u32, KeyRef)>,
    pub current_root: u32,
    pub state_mac: KeyRef,
    pub blind_index: KeyRef,
    token_key: TokenKey,
    pins: Vec<Pin>,
    state_mac_check: CheckValue,
}

impl KeyRing {
    /// Finds every key; none may be missing.
    pub(crate) fn find(session: &mut TokenSession) -> Result<Self, VaultError> {
        let mut pins = Vec::new();
        let mut pair = |session: &mut TokenSession, role| -> Result<_, VaultError> {
            let key = found(session, role)?;
            let point = session.public_sec1(&key)?;
            let spki = spki_der(&point).map_err(|why| wrong(&key, why))?;
            pins.push(pin(&key, &Sha256::digest(&spki)));
            Ok((key, point, spki))
        };
        let (token_signing, token_point, _) = pair(session, Role::TokenSigning)?;
        let (agent_ca, agent_ca_sec1, _) = pair(session, Role::AgentCa)?;
        let (server_tls, _, server_spki) = pair(session, Role::ServerTls)?;
        let mut secret = |session: &mut TokenSession, role| -> Result<_, VaultError> {
            let key = found(session, role)?;
            let check = session.check_value(&key)?;
            pins.push(pin(&key, &check));
            Ok((key, check))
        };
        let (kek, _) = secret(session, Role::Kek)?;
        let (root, _) = secret(session, Role::MasterRoot)?;
        let (state_mac, state_mac_check) = secret(session, Role::StateMac)?;
        let (blind_index, _) = secret(session, Role::BlindIndex)?;
        let log_signing = found(session, Role::LogSigning)?;
        pins.push(pin(&log_signing, &session.fingerprint(&log_signing)?));
        let token_key = TokenKey::from_sec1(&token_point).map_err(|e| wrong(&token_signing, e.to_string()))?;
        Ok(KeyRing {
            token_signing,
            token_kid: token_key.kid().to_owned(),
            agent_ca,
            agent_ca_sec1,
            server_tls,
            server_spki,
            kek,
            current_kek: FIRST,
            roots: vec![(FIRST, root)],
            current_root: FIRST,
            state_mac,
            blind_index,
            token_key,
            pins,
            state_mac_check,
        })
    }

    /// What the state file keeps of them.
    pub(crate) fn pins(&self) -> &[Pin] {
        &self.pins
    }

    /// Refuses a token whose keys are not the pinned ones.
    pub(crate) fn check(&self, pinned: &[Pin]) -> Result<(), VaultError> {
        for found in &self.pins {
            let refused = |why: &str| VaultError::Pin { label: found.label.clone(), why: why.to_owned() };
            match pinned.iter().find(|pin| pin.label == found.label) {
                None => return Err(refused("the state file does not pin it")),
                Some(pin) if pin != found => {
                    return Err(refused("it is not the key that the state file pins"));
                }
                Some(_) => {}
            }
        }
        match pinned.iter().find(|pin| self.pins.iter().all(|found| found.label != pin.label)) {
            Some(missing) => Err(VaultError::Pin {
                label: missing.label.clone(),
                why: "the state file pins it and this vault does not use it".into(),
            }),
            None => Ok(()),
        }
    }

    /// The keys that verify our tokens.
    pub(crate) fn token_keys(&self) -> TokenKeys {
        TokenKeys::new([self.token_key.clone()])
    }

    /// The root of master keys of this version.
    pub(crate) fn master_root(&self, version: u32) -> Option<&KeyRef> {
        let (_, root) = self.roots.iter().find(|(of, _)| *of == version)?;
        Some(root)
    }

    /// Whether the token still answers with the pinned key: neither "find" nor "random" would tell.
    pub(crate) fn known_answer(&self, session: &mut TokenSession) -> bool {
        session.known_answer(&self.state_mac, &self.state_mac_check).is_ok()
    }
}

/// A key of ours, as hard as it was made.
fn found(session: &mut TokenSession, role: Role) -> Result<KeyRef, VaultError> {
    let key = session.find(role, FIRST)?;
    session.check_attributes(&key)?;
    Ok(key)
}

fn pin(key: &KeyRef, fingerprint: &[u8]) -> Pin {
    Pin { label: key.label().to_owned(), id: hex(key.id()), fingerprint: hex(fingerprint) }
}

fn wrong(key: &KeyRef, why: String) -> VaultError {
    VaultError::Pin { label: key.label().to_owned(), why }
}
