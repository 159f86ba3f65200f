//! From signed statements to an operation that may be carried out.

use std::collections::BTreeSet;

use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::canonical::canonical;
use crate::csr::CertificateRequest;
use crate::error::AuthorityError;
use crate::operation::{CertifyOperator, Invite, Op, Operation, RecordKind, Revoke, RosterChange};
use crate::roster::{MAX_QUORUM, Operator, Role, Roster};
use crate::statement::{Signed, Statement};

/// The furthest `not_after` of an invitation: it travels to whoever runs the agent.
const INVITATION_S: i64 = 7 * 24 * 3600;
/// The furthest `not_after` of everything else.
const STATEMENT_S: i64 = 15 * 60;

/// An operation that enough of the right persons signed.
///
/// Made by [`Roster::check`] alone and not `Clone`. It may be carried out once its
/// [`nonces`](Self::nonces) are spent, which is the vault's part.
#[derive(Debug)]
pub struct Authorised {
    operation: Operation,
    signers: Vec<Uuid>,
    nonces: Vec<(String, i64)>,
    digest: [u8; 32],
}

impl Authorised {
    /// What was ordered.
    #[must_use]
    pub fn operation(&self) -> &Operation {
        &self.operation
    }

    /// What was ordered, taken out.
    #[must_use]
    pub fn into_operation(self) -> Operation {
        self.operation
    }

    /// The distinct persons who signed, in the order of their statements.
    #[must_use]
    pub fn signers(&self) -> &[Uuid] {
        &self.signers
    }

    /// Each statement's nonce, and the second from which it need not be remembered any longer.
    #[must_use]
    pub fn nonces(&self) -> &[(String, i64)] {
        &self.nonces
    }

    /// SHA-256 of JCS of `{deployment, op, params, vault}`: names what was ordered, whoever signed it.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

impl Roster {
    /// Check statements that together order one operation.
    ///
    /// `now` and `started` are Unix seconds; `started` is since when the vault has remembered nonces.
    /// A statement is good while `now < not_after`, and never once `not_after ≤ started`, wherever the
    /// clock has gone since; `not_after` may be at most 15 minutes after `now`, an invitation's 7 days.
    ///
    /// Every statement given must be good, also those beyond the quorum.
    ///
    /// # Errors
    /// The first rule that does not hold: form, deployment and vault, times, signer and signature, same
    /// operation, distinct persons, role and tenant, the operation itself, quorum.
    pub fn check(
        &self,
        signed: &[Signed],
        deployment: &str,
        vault: &str,
        now: i64,
        started: i64,
    ) -> Result<Authorised, AuthorityError> {
        let first = &signed.first().ok_or(AuthorityError::NoStatement)?.statement;
        let max = MAX_QUORUM as usize;
        if signed.len() > max {
            return Err(AuthorityError::TooManyStatements { max });
        }
        let operation = Operation::parse(&first.op, &first.params)?;
        let op = operation.op();

        let mut signers = Vec::with_capacity(signed.len());
        let mut nonces = Vec::with_capacity(signed.len());
        let mut seen = BTreeSet::new();
        for one in signed {
            let signer = self.check_one(one, op, deployment, vault, now, started)?;
            let statement = &one.statement;
            if statement.op != first.op || statement.params != first.params {
                return Err(AuthorityError::DifferentOperations);
            }
            if signers.contains(&signer.id) {
                return Err(AuthorityError::SamePerson(signer.id));
            }
            if !seen.insert(&statement.nonce) {
                return Err(AuthorityError::SameNonce);
            }
            may_order(signer, &operation)?;
            signers.push(signer.id);
            nonces.push((statement.nonce.clone(), statement.not_after));
        }
        self.fits(&operation, signed, now)?;

        let given = u32::try_from(signers.len()).expect("at most MAX_QUORUM statements");
        let needed = self.quorum(op);
        if given < needed {
            return Err(AuthorityError::QuorumMissing { op, needed, given });
        }
        let ordered = json!({
            "deployment": deployment, "vault": vault, "op": first.op, "params": first.params,
        });
        let digest = Sha256::digest(canonical(&ordered)?).into();
        Ok(Authorised { operation, signers, nonces, digest })
    }

