//! Operator statements and signatures, roster and quorum rules.
//!
//! A person who administers a deployment is a P-256 key in the [`Roster`]. What such a person may
//! cause — an invitation, a grant, a credential, the next roster — is an [`Operation`], written into a
//! [`Statement`] and signed. [`Roster::check`] turns signed statements into [`Authorised`]; nothing
//! else does. The CLI makes statements, the vault and an auditor check them with this same code.
//!
//! This crate reads no clock, keeps no state and spends no nonce: the time comes as an argument and
//! the nonces of an [`Authorised`] go out of it, for the vault to spend.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod action;
mod canonical;
mod check;
mod csr;
mod error;
mod key;
mod oauth2;
mod operation;
mod placement;
mod roster;
mod statement;
mod succession;
mod url;

pub use action::ActionPattern;
pub use canonical::{MAX_INTEGER, canonical, parse_strict};
pub use check::Authorised;
pub use csr::CertificateRequest;
pub use error::AuthorityError;
pub use key::{OperatorKey, OperatorSecret};
pub use oauth2::{ClientAuth, OAuth2, OAuth2Grant};
pub use operation::{
    CertifyOperator, CertifyServer, Credential, Grant, Invite, Method, NewDek, Op, Operation, Purpose, RecordKind,
    Revoke, RosterChange, credential_id, salted_secret_sha256,
};
pub use placement::Placement;
pub use roster::{Operator, OperatorKeyEntry, Role, Roster, RosterDoc, Tenants};
pub use statement::{DOMAIN_PREFIX, Signed, Statement};
pub use url::{valid_host, valid_origin, valid_resource};
