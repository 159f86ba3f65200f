//! Enrolment and renewal: the vault checks the proofs and makes record, certificate and master key; here
//! the same proofs are checked before it is troubled, and what it made is kept before it is answered.

use http::header::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tgp_authority::CertificateRequest;
use tgp_request::enrol::EnrolmentRequest;
use tgp_request::jwk::{IdentityKey, Jwk};
use tgp_request::signature::{Tag, UnverifiedRequest, accept_signature};
use tgp_vault_client::wire::{Certificate, Enrol, Enrolled, Renew, RequestEnvelope, StatementText};
use uuid::Uuid;

use crate::admission::{Entry, Kind, Spend};
use crate::gateway::Gateway;
use crate::json::Object;
use crate::proxy::exchange::signed_fields;
use crate::refusal::{Advice, Code, Refusal};
use crate::store::agent::{Agent, Enrolment};
use crate::store::certificate::Certificate as CertificateRow;
use crate::store::{Conflict, StoreError};
use crate::verify::Denied;
use crate::verify::denied::not_admitted;

/// A signed request with its content.
pub struct Signed<'a> {
    pub request_id: Uuid,
    pub method: &'a str,
    pub target_uri: &'a str,
    pub headers: &'a HeaderMap,
    pub content: &'a [u8],
}

impl Signed<'_> {
    fn parse(&self, tag: Tag, now: i64) -> Result<UnverifiedRequest, Refusal> {
        UnverifiedRequest::parse(self.method, self.target_uri, self.headers, tag, now).map_err(|refusal| {
            let refusal = Refusal::from(refusal);
            match refusal.code {
                Code::SignatureMissing => {
                    let value = accept_signature(tag, true);
                    refusal.advise(Advice::Signature(value.to_str().unwrap_or_default().to_owned()))
                }
                _ => refusal,
            }
        })
    }

    fn envelope(&self) -> RequestEnvelope {
        RequestEnvelope {
            method: self.method.to_owned(),
            target_uri: self.target_uri.to_owned(),
            headers: signed_fields(self.headers),
            body: self.content.to_vec(),
        }
    }

    fn entry(&self, kind: Kind, agent: &Agent) -> Entry {
        Entry {
            agent: Some(agent.id),
            method: Some(self.method.to_owned()),
            target_sha256: Some(Sha256::digest(self.target_uri).into()),
            ..Entry::new(self.request_id, kind, agent.tenant)
        }
    }
}

/// No answer tells whether the agent exists: an unknown one and a bad proof look the same.
fn code_invalid() -> Refusal {
    Refusal::new(Code::CodeInvalid, "the enrolment code does not fit; ask the operator for a new one")
}

/// Completes an invitation.
pub async fn enrol(gateway: &Gateway, signed: &Signed<'_>) -> Result<Enrolled, Denied> {
    let now = gateway.now();
    let by_identity = signed.parse(Tag::Enrol, now).map_err(Denied::counted)?;
    let by_code = signed.parse(Tag::EnrolCode, now).map_err(Denied::counted)?;

    // The identity key proves itself without anything being looked up.
    let content: EnrolmentRequest =
        object(signed.content, "the body is JSON {agent, csr, jwk}").map_err(Denied::counted)?;
    let key =
        IdentityKey::from_jwk(&content.jwk).map_err(|error| Denied::counted(malformed(&format!("jwk: {error}"))))?;
    by_identity.verify_with_key(&key).and_then(|head| head.body(signed.content)).map_err(Denied::counted)?;

    let agent = gateway.cache.agent(content.agent).await.map_err(Denied::counted)?;
    let agent = agent.ok_or_else(|| Denied::counted(code_invalid()))?;
    let code_key = code_key(&agent).map_err(Denied::counted)?;
    by_code
        .verify_with_key(&code_key)
        .and_then(|head| head.body(signed.content))
        .map_err(|_| Denied::counted(code_invalid()))?;

    // Whoever holds the code is authenticated from here on.
    let entry = signed.entry(Kind::Enrol, &agent);
    let enrolled = ask(gateway, &agent, signed).await.map_err(|refusal| Denied::row(&entry, refusal))?;
    keep(gateway, &agent, &enrolled, &entry).await.map_err(|error| match error {
        StoreError::Conflict(_) => {
            Denied::row(&entry, malformed("the identity key is another agent's; make one of its own"))
        }
        error => Denied::row(&entry, error),
    })?;
    gateway.cache.forget(agent.id, "");
    Ok(enrolled)
}

fn malformed(detail: &str) -> Refusal {
    Refusal::new(Code::RequestMalformed, detail)
}

/// The code's public key as the inviter signed it; the vault checks that signature.
fn code_key(agent: &Agent) -> Result<IdentityKey, Refusal> {
    let jwk = &agent.invitation["statement"]["params"]["code_key"];
    let jwk = Jwk::deserialize(jwk).map_err(|error| Refusal::internal(&error))?;
    IdentityKey::from_jwk(&jwk).map_err(|error| Refusal::internal(&error))
}

async fn ask(gateway: &Gateway, agent: &Agent, signed: &Signed<'_>) -> Result<Enrolled, Refusal> {
    let dek = gateway.store.newest_dek(agent.tenant, "record").await?.ok_or_else(|| {
        Refusal::internal(&format!("tenant {} has no record key; an owner runs tgp tenant prepare", agent.tenant))
    })?;
    let enrol = || Enrol { invitation: StatementText::of(&agent.invitation), request: signed.envelope(), dek: dek.id };
    gateway.vault.call(agent.tenant, enrol).await.map_err(|error| match Refusal::from(error) {
        // An invitation that no longer stands (its inviter has left, say) is a code that does not fit; why is for the log.
        refusal if matches!(refusal.code, Code::StatementRefused | Code::Conflict | Code::CodeInvalid) => {
            tracing::info!(agent = %agent.id, code = %refusal.code, detail = %refusal.detail, "an invitation does not stand");
            code_invalid()
        }
        refusal => refusal,
    })
}

