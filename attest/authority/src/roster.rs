//! The roster: which keys are which operators, what each may order, how many must agree.
//!
//! It holds UUIDs, keys and roles and no personal data: whoever sees it learns no name.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tgp_request::name::TrustDomain;
use uuid::Uuid;

use crate::canonical::{MAX_INTEGER, canonical, parse_strict};
use crate::error::AuthorityError;
use crate::key::OperatorKey;
use crate::operation::Op;
use crate::statement::MAX_BYTES;
use crate::url::valid_resource;

const MAX_OPERATORS: usize = 256;
const MAX_KEYS: usize = 8;
const MAX_TENANTS: usize = 64;
/// More persons than this never need to agree; it also bounds a set of statements.
pub(crate) const MAX_QUORUM: u32 = 16;

/// A roster as it is written. [`Roster`] is one that was validated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RosterDoc {
    /// 1 for the first, then one more each time.
    pub version: u32,
    /// The deployment's trust domain; never changes.
    pub trust_domain: TrustDomain,
    /// The deployment's issuer URL.
    pub issuer: String,
    /// When it was drawn up, Unix seconds.
    pub created: i64,
    /// The operators; 1 to 256.
    pub operators: Vec<Operator>,
    /// How many persons must sign; 1 where an operation is not named. More than 1 for rosters, revocations and server
    /// certificates only: everything else is one person's statement.
    pub quorum: BTreeMap<Op, u32>,
}

/// One person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// The person's UUID.
    pub id: Uuid,
    /// The person's keys; 1 to 8, none of them anyone else's.
    pub keys: Vec<OperatorKeyEntry>,
    /// What the person may order, each role once.
    pub roles: Vec<Role>,
    /// Where.
    pub tenants: Tenants,
}

/// A key in the roster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum OperatorKeyEntry {
    /// A key that signs statements and client certificate requests.
    Spki {
        /// The key.
        spki: OperatorKey,
    },
    /// A WebAuthn credential. The format has its place; this version accepts no signature by one.
    Webauthn {
        /// base64url of the credential id.
        credential_id: String,
        /// base64url of the COSE public key.
        public_key: String,
        /// The relying party id, a DNS name.
        rp_id: String,
    },
}

/// What a person may order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Role {
    /// Rosters, server certificates, data keys; may revoke anything.
    Owner,
    /// Invites and retires agents.
    Inviter,
    /// Grants, credentials.
    Granter,
    /// Answers for agents; orders nothing by statement.
    AgentOwner,
    /// Reads; orders nothing.
    Auditor,
}

/// Where a person's roles hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tenants {
    /// In every tenant, and for the deployment as a whole.
    All,
    /// In these tenants; 1 to 64, each once.
    Only(Vec<Uuid>),
}

/// A valid roster.
#[derive(Clone, Debug, PartialEq)]
pub struct Roster {
    doc: RosterDoc,
}

impl Roster {
    /// Read JSON text strictly and validate it.
    ///
    /// # Errors
    /// Not in the form, not in its one spelling, or a roster that must never be in force: an id or a key
    /// twice, a quorum that nobody can reach, too few owners to make the next roster.
    pub fn parse(text: &[u8]) -> Result<Self, AuthorityError> {
        let value = parse_strict(text, MAX_BYTES)?;
        let doc = RosterDoc::deserialize(&value).map_err(|error| AuthorityError::malformed("roster", error))?;
        if doc.to_value() != value {
            return Err(AuthorityError::malformed("roster", "not in its one spelling"));
        }
        Self::try_from(doc)
    }

    /// As written.
    #[must_use]
    pub fn doc(&self) -> &RosterDoc {
        &self.doc
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.doc.version
    }

    /// SHA-256 of its canonical JSON. That of version 1 names the deployment.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.to_canonical()).into()
    }

    /// [`Self::digest`] in base64url: of version 1, what statements say in `deployment`.
    #[must_use]
    pub fn digest_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.digest())
    }

    /// Its canonical JSON; [`Self::parse`] reads it back.
    #[must_use]
    pub fn to_canonical(&self) -> Vec<u8> {
        canonical(&self.doc.to_value()).expect("a valid roster holds bounded integers only")
    }

    /// The operator with this id.
    #[must_use]
    pub fn operator(&self, id: Uuid) -> Option<&Operator> {
        self.doc.operators.iter().find(|operator| operator.id == id)
    }

    /// The operator who has this key (a SubjectPublicKeyInfo in DER): who a client certificate is.
    #[must_use]
    pub fn operator_with_spki(&self, der: &[u8]) -> Option<&Operator> {
        let key = OperatorKey::from_spki_der(der).ok()?;
        self.doc.operators.iter().find(|operator| operator.has_key(&key))
    }

    /// How many persons must sign this.
    #[must_use]
    pub fn quorum(&self, op: Op) -> u32 {
        self.doc.quorum(op)
    }
}

impl TryFrom<RosterDoc> for Roster {
    type Error = AuthorityError;

    fn try_from(doc: RosterDoc) -> Result<Self, AuthorityError> {
        doc.validate()?;
        Ok(Self { doc })
    }
}

