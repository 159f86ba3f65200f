//! Who asks at the token endpoint: one of the two methods of RFC 6749 §2.3, never both.

use tgp_request::assertion::{self, UnverifiedAssertion, VerifiedAssertion};
use tgp_request::jwk::{IdentityKey, Jwk};
use tgp_vault_client::wire::{Proof, WireSecret};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::OauthRefusal;
use super::basic::Basic;
use super::form::Form;
use crate::admission::Spend;
use crate::gateway::Gateway;
use crate::refusal::{Code, Refusal};
use crate::store::agent::Agent;

/// A client and what it showed for itself. Whether that is good the vault tells; an assertion was looked at here too.
pub struct Presented {
    pub agent: Uuid,
    shown: Shown,
}

enum Shown {
    MasterKey(Zeroizing<String>),
    Assertion { text: Zeroizing<String>, verified: VerifiedAssertion },
}

impl Presented {
    /// `agent` is whom the certificate names; only its key can have signed.
    pub fn of(
        gateway: &Gateway,
        headers: &http::HeaderMap,
        form: &mut Form,
        agent: &Agent,
    ) -> Result<Self, OauthRefusal> {
        let invalid = |detail: &str| OauthRefusal::invalid_client(Refusal::new(Code::CodeInvalid, detail));
        let basic = Basic::parse(headers).map_err(OauthRefusal::of_client)?;
        let assertion = (form.assertion_type.take(), form.assertion.take());
        match (basic, assertion) {
            (Some(_), _) if form.client_secret => Err(both()),
            (Some(Basic { agent, master_key }), (None, None)) => {
                Ok(Self { agent, shown: Shown::MasterKey(master_key) })
            }
            (Some(_), _) => Err(both()),
            (None, (Some(kind), Some(text))) if kind == assertion::TYPE && !form.client_secret => {
                Self::asserted(gateway, text, agent)
            }
            (None, (None, None)) => Err(invalid(
                "authenticate as client_secret_basic (the agent's UUID and its master key) or private_key_jwt",
            )),
            (None, _) => Err(invalid("client_assertion goes with client_assertion_type jwt-bearer, and nothing else")),
        }
    }

    fn asserted(gateway: &Gateway, text: String, agent: &Agent) -> Result<Self, OauthRefusal> {
        let refused = |code, detail: String| OauthRefusal::invalid_client(Refusal::new(code, detail));
        let parsed = UnverifiedAssertion::parse(&text, gateway.config.issuer.as_str(), gateway.now())
            .map_err(|error| refused(Code::CodeInvalid, error.to_string()))?;
        if parsed.agent() != agent.id {
            let detail = "the certificate and the assertion name different agents";
            return Err(refused(Code::CertificateMismatch, detail.to_owned()));
        }
        let key = identity(agent).ok_or_else(|| {
            refused(Code::CodeInvalid, "the agent has no identity key to have signed the assertion with".to_owned())
        })?;
        let verified = parsed.verify(&key).map_err(|error| refused(Code::CodeInvalid, error.to_string()))?;
        Ok(Self { agent: agent.id, shown: Shown::Assertion { text: Zeroizing::new(text), verified } })
    }

    /// For the vault, which looks for itself.
    pub fn proof(&self) -> Proof {
        match &self.shown {
            Shown::MasterKey(key) => Proof::MasterKey(WireSecret::new(key.as_bytes().to_vec())),
            Shown::Assertion { text, .. } => Proof::Assertion(WireSecret::new(text.as_bytes().to_vec())),
        }
    }

    /// What the memory that all gateways share must not have seen.
    pub fn spend(&self) -> Option<Spend> {
        match &self.shown {
            Shown::MasterKey(_) => None,
            Shown::Assertion { verified, .. } => {
                Some(Spend::assertion(verified.keyid(), verified.jti_digest(), verified.created(), verified.expires()))
            }
        }
    }
}

fn both() -> OauthRefusal {
    let detail = "authenticate one way: by the authorization header or by client_assertion, never by client_secret";
    OauthRefusal::invalid_request(Refusal::new(Code::RequestMalformed, detail))
}

fn identity(agent: &Agent) -> Option<IdentityKey> {
    let jwk: Jwk = serde_json::from_value(agent.jwk.clone()?).ok()?;
    IdentityKey::from_jwk(&jwk).ok()
}
