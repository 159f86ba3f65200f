//! From an enrolment code to an agent's directory.
//!
//! Keys are on disk before the request goes out, and the gateway answers the same two keys again for
//! ten minutes: a crash anywhere in between is mended by running the same enrolment once more.

use std::path::Path;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use tgp_request::MasterKey;
use tgp_request::enrol::{EnrolmentCode, EnrolmentReply, EnrolmentRequest};
use tgp_request::jwk::IdentitySecret;
use tgp_request::name::{Aan, SpiffeId};
use tgp_request::signature::Tag;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::certificate::{self, Leaf};
use crate::dir::{AgentDir, AgentFile, Begun, PendingFile};
use crate::request::sign;
use crate::transport::Transport;
use crate::trust::{Pin, Trust};
use crate::{ClientError, Origin, TlsKey, unix_now};

const PATH: &str = "/v1/enrol";

/// How to enrol.
pub struct Enrolment<'a> {
    /// What the operator handed over.
    pub code: &'a EnrolmentCode,
    /// The gateway's issuer.
    pub gateway: &'a Origin,
    /// Where the agent will live.
    pub dir: &'a Path,
    /// Given, the master key is shown to it before anything says that the agent exists, and not saved.
    /// When it fails, the enrolment is unfinished and can be run again.
    pub show_master_key: Option<ShowMasterKey<'a>>,
}

/// Shows a master key that is not to be saved.
pub type ShowMasterKey<'a> = &'a mut dyn FnMut(&str) -> Result<(), ClientError>;

/// A new agent.
#[derive(Debug, PartialEq, Eq)]
pub struct Enrolled {
    pub agent: Uuid,
    pub aan: Aan,
    /// Unix seconds.
    pub certificate_not_after: i64,
}

/// Enrols: makes both key pairs, proves them and the code, and saves what comes back.
pub async fn enrol(enrolment: Enrolment<'_>) -> Result<Enrolled, ClientError> {
    let Enrolment { code, gateway, dir, show_master_key } = enrolment;
    let pending = PendingFile { agent: code.agent, code: code.secret().public().keyid().to_owned() };
    let (dir, begun) = AgentDir::begin(dir, &pending)?;
    let (identity, tls) = dir.keys()?;
    let (headers, body) = request(code, gateway, &identity, &tls, unix_now())?;

    let pin = Pin(code.ca_spki_sha256);
    let transport = Transport::new(gateway.clone(), &Trust::Pinned(pin), None)?;
    let reply = match transport.send(Method::POST, PATH, headers, body).await?.json::<EnrolmentReply>().await {
        Ok(reply) => reply,
        Err(error) => {
            // Refused for good at the first try: these keys enrolled nobody. After an earlier try they may have.
            if begun == Begun::Now
                && matches!(&error, ClientError::Refused(problem) if [400, 401, 403].contains(&problem.status))
            {
                dir.abandon();
            }
            return Err(error);
        }
    };

    let leaf = check(&reply, code.agent, pin, &tls)?;
    let EnrolmentReply { agent, aan, certificate_chain, ca_bundle, master_key } = reply;
    let file = AgentFile { version: 1, agent, aan: aan.clone(), gateway: gateway.to_string() };
    let saved = match show_master_key {
        Some(show) => {
            show(&master_key)?;
            None
        }
        None => Some(master_key.as_str()),
    };
    dir.finish(&file, &certificate_chain, &ca_bundle, saved)?;
    Ok(Enrolled { agent, aan, certificate_not_after: leaf.not_after })
}

/// The request with its two signatures.
fn request(
    code: &EnrolmentCode,
    gateway: &Origin,
    identity: &IdentitySecret,
    tls: &TlsKey,
    now: i64,
) -> Result<(HeaderMap, Bytes), ClientError> {
    let content = EnrolmentRequest { agent: code.agent, csr: tls.csr()?, jwk: identity.public().to_jwk() };
    let body = serde_json::to_vec(&content).map_err(|e| ClientError::Bug(e.to_string()))?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let target = gateway.join(PATH);
    sign(&mut headers, &Method::POST, &target, &body, Tag::Enrol, identity, now)?;
    sign(&mut headers, &Method::POST, &target, &body, Tag::EnrolCode, code.secret(), now)?;
    Ok((headers, body.into()))
}

/// The connection was the pinned one; still, nothing is saved that would not work later.
fn check(reply: &EnrolmentReply, agent: Uuid, pin: Pin, tls: &TlsKey) -> Result<Leaf, ClientError> {
    let EnrolmentReply { agent: named, aan: _, certificate_chain, ca_bundle, master_key } = reply;
    let refuse = |what: &str| Err(ClientError::Answer(what.to_owned()));
    if *named != agent {
        return refuse("it is about another agent");
    }
    let cas = certificate::chain(ca_bundle)?;
    if cas.len() != 1 || Pin(certificate::spki_sha256(&cas[0])?) != pin {
        return refuse("its CA is not the one that the enrolment code names");
    }
    let leaf = Leaf::of_chain(certificate_chain)?;
    if leaf.spki != tls.spki() {
        return refuse("the certificate is for another key");
    }
    if !leaf.uris.iter().any(|uri| names_agent(uri, agent)) {
        return refuse("the certificate is for another agent");
    }
    if MasterKey::parse(master_key).map_or(true, |key| key.agent != agent) {
        return refuse("the master key is malformed or another agent's");
    }
    Ok(leaf)
}

pub(crate) fn names_agent(uri: &str, agent: Uuid) -> bool {
    uri.parse::<SpiffeId>().is_ok_and(|id| id.kind == tgp_request::name::Kind::Agent(agent))
}

/// The code's text, from a file or a line, as people paste it.
impl Enrolment<'_> {
    /// Parses a code with the white space around it that files and terminals add.
    pub fn parse_code(text: &Zeroizing<String>) -> Result<EnrolmentCode, ClientError> {
        EnrolmentCode::parse(text.trim()).map_err(|e| ClientError::Input(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use tgp_request::signature::UnverifiedRequest;

    use super::*;

    #[test]
    fn an_enrolment_carries_two_proofs_over_the_same_bytes() {
        let now = 1_795_000_000;
        let agent = Uuid::from_u128(0x0198f2c4_6d1e_7c3a_9b52_3f8e1a2b4c5d);
        let code = EnrolmentCode::new(agent, 1_795_000_600, [7; 32], IdentitySecret::generate());
        let gateway = Origin::parse("https://gw.example:8443").unwrap();
        let (identity, tls) = (IdentitySecret::generate(), TlsKey::generate());
        let (headers, body) = request(&code, &gateway, &identity, &tls, now).unwrap();
        let target = "https://gw.example:8443/v1/enrol";
        for (tag, key) in [(Tag::Enrol, identity.public()), (Tag::EnrolCode, code.secret().public())] {
            let parsed = UnverifiedRequest::parse("POST", target, &headers, tag, now).unwrap();
            parsed.verify_with_key(key).unwrap().body(&body).unwrap();
            let parsed = UnverifiedRequest::parse("POST", target, &headers, tag, now).unwrap();
            assert!(parsed.verify_with_key(IdentitySecret::generate().public()).is_err());
        }
        let content: EnrolmentRequest = serde_json::from_slice(&body).unwrap();
        assert_eq!(content.agent, agent);
    }
}
