//! `init`: the keys, the first roster, the certificates, the first state. Once per deployment.

use std::path::PathBuf;

use tgp_authority::{Operator, OperatorKey, OperatorKeyEntry, Role as OperatorRole, Roster, RosterDoc, Tenants};
use tgp_request::name::TrustDomain;
use tgp_token::{KeyOps, Token, TokenConfig};
use tgp_vault_client::wire::KeyEntry;
use uuid::Uuid;

use crate::certificate::{Authority, CertificateError, Subject};
use crate::clock::Clock;
use crate::failure::VaultError;
use crate::keyring::KeyRing;
use crate::operation::entries;
use crate::state::{self, State, StateError, StateStore};

/// What a deployment begins with.
pub struct InitOptions {
    /// An initialised token without keys of ours.
    pub token: TokenConfig,
    /// Where the state file will be.
    pub state: PathBuf,
    /// This vault's name in operators' statements.
    pub vault: String,
    /// Version 1; see [`first_roster`].
    pub roster: RosterDoc,
    /// DNS names and addresses of the gateway's first certificate.
    pub server_names: Vec<String>,
}

/// What a deployment began with. All of it is public.
#[derive(Debug)]
#[non_exhaustive]
pub struct InitReport {
    /// base64url of SHA-256 of roster 1: what every statement names.
    pub deployment: String,
    /// The vault's name, which every statement names too.
    pub vault: String,
    /// The CA's certificate, PEM.
    pub ca_pem: String,
    /// Roster 1, JSON.
    pub roster: String,
    /// What was made in the token.
    pub keys: Vec<KeyEntry>,
}

/// A roster 1 in which each of these people may order everything, and one suffices.
pub fn first_roster(
    trust_domain: TrustDomain,
    issuer: &str,
    owners: impl IntoIterator<Item = (Uuid, OperatorKey)>,
) -> RosterDoc {
    let operator = |(id, spki)| Operator {
        id,
        keys: vec![OperatorKeyEntry::Spki { spki }],
        roles: vec![OperatorRole::Owner, OperatorRole::Inviter, OperatorRole::Granter],
        tenants: Tenants::All,
    };
    RosterDoc {
        version: 1,
        trust_domain,
        issuer: issuer.to_owned(),
        created: Clock::shifted(0).now(),
        operators: owners.into_iter().map(operator).collect(),
        quorum: std::collections::BTreeMap::new(),
    }
}

/// Provisions the token and writes the first state file.
///
/// # Errors
/// When there is a state file or a key already, or anything cannot be made. Keys that were made
/// before a failure stay in the token: it is for people to say what becomes of them.
pub fn init(options: InitOptions) -> Result<InitReport, VaultError> {
    let InitOptions { token, state: path, vault, roster, server_names } = options;
    let configuration = |e: tgp_authority::AuthorityError| VaultError::Configuration(e.to_string());
    let checked = Roster::try_from(roster.clone()).map_err(configuration)?;
    if roster.version != 1 {
        return Err(VaultError::Configuration("the first roster's version must be 1".into()));
    }
    if path.try_exists().map_err(VaultError::system("look for the state file"))? {
        return Err(StateError::Exists(path).into());
    }
    let now = Clock::shifted(0).now();
    let token = Token::open(&token)?;
    let mut session = token.session()?;
    session.self_test()?;
    token.dangerous_provision()?;
    let keys = KeyRing::find(&mut session)?;

    let serial = || crate::random::octets().map_err(VaultError::system("random octets"));
    let authority = Authority::create(&roster.trust_domain, &keys.agent_ca_sec1, serial()?, now, |digest| {
        session.sign_p256(&keys.agent_ca, digest)
    })
    .map_err(certificate)?;
    let subject = Subject::Server(&server_names);
    let server = authority
        .issue(&subject, &keys.server_spki, serial()?, now, |digest| session.sign_p256(&keys.agent_ca, digest))
        .map_err(certificate)?;

    let state = State {
        version: 1,
        deployment: checked.digest_text(),
        vault: vault.clone(),
        roster,
        ca_pem: authority.pem(),
        server_chain_pem: server.chain,
        pins: keys.pins().to_vec(),
        forgotten_until: 0,
        horizon: 0,
        mark: Default::default(),
    };
    let report = InitReport {
        deployment: state.deployment.clone(),
        vault,
        ca_pem: state.ca_pem.clone(),
        roster: serde_json::to_string(checked.doc()).map_err(|e| VaultError::Configuration(e.to_string()))?,
        keys: entries(&mut session, keys.pins())?,
    };
    StateStore::create(path, keys.state_mac.clone(), &mut session, state)?;
    Ok(report)
}

/// Every key of a token, as the token describes it; pinned or not where there is a state file.
///
/// # Errors
/// When the token cannot be opened, or the state file is not this token's.
pub fn key_list(token: &TokenConfig, state: Option<PathBuf>) -> Result<Vec<KeyEntry>, VaultError> {
    let token = Token::open(token)?;
    let mut session = token.session()?;
    let pins = match state {
        Some(path) => {
            let keys = KeyRing::find(&mut session)?;
            state::read(&path, &keys.state_mac, &mut session)?.pins
        }
        None => Vec::new(),
    };
    Ok(entries(&mut session, &pins)?)
}

fn certificate(error: CertificateError<tgp_token::TokenError>) -> VaultError {
    match error {
        CertificateError::Encoding(what) => VaultError::Configuration(what),
        CertificateError::Signer(error) => error.into(),
    }
}
