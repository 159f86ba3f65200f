//! The loaded module of this process: C_Initialize and C_Finalize, once and in pairs.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::slot::Slot;

use crate::error::TokenError;

/// Two concurrent C_Initialize can crash SoftHSM, and C_Finalize ends everybody's sessions: so one
/// context per process.
static HELD: AtomicBool = AtomicBool::new(false);

/// The right to have the module initialised.
pub(crate) struct Process(());

impl Process {
    pub(crate) fn claim() -> Result<Self, TokenError> {
        match HELD.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(Process(())),
            Err(_) => Err(TokenError::AlreadyOpen),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        HELD.store(false, Ordering::Release);
    }
}

/// Loads the module and initialises it.
pub(crate) fn initialise(module: &Path) -> Result<Pkcs11, TokenError> {
    let failed = |e: cryptoki::error::Error| TokenError::Module { module: module.to_owned(), why: e.to_string() };
    let context = Pkcs11::new(module).map_err(failed)?;
    context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    Ok(context)
}

/// The slot of the token with this label, and with this serial number where that is known. Slots are
/// renumbered by C_InitToken and by restarts.
pub(crate) fn slot(context: &Pkcs11, module: &Path, label: &str, serial: Option<&str>) -> Result<Slot, TokenError> {
    let mut found = Vec::new();
    for slot in context.get_slots_with_token()? {
        // A slot whose description cannot be read (a malformed clock is enough) is not ours.
        if let Ok(info) = context.get_token_info(slot)
            && info.token_initialized()
            && info.label() == label
            && serial.is_none_or(|serial| info.serial_number() == serial)
        {
            found.push(slot);
        }
    }
    match found[..] {
        [slot] => Ok(slot),
        _ => Err(TokenError::TokenNotFound { module: module.to_owned(), label: label.to_owned(), count: found.len() }),
    }
}
