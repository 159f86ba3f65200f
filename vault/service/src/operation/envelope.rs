//! `seal`, `open` and `blind_index`: sealed columns of the database.
//!
//! Records cannot be written or come out through this door: their tables are reserved, and their
//! keys are of another purpose.

use tgp_authority::Purpose;
use tgp_token::KeyOps;
use tgp_vault_client::wire::{BlindIndex, Open, OpenItem, RefusalCode, Seal, SealItem};
use zeroize::Zeroizing;

use crate::envelope::{self, Fresh, Place, length_prefixed};
use crate::failure::Failure;
use crate::record::is_reserved;
use crate::vault::Worker;

pub(super) fn seal(worker: &mut Worker<'_>, call: Seal, _now: i64) -> Result<Vec<Vec<u8>>, Failure> {
    let Seal { tenant, dek, items } = call;
    few(items.len())?;
    items
        .into_iter()
        .map(|item| {
            let SealItem { table, column, key: row, version, plaintext } = item;
            let plaintext = Zeroizing::new(plaintext);
            let place = Place { tenant, table: general(&table)?, column: &column, key: &row, version };
            // The keys are held for one item at a time: others seal and open meanwhile.
            worker.vault.with_dek(dek, tenant, Purpose::Metadata, |key| {
                Ok(envelope::seal(key, dek, place, Fresh::random()?, &plaintext))
            })
        })
        .collect()
}

/// Each item costs more memory and time than its octets.
const MAX_ITEMS: usize = 8192;

fn few(items: usize) -> Result<(), Failure> {
    if items > MAX_ITEMS {
        let text = format!("a call seals or opens at most {MAX_ITEMS} values");
        return Err(Failure::refused(RefusalCode::OutOfRange, text));
    }
    Ok(())
}

pub(super) fn open(worker: &mut Worker<'_>, call: Open, _now: i64) -> Result<Vec<Vec<u8>>, Failure> {
    let Open { tenant, items } = call;
    few(items.len())?;
    let refused = |e| Failure::refused(RefusalCode::SealInvalid, format!("{e}"));
    items
        .into_iter()
        .map(|item| {
            let OpenItem { table, column, key: row, version, sealed } = item;
            let place = Place { tenant, table: general(&table)?, column: &column, key: &row, version };
            let dek = envelope::dek_id(&sealed).map_err(refused)?;
            worker.vault.with_dek(dek, tenant, Purpose::Metadata, |key| {
                let plaintext = envelope::open(key, place, &sealed).map_err(refused)?;
                // It goes into the reply's frame, which is wiped once it is written.
                Ok(plaintext.to_vec())
            })
        })
        .collect()
}

pub(super) fn blind_index(worker: &mut Worker<'_>, call: BlindIndex, _now: i64) -> Result<[u8; 32], Failure> {
    let BlindIndex { tenant, table, column, value } = call;
    let mut input = Zeroizing::new(Vec::with_capacity(value.len() + 128));
    for part in
        [b"tgp blind index".as_slice(), tenant.as_bytes(), general(&table)?.as_bytes(), column.as_bytes(), &value]
    {
        length_prefixed(&mut input, part);
    }
    drop(Zeroizing::new(value));
    Ok(worker.session.hmac(&worker.vault.keys.blind_index, &input)?)
}

fn general(table: &str) -> Result<&str, Failure> {
    if is_reserved(table) {
        return Err(Failure::refused(RefusalCode::ContextReserved, "this table belongs to the vault's own records"));
    }
    Ok(table)
}
