//! Tokens whose signature has been verified, by SHA-256 of their text.
//!
//! Only the signature is remembered: time and issuer are checked at each use.

use std::collections::HashMap;
use std::sync::Arc;

use tgp_request::token::VerifiedToken;

/// Of each of two generations.
const GENERATION: usize = 32_768;

/// Two generations: when the young one is full it becomes the old one, and the old one is dropped.
#[derive(Default)]
pub(crate) struct TokenCache {
    young: HashMap<[u8; 32], Arc<VerifiedToken>>,
    old: HashMap<[u8; 32], Arc<VerifiedToken>>,
}

impl TokenCache {
    pub(crate) fn find(&mut self, hash: &[u8; 32]) -> Option<Arc<VerifiedToken>> {
        if let Some(token) = self.young.get(hash) {
            return Some(Arc::clone(token));
        }
        let token = self.old.remove(hash)?;
        self.insert(Arc::clone(&token));
        Some(token)
    }

    pub(crate) fn insert(&mut self, token: Arc<VerifiedToken>) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(*token.hash(), token);
    }
}
