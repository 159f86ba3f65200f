//! Records: what the vault knows of an agent, a grant or a credential, sealed for the database.
//!
//! A record is a clear label and an envelope. The label says what to open and how old it is; it is
//! bound as AAD, so that a label on another record does not open it. Records live in a name space
//! of tables that the general `seal` and `open` refuse, and under keys of a purpose that they
//! refuse too. Whether a record is still good is the state's floors' to say: [`crate::state`].
//!
//! A kind whose record has gained a member since is sealed in a second form. The form is part of the label and of the
//! AAD; what was sealed in the first still opens, as what it then said.
//!
//! ```text
//! label = form ("TGPr", "TGP2") | kind u8 | tenant 16 | version u32 | id length u8 | id
//! ```

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tgp_authority::{ActionPattern, Placement, RecordKind, credential_id};
use tgp_request::name::{Aan, ActionName, Handle, ResourcePattern, Slug};
use tgp_vault_client::wire::{AgentFacts, GrantFacts, Refusal, RefusalCode};
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::envelope::{self, Fresh, Place};

const FIXED: usize = 4 + 1 + 16 + 4 + 1;
/// Tables of the vault's own. No other table name contains a slash.
const TABLE_SEPARATOR: char = '/';

/// Whether a table name belongs to records.
pub(crate) fn is_reserved(table: &str) -> bool {
    table.contains(TABLE_SEPARATOR)
}

/// Which members a record's plaintext has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    First,
    Second,
}

impl Form {
    fn magic(self) -> &'static [u8; 4] {
        match self {
            Form::First => b"TGPr",
            Form::Second => b"TGP2",
        }
    }

    fn column(self) -> &'static str {
        match self {
            Form::First => "record",
            Form::Second => "record.2",
        }
    }
}

/// What can be a record.
pub(crate) trait Record: Serialize + DeserializeOwned {
    const KIND: RecordKind;
    /// The form that it is sealed in.
    const FORM: Form = Form::First;
    /// Reads a plaintext of an earlier form.
    fn earlier(_: Form, _: &[u8]) -> Option<Self> {
        None
    }
    fn tenant(&self) -> Uuid;
    fn id(&self) -> String;
    fn version(&self) -> u32;
}

/// An enrolled agent.
#[derive(Serialize, Deserialize)]
pub(crate) struct AgentRecord {
    pub tenant: Uuid,
    pub agent: Uuid,
    pub handle: Handle,
    pub aan: Aan,
    /// `04 ‖ x ‖ y`: half of an uncompressed point costs a square root at each use.
    #[serde(with = "tgp_vault_client::wire::octets")]
    pub identity_key: Vec<u8>,
    pub keyid: String,
    pub methods: Vec<String>,
    pub root_version: u32,
    pub generation: u32,
    pub version: u32,
    pub inviter: Uuid,
    pub invitation_sha256: [u8; 32],
}

/// A permission that a granter signed.
#[derive(Serialize, Deserialize)]
pub(crate) struct GrantRecord {
    pub grant: Uuid,
    pub version: u32,
    pub tenant: Uuid,
    pub agent: Uuid,
    pub tool: Slug,
    pub resource: String,
    pub actions: Vec<ActionPattern>,
    pub not_before: i64,
    pub not_after: i64,
    pub granter: Uuid,
    pub credential: Option<Slug>,
    /// None restrict nothing.
    pub resources: Vec<ResourcePattern>,
}

/// A grant as it was sealed before grants had resource patterns and named their credential.
#[derive(Serialize, Deserialize)]
struct FirstGrantRecord {
    grant: Uuid,
    version: u32,
    tenant: Uuid,
    agent: Uuid,
    tool: Slug,
    resource: String,
    actions: Vec<ActionPattern>,
    not_before: i64,
    not_after: i64,
    granter: Uuid,
}

