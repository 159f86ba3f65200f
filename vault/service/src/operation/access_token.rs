//! `seal_access_token`: what a gateway fetched for a request whose credential it drew.
//!
//! Seals nothing without a ticket of that draw. See [`crate::fetched`] for what this can and cannot know.

use tgp_authority::Placement;
use tgp_vault_client::wire::{RefusalCode, SealAccessToken, SealedAccessToken};

use crate::failure::Failure;
use crate::fetched::Holder;
use crate::vault::Worker;

pub(super) fn seal_access_token(
    worker: &mut Worker<'_>,
    call: SealAccessToken,
    now: i64,
) -> Result<SealedAccessToken, Failure> {
    let SealAccessToken { credential_record, ticket, access_token, refresh_token, expires_in_s } = call;
    let holder = Holder::open(worker.vault, &credential_record)?;
    let Placement::OAuth2(_) = holder.record.placement else {
        return Err(Failure::refused(RefusalCode::RecordMismatch, "no token is fetched with this credential"));
    };
    let (fetched, expires) = holder.take_in(&ticket, &access_token, refresh_token.as_ref(), expires_in_s, now)?;
    Ok(SealedAccessToken { fetched, expires })
}
