//! What an agent shows for itself when it asks for a token: its master key, or an assertion by its identity key.
//!
//! An assertion is spent with the token that it brings, in the same memory as requests' nonces and apart from them. What
//! is refused later spends nothing.

use subtle::ConstantTimeEq;
use tgp_authority::Method;
use tgp_request::MasterKey;
use tgp_request::assertion::{UnverifiedAssertion, VerifiedAssertion};
use tgp_request::jwk::IdentityKey;
use tgp_token::KeyOps;
use tgp_vault_client::wire::{Proof, RefusalCode};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::envelope::length_prefixed;
use crate::failure::Failure;
use crate::proofs;
use crate::record::AgentRecord;
use crate::vault::Worker;

/// A proof that holds. Spending it is the last step before signing.
#[must_use = "an assertion that is not spent is good again"]
pub(super) struct Proven(Option<VerifiedAssertion>);

impl Proven {
    pub(super) fn spend(self, worker: &mut Worker<'_>, now: i64) -> Result<(), Failure> {
        let Some(assertion) = self.0 else { return Ok(()) };
        // No thumbprint has a colon: an assertion's jti never meets a request's nonce.
        let namespace = format!("assertion:{}", assertion.keyid());
        let spent = proofs::Proof {
            keyid: &namespace,
            nonce_digest: assertion.jti_digest(),
            created: assertion.created(),
            expires: assertion.expires(),
        };
        worker.spend_proof(&spent, now)
    }
}

/// Whether `proof` is the agent's, by a method that its record allows.
pub(super) fn check(worker: &mut Worker<'_>, agent: &AgentRecord, proof: &Proof, now: i64) -> Result<Proven, Failure> {
    match proof {
        Proof::MasterKey(text) => {
            allowed(agent, Method::ClientSecretBasic, RefusalCode::MasterKeyInvalid)?;
            check_master_key(worker, agent, text.expose_text())?;
            Ok(Proven(None))
        }
        Proof::Assertion(text) => {
            allowed(agent, Method::PrivateKeyJwt, RefusalCode::AssertionInvalid)?;
            check_assertion(worker, agent, text.expose_text(), now).map(Some).map(Proven)
        }
        _ => Err(Failure::refused(RefusalCode::MasterKeyInvalid, "this vault does not know that kind of proof")),
    }
}

fn allowed(agent: &AgentRecord, method: Method, code: RefusalCode) -> Result<(), Failure> {
    let name = method_text(method);
    if agent.methods.iter().any(|method| method == name) {
        return Ok(());
    }
    Err(Failure::refused(code, format!("the agent's record does not allow {name}")))
}

fn check_master_key(worker: &mut Worker<'_>, agent: &AgentRecord, text: Option<&str>) -> Result<(), Failure> {
    // One text for all of it: a guesser learns nothing from the way a key is wrong.
    let refused = || Failure::refused(RefusalCode::MasterKeyInvalid, "this is not the agent's current master key");
    let key = MasterKey::parse(text.ok_or_else(refused)?).map_err(|_| refused())?;
    let current =
        key.agent == agent.agent && key.root_version == agent.root_version && key.generation == agent.generation;
    if !current {
        return Err(refused());
    }
    let root = worker.vault.keys.master_root(agent.root_version).ok_or_else(refused)?;
    let input = master_key_input(agent.agent, agent.root_version, agent.generation);
    let expected = Zeroizing::new(worker.session.hmac(root, &input)?);
    if bool::from(expected.ct_eq(key.expose_mac())) { Ok(()) } else { Err(refused()) }
}

fn check_assertion(
    worker: &Worker<'_>,
    agent: &AgentRecord,
    text: Option<&str>,
    now: i64,
) -> Result<VerifiedAssertion, Failure> {
    let refused = |why: String| Failure::refused(RefusalCode::AssertionInvalid, why);
    let text = text.ok_or_else(|| refused("the assertion is not text".into()))?;
    let in_force = worker.vault.state.current();
    let issuer = &in_force.roster.doc().issuer;
    let assertion = UnverifiedAssertion::parse(text, issuer, now).map_err(|error| refused(error.to_string()))?;
    if assertion.agent() != agent.agent {
        return Err(refused("the assertion is another agent's".into()));
    }
    let key = identity(agent)?;
    assertion.verify(&key).map_err(|error| refused(error.to_string()))
}

/// The key that the agent's requests are signed with.
pub(super) fn identity(agent: &AgentRecord) -> Result<IdentityKey, Failure> {
    IdentityKey::from_sec1(&agent.identity_key)
        .map_err(|error| Failure::refused(RefusalCode::RecordInvalid, error.to_string()))
}

/// What `master-root` makes an agent's master key from.
pub(super) fn master_key_input(agent: Uuid, root_version: u32, generation: u32) -> Vec<u8> {
    let mut input = Vec::with_capacity(64);
    for part in [b"tgp master key".as_slice(), agent.as_bytes(), &root_version.to_be_bytes(), &generation.to_be_bytes()]
    {
        length_prefixed(&mut input, part);
    }
    input
}

/// RFC 8414's name of a method.
pub(super) fn method_text(method: Method) -> &'static str {
    match method {
        Method::ClientSecretBasic => "client_secret_basic",
        Method::PrivateKeyJwt => "private_key_jwt",
        _ => "unknown",
    }
}
