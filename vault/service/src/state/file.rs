//! The state file's octets.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use super::{State, StateError};

const DOMAIN: &[u8] = b"tgp vault state v1\0";
/// Larger than any that this vault writes.
const LIMIT: u64 = 64 * 1024 * 1024;

/// What is MACed.
pub(super) fn mac_input(body: &str) -> Vec<u8> {
    [DOMAIN, body.as_bytes()].concat()
}

/// The file's text for a state.
pub(super) fn seal<E>(state: &State, mac: impl FnOnce(&[u8]) -> Result<[u8; 32], E>) -> Result<String, E> {
    let body = serde_json::to_string(state).expect("maps of text and numbers serialise");
    let mac = mac(&mac_input(&body))?;
    Ok(format!("{body}\n{}\n", URL_SAFE_NO_PAD.encode(mac)))
}

/// The body line and the MAC, neither believed yet.
pub(super) fn parse(text: &str) -> Result<(&str, [u8; 32]), StateError> {
    let malformed = |what: &str| StateError::Malformed(what.to_owned());
    let mut lines = text.split_inclusive('\n');
    let (Some(body), Some(mac), None) = (lines.next(), lines.next(), lines.next()) else {
        return Err(malformed("not two lines"));
    };
    let body = body.strip_suffix('\n').ok_or_else(|| malformed("cut short"))?;
    let mac = mac.strip_suffix('\n').ok_or_else(|| malformed("cut short"))?;
    let mac = URL_SAFE_NO_PAD.decode(mac).map_err(|_| malformed("the MAC line"))?;
    let mac = mac.try_into().map_err(|_| malformed("the MAC line"))?;
    Ok((body, mac))
}

/// The state, once the MAC is the expected one.
pub(super) fn accept(body: &str, mac: &[u8; 32], expected: &[u8; 32]) -> Result<State, StateError> {
    if !bool::from(mac.ct_eq(expected)) {
        return Err(StateError::Mac);
    }
    serde_json::from_str(body).map_err(|error| StateError::Malformed(error.to_string()))
}

pub(super) fn read(path: &Path) -> Result<String, StateError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StateError::Missing(path.to_owned()));
        }
        other => other?,
    };
    let mut text = String::new();
    file.take(LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

/// Replaces the file in one step that survives a crash at any point.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    // A file that could not be read back would be the vault's last.
    if text.len() as u64 >= LIMIT {
        return Err(io::Error::other("the state has outgrown its file's limit"));
    }
    let beside = beside(path);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    // The rename has happened: if the directory cannot be synced, a crash may bring back the old
    // file, which the token's object then tells from the new one.
    drop(File::open(directory.unwrap_or(Path::new("."))).and_then(|d| d.sync_all()));
    Ok(())
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}
