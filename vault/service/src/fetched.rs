//! What is fetched with a credential: access tokens and the refresh tokens that come with them, sealed for the
//! database, and the tickets that let a gateway hand them in.
//!
//! Both are bound to one credential record, its version included: a newer credential makes them worthless. The
//! vault cannot know that a token came from the token endpoint. What it sees to is that none is sealed but for a
//! request that an agent signed, under a grant that names the credential, within two minutes, for an hour at most;
//! where it goes the credential record alone says.

use serde::{Deserialize, Serialize};
use tgp_authority::Purpose;
use tgp_vault_client::wire::{Fetched, RefusalCode, WireSecret};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::envelope::{self, Fresh, Place};
use crate::failure::Failure;
use crate::record::{CredentialRecord, Label, Record};
use crate::vault::Vault;

/// How long a ticket is good: longer than the gateway waits for a token endpoint and then for its store.
const TICKET_LIFETIME_S: i64 = 120;
/// An access token is fetched anew at least this often, whatever its own lifetime.
const MAX_LIFETIME_S: u32 = 3600;
/// Longer than any token that a header field can carry.
const MAX_TOKEN: usize = 16 * 1024;

/// A name space of the vault's own, like records'.
const TABLE: &str = "record/access-token";

/// The credential record that was handed in, opened, and the data key that it lies under.
pub(crate) struct Holder<'a> {
    vault: &'a Vault,
    pub record: CredentialRecord,
    dek: uuid::Uuid,
}

/// An access token, with what the next one is fetched with.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Tokens {
    #[serde(with = "tgp_vault_client::wire::octets")]
    access_token: Vec<u8>,
    /// Unix seconds.
    pub expires: i64,
    #[serde(with = "tgp_vault_client::wire::octets")]
    refresh_token: Vec<u8>,
}

/// Leave to hand in one fetched token.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Ticket {
    /// Unix seconds.
    not_after: i64,
    /// Stays in force where the token endpoint sends no other; empty for a grant without one.
    #[serde(with = "tgp_vault_client::wire::octets")]
    refresh_token: Vec<u8>,
}

impl<'a> Holder<'a> {
    /// Opens the credential record.
    pub(crate) fn open(vault: &'a Vault, octets: &[u8]) -> Result<Self, Failure> {
        let record: CredentialRecord = vault.open_record(octets)?;
        let label = Label::parse(CredentialRecord::KIND, octets)?;
        let dek =
            envelope::dek_id(label.sealed).map_err(|e| Failure::refused(RefusalCode::RecordInvalid, e.to_string()))?;
        Ok(Holder { vault, record, dek })
    }

    /// What was fetched with this very credential.
    pub(crate) fn tokens(&self, fetched: &Fetched) -> Result<Tokens, Failure> {
        self.unseal("tokens", &fetched.0)
    }

    /// Leave to hand in what is fetched from now on.
    pub(crate) fn ticket(&self, refresh_token: &[u8], now: i64) -> Result<Vec<u8>, Failure> {
        let not_after = now.saturating_add(TICKET_LIFETIME_S);
        self.seal("ticket", &Ticket { not_after, refresh_token: refresh_token.to_vec() })
    }

    /// Seals what was fetched; answers it and until when it is given out.
    pub(crate) fn take_in(
        &self,
        ticket: &[u8],
        access_token: &WireSecret,
        refresh_token: Option<&WireSecret>,
        expires_in_s: u32,
        now: i64,
    ) -> Result<(Fetched, i64), Failure> {
        let ticket: Ticket = self.unseal("ticket", ticket)?;
        if now >= ticket.not_after {
            return Err(Failure::refused(RefusalCode::RecordStale, "the ticket has expired"));
        }
        let visible = |token: &WireSecret| {
            let octets = token.expose_secret();
            (1..=MAX_TOKEN).contains(&octets.len()) && octets.iter().all(|octet| (0x20..=0x7e).contains(octet))
        };
        if !visible(access_token) || !refresh_token.is_none_or(visible) {
            return Err(Failure::refused(RefusalCode::OutOfRange, "a token is 1 to 16384 visible ASCII characters"));
        }
        let tokens = Tokens {
            access_token: access_token.expose_secret().to_vec(),
            expires: now.saturating_add(expires_in_s.clamp(1, MAX_LIFETIME_S).into()),
            refresh_token: refresh_token.map_or(&ticket.refresh_token[..], WireSecret::expose_secret).to_vec(),
        };
        Ok((Fetched(self.seal("tokens", &tokens)?), tokens.expires))
    }

    fn place<'p>(&self, column: &'p str, key: &'p str) -> Place<'p> {
        Place { tenant: self.record.tenant, table: TABLE, column, key, version: self.record.version }
    }

    fn seal<T: Serialize>(&self, column: &str, value: &T) -> Result<Vec<u8>, Failure> {
        let plaintext = Zeroizing::new(postcard::to_stdvec(value).expect("plain data in memory"));
        let (id, fresh) = (self.record.id(), Fresh::random()?);
        let place = self.place(column, &id);
        let sealed = |key: &_| Ok(envelope::seal(key, self.dek, place, fresh, &plaintext));
        self.vault.with_dek(self.dek, self.record.tenant, Purpose::Record, sealed)
    }

    fn unseal<T: for<'de> Deserialize<'de>>(&self, column: &str, sealed: &[u8]) -> Result<T, Failure> {
        let refused = || {
            let text = format!("the {column} are not what this vault sealed for this credential");
            Failure::refused(RefusalCode::RecordInvalid, text)
        };
        let id = self.record.id();
        let dek = envelope::dek_id(sealed).map_err(|_| refused())?;
        let opened = |key: &_| envelope::open(key, self.place(column, &id), sealed).map_err(|_| refused());
        let plaintext = self.vault.with_dek(dek, self.record.tenant, Purpose::Record, opened)?;
        postcard::from_bytes(&plaintext).map_err(|_| refused())
    }
}

impl Tokens {
    /// The access token, while it is good.
    pub(crate) fn access_token(&self, now: i64) -> Result<&[u8], Failure> {
        if now >= self.expires {
            return Err(Failure::refused(RefusalCode::RecordStale, "the access token has expired"));
        }
        Ok(&self.access_token)
    }

    /// The refresh token that came last; empty where none ever did.
    pub(crate) fn refresh_token(&self) -> &[u8] {
        &self.refresh_token
    }
}
