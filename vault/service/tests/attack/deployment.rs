//! A deployment to attack: a token, operators, a vault process, and what a gateway would keep.

use std::cell::{Cell, OnceCell};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Output};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tempfile::TempDir;
use tgp_authority::{
    NewDek, Operation, Operator, OperatorKeyEntry, Purpose, Role as OperatorRole, Roster, RosterDoc, Tenants,
};
use tgp_vault_client::wire::{self, Call, Describe, Description, RefusalCode};
use tgp_vault_client::{Blocking, CallError};
use uuid::Uuid;

use crate::actors::Person;
use crate::child::{self, Role};

pub const ISSUER: &str = "https://gw.tgp.example:8443";
pub const TENANT: Uuid = Uuid::from_u128(0x00000000_0000_4000_8000_000000000001);
pub const OTHER_TENANT: Uuid = Uuid::from_u128(0x00000000_0000_4000_8000_000000000002);

pub struct Deployment {
    dir: TempDir,
    vault: Option<Child>,
    shift: Cell<i64>,
    pub name: String,
    pub owner: Person,
    pub inviter: Person,
    pub granter: Person,
    /// May do everything, in the other tenant only.
    pub outsider: Person,
    pub roster: RosterDoc,
    /// Record key of the tenant.
    pub dek: Uuid,
    /// Metadata key of the tenant.
    pub metadata_dek: Uuid,
    /// Record key of the other tenant.
    pub other_dek: Uuid,
    pub wrapped: Vec<wire::WrappedDek>,
    /// The credential of `mail`, once somebody has set it.
    pub mail: OnceCell<wire::SealedCredential>,
}

impl Deployment {
    /// Provisions and starts one, with keys for both tenants.
    pub fn start() -> Self {
        let mut new = Self::provisioned();
        new.serve();
        new.dek = new.new_dek(TENANT, Purpose::Record);
        new.metadata_dek = new.new_dek(TENANT, Purpose::Metadata);
        new.other_dek = new.new_dek(OTHER_TENANT, Purpose::Record);
        new
    }

