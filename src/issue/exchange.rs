//! RFC 8693: a token for an agent that another agent handed its own to.
//!
//! The one that asks authenticates as at any other request for a token, and is the actor: there is no `actor_token`. Its
//! parent had `subject_token` made out to it (`may_act`), so that a token that was merely seen is worth nothing. What is
//! not asked for narrower is as the parent's.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tgp_request::name::all_within;
use tgp_request::token::VerifiedToken;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::OauthRefusal;
use super::form::{Asked, Form, Narrowed};
use crate::gateway::Gateway;
use crate::refusal::{Code, Refusal};
use crate::store::agent::Agent;

/// The parent's token, which is ours, current and made out to the agent that asks.
pub struct HandedOver {
    pub text: Zeroizing<String>,
    token: Arc<VerifiedToken>,
}

impl HandedOver {
    /// `agent` is whom the certificate names.
    pub fn of(gateway: &Gateway, form: Form, agent: Uuid) -> Result<(Self, Asked), OauthRefusal> {
        let (text, narrowed) = Narrowed::parse(form)?;
        let text = Zeroizing::new(text);
        let hash = Sha256::digest(text.as_bytes()).into();
        // RFC 8693 §2.2.2: whatever is wrong with the token, it is the request that is invalid.
        let token = gateway.tokens.verify(&text, &hash, gateway.now()).map_err(|error| {
            let refusal = Refusal::from(tgp_request::Refusal::from(error));
            OauthRefusal::invalid_request(Refusal::new(refusal.code, format!("subject_token: {}", refusal.detail)))
        })?;
        if token.may_act() != Some(agent) {
            let detail = "the subject_token was not made out to this agent; its holder asks for it with may_act";
            return Err(OauthRefusal::invalid_request(Refusal::new(Code::DelegationRefused, detail)));
        }
        let asked = within(narrowed, &token)?;
        Ok((Self { text, token }, asked))
    }

    /// The agent whose grant it is.
    pub fn subject(&self) -> Uuid {
        self.token.subject()
    }

    /// Those on whose behalf the new token will act: the parent's principals, then the parent.
    pub fn principals(&self) -> Vec<Uuid> {
        self.token.principals().iter().copied().chain([self.token.agent()]).collect()
    }

    /// The parent's key may have been replaced since the token was made.
    pub fn check_key(&self, parent: &Agent) -> Result<(), Refusal> {
        if parent.keyid.as_deref() == Some(self.token.keyid()) {
            return Ok(());
        }
        Err(Refusal::new(Code::TokenInvalid, "the subject_token is bound to a key that is no longer its agent's"))
    }

    /// The tokens that the new one derives from.
    pub fn derived_from(&self) -> Vec<Uuid> {
        std::iter::once(self.token.claims().jti).chain(self.token.derived_from().iter().copied()).collect()
    }
}

/// What is asked for, of what the token is for.
fn within(narrowed: Narrowed, token: &VerifiedToken) -> Result<Asked, OauthRefusal> {
    let Narrowed { tool, resource, actions, resources, may_act, way } = narrowed;
    let refused = |code, detail: String| {
        let error = OauthRefusal::name(code, Some(way));
        Err(OauthRefusal { error, refusal: Refusal::new(code, detail) })
    };
    if tool.as_ref().is_some_and(|tool| tool != token.tool()) {
        return refused(Code::ScopeInsufficient, format!("the subject_token is for {}", token.tool()));
    }
    let aud = &token.claims().aud;
    if resource.as_ref().is_some_and(|resource| resource != aud) {
        return refused(Code::ResourceRefused, format!("the subject_token is for {aud}"));
    }
    let actions = actions.unwrap_or_else(|| token.actions().to_vec());
    if let Some(action) = actions.iter().find(|action| !token.covers(action)) {
        return refused(Code::ScopeInsufficient, format!("the subject_token does not cover {}:{action}", token.tool()));
    }
    let resources = if resources.is_empty() { token.resources().to_vec() } else { resources };
    if !all_within(&resources, token.resources()) {
        return refused(Code::ResourceRefused, "the resources reach beyond the subject_token's".to_owned());
    }
    Ok(Asked { tool: token.tool().clone(), resource: Some(aud.clone()), actions, resources, may_act, way })
}
