//! Access tokens for upstreams that want OAuth2: fetched within a request and under its proof, sealed by the vault,
//! used until shortly before their end.
//!
//! A refresh token that rotates is good once, and using it twice loses them all. So one request at a time fetches: in a
//! gateway it has the credential's turn, among gateways the claim in the store. A fetch that has begun ends, whoever
//! asked for it: what comes back is sealed and kept even when the agent has gone.

mod fetch;
pub mod reply;
mod request;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tgp_policy::Permit;
use tgp_vault_client::wire::{Draw, Fetched};
use tokio::time::Instant;
use uuid::Uuid;

use super::credential::{Claim, Credential};
use super::guard::Reach;
use crate::admission::Recorded;
use crate::gateway::Gateway;
use crate::refusal::{Code, Refusal};
use crate::store::access_token::{AccessToken, Claimed, Holder};

/// The kind of credential that this is about.
pub const KIND: &str = "oauth2";

/// How long a request waits for a token that another fetches.
const WAIT: Duration = Duration::from_secs(20);
/// How often another gateway's fetch is looked after.
const LOOK: Duration = Duration::from_millis(100);
/// Longer than a fetch with all that follows may take: who holds a claim beyond it has died.
const CLAIM: Duration = Duration::from_secs(45);
/// A token endpoint that failed is left alone for so long: all who wait get the same answer.
const AFTER_FAILURE: Duration = Duration::from_secs(2);
/// A token that the tool refuses is fetched anew, unless it came just now: it is not the token's age then.
const YOUNG: Duration = Duration::from_secs(30);
/// Past this many credentials what is held is forgotten; the store has it.
const CAPACITY: usize = 10_000;

/// What this gateway holds of each credential that fetches; the sealed tokens open only against a signed request.
#[derive(Default)]
pub struct AccessTokens(Mutex<HashMap<Holder, Arc<Held>>>);

#[derive(Default)]
struct Held {
    turn: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<(AccessToken, Instant)>,
    failed: Option<(Refusal, Instant)>,
}

/// Which token a credential is, for when the tool refuses it.
pub struct Serial {
    pub holder: Holder,
    serial: i64,
}

impl AccessTokens {
    fn of(&self, holder: &Holder) -> Arc<Held> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains_key(holder) {
            if all.len() >= CAPACITY {
                all.clear();
            }
            // What an older version fetched is not used again.
            all.retain(|other, _| (&other.tool, &other.credential) != (&holder.tool, &holder.credential));
        }
        Arc::clone(all.entry(holder.clone()).or_default())
    }

    /// The tool answered 401: the next request fetches another.
    pub async fn refused(&self, gateway: &Gateway, token: Serial) {
        let held = self.of(&token.holder);
        {
            let mut state = held.lock();
            match &state.token {
                Some((known, since)) if known.serial == token.serial && since.elapsed() >= YOUNG => state.token = None,
                _ => return,
            }
        }
        if let Err(error) = gateway.store.spoil_access_token(&token.holder, token.serial).await {
            tracing::warn!(%error, "a refused access token could not be marked");
        }
    }
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fresh(&self, now: i64) -> Option<AccessToken> {
        self.lock().token.as_ref().map(|(token, _)| token).filter(|token| now < token.fresh_until).cloned()
    }

    fn keep(&self, token: &AccessToken) {
        *self.lock() = State { token: Some((token.clone(), Instant::now())), failed: None };
    }

    fn failed(&self, refusal: &Refusal) {
        self.lock().failed = Some((refusal.clone(), Instant::now()));
    }

    fn failed_just_now(&self) -> Option<Refusal> {
        let state = self.lock();
        state.failed.as_ref().filter(|(_, since)| since.elapsed() < AFTER_FAILURE).map(|(refusal, _)| refusal.clone())
    }
}