impl From<FirstGrantRecord> for GrantRecord {
    fn from(first: FirstGrantRecord) -> Self {
        let FirstGrantRecord { grant, version, tenant, agent, tool, resource, actions, not_before, not_after, granter } =
            first;
        let (credential, resources) = (None, Vec::new());
        Self {
            grant,
            version,
            tenant,
            agent,
            tool,
            resource,
            actions,
            not_before,
            not_after,
            granter,
            credential,
            resources,
        }
    }
}

/// A secret that an upstream wants.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(crate) struct CredentialRecord {
    #[zeroize(skip)]
    pub tenant: Uuid,
    #[zeroize(skip)]
    pub tool: Slug,
    #[zeroize(skip)]
    pub name: Option<Slug>,
    #[zeroize(skip)]
    pub resource: String,
    #[zeroize(skip)]
    pub version: u32,
    #[zeroize(skip)]
    pub origins: Vec<String>,
    #[zeroize(skip)]
    pub placement: Placement,
    #[serde(with = "tgp_vault_client::wire::octets")]
    pub secret: Vec<u8>,
}

impl Record for AgentRecord {
    const KIND: RecordKind = RecordKind::Agent;
    fn tenant(&self) -> Uuid {
        self.tenant
    }
    fn id(&self) -> String {
        self.agent.to_string()
    }
    fn version(&self) -> u32 {
        self.version
    }
}

impl Record for GrantRecord {
    const KIND: RecordKind = RecordKind::Grant;
    const FORM: Form = Form::Second;
    fn earlier(form: Form, plaintext: &[u8]) -> Option<Self> {
        match form {
            Form::First => postcard::from_bytes::<FirstGrantRecord>(plaintext).ok().map(Self::from),
            Form::Second => None,
        }
    }
    fn tenant(&self) -> Uuid {
        self.tenant
    }
    fn id(&self) -> String {
        self.grant.to_string()
    }
    fn version(&self) -> u32 {
        self.version
    }
}

impl Record for CredentialRecord {
    const KIND: RecordKind = RecordKind::Credential;
    fn tenant(&self) -> Uuid {
        self.tenant
    }
    fn id(&self) -> String {
        credential_id(&self.tool, self.name.as_ref())
    }
    fn version(&self) -> u32 {
        self.version
    }
}

impl GrantRecord {
    pub(crate) fn covers(&self, action: &ActionName) -> bool {
        self.actions.iter().any(|pattern| pattern.covers(action))
    }

    pub(crate) fn facts(&self) -> GrantFacts {
        GrantFacts {
            grant: self.grant,
            version: self.version,
            tenant: self.tenant,
            agent: self.agent,
            tool: self.tool.to_string(),
            resource: self.resource.clone(),
            actions: self.actions.iter().map(ToString::to_string).collect(),
            resources: self.resources.iter().map(ToString::to_string).collect(),
            not_before: self.not_before,
            not_after: self.not_after,
            granter: self.granter,
            credential: self.credential.as_ref().map(ToString::to_string),
        }
    }
}

impl AgentRecord {
    pub(crate) fn facts(&self, jwk: String) -> AgentFacts {
        AgentFacts {
            tenant: self.tenant,
            agent: self.agent,
            handle: self.handle.to_string(),
            aan: self.aan.to_string(),
            keyid: self.keyid.clone(),
            jwk,
            methods: self.methods.clone(),
            root_version: self.root_version,
            generation: self.generation,
            version: self.version,
            inviter: self.inviter,
            invitation_sha256: self.invitation_sha256,
        }
    }
}

/// A record's label, read but not yet believed.
#[derive(Debug, PartialEq)]
pub(crate) struct Label<'a> {
    pub form: Form,
    pub kind: RecordKind,
    pub tenant: Uuid,
    pub id: &'a str,
    pub version: u32,
    /// The envelope behind it.
    pub sealed: &'a [u8],
}

