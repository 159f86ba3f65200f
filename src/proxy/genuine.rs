//! From what arrived to a genuine head: form, window, token, certificate against token, signature. The same for whatever
//! door a request comes to, the proxy's or that of a tool that asks.

use std::sync::Arc;

use http::{HeaderMap, Method};
use tgp_request::signature::{Tag, UnverifiedRequest, VerifiedHead};
use tgp_request::target::EscapedSlash;
use tgp_request::token::VerifiedToken;
use uuid::Uuid;

use super::call::{Place, escaped_slash, outside, with_advice};
use crate::admission::Entry;
use crate::gateway::Gateway;
use crate::refusal::{Code, Refusal};
use crate::store::agent::Agent;
use crate::verify::Denied;

/// A request as it was received, here or by a tool that hands it over.
pub(crate) struct Received<'a> {
    pub(crate) method: &'a Method,
    pub(crate) target_uri: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) has_content: bool,
    pub(crate) now: i64,
}

/// Who is known before the signature has verified.
pub(crate) enum Caller {
    /// The certificate of this connection names the agent.
    Certified { agent: Arc<Agent> },
    /// A tool says what it received, and perhaps whom the certificate named that it saw. Nobody's word but the
    /// signature's binds the token then.
    Relayed { certified: Option<Uuid> },
}

impl Caller {
    /// Nothing shows yet that the caller meant this request.
    fn early(&self, entry: &Entry, refusal: impl Into<Refusal>) -> Denied {
        match self {
            Self::Certified { .. } => Denied::early(entry, refusal),
            Self::Relayed { .. } => Denied::relayed(refusal),
        }
    }

    /// The token is genuine, the signature is not known to be: who presents it is the certificate's word alone.
    fn unproven(&self, entry: &Entry, refusal: impl Into<Refusal>) -> Denied {
        match self {
            Self::Certified { .. } => Denied::row(entry, refusal),
            Self::Relayed { .. } => Denied::relayed(refusal),
        }
    }

    fn names(&self) -> Option<Uuid> {
        match self {
            Self::Certified { agent } => Some(agent.id),
            Self::Relayed { certified } => *certified,
        }
    }
}

/// The head of a request that its agent signed, and the token that it came with.
pub(crate) struct Genuine {
    pub(crate) head: VerifiedHead,
    pub(crate) token: Arc<VerifiedToken>,
    pub(crate) agent: Arc<Agent>,
}

/// Form, window, token, certificate against token, signature: the same for whatever door the request came to. `place`
/// is none where the target is not the tool's.
pub(crate) async fn genuine(
    gateway: &Gateway,
    entry: &mut Entry,
    received: &Received<'_>,
    place: Option<&Place<'_>>,
    caller: Caller,
) -> Result<Genuine, Denied> {
    let Received { method, target_uri, headers, has_content, now } = *received;
    let slash = match place {
        Some(place) => escaped_slash(gateway, method, place).await,
        None => EscapedSlash::Refused,
    };
    let unverified = UnverifiedRequest::parse_with(method.as_str(), target_uri, headers, Tag::Request, now, slash)
        .map_err(|refusal| caller.early(entry, with_advice(refusal.into(), has_content)))?;

    // Token, then the certificate against it.
    let hash = *unverified.bearer_hash().expect("the tag tgp-request goes with a bearer token");
    let token = gateway
        .tokens
        .verify(unverified.bearer(), &hash, now)
        .map_err(|error| caller.early(entry, tgp_request::Refusal::from(error)))?;
    entry.jti = Some(token.claims().jti);
    entry.derived_from = token.derived_from().to_vec();
    if !token.principals().is_empty() {
        entry.detail.get_or_insert_with(|| serde_json::json!({}))["on_behalf_of"] =
            serde_json::json!(token.principals());
    }
    if caller.names().is_some_and(|agent| token.agent() != agent) {
        let refusal = Refusal::new(Code::CertificateMismatch, "the certificate and the token name different agents");
        return Err(caller.unproven(entry, refusal));
    }

    // Signature, by the token's key, which must still be the agent's.
    let verified = match unverified.verify(&token) {
        Err(refusal) if refusal.code != tgp_request::Code::ScopeInsufficient => {
            return Err(caller.unproven(entry, refusal));
        }
        verified => verified,
    };
    let agent = match caller {
        Caller::Certified { agent } => agent,
        Caller::Relayed { .. } => match gateway.cache.agent(token.agent()).await {
            Ok(Some(agent)) => agent,
            Ok(None) => {
                return Err(Denied::relayed(Refusal::new(Code::TokenInvalid, "the token's agent is not known here")));
            }
            Err(error) => return Err(Denied::relayed(error)),
        },
    };
    entry.agent = Some(agent.id);
    entry.tenant = agent.tenant;
    let head = match verified {
        Ok(head) => head,
        Err(refusal) => return Err(outside(gateway, entry, refusal.into(), method, place).await),
    };
    if agent.keyid.as_deref() != Some(token.keyid()) {
        let refusal = Refusal::new(Code::SignatureInvalid, "the key is not the agent's active identity key");
        return Err(Denied::row(entry, refusal));
    }
    Ok(Genuine { head, token, agent })
}