    /// Provisions one; its vault does not run yet.
    pub fn provisioned() -> Self {
        let dir = TempDir::new().unwrap();
        let tenants = || Tenants::Only(vec![TENANT]);
        let people = [
            (Person::new(), vec![OperatorRole::Owner], Tenants::All),
            (Person::new(), vec![OperatorRole::Inviter], tenants()),
            (Person::new(), vec![OperatorRole::Granter], tenants()),
            (
                Person::new(),
                vec![OperatorRole::Owner, OperatorRole::Inviter, OperatorRole::Granter],
                Tenants::Only(vec![OTHER_TENANT]),
            ),
        ];
        let roster = RosterDoc {
            version: 1,
            trust_domain: "tgp.example".parse().unwrap(),
            issuer: ISSUER.into(),
            created: system_now(),
            operators: people
                .iter()
                .map(|(person, roles, tenants)| person.entry(roles.clone(), tenants.clone()))
                .collect(),
            quorum: Default::default(),
        };
        let [owner, inviter, granter, outsider] = people.map(|(person, ..)| person);
        let new = Deployment {
            name: Roster::try_from(roster.clone()).unwrap().digest_text(),
            dir,
            vault: None,
            shift: Cell::new(0),
            mail: OnceCell::new(),
            owner,
            inviter,
            granter,
            outsider,
            roster: roster.clone(),
            dek: Uuid::nil(),
            metadata_dek: Uuid::nil(),
            other_dek: Uuid::nil(),
            wrapped: Vec::new(),
        };
        tgp_token::softhsm::write_conf(new.dir.path()).unwrap();
        child::done(new.dir.path(), &Role::MakeToken);
        let state = new.state();
        child::done(new.dir.path(), &Role::Init { roster, state });
        new
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    pub fn socket(&self) -> PathBuf {
        self.path("vault.sock")
    }

    /// Unix seconds by the vault's clock.
    pub fn now(&self) -> i64 {
        system_now() + self.shift.get()
    }

    pub fn role(&self, uids: Vec<u32>) -> Role {
        Role::Serve { state: self.state(), socket: self.socket(), uids, clock_shift: self.shift.get() }
    }

    pub fn own_uid() -> u32 {
        rustix::process::getuid().as_raw()
    }

    /// Starts the vault and waits until it answers.
    pub fn serve(&mut self) {
        if let Err(output) = self.try_serve() {
            panic!("the vault did not start: {}", child::text(&output));
        }
    }

    /// Starts the vault; what it said, where it ended instead.
    pub fn try_serve(&mut self) -> Result<(), Output> {
        let role = self.role(vec![Self::own_uid()]);
        let mut vault = child::spawn(self.dir.path(), &role);
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if vault.try_wait().unwrap().is_some() {
                return Err(vault.wait_with_output().unwrap());
            }
            if self.call(Describe {}).is_ok() {
                self.vault = Some(vault);
                return Ok(());
            }
            assert!(Instant::now() < deadline, "the vault neither serves nor ends");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks the vault to end, and sees it end well.
    pub fn stop(&mut self) {
        let vault = self.vault.take().unwrap();
        let pid = rustix::process::Pid::from_child(&vault);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let output = vault.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", child::text(&output));
        assert!(!self.socket().exists(), "the socket's file was left behind");
    }

    /// Kills the vault where it stands.
    pub fn kill(&mut self) {
        let mut vault = self.vault.take().unwrap();
        vault.kill().unwrap();
        assert_eq!(vault.wait().unwrap().signal(), Some(9));
    }

    /// Ends the vault and starts it again, its clock ahead by so many seconds more.
    pub fn restart_later(&mut self, seconds: i64) {
        self.stop();
        self.shift.set(self.shift.get() + seconds);
        self.serve();
        for dek in self.wrapped.clone() {
            self.call(wire::LoadDek { dek }).unwrap();
        }
    }

    pub fn pid(&self) -> u32 {
        self.vault.as_ref().unwrap().id()
    }

    /// Makes a call on a connection of its own.
    pub fn call<C: Call>(&self, call: C) -> Result<C::Reply, CallError> {
        let mut connection = self.connect(C::OP.door())?;
        connection.call(&call)
    }

    pub fn connect(&self, door: wire::Door) -> Result<Blocking, CallError> {
        let timeout = Duration::from_secs(20);
        Blocking::connect(&self.socket(), door, Some(Self::own_uid()), timeout)
    }

    pub fn about(&self) -> Description {
        self.call(Describe {}).unwrap()
    }

    fn new_dek(&mut self, tenant: Uuid, purpose: Purpose) -> Uuid {
        let order = Operation::NewDek(NewDek { tenant, purpose });
        let statement = self.owner.order(self, &order);
        let dek = self.call(wire::NewDek { statement }).unwrap();
        self.wrapped.push(dek.clone());
        dek.id
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        if let Some(mut vault) = self.vault.take() {
            drop(vault.kill());
            drop(vault.wait());
        }
    }
}

impl Person {
    pub fn entry(&self, roles: Vec<OperatorRole>, tenants: Tenants) -> Operator {
        let spki = self.secret.public();
        Operator { id: self.id, keys: vec![OperatorKeyEntry::Spki { spki }], roles, tenants }
    }
}

#[expect(clippy::disallowed_methods, reason = "the test's one clock")]
fn system_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// The code of a refusal; anything else fails the test.
#[track_caller]
pub fn refused<T>(what: &str, answer: Result<T, CallError>) -> RefusalCode {
    match answer {
        Err(CallError::Refused(refusal)) => refusal.code,
        Err(other) => panic!("{what}: not a refusal but {other}"),
        Ok(_) => panic!("{what}: it was accepted"),
    }
}

/// A base64url text with its first letter changed, so that it still decodes.
pub fn other_text(text: &str) -> String {
    let mut octets = URL_SAFE_NO_PAD.decode(text).unwrap();
    octets[0] ^= 1;
    URL_SAFE_NO_PAD.encode(octets)
}