    /// One statement by itself: form, place, time, signature.
    fn check_one(
        &self,
        signed: &Signed,
        op: Op,
        deployment: &str,
        vault: &str,
        now: i64,
        started: i64,
    ) -> Result<&Operator, AuthorityError> {
        let Signed { statement, signature: _ } = signed;
        let signature = signed.signature_bytes()?;
        statement.well_formed()?;
        if statement.deployment != deployment {
            return Err(AuthorityError::OtherDeployment);
        }
        if statement.vault != vault {
            return Err(AuthorityError::OtherVault);
        }
        in_time(statement, op, now, started)?;
        let signer = self.operator(statement.signer).ok_or(AuthorityError::UnknownSigner(statement.signer))?;
        let bytes = statement.signing_bytes()?;
        if !signer.signing_keys().any(|key| key.verifies(&bytes, &signature)) {
            return Err(AuthorityError::SignatureInvalid(signer.id));
        }
        Ok(signer)
    }

    /// The operation against itself, its statements and the roster in force.
    fn fits(&self, operation: &Operation, signed: &[Signed], now: i64) -> Result<(), AuthorityError> {
        let refused = |why: &str| Err(AuthorityError::OperationRefused { op: operation.op(), why: why.to_owned() });
        match operation {
            Operation::Invite(Invite { not_after, .. }) => {
                if signed.iter().any(|one| one.statement.not_after < *not_after) {
                    return refused("the code would outlive its invitation");
                }
            }
            Operation::CertifyOperator(CertifyOperator { operator, csr }) => {
                let Some(operator) = self.operator(*operator) else {
                    return refused("the operator is not in the roster");
                };
                if !operator.has_key(CertificateRequest::parse(csr)?.key()) {
                    return refused("the request's key is not that operator's");
                }
            }
            Operation::Roster(RosterChange { roster }) => self.may_be_followed_by(roster, now)?,
            Operation::Grant(_)
            | Operation::Credential(_)
            | Operation::Revoke(_)
            | Operation::CertifyServer(_)
            | Operation::NewDek(_) => {}
        }
        Ok(())
    }
}

fn in_time(statement: &Statement, op: Op, now: i64, started: i64) -> Result<(), AuthorityError> {
    let not_after = statement.not_after;
    if not_after <= now.max(started) {
        return Err(AuthorityError::Expired { not_after });
    }
    let max_s = if op == Op::Invite { INVITATION_S } else { STATEMENT_S };
    if not_after > now.saturating_add(max_s) {
        return Err(AuthorityError::TooFarAhead { not_after, max_s });
    }
    Ok(())
}

fn may_order(signer: &Operator, operation: &Operation) -> Result<(), AuthorityError> {
    let roles: &[Role] = match operation {
        Operation::Invite(_) => &[Role::Inviter],
        Operation::Grant(_) | Operation::Credential(_) => &[Role::Granter],
        Operation::Revoke(Revoke { kind: RecordKind::Agent, .. }) => &[Role::Inviter, Role::Owner],
        Operation::Revoke(Revoke { kind: RecordKind::Grant | RecordKind::Credential, .. }) => {
            &[Role::Granter, Role::Owner]
        }
        // Whoever holds the key may have a certificate for it: it says nothing that the roster does not.
        Operation::CertifyOperator(CertifyOperator { operator, .. }) if *operator == signer.id => return Ok(()),
        Operation::Roster(_) | Operation::CertifyOperator(_) | Operation::CertifyServer(_) | Operation::NewDek(_) => {
            &[Role::Owner]
        }
    };
    let op = operation.op();
    if !roles.iter().any(|role| signer.has_role(*role)) {
        return Err(AuthorityError::RoleMissing { signer: signer.id, op });
    }
    if !signer.acts_in(operation.tenant()) {
        return Err(AuthorityError::TenantRefused { signer: signer.id, op });
    }
    Ok(())
}