impl<'a> Label<'a> {
    /// Takes a record apart, if it claims to be of this kind.
    pub(crate) fn parse(kind: RecordKind, record: &'a [u8]) -> Result<Self, Refusal> {
        let refused = || invalid(kind, "it is not one");
        let (fixed, rest) = record.split_at_checked(FIXED).ok_or_else(refused)?;
        let form = [Form::First, Form::Second].into_iter().find(|form| fixed[..4] == *form.magic());
        let form = form.filter(|_| fixed[4] == kind_byte(kind)).ok_or_else(refused)?;
        let tenant = Uuid::from_slice(&fixed[5..21]).expect("16 octets");
        let version = u32::from_be_bytes(fixed[21..25].try_into().expect("4 octets"));
        let (id, sealed) = rest.split_at_checked(fixed[25].into()).ok_or_else(refused)?;
        let id = std::str::from_utf8(id).map_err(|_| refused())?;
        Ok(Label { form, kind, tenant, id, version, sealed })
    }

    /// Opens it with the key that its envelope names.
    pub(crate) fn open<R: Record>(&self, dek: &[u8; 32]) -> Result<R, Refusal> {
        let refused = || invalid(R::KIND, "it is not as this vault sealed it");
        let column = self.form.column();
        let place = Place { tenant: self.tenant, table: table(self.kind), column, key: self.id, version: self.version };
        let plaintext: Zeroizing<Vec<u8>> = envelope::open(dek, place, self.sealed).map_err(|_| refused())?;
        let record = match self.form {
            form if form == R::FORM => postcard::from_bytes(&plaintext).ok(),
            form => R::earlier(form, &plaintext),
        };
        let record: R = record.ok_or_else(refused)?;
        // The label is AAD, and this vault wrote both alike: a difference would be a bug of ours.
        let agrees = record.tenant() == self.tenant && record.version() == self.version && record.id() == self.id;
        if agrees { Ok(record) } else { Err(refused()) }
    }
}

/// Seals a record.
pub(crate) fn seal<R: Record>(dek: &[u8; 32], dek_id: Uuid, fresh: Fresh, record: &R) -> Vec<u8> {
    let id = record.id();
    let column = R::FORM.column();
    let place = Place { tenant: record.tenant(), table: table(R::KIND), column, key: &id, version: record.version() };
    let plaintext = Zeroizing::new(postcard::to_stdvec(record).expect("records are plain data in memory"));
    let sealed = envelope::seal(dek, dek_id, place, fresh, &plaintext);
    let mut out = Vec::with_capacity(FIXED + id.len() + sealed.len());
    out.extend_from_slice(R::FORM.magic());
    out.push(kind_byte(R::KIND));
    out.extend_from_slice(record.tenant().as_bytes());
    out.extend_from_slice(&record.version().to_be_bytes());
    out.push(u8::try_from(id.len()).expect("ids are UUIDs, or two slugs of at most 63 octets and a slash"));
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(&sealed);
    out
}

/// The text of a kind in tables and floors.
pub(crate) fn kind_text(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Agent => "agent",
        RecordKind::Grant => "grant",
        RecordKind::Credential => "credential",
        // The enum may grow; a kind that has no records yet has no name here either.
        _ => "unknown",
    }
}

fn table(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Agent => "record/agent",
        RecordKind::Grant => "record/grant",
        RecordKind::Credential => "record/credential",
        _ => "record/unknown",
    }
}

fn kind_byte(kind: RecordKind) -> u8 {
    match kind {
        RecordKind::Agent => 1,
        RecordKind::Grant => 2,
        RecordKind::Credential => 3,
        _ => 0,
    }
}

