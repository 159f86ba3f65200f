//! Which roster may follow which.

use std::collections::BTreeMap;

use crate::check::Authorised;
use crate::error::AuthorityError;
use crate::operation::{Operation, RosterChange};
use crate::roster::{Roster, RosterDoc};
use crate::statement::Signed;

/// How far ahead of the vault's clock a new roster may say it was drawn up.
const CREATED_AHEAD_S: i64 = 15 * 60;

impl Roster {
    /// The next roster, once the quorum of this one signed exactly it.
    ///
    /// The version is one more; the trust domain is the same; `created` does not go back; a key that is
    /// one person's here is nobody else's there. `next` is what will be put in force: it must be the
    /// roster in the statements. Other arguments as in [`Roster::check`].
    ///
    /// # Errors
    /// As [`Roster::check`], a statement of another operation, another roster than `next`.
    pub fn succeed(
        &self,
        next: Roster,
        signed: &[Signed],
        deployment: &str,
        vault: &str,
        now: i64,
        started: i64,
    ) -> Result<(Roster, Authorised), AuthorityError> {
        let authorised = self.check(signed, deployment, vault, now, started)?;
        let Operation::Roster(RosterChange { roster }) = authorised.operation() else {
            return Err(self.refused("the statements order something else"));
        };
        if roster != next.doc() {
            return Err(self.refused("the statements are about another roster"));
        }
        Ok((next, authorised))
    }

    pub(crate) fn may_be_followed_by(&self, next: &RosterDoc, now: i64) -> Result<(), AuthorityError> {
        next.validate()?;
        let RosterDoc { version, trust_domain, issuer: _, created, operators, quorum: _ } = next;
        let doc = self.doc();
        if doc.version.checked_add(1) != Some(*version) {
            return Err(self.refused("the version must be one more"));
        }
        // Every certificate and token names it.
        if *trust_domain != doc.trust_domain {
            return Err(self.refused("the trust domain may not change"));
        }
        if *created < doc.created || *created > now.saturating_add(CREATED_AHEAD_S) {
            return Err(self.refused("created must not go back nor lie ahead"));
        }
        // A log names persons by id and knows them by key: one key, one person, in all versions' sequence.
        let mut owner_of = BTreeMap::new();
        for operator in &doc.operators {
            owner_of.extend(operator.keys.iter().map(|key| (key.identity(), operator.id)));
        }
        for operator in operators {
            for key in &operator.keys {
                if owner_of.get(&key.identity()).is_some_and(|id| *id != operator.id) {
                    return Err(self.refused("a key would pass from one operator to another"));
                }
            }
        }
        Ok(())
    }

    fn refused(&self, why: &str) -> AuthorityError {
        AuthorityError::SuccessionRefused { version: self.version(), why: why.to_owned() }
    }
}