/// Draws the access token, fetching it first where none is fresh. Spends the permit.
pub async fn draw(
    gateway: &Gateway,
    permit: Recorded<Permit>,
    claim: Claim<'_>,
    holder: Holder,
    reach: Reach,
) -> Result<Credential, Refusal> {
    let held = gateway.access_tokens.of(&holder);
    let token = match held.fresh(gateway.now()) {
        Some(token) => token,
        None => {
            let turn = tokio::time::timeout(WAIT, Arc::clone(&held.turn).lock_owned()).await.map_err(|_| late())?;
            match obtain(gateway, &held, &holder).await? {
                Obtained::Known(token) => token,
                Obtained::Claimed(ours, before) => {
                    let draw = Draw::Fetch(before.map(|token| Fetched(token.record)));
                    let record = claim.credential_record.to_vec();
                    let credential = Credential::release(&gateway.vault, permit, Claim { draw, ..claim }).await?;
                    let fetch = fetch::Fetch::new(gateway, credential, record, ours, reach);
                    // On a task of its own, turn and claim with it: it does not end with the request.
                    let fetched = tokio::spawn(async move {
                        let _turn = turn;
                        let fetched = fetch.run().await;
                        match &fetched {
                            Ok((token, _)) => held.keep(token),
                            Err(refusal) => held.failed(refusal),
                        }
                        fetched
                    });
                    let (token, credential) = fetched.await.map_err(|error| Refusal::internal(&error))??;
                    return Ok(credential.known_as(Serial { holder, serial: token.serial }));
                }
            }
        }
    };
    let serial = token.serial;
    let draw = Draw::AccessToken(Fetched(token.record));
    let credential = Credential::release(&gateway.vault, permit, Claim { draw, ..claim }).await?;
    Ok(credential.known_as(Serial { holder, serial }))
}

fn late() -> Refusal {
    Refusal::new(Code::UpstreamTimeout, "the access token for the tool did not come in time")
}

enum Obtained {
    Known(AccessToken),
    /// Nobody else fetches now; with what was fetched before.
    Claimed(OurClaim, Option<AccessToken>),
}

/// A token that is fresh, from wherever one came meanwhile, or the claim to fetch it.
async fn obtain(gateway: &Gateway, held: &Held, holder: &Holder) -> Result<Obtained, Refusal> {
    if let Some(token) = held.fresh(gateway.now()) {
        return Ok(Obtained::Known(token));
    }
    if let Some(refusal) = held.failed_just_now() {
        return Err(refusal);
    }
    let begun = Instant::now();
    loop {
        let fresh = |token: &AccessToken| gateway.now() < token.fresh_until;
        if let Some(token) = gateway.store.access_token(holder).await?.filter(fresh) {
            held.keep(&token);
            return Ok(Obtained::Known(token));
        }
        let claim = OurClaim { store: gateway.store.clone(), holder: holder.clone(), id: Uuid::new_v4(), kept: false };
        match gateway.store.claim_access_token(holder, claim.id, CLAIM).await? {
            Claimed::Ours(Some(token)) if fresh(&token) => {
                held.keep(&token);
                return Ok(Obtained::Known(token));
            }
            Claimed::Ours(before) => return Ok(Obtained::Claimed(claim, before)),
            Claimed::Taken => claim.was_not_given(),
        }
        if begun.elapsed() >= WAIT {
            return Err(late());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The right to fetch; given back when dropped without a token.
struct OurClaim {
    store: crate::store::Store,
    holder: Holder,
    id: Uuid,
    kept: bool,
}

impl OurClaim {
    /// There is nothing to give back.
    fn was_not_given(mut self) {
        self.kept = true;
    }

    /// Keeps what was fetched under it.
    async fn keep(&mut self, record: &[u8], fresh_until: i64) -> Result<Option<AccessToken>, crate::store::StoreError> {
        let kept = self.store.put_access_token(&self.holder, self.id, record, fresh_until).await?;
        self.kept = true;
        Ok(kept)
    }

    /// What is kept, if it is this.
    async fn kept_as(&self, record: &[u8]) -> Option<AccessToken> {
        let kept = self.store.access_token(&self.holder).await.ok().flatten();
        kept.filter(|token| token.record == record)
    }
}

impl Drop for OurClaim {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let (store, holder, id) = (self.store.clone(), self.holder.clone(), self.id);
        // Where this fails too, the claim ends by itself.
        tokio::spawn(async move { drop(store.drop_claim(&holder, id).await) });
    }
}
