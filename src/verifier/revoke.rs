//! RFC 7009: an agent gives a token up. It holds on the very next call, and cuts what the token has open.

use sha2::{Digest as _, Sha256};

use crate::admission::Entry;
use crate::gateway::Gateway;
use crate::refusal::{Code, Refusal};
use crate::store::StoreError;
use crate::store::agent::Agent;
use crate::verify::Denied;

/// Text that is no token of ours, or none any more, is as good as revoked (RFC 7009 §2.2).
pub async fn revoke(gateway: &Gateway, agent: &Agent, token: &str, mut entry: Entry) -> Result<(), Denied> {
    let hash = Sha256::digest(token.as_bytes()).into();
    let Ok(token) = gateway.tokens.verify(token, &hash, gateway.now()) else { return Ok(()) };
    let claims = token.claims();
    entry.jti = Some(claims.jti);
    entry.tool = Some(token.tool().to_string());
    if token.agent() != agent.id {
        let refusal = Refusal::new(Code::CertificateMismatch, "the certificate and the token name different agents");
        return Err(Denied::row(&entry, refusal));
    }
    let failed = |error: StoreError| Denied::row(&entry, error);
    let mut change = gateway.store.change(agent.tenant).await.map_err(failed)?;
    match change.revoke_token(claims.jti, agent.id, claims.exp).await {
        Ok(()) => change.commit(&entry).await.map_err(failed),
        // Signed and never recorded: nobody was given it.
        Err(StoreError::NotFound) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}
