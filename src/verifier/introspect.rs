//! RFC 7662: what a token is good for now. A tool learns only of tokens that are for it.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tgp_request::name::ActionName;
use tgp_request::token::{VerifiedToken, scope_text};

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
    let actions = allowed(gateway, &token, &tool, now).await?;
    if actions.is_empty() {
        return Ok(inactive());
    }
    let mut details = claims.authorization_details.clone();
    details.iter_mut().for_each(|detail| detail.actions.clone_from(&actions));
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
    }))
}

/// Those of the token's actions that its agent may still take.
async fn allowed(
    gateway: &Gateway,
    token: &VerifiedToken,
    tool: &ReadyTool,
    now: i64,
) -> Result<Vec<ActionName>, Refusal> {
    let tenant = tool.tool.tenant;
    let Some(agent) = gateway.store.agent(tenant, token.agent()).await? else { return Ok(Vec::new()) };
    if agent.status != Status::Active || agent.keyid.as_deref() != Some(token.keyid()) {
        return Ok(Vec::new());
    }
    let grants = gateway.store.grants(tenant, Some(agent.id), Some(&tool.tool.slug)).await?;
    let may = |action: &&ActionName| {
        let asked = Asked {
            tool: &tool.slug,
            resource: &tool.tool.resource,
            actions: std::slice::from_ref(*action),
            covered: Some(token.actions()),
        };
        decide::decide(&asked, &agent, Some(tool), &grants, now).is_ok()
    };
    Ok(token.actions().iter().filter(may).cloned().collect())
}
