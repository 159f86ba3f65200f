//! One fetch: the token request through the guard, its answer sealed by the vault and kept in the store.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, Limited};
use tgp_authority::{OAuth2, Placement};
use tgp_vault_client::wire::{SealAccessToken, SealedAccessToken, WireSecret};

use super::reply::{Granted, error_code};
use super::request::token_request;
use super::{OurClaim, late};
use crate::admission::Clock;
use crate::gateway::Gateway;
use crate::proxy::client::{UpstreamError, Upstreams};
use crate::proxy::credential::Credential;
use crate::proxy::guard::Reach;
use crate::refusal::{Code, Refusal};
use crate::store::access_token::AccessToken;
use crate::vault::Vault;

/// For the whole exchange with the token endpoint.
const TIMEOUT: Duration = Duration::from_secs(10);
/// More than any token.
const REPLY_LIMIT: usize = 64 * 1024;
/// A token is used until half a minute before its end, or half its life where that is short.
const MARGIN_S: i64 = 30;
/// What was fetched is not let go because vault or store are away for a moment.
const ATTEMPTS: u32 = 12;
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(1);

/// All that it takes, owned: the request that asked for it may be gone before it ends.
pub(super) struct Fetch {
    upstreams: Arc<Upstreams>,
    vault: Vault,
    clock: Clock,
    /// Of kind OAuth2, with its ticket.
    credential: Credential,
    credential_record: Vec<u8>,
    claim: OurClaim,
    reach: Reach,
    timeout: Duration,
}

impl Fetch {
    pub(super) fn new(
        gateway: &Gateway,
        credential: Credential,
        credential_record: Vec<u8>,
        claim: OurClaim,
        reach: Reach,
    ) -> Self {
        Self {
            upstreams: Arc::clone(&gateway.upstreams),
            vault: gateway.vault.clone(),
            clock: Arc::clone(&gateway.clock),
            credential,
            credential_record,
            claim,
            reach,
            timeout: TIMEOUT.min(gateway.config.upstream.reply_timeout),
        }
    }

    /// The token as it is kept, and as it is placed.
    pub(super) async fn run(mut self) -> Result<(AccessToken, Credential), Refusal> {
        let Placement::OAuth2(oauth2) = self.credential.placement() else {
            return Err(Refusal::internal(&"a token fetched with a credential of another kind"));
        };
        let oauth2 = oauth2.clone();
        let asked = self.ask(&oauth2);
        let granted = tokio::time::timeout(self.timeout, asked).await.map_err(|_| late())??;
        let sealed = self.seal(&granted).await?;
        let now = (self.clock)();
        let fresh_until = sealed.expires - MARGIN_S.min((sealed.expires - now).max(0) / 2);
        let token = self.keep(&sealed, fresh_until).await;
        Ok((token, self.credential.with_access_token(granted.access_token)))
    }

    async fn ask(&self, oauth2: &OAuth2) -> Result<Granted, Refusal> {
        let request = token_request(oauth2, self.credential.expose_client_secret())?;
        let reply = self.upstreams.send(request, self.reach, None).await;
        let reply = reply.map_err(|error| unreachable_endpoint(&error))?;
        let (parts, body) = reply.into_parts();
        let body = Limited::new(body, REPLY_LIMIT).collect().await;
        let body = body.map_err(|_| broken("its answer broke off or is too long"))?.to_bytes();
        granted(parts.status, &body)
    }

    async fn seal(&self, granted: &Granted) -> Result<SealedAccessToken, Refusal> {
        let copy = |secret: &WireSecret| WireSecret::new(secret.expose_secret().to_vec());
        let call = || SealAccessToken {
            credential_record: self.credential_record.clone(),
            ticket: self.credential.ticket().to_vec(),
            access_token: copy(&granted.access_token),
            refresh_token: granted.refresh_token.as_ref().map(copy),
            expires_in_s: granted.expires_in_s,
        };
        let mut attempt = 1;
        loop {
            match self.vault.call(self.claim.holder.tenant, call).await.map_err(Refusal::from) {
                Err(refusal) if refusal.code == Code::VaultUnavailable && attempt < ATTEMPTS => {
                    attempt += 1;
                    tokio::time::sleep(BETWEEN_ATTEMPTS).await;
                }
                sealed => return sealed,
            }
        }
    }

    /// Where it cannot be kept it still serves this request: nothing is gained by refusing it.
    async fn keep(&mut self, sealed: &SealedAccessToken, fresh_until: i64) -> AccessToken {
        let record = &sealed.fetched.0;
        for attempt in 1..=ATTEMPTS {
            match self.claim.keep(record, fresh_until).await {
                Ok(Some(token)) => return token,
                // An answer that was lost on its way back was one all the same.
                Ok(None) => match self.claim.kept_as(record).await {
                    Some(token) => return token,
                    None => {
                        tracing::error!("another gateway took over while an access token was fetched: it is not kept");
                        break;
                    }
                },
                Err(error) => tracing::warn!(%error, attempt, "an access token could not be kept"),
            }
            tokio::time::sleep(BETWEEN_ATTEMPTS).await;
        }
        AccessToken { record: record.clone(), fresh_until: 0, serial: 0 }
    }
}

/// What the answer means.
fn granted(status: StatusCode, body: &Bytes) -> Result<Granted, Refusal> {
    if status == StatusCode::OK {
        return Granted::parse(body).map_err(|error| broken(&error.to_string()));
    }
    tracing::warn!(%status, "a token endpoint refused");
    if status.is_client_error() {
        let code = error_code(body).unwrap_or("no reason that a standard knows");
        return Err(Refusal::new(
            Code::UpstreamRefused,
            format!("the tool's token endpoint refused its credential ({code}); an operator must set it anew"),
        ));
    }
    Err(broken(if status.is_redirection() {
        "it redirects, which is not followed"
    } else {
        "it answers with an error"
    }))
}

fn broken(why: &str) -> Refusal {
    Refusal::new(Code::UpstreamBroken, format!("the tool's token endpoint gave no token: {why}"))
}

fn unreachable_endpoint(error: &UpstreamError) -> Refusal {
    tracing::warn!(%error, "the token endpoint did not answer");
    match error {
        UpstreamError::Guard(_) => {
            Refusal::new(Code::UpstreamRefused, "the tool's token endpoint is not one that this gateway connects to")
        }
        UpstreamError::Connect(_) => {
            Refusal::new(Code::UpstreamRefused, "the tool's token endpoint takes no connection")
        }
        UpstreamError::Broken(_) => broken("it broke off"),
        UpstreamError::Timeout => late(),
    }
}
