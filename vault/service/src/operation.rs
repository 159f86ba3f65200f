//! The operations, one file each. Each checks its arguments by itself: nothing is believed because
//! the gateway says it.

mod access_token;
mod certify;
mod credential;
mod dek;
mod enrol;
mod envelope;
mod exchange;
mod grant;
mod inventory;
mod mint;
mod proof;
mod release;
mod renew;
mod revoke;
mod roster;
mod status;
mod tls;

use serde::Serialize;
use tgp_vault_client::wire::{
    self, BlindIndex, Call, CertifyOperator, CertifyServer, Describe, Door, Enrol, ExchangeToken, Health, Inventory,
    LoadDek, MintToken, NewDek, Op, Open, Refusal, RefusalCode, Release, Renew, Revoke, Seal, SealAccessToken,
    SetCredential, SetGrant, SetRoster, SignStatusList, Status, TlsSign,
};

use crate::counters::Ending;
use crate::failure::Failure;
use crate::vault::Worker;

pub(crate) use inventory::entries;
pub(crate) use status::Retired;
pub(crate) use tls::is_handshake;

/// Serves one frame that came through `door` and appends its reply to `out`.
pub(crate) fn serve(worker: &mut Worker<'_>, door: Door, (id, kind): (u64, u8), body: &[u8], out: &mut Vec<u8>) {
    let counters = &worker.vault.counters;
    let Some(op) = Op::from_byte(kind) else {
        counters.refused(RefusalCode::OperationUnknown);
        let refusal = Refusal::new(RefusalCode::OperationUnknown, "there is no such operation");
        return append(out, id, Status::Refused, &refusal);
    };
    if op.door() != door {
        let text = format!("{} goes through another door", op.as_str());
        counters.count(op, Ending::Refused);
        counters.refused(RefusalCode::WrongDoor);
        return append(out, id, Status::Refused, &Refusal::new(RefusalCode::WrongDoor, text));
    }
    let mut frame = Frame { worker, id, body, out };
    match op {
        Op::Describe => frame.run::<Describe>(inventory::describe),
        Op::MintToken => frame.run::<MintToken>(mint::mint_token),
        Op::ExchangeToken => frame.run::<ExchangeToken>(exchange::exchange_token),
        Op::Release => frame.run::<Release>(release::release),
        Op::SealAccessToken => frame.run::<SealAccessToken>(access_token::seal_access_token),
        Op::Seal => frame.run::<Seal>(envelope::seal),
        Op::Open => frame.run::<Open>(envelope::open),
        Op::BlindIndex => frame.run::<BlindIndex>(envelope::blind_index),
        Op::SignStatusList => frame.run::<SignStatusList>(status::sign_status_list),
        Op::TlsSign => frame.run::<TlsSign>(tls::tls_sign),
        Op::Enrol => frame.run::<Enrol>(enrol::enrol),
        Op::Renew => frame.run::<Renew>(renew::renew),
        Op::SetGrant => frame.run::<SetGrant>(grant::set_grant),
        Op::SetCredential => frame.run::<SetCredential>(credential::set_credential),
        Op::Revoke => frame.run::<Revoke>(revoke::revoke),
        Op::SetRoster => frame.run::<SetRoster>(roster::set_roster),
        Op::CertifyOperator => frame.run::<CertifyOperator>(certify::certify_operator),
        Op::CertifyServer => frame.run::<CertifyServer>(certify::certify_server),
        Op::NewDek => frame.run::<NewDek>(dek::new_dek),
        Op::LoadDek => frame.run::<LoadDek>(dek::load_dek),
        Op::Inventory => frame.run::<Inventory>(inventory::inventory),
        Op::Health => frame.run::<Health>(inventory::health),
        // The enum may grow in the client's crate; an operation without a line here does not exist.
        _ => {
            let refusal = Refusal::new(RefusalCode::OperationUnknown, "there is no such operation");
            append(out, id, Status::Refused, &refusal);
        }
    }
}

struct Frame<'f, 'w> {
    worker: &'f mut Worker<'w>,
    id: u64,
    body: &'f [u8],
    out: &'f mut Vec<u8>,
}

impl<'w> Frame<'_, 'w> {
    fn run<C: Call>(&mut self, operation: impl FnOnce(&mut Worker<'w>, C, i64) -> Result<C::Reply, Failure>) {
        let counters = &self.worker.vault.counters;
        let now = self.worker.vault.clock.now();
        let done = wire::decode::<C>(self.body)
            .map_err(|error| Failure::Refused(error.into()))
            .and_then(|call| operation(self.worker, call, now));
        let (id, out) = (self.id, &mut *self.out);
        let ending = match done {
            Ok(reply) => {
                append(out, id, Status::Ok, &reply);
                Ending::Answered
            }
            Err(Failure::Refused(refusal)) => {
                tracing::info!(op = C::OP.as_str(), code = refusal.code.as_str(), "refused");
                append(out, id, Status::Refused, &refusal);
                counters.refused(refusal.code);
                Ending::Refused
            }
            Err(Failure::Unavailable(what)) => {
                tracing::error!(op = C::OP.as_str(), what, "could not be done");
                append(out, id, Status::Unavailable, &what);
                Ending::Failed
            }
            Err(Failure::Token(error)) => {
                tracing::error!(op = C::OP.as_str(), %error, "the token failed");
                append(out, id, Status::Unavailable, &error.to_string());
                if error.token_failed() {
                    self.worker.vault.recovery.look();
                }
                Ending::Failed
            }
            Err(Failure::DekUnknown(dek)) => {
                append(out, id, Status::DekUnknown, &dek);
                Ending::Failed
            }
        };
        counters.count(C::OP, ending);
    }
}

/// A statement that orders something else than its call is for.
fn not_this_operation() -> Failure {
    Failure::refused(RefusalCode::StatementInvalid, "the statement orders something else")
}

fn append<T: Serialize>(out: &mut Vec<u8>, id: u64, status: Status, body: &T) {
    if wire::encode_reply(out, id, status, body).is_err() {
        let refusal = Refusal::new(RefusalCode::OutOfRange, "the reply is longer than a frame");
        wire::encode_reply(out, id, Status::Refused, &refusal).expect("two short texts fit");
    }
}