impl RosterDoc {
    fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("structs with text keys always have a JSON form")
    }

    fn quorum(&self, op: Op) -> u32 {
        self.quorum.get(&op).copied().unwrap_or(1)
    }

    pub(crate) fn validate(&self) -> Result<(), AuthorityError> {
        let Self { version, trust_domain: _, issuer, created, operators, quorum } = self;
        require(*version >= 1, "version must be at least 1")?;
        require(valid_resource(issuer), "issuer is not a URL in its one spelling")?;
        require((0..=MAX_INTEGER).contains(created), "created is not a time")?;
        require((1..=MAX_OPERATORS).contains(&operators.len()), "operators must be 1 to 256")?;
        operators.iter().try_for_each(Operator::validate)?;

        let ids: BTreeSet<_> = operators.iter().map(|operator| operator.id).collect();
        require(ids.len() == operators.len(), "an operator id stands twice")?;
        let keys: Vec<_> =
            operators.iter().flat_map(|operator| &operator.keys).map(OperatorKeyEntry::identity).collect();
        require(keys.iter().collect::<BTreeSet<_>>().len() == keys.len(), "a key stands twice")?;

        require(quorum.values().all(|count| (1..=MAX_QUORUM).contains(count)), "a quorum must be 1 to 16")?;
        // Each of these is one statement by one person: a quorum would be a promise that nothing keeps.
        let alone = [Op::Invite, Op::Grant, Op::Credential, Op::CertifyOperator, Op::NewDek];
        if let Some(op) = alone.into_iter().find(|op| self.quorum(*op) > 1) {
            return Err(AuthorityError::RosterInvalid(format!("{op} is ordered by one person: it takes no quorum")));
        }
        // Whoever can't reach the roster's own quorum has locked every door for ever. For the rest the
        // quorum must be reachable by somebody once it is asked for.
        for op in Op::ALL.into_iter().filter(|op| *op == Op::Roster || quorum.contains_key(op)) {
            for roles in ordered_by(op) {
                let able = operators.iter().filter(|operator| operator.could_order(op, roles)).count();
                require(able >= self.quorum(op) as usize, &format!("too few operators for the quorum of {op}"))?;
            }
        }
        Ok(())
    }
}

impl Operator {
    /// Whether this is one of the person's keys.
    #[must_use]
    pub fn has_key(&self, key: &OperatorKey) -> bool {
        self.signing_keys().any(|own| own == key)
    }

    /// The keys whose signatures count.
    pub fn signing_keys(&self) -> impl Iterator<Item = &OperatorKey> {
        self.keys.iter().filter_map(|entry| match entry {
            OperatorKeyEntry::Spki { spki } => Some(spki),
            OperatorKeyEntry::Webauthn { .. } => None,
        })
    }

    /// Whether the person has the role, in some tenant.
    #[must_use]
    pub fn has_role(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Whether the person's roles hold in the tenant; `None` asks for the deployment as a whole.
    #[must_use]
    pub fn acts_in(&self, tenant: Option<Uuid>) -> bool {
        match (&self.tenants, tenant) {
            (Tenants::All, _) => true,
            (Tenants::Only(_), None) => false,
            (Tenants::Only(tenants), Some(tenant)) => tenants.contains(&tenant),
        }
    }

    fn could_order(&self, op: Op, roles: &[Role]) -> bool {
        let deployment_wide = matches!(op, Op::Roster | Op::CertifyOperator | Op::CertifyServer);
        roles.iter().any(|role| self.has_role(*role))
            && (!deployment_wide || self.acts_in(None))
            && self.signing_keys().next().is_some()
    }

    fn validate(&self) -> Result<(), AuthorityError> {
        let Self { id, keys, roles, tenants } = self;
        require(!id.is_nil(), "an operator id is nil")?;
        require((1..=MAX_KEYS).contains(&keys.len()), "an operator must have 1 to 8 keys")?;
        keys.iter().try_for_each(OperatorKeyEntry::validate)?;
        let distinct: BTreeSet<_> = roles.iter().collect();
        require(!roles.is_empty() && distinct.len() == roles.len(), "roles must be at least one, each once")?;
        if let Tenants::Only(tenants) = tenants {
            let distinct: BTreeSet<_> = tenants.iter().collect();
            require(
                (1..=MAX_TENANTS).contains(&tenants.len()) && distinct.len() == tenants.len(),
                "tenants must be 1 to 64, each once",
            )?;
        }
        Ok(())
    }
}

impl OperatorKeyEntry {
    /// What makes two entries the same key, whatever stands around it.
    pub(crate) fn identity(&self) -> Vec<u8> {
        match self {
            Self::Spki { spki } => spki.to_spki_der(),
            Self::Webauthn { public_key, .. } => public_key.as_bytes().to_vec(),
        }
    }

    fn validate(&self) -> Result<(), AuthorityError> {
        let Self::Webauthn { credential_id, public_key, rp_id } = self else { return Ok(()) };
        let bytes_ok = |text: &str, max: usize| {
            text.len() <= max * 2 && URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| (1..=max).contains(&bytes.len()))
        };
        require(
            bytes_ok(credential_id, 1023) && bytes_ok(public_key, 512) && crate::url::valid_host(rp_id),
            "a webauthn key is not in its form",
        )
    }
}

/// The roles that may order an operation; more than one set where that depends on what it is about.
fn ordered_by(op: Op) -> &'static [&'static [Role]] {
    match op {
        Op::Invite => &[&[Role::Inviter]],
        Op::Grant | Op::Credential => &[&[Role::Granter]],
        // An agent; a grant or a credential.
        Op::Revoke => &[&[Role::Inviter, Role::Owner], &[Role::Granter, Role::Owner]],
        Op::Roster | Op::CertifyOperator | Op::CertifyServer | Op::NewDek => &[&[Role::Owner]],
    }
}

fn require(holds: bool, why: &str) -> Result<(), AuthorityError> {
    if holds { Ok(()) } else { Err(AuthorityError::RosterInvalid(why.to_owned())) }
}
