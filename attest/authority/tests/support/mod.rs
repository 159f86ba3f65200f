//! A deployment with its people, for the tests of this crate.
#![allow(dead_code, reason = "each test file uses its part")]

use std::cell::Cell;
use std::collections::BTreeMap;

use p256::SecretKey;
use p256::pkcs8::{EncodePrivateKey as _, LineEnding};
use sha2::{Digest as _, Sha256};
use tgp_authority::{
    Authorised, AuthorityError, CertifyOperator, CertifyServer, Credential, Grant, Invite, Method, NewDek, Op,
    Operation, Operator, OperatorKeyEntry, OperatorSecret, Placement, Purpose, RecordKind, Revoke, Role, Roster,
    RosterChange, RosterDoc, Signed, Statement, Tenants, salted_secret_sha256,
};
use tgp_request::jwk::IdentitySecret;
use uuid::{Uuid, uuid};

pub const NOW: i64 = 1_900_000_000;
pub const STARTED: i64 = NOW - 1000;
pub const VAULT: &str = "vault-1";
pub const TENANT: Uuid = uuid!("00000000-0000-4000-8000-000000000001");
pub const OTHER_TENANT: Uuid = uuid!("00000000-0000-4000-8000-000000000002");
pub const AGENT: Uuid = uuid!("6f1c1c52-6a53-4a5e-9f0e-0d5f5f5a0001");

/// A test key: its scalar is the SHA-256 of an ASCII seed, so that vectors come out the same each time.
fn secret(number: u128) -> OperatorSecret {
    let scalar = Sha256::digest(format!("TGP test operator key {number}"));
    let key = SecretKey::from_slice(&scalar).unwrap();
    OperatorSecret::from_pem(&key.to_pkcs8_pem(LineEnding::LF).unwrap()).unwrap()
}

pub struct Person {
    pub id: Uuid,
    pub secret: OperatorSecret,
    pub roles: Vec<Role>,
    pub tenants: Tenants,
}

impl Person {
    pub fn new(number: u128, roles: &[Role], tenants: Tenants) -> Self {
        let id = Uuid::from_u128(0x0bad_cafe_0000_4000_8000_0000_0000_0000 + number);
        Self { id, secret: secret(number), roles: roles.to_vec(), tenants }
    }

    pub fn entry(&self) -> Operator {
        Operator {
            id: self.id,
            keys: vec![OperatorKeyEntry::Spki { spki: self.secret.public() }],
            roles: self.roles.clone(),
            tenants: self.tenants.clone(),
        }
    }
}

/// Three owners of whom two must sign a roster and a server certificate; the others act in [`TENANT`].
pub struct Deployment {
    pub owners: [Person; 3],
    pub tenant_owner: Person,
    pub inviter: Person,
    pub granter: Person,
    pub agent_owner: Person,
    pub auditor: Person,
    pub roster: Roster,
    nonce: Cell<u128>,
}

impl Deployment {
    pub fn new() -> Self {
        let here = || Tenants::Only(vec![TENANT]);
        let owners = [1, 2, 3].map(|number| Person::new(number, &[Role::Owner], Tenants::All));
        let tenant_owner = Person::new(4, &[Role::Owner], here());
        let inviter = Person::new(5, &[Role::Inviter], here());
        let granter = Person::new(6, &[Role::Granter], here());
        let agent_owner = Person::new(7, &[Role::AgentOwner], here());
        let auditor = Person::new(8, &[Role::Auditor], Tenants::All);
        let everyone = owners.iter().chain([&tenant_owner, &inviter, &granter, &agent_owner, &auditor]);
        let doc = RosterDoc {
            version: 1,
            trust_domain: "tgp.example".parse().unwrap(),
            issuer: "https://tgp.example:8443".to_owned(),
            created: NOW - 100_000,
            operators: everyone.map(Person::entry).collect(),
            quorum: BTreeMap::from([(Op::Roster, 2), (Op::CertifyServer, 2)]),
        };
        let roster = Roster::try_from(doc).unwrap();
        let nonce = Cell::new(1);
        Self { owners, tenant_owner, inviter, granter, agent_owner, auditor, roster, nonce }
    }

