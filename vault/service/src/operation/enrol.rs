//! `enrol`: an invitation that an inviter signed becomes an agent.
//!
//! The proof is checked first, so that only who holds the code learns whether it was used or has
//! expired. Repeatable with the same two keys for ten minutes from first use: a lost answer must not
//! cost an invitation. Whoever sees an enrolment pass can change neither key: both signatures cover
//! the body, and the code's private key is never sent.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use tgp_authority::{AuthorityError, CertificateRequest, Invite, Operation, Purpose, RecordKind, Signed};
use tgp_request::MasterKey;
use tgp_request::enrol::EnrolmentRequest;
use tgp_request::jwk::IdentityKey;
use tgp_request::signature::{Tag, UnverifiedRequest, VerifiedRequest};
use tgp_token::KeyOps;
use tgp_vault_client::wire::{Enrol, Enrolled, RefusalCode, RequestEnvelope, WireSecret};
use zeroize::Zeroizing;

use super::proof::{master_key_input, method_text};
use super::renew::{expect_target, issue_to_agent, malformed};
use crate::envelope::Fresh;
use crate::failure::Failure;
use crate::record::{self, AgentRecord};
use crate::state::{Act, Enrolment};
use crate::vault::{Worker, headers, proof_of};

/// How long an enrolment may be repeated.
const REPEAT_S: i64 = 600;
const FIRST: u32 = 1;

pub(super) fn enrol(worker: &mut Worker<'_>, call: Enrol, now: i64) -> Result<Enrolled, Failure> {
    let Enrol { invitation, request, dek } = call;
    let signed = Signed::parse(invitation.0.as_bytes()).map_err(|e| unknown(&e.to_string()))?;
    let claimed = Operation::parse(&signed.statement.op, &signed.statement.params);
    let Ok(Operation::Invite(invite)) = claimed else {
        return Err(unknown("it is not an invitation"));
    };
    let proof = Presented::check(worker, &invite, &request, now)?;

    let invitation_sha256 = signed.digest().map_err(|e| unknown(&e.to_string()))?;
    let use_now = Enrolment {
        invitation: invitation_sha256,
        identity_key: Sha256::digest(proof.identity.keyid()).into(),
        tls_key: Sha256::digest(&proof.spki).into(),
        first_use: now,
        forget_after: signed.statement.not_after.saturating_add(REPEAT_S),
    };
    let repeated = check_invitation(worker, &signed, &invite, &use_now, now)?;
    // Whatever can be asked for again is asked for before anything is spent.
    worker.vault.with_dek(dek, invite.tenant, Purpose::Record, |_| Ok(()))?;
    worker.spend_proof(&proof_of!(proof.by_identity), now)?;
    worker.spend_proof(&proof_of!(proof.by_code), now)?;
    if !repeated {
        let vault = worker.vault;
        vault.state.commit(&mut worker.session, now, |act| first_use(act, &invite, use_now))?;
    }

    let agent = AgentRecord {
        tenant: invite.tenant,
        agent: invite.agent,
        handle: invite.handle,
        aan: invite.aan,
        identity_key: uncompressed(&proof.identity),
        keyid: proof.identity.keyid().to_owned(),
        methods: invite.methods.iter().map(|m| method_text(*m).to_owned()).collect(),
        root_version: worker.vault.keys.current_root,
        generation: FIRST,
        version: FIRST,
        inviter: signed.statement.signer,
        invitation_sha256,
    };
    complete(worker, &agent, &proof, dek, now)
}

fn complete(
    worker: &mut Worker<'_>,
    agent: &AgentRecord,
    proof: &Presented,
    dek: uuid::Uuid,
    now: i64,
) -> Result<Enrolled, Failure> {
    let vault = worker.vault;
    let root = vault
        .keys
        .master_root(agent.root_version)
        .ok_or_else(|| Failure::Unavailable("the current master root is not in the ring".into()))?;
    let input = master_key_input(agent.agent, agent.root_version, agent.generation);
    let mac = Zeroizing::new(worker.session.hmac(root, &input)?);
    let master_key = MasterKey::new(agent.agent, agent.root_version, agent.generation, *mac);
    let certificate = issue_to_agent(worker, agent, &proof.spki, now)?;
    let fresh = Fresh::random()?;
    let record = vault.with_dek(dek, agent.tenant, Purpose::Record, |key| Ok(record::seal(key, dek, fresh, agent)))?;
    let jwk = serde_json::to_string(&proof.identity.to_jwk()).expect("four texts serialise");
    Ok(Enrolled {
        record,
        facts: agent.facts(jwk),
        certificate,
        ca_bundle: vault.authority.pem(),
        master_key: WireSecret::new(master_key.expose_text().as_bytes().to_vec()),
    })
}

/// An enrolment whose two signatures and CSR hold together.
struct Presented {
    identity: IdentityKey,
    spki: Vec<u8>,
    by_identity: VerifiedRequest,
    by_code: VerifiedRequest,
}