fn invalid(kind: RecordKind, why: &str) -> Refusal {
    let kind = kind_text(kind);
    Refusal::new(RefusalCode::RecordInvalid, format!("the {kind} record is refused: {why}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEK: [u8; 32] = [3; 32];
    const ID: Uuid = Uuid::from_u128(77);

    fn grant(version: u32) -> GrantRecord {
        GrantRecord {
            grant: Uuid::from_u128(5),
            version,
            tenant: Uuid::from_u128(1),
            agent: Uuid::from_u128(2),
            tool: "mail".parse().expect("a slug"),
            resource: "https://gw.example/t/mail".into(),
            actions: vec!["send".parse().expect("a pattern")],
            not_before: 0,
            not_after: 10,
            granter: Uuid::from_u128(3),
            credential: None,
            resources: vec!["octocat/*".parse().expect("a pattern")],
        }
    }

    fn sealed(version: u32) -> Vec<u8> {
        let fresh = Fresh::random().expect("random octets");
        seal(&DEK, ID, fresh, &grant(version))
    }

    #[test]
    fn a_record_opens_as_what_was_sealed() {
        let octets = sealed(4);
        let label = Label::parse(RecordKind::Grant, &octets).expect("a grant");
        assert_eq!((label.version, label.tenant), (4, Uuid::from_u128(1)));
        assert_eq!(envelope::dek_id(label.sealed), Ok(ID));
        let opened: GrantRecord = label.open(&DEK).expect("opens");
        assert_eq!(opened.facts(), grant(4).facts());
    }

    impl Record for FirstGrantRecord {
        const KIND: RecordKind = RecordKind::Grant;
        fn tenant(&self) -> Uuid {
            self.tenant
        }
        fn id(&self) -> String {
            self.grant.to_string()
        }
        fn version(&self) -> u32 {
            self.version
        }
    }

    #[test]
    fn a_grant_of_before_there_were_resource_patterns_opens_and_restricts_nothing() {
        let GrantRecord {
            grant, version, tenant, agent, tool, resource, actions, not_before, not_after, granter, ..
        } = grant(4);
        let first =
            FirstGrantRecord { grant, version, tenant, agent, tool, resource, actions, not_before, not_after, granter };
        let octets = seal(&DEK, ID, Fresh::random().expect("random octets"), &first);
        assert_eq!(&octets[..4], b"TGPr");
        let open = |octets: &[u8]| Label::parse(RecordKind::Grant, octets)?.open::<GrantRecord>(&DEK);
        let opened = open(&octets).expect("opens");
        assert_eq!((opened.grant, opened.not_after, opened.resources.len()), (grant, not_after, 0));
        let mut relabelled = octets;
        relabelled[..4].copy_from_slice(b"TGP2");
        assert!(open(&relabelled).is_err(), "an old grant under the new label");
        let mut stripped = sealed(4);
        stripped[..4].copy_from_slice(b"TGPr");
        assert!(open(&stripped).is_err(), "a restricted grant under the old label");
    }

    #[test]
    fn a_record_is_not_taken_for_another_kind() {
        let octets = sealed(1);
        for kind in [RecordKind::Agent, RecordKind::Credential] {
            let error = Label::parse(kind, &octets).expect_err("another kind");
            assert_eq!(error.code, RefusalCode::RecordInvalid);
        }
        let mut relabelled = octets;
        relabelled[4] = kind_byte(RecordKind::Agent);
        let label = Label::parse(RecordKind::Agent, &relabelled).expect("claims to be an agent");
        assert!(label.open::<AgentRecord>(&DEK).is_err());
    }

    #[test]
    fn a_label_on_another_record_does_not_open_it() {
        let (old, new) = (sealed(1), sealed(2));
        let label_len = FIXED + 36;
        let mut swapped = new[..label_len].to_vec();
        swapped.extend_from_slice(&old[label_len..]);
        let label = Label::parse(RecordKind::Grant, &swapped).expect("looks like one");
        assert_eq!(label.version, 2);
        assert!(label.open::<GrantRecord>(&DEK).is_err());
    }

    proptest! {
        #[test]
        fn one_flipped_bit_anywhere_spoils_a_record(at: prop::sample::Index, bit in 0..8_u8) {
            let mut octets = sealed(1);
            let at = at.index(octets.len());
            octets[at] ^= 1 << bit;
            let opened = Label::parse(RecordKind::Grant, &octets)
                .and_then(|label| label.open::<GrantRecord>(&DEK));
            prop_assert!(opened.is_err());
        }

        #[test]
        fn arbitrary_octets_are_no_record(octets: Vec<u8>) {
            let opened = Label::parse(RecordKind::Grant, &octets)
                .and_then(|label| label.open::<GrantRecord>(&DEK));
            prop_assert!(opened.is_err());
        }
    }
}
