//! RFC 7662: what a token is good for now. A tool learns only of tokens that are for it.

use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tgp_request::name::{ActionName, ResourcePattern};
use tgp_request::token::{AuthorizationDetail, VerifiedToken, scope_text};

use crate::gateway::Gateway;
use crate::refusal::Refusal;
use crate::store::agent::Status;
use crate::store::verifier::Verifier;
use crate::verify::decide::{self, Asked};
use crate::verify::tools::ReadyTool;

/// The answer, whatever the token. From the database, not the cache: a freeze holds on the next question.
pub async fn introspect(gateway: &Gateway, verifier: &Verifier, token: &str) -> Result<Value, Refusal> {
    let inactive = || json!({ "active": false });
    let hash = Sha256::digest(token.as_bytes()).into();
    let now = gateway.now();
    let Ok(token) = gateway.tokens.verify(token, &hash, now) else { return Ok(inactive()) };
    let claims = token.claims();
    let Some(tool) = gateway.tools.find(&verifier.tool).await? else { return Ok(inactive()) };
    if claims.aud != tool.tool.resource || *token.tool() != tool.slug || tool.tool.tenant != verifier.tenant {
        return Ok(inactive());
    }
    let issued = gateway.store.token(verifier.tenant, claims.jti, claims.exp).await?;
    if issued.is_none_or(|issued| issued.revoked || issued.agent != token.agent()) {
        return Ok(inactive());
    }
    // A token that was exchanged ends with each that it was made from.
    if !gateway.cache.revoked_tokens(token.derived_from()).await?.is_empty() {
        return Ok(inactive());
    }
    let details = allowed(gateway, &token, &tool, now).await?;
    if details.is_empty() {
        return Ok(inactive());
    }
    let actions: Vec<ActionName> = details.iter().flat_map(|detail| detail.actions.iter().cloned()).collect();
    Ok(json!({
        "active": true,
        "scope": scope_text(&tool.slug, &actions),
        "client_id": claims.client_id,
        "token_type": "Bearer",
        "exp": claims.exp,
        "iat": claims.iat,
        "nbf": claims.nbf,
        "sub": claims.sub,
        "aud": claims.aud,
        "iss": claims.iss,
        "jti": claims.jti,
        "authorization_details": details,
        "cnf": claims.cnf,
        "aan": claims.aan,
        "act": claims.act,
    }))
}

/// Those of the token's actions that its agent may still take, with the resources that it may take them on: the token's,
/// or the grant's where the token names none. One detail for each set of resources.
async fn allowed(
    gateway: &Gateway,
    token: &VerifiedToken,
    tool: &ReadyTool,
    now: i64,
) -> Result<Vec<AuthorizationDetail>, Refusal> {
    let tenant = tool.tool.tenant;
    let Some(agent) = gateway.store.agent(tenant, token.agent()).await? else { return Ok(Vec::new()) };
    if agent.status != Status::Active || agent.keyid.as_deref() != Some(token.keyid()) {
        return Ok(Vec::new());
    }
    let mut principals = Vec::new();
    for id in token.principals() {
        let Some(principal) = gateway.store.agent(tenant, *id).await? else { return Ok(Vec::new()) };
        principals.push(Arc::new(principal));
    }
    let grants = gateway.store.grants(tenant, Some(token.subject()), Some(&tool.tool.slug)).await?;
    let mut details: Vec<AuthorizationDetail> = Vec::new();
    for action in token.actions() {
        // As at issuance: what a request touches is not known here, so the patterns themselves must be within the grant.
        let asked = Asked {
            tool: &tool.slug,
            resource: &tool.tool.resource,
            actions: std::slice::from_ref(action),
            covered: None,
            resources: token.resources(),
            touched: None,
        };
        let Ok((_, grant)) = decide::decide(&asked, &agent, &principals, Some(tool), &grants, now) else { continue };
        let resources: Vec<ResourcePattern> = match token.resources() {
            // Each parsed when the grant permitted.
            [] => grant.resources.iter().filter_map(|pattern| pattern.parse().ok()).collect(),
            patterns => patterns.to_vec(),
        };
        let detail = AuthorizationDetail::new(tool.slug.clone(), tool.tool.resource.clone(), vec![action.clone()]);
        let detail = detail.only(resources);
        match details.iter_mut().find(|other| other.resources == detail.resources) {
            Some(other) => other.actions.push(action.clone()),
            None => details.push(detail),
        }
    }
    Ok(details)
}