impl Presented {
    fn check(worker: &Worker<'_>, invite: &Invite, request: &RequestEnvelope, now: i64) -> Result<Self, Failure> {
        expect_target(worker, &request.method, &request.target_uri, "/v1/enrol")?;
        let fields = headers(request)?;
        let parse = |tag| UnverifiedRequest::parse(&request.method, &request.target_uri, &fields, tag, now);
        let (by_identity, by_code) = (parse(Tag::Enrol)?, parse(Tag::EnrolCode)?);
        let body: EnrolmentRequest = serde_json::from_slice(&request.body).map_err(malformed)?;
        let identity = IdentityKey::from_jwk(&body.jwk).map_err(malformed)?;
        let code = IdentityKey::from_jwk(&invite.code_key).map_err(|_| unknown("its code key"))?;
        if body.agent != invite.agent {
            return Err(unknown("the request is for another agent"));
        }
        // An unknown agent and a bad proof look alike: one code for both signatures.
        let bad_proof = |_| unknown("a signature does not verify");
        let by_identity = by_identity.verify_with_key(&identity).map_err(bad_proof)?;
        let by_code = by_code.verify_with_key(&code).map_err(bad_proof)?;
        let by_identity = by_identity.body(&request.body)?;
        let by_code = by_code.body(&request.body)?;
        let csr = CertificateRequest::parse(&body.csr).map_err(malformed)?;
        Ok(Presented { identity, spki: csr.key().to_spki_der(), by_identity, by_code })
    }
}

/// Whether this repeats an enrolment (true) or is the first use of the invitation (false).
fn check_invitation(
    worker: &Worker<'_>,
    signed: &Signed,
    invite: &Invite,
    use_now: &Enrolment,
    now: i64,
) -> Result<bool, Failure> {
    let in_force = worker.vault.state.current();
    let state = &in_force.state;
    let (known, was_enrolled) = {
        let tables = worker.vault.state.tables();
        (tables.enrolment(invite.agent, state.forgotten_until).cloned(), tables.was_enrolled(invite.agent))
    };
    let same = known.as_ref().filter(|known| known.invitation == use_now.invitation);
    // A used invitation is judged as of its first use; it was good then.
    let (as_of, since) = match same {
        Some(known) => (known.first_use, 0),
        None => (now, state.forgotten_until),
    };
    in_force.roster.check(std::slice::from_ref(signed), &state.deployment, &state.vault, as_of, since).map_err(
        |error| match error {
            AuthorityError::Expired { .. } => expired(),
            other => unknown(&other.to_string()),
        },
    )?;
    let id = invite.agent.to_string();
    worker.vault.state.tables().check_floor(RecordKind::Agent, invite.tenant, &id, FIRST)?;
    match known {
        Some(known) if repeats(&known, use_now) => Ok(true),
        Some(_) => Err(used()),
        None if was_enrolled => Err(used()),
        None if now >= invite.not_after => Err(expired()),
        None => Ok(false),
    }
}

fn repeats(known: &Enrolment, use_now: &Enrolment) -> bool {
    // Destructured whole: whatever an enrolment comes to remember must be decided on here.
    let Enrolment { invitation, identity_key, tls_key, first_use, forget_after: _ } = known;
    *invitation == use_now.invitation
        && *identity_key == use_now.identity_key
        && *tls_key == use_now.tls_key
        && use_now.first_use < first_use.saturating_add(REPEAT_S)
}

/// `04 ‖ x ‖ y`.
fn uncompressed(key: &IdentityKey) -> Vec<u8> {
    let jwk = key.to_jwk();
    let mut point = vec![4];
    for coordinate in [&jwk.x, &jwk.y] {
        point.extend(URL_SAFE_NO_PAD.decode(coordinate).expect("a key's own JWK is base64url"));
    }
    point
}

/// Two first uses at once: the second finds the first, and repeats it or is refused.
fn first_use(act: &mut Act<'_>, invite: &Invite, use_now: Enrolment) -> Result<(), Failure> {
    match act.enrolment(invite.agent) {
        Some(known) if repeats(known, &use_now) => return Ok(()),
        Some(_) => return Err(used()),
        None if act.tables().was_enrolled(invite.agent) => return Err(used()),
        None => {}
    }
    act.tables().check_floor(RecordKind::Agent, invite.tenant, &invite.agent.to_string(), FIRST)?;
    act.enrol(invite.agent, use_now);
    Ok(())
}

/// The detail is for the log; the agent gets the same answer as for an agent that does not exist.
fn unknown(why: &str) -> Failure {
    Failure::refused(RefusalCode::CodeInvalid, format!("the invitation is refused: {why}"))
}

fn used() -> Failure {
    Failure::refused(RefusalCode::CodeUsed, "this enrolment code was used; ask for a new one")
}

fn expired() -> Failure {
    Failure::refused(RefusalCode::CodeExpired, "this enrolment code expired; ask for a new one")
}