async fn keep(gateway: &Gateway, agent: &Agent, enrolled: &Enrolled, entry: &Entry) -> Result<(), StoreError> {
    let Enrolled { record, facts, certificate, ca_bundle: _, master_key: _ } = enrolled;
    if facts.agent != agent.id || facts.tenant != agent.tenant {
        return Err(StoreError::Bug("the vault enrolled another agent than the one asked for".to_owned()));
    }
    let jwk: Value = serde_json::from_str(&facts.jwk).map_err(|error| StoreError::Bug(error.to_string()))?;
    let enrolment =
        Enrolment { keyid: facts.keyid.clone(), jwk, record: record.clone(), record_version: facts.version };
    let row = certificate_row(agent.id, certificate)?;
    for with_certificate in [true, false] {
        let mut change = gateway.store.change(agent.tenant).await?;
        change.enrol_agent(agent.id, &enrolment).await?;
        if with_certificate {
            match change.insert_certificate(&row).await {
                Ok(()) => {}
                // The repeat of an enrolment whose answer was lost may bring the same certificate.
                Err(StoreError::Conflict(Conflict::CertificateExists)) => continue,
                Err(error) => return Err(error),
            }
        }
        return change.commit(entry).await;
    }
    Ok(())
}

fn certificate_row(agent: Uuid, certificate: &Certificate) -> Result<CertificateRow, StoreError> {
    Ok(CertificateRow {
        agent,
        serial: unhex(&certificate.serial)
            .ok_or_else(|| StoreError::Bug("the vault's serial is not hexadecimal".to_owned()))?,
        sha256: certificate.sha256.to_vec(),
        not_before: certificate.not_before,
        not_after: certificate.not_after,
        revoked: false,
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

/// A new certificate for the agent that the present one names.
pub async fn renew(gateway: &Gateway, agent: &Agent, signed: &Signed<'_>) -> Result<Certificate, Denied> {
    let now = gateway.now();
    let entry = signed.entry(Kind::Renew, agent);
    let unverified = signed.parse(Tag::Renew, now).map_err(|refusal| Denied::early(&entry, refusal))?;
    let key = identity_key(agent).map_err(|refusal| Denied::row(&entry, refusal))?;
    let request = unverified
        .verify_with_key(&key)
        .and_then(|head| head.body(signed.content))
        .map_err(|refusal| Denied::row(&entry, refusal))?;
    // What the vault would refuse is refused before the verdict is on record.
    renewable(gateway, signed).map_err(|refusal| Denied::row(&entry, refusal))?;
    let spend = Spend::request(request.keyid(), request.nonce_digest(), request.created(), request.expires());
    let admitted = gateway.admission.admit_agent(agent.id, entry.clone(), Some(spend)).await;
    admitted.map_err(not_admitted)?.into_inner();

    // The verdict is on record; a certificate that cannot be made now is asked for again.
    let record = agent.record.clone().unwrap_or_default();
    let renew = || Renew { agent_record: record.clone(), request: signed.envelope() };
    let certificate = gateway.vault.call(agent.tenant, renew).await.map_err(|error| {
        Denied::settled(match Refusal::from(error) {
            // The vault knows of a withdrawal that the store does not.
            refusal if refusal.code == Code::Conflict => Refusal::new(Code::AgentRetired, "the agent is retired"),
            refusal => refusal,
        })
    })?;
    let row = certificate_row(agent.id, &certificate).map_err(Denied::settled)?;
    let mut change = gateway.store.change(agent.tenant).await.map_err(Denied::settled)?;
    change.insert_certificate(&row).await.map_err(Denied::settled)?;
    let issued = Entry { detail: Some(serde_json::json!({ "serial": certificate.serial })), ..entry };
    change.commit(&issued).await.map_err(Denied::settled)?;
    Ok(certificate)
}

/// The body of `POST /v1/certificates`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Renewal {
    csr: String,
}

fn renewable(gateway: &Gateway, signed: &Signed<'_>) -> Result<(), Refusal> {
    let endpoint = format!("{}/v1/certificates", gateway.config.issuer);
    if signed.target_uri != endpoint {
        return Err(Refusal::new(
            Code::SignatureInvalid,
            format!("it was signed for another endpoint than {endpoint}"),
        ));
    }
    let Renewal { csr } = object(signed.content, "the body is JSON {csr}")?;
    CertificateRequest::parse(&csr).map(drop).map_err(|error| malformed(&error.to_string()))
}

fn object<T: DeserializeOwned>(content: &[u8], detail: &str) -> Result<T, Refusal> {
    let Object(value) = serde_json::from_slice(content).map_err(|_| malformed(detail))?;
    Ok(value)
}

fn identity_key(agent: &Agent) -> Result<IdentityKey, Refusal> {
    let jwk = agent.jwk.as_ref().ok_or_else(|| Refusal::internal(&"an enrolled agent without a key"))?;
    let jwk = Jwk::deserialize(jwk).map_err(|error| Refusal::internal(&error))?;
    IdentityKey::from_jwk(&jwk).map_err(|error| Refusal::internal(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_is_read_from_hexadecimal() {
        assert_eq!(unhex("00ff10"), Some(vec![0, 255, 16]));
        assert_eq!(unhex("0"), None);
        assert_eq!(unhex("zz"), None);
    }
}