    pub fn deployment(&self) -> String {
        self.roster.digest_text()
    }

    pub fn everyone(&self) -> impl Iterator<Item = &Person> {
        let others = [&self.tenant_owner, &self.inviter, &self.granter, &self.agent_owner, &self.auditor];
        self.owners.iter().chain(others)
    }

    pub fn statement(&self, operation: &Operation, by: &Person) -> Statement {
        self.nonce.set(self.nonce.get() + 1);
        let nonce = self.nonce.get().to_be_bytes();
        let ahead = if operation.op() == Op::Invite { 7 * 24 * 3600 } else { 15 * 60 };
        Statement::new(operation, &self.deployment(), VAULT, by.id, nonce, NOW + ahead)
    }

    pub fn sign(&self, operation: &Operation, by: &Person) -> Signed {
        self.statement(operation, by).sign(&by.secret).unwrap()
    }

    pub fn check(&self, signed: &[Signed]) -> Result<Authorised, AuthorityError> {
        self.roster.check(signed, &self.deployment(), VAULT, NOW, STARTED)
    }

    /// The next roster after `change`, not validated.
    pub fn next(&self, change: impl FnOnce(&mut RosterDoc)) -> RosterDoc {
        let mut doc = self.roster.doc().clone();
        doc.version += 1;
        doc.created = NOW;
        change(&mut doc);
        doc
    }
}

pub fn invite() -> Operation {
    let code = IdentitySecret::from_bytes(&[7; 32]).unwrap();
    Operation::Invite(Invite {
        agent: AGENT,
        tenant: TENANT,
        handle: "travel-bot".parse().unwrap(),
        aan: "7284019953310473".parse().unwrap(),
        methods: vec![Method::ClientSecretBasic],
        code_key: code.public().to_jwk(),
        not_after: NOW + 24 * 3600,
    })
}

pub fn grant() -> Operation {
    Operation::Grant(Grant {
        grant: Uuid::from_u128(0x9000_0000_0000_4000_8000_0000_0000_0001),
        version: 1,
        tenant: TENANT,
        agent: AGENT,
        tool: "mail".parse().unwrap(),
        resource: "https://tgp.example:8443/t/mail".to_owned(),
        actions: vec!["mail.*".parse().unwrap(), "send".parse().unwrap()],
        resources: Vec::new(),
        not_before: NOW,
        not_after: NOW + 90 * 24 * 3600,
        credential: None,
    })
}

pub fn credential() -> Operation {
    Operation::Credential(Credential {
        tenant: TENANT,
        tool: "mail".parse().unwrap(),
        name: None,
        resource: "https://tgp.example:8443/t/mail".to_owned(),
        version: 1,
        origins: vec!["https://mail.example".to_owned()],
        placement: Placement::header("X-Api-Key").unwrap(),
        secret_sha256: salted_secret_sha256(b"salt", b"secret"),
    })
}

pub fn revoke(kind: RecordKind) -> Operation {
    let id = match kind {
        RecordKind::Credential => "mail".to_owned(),
        _ => AGENT.to_string(),
    };
    Operation::Revoke(Revoke { tenant: TENANT, kind, id })
}

pub fn certify_operator(person: &Person) -> Operation {
    let csr = person.secret.certificate_request();
    Operation::CertifyOperator(CertifyOperator { operator: person.id, csr })
}

pub fn certify_server() -> Operation {
    let names = vec!["tgp.example".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    Operation::CertifyServer(CertifyServer { names })
}

pub fn new_dek() -> Operation {
    Operation::NewDek(NewDek { tenant: TENANT, purpose: Purpose::Record })
}

pub fn roster_change(roster: RosterDoc) -> Operation {
    Operation::Roster(RosterChange { roster })
}
