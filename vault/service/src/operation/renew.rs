//! `renew`: a new certificate for an agent, on the signature of its current identity key.

use serde::Deserialize;
use tgp_authority::CertificateRequest;
use tgp_request::jwk::IdentityKey;
use tgp_request::name::SpiffeId;
use tgp_request::signature::{Tag, UnverifiedRequest};
use tgp_token::KeyOps;
use tgp_vault_client::wire::{Certificate, RefusalCode, Renew};

use crate::certificate::{CertificateError, Subject};
use crate::failure::Failure;
use crate::record::AgentRecord;
use crate::vault::{Worker, headers, proof_of};

/// The body of `POST /v1/certificates`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    csr: String,
}

pub(super) fn renew(worker: &mut Worker<'_>, call: Renew, now: i64) -> Result<Certificate, Failure> {
    let Renew { agent_record, request } = call;
    let agent: AgentRecord = worker.vault.open_record(&agent_record)?;
    let identity = IdentityKey::from_sec1(&agent.identity_key)
        .map_err(|e| Failure::refused(RefusalCode::RecordInvalid, e.to_string()))?;
    expect_target(worker, &request.method, &request.target_uri, "/v1/certificates")?;
    let fields = headers(&request)?;
    let (method, target) = (&request.method, &request.target_uri);
    let verified = UnverifiedRequest::parse(method, target, &fields, Tag::Renew, now)?
        .verify_with_key(&identity)?
        .body(&request.body)?;
    let Body { csr } = serde_json::from_slice(&request.body).map_err(malformed)?;
    let csr = CertificateRequest::parse(&csr).map_err(malformed)?;
    worker.spend_proof(&proof_of!(verified), now)?;
    issue_to_agent(worker, &agent, &csr.key().to_spki_der(), now)
}

/// A leaf for the agent of a record, made from nothing of the request but its key.
pub(super) fn issue_to_agent(
    worker: &mut Worker<'_>,
    agent: &AgentRecord,
    spki: &[u8],
    now: i64,
) -> Result<Certificate, Failure> {
    let in_force = worker.vault.state.current();
    let trust_domain = in_force.roster.doc().trust_domain.clone();
    let id = SpiffeId::agent(trust_domain, agent.agent);
    issue(worker, &Subject::Client(&id), spki, now)
}

/// A leaf by the CA's key in the token.
pub(super) fn issue(
    worker: &mut Worker<'_>,
    subject: &Subject<'_>,
    spki: &[u8],
    now: i64,
) -> Result<Certificate, Failure> {
    let serial = crate::random::octets()?;
    let Worker { vault, session } = worker;
    let sign = |digest: &[u8; 32]| session.sign_p256(&vault.keys.agent_ca, digest);
    vault.authority.issue(subject, spki, serial, now, sign).map_err(|error| match error {
        CertificateError::Encoding(what) => Failure::refused(RefusalCode::RequestMalformed, what),
        CertificateError::Signer(error) => error.into(),
    })
}

/// The request was made to this deployment's endpoint, not to another's.
pub(super) fn expect_target(worker: &Worker<'_>, method: &str, target_uri: &str, path: &str) -> Result<(), Failure> {
    let in_force = worker.vault.state.current();
    let at_issuer = target_uri.strip_prefix(in_force.roster.doc().issuer.as_str());
    if method == "POST" && at_issuer == Some(path) {
        Ok(())
    } else {
        Err(Failure::refused(
            RefusalCode::SignatureInvalid,
            format!("it was signed for another endpoint than POST <issuer>{path}"),
        ))
    }
}

pub(super) fn malformed(error: impl std::fmt::Display) -> Failure {
    Failure::refused(RefusalCode::RequestMalformed, error.to_string())
}
