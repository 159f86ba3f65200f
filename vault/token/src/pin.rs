//! The user PIN, from a file or a systemd credential; never from argv or the environment.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::error::TokenError;

/// Longer than any token's PIN.
const MAX_LENGTH: u64 = 255;

/// Where PINs are read from.
#[derive(Debug)]
pub enum Pin {}

impl Pin {
    /// The PIN in a file, without the newline that ends it.
    ///
    /// # Errors
    /// When others than owner and group may read it, others than the owner may write it, it belongs
    /// to neither root nor us, is no regular file, is empty, has a second line, or is too long.
    pub fn from_file(path: &Path) -> Result<SecretString, TokenError> {
        let refused = |why: String| TokenError::PinFile { path: path.to_owned(), why };
        let mut file = File::open(path).map_err(|e| refused(e.to_string()))?;
        // Of the open file, so that nobody swaps it between the check and the read.
        let meta = file.metadata().map_err(|e| refused(e.to_string()))?;
        if !meta.is_file() {
            return Err(refused("not a regular file".into()));
        }
        let mode = meta.mode() & 0o777;
        if mode & 0o027 != 0 {
            return Err(refused(format!("mode {mode:04o} lets others read or change it\n  hint: chmod 0600")));
        }
        if meta.uid() != 0 && meta.uid() != rustix::process::geteuid().as_raw() {
            return Err(refused(format!("belongs to user {}, who is neither root nor us", meta.uid())));
        }
        // Of its full size from the start: growing would leave copies behind.
        let mut text = Zeroizing::new(String::with_capacity(MAX_LENGTH as usize + 2));
        let read = file.by_ref().take(MAX_LENGTH + 2).read_to_string(&mut text);
        read.map_err(|_| refused("not readable as text".into()))?;
        let pin = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
        if pin.is_empty() {
            return Err(refused("empty".into()));
        }
        if pin.len() as u64 > MAX_LENGTH {
            return Err(refused(format!("longer than {MAX_LENGTH} octets")));
        }
        if pin.contains(|c: char| c.is_control()) {
            return Err(refused("has more than one line, or control characters".into()));
        }
        Ok(SecretString::from(pin))
    }

    /// The systemd credential `pin` (`LoadCredential=pin:…`) in `$CREDENTIALS_DIRECTORY`, which the
    /// caller has read.
    ///
    /// # Errors
    /// As [`Pin::from_file`].
    pub fn from_credentials_directory(directory: &Path) -> Result<SecretString, TokenError> {
        Self::from_file(&directory.join("pin"))
    }
}
