//! The lock file under which tokens are started.
//!
//! C_Initialize and C_Login of two processes on one SoftHSM directory at the same moment fail about
//! once in thirty times; the CLI and a recovery log in beside a live vault.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::error::TokenError;

/// A start takes milliseconds on SoftHSM and seconds on a network HSM.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);

/// No symbolic link is followed, and a pipe is not waited for: somebody else put it there.
const NOT_ELSEWHERE: i32 = rustix::fs::OFlags::NOFOLLOW.union(rustix::fs::OFlags::NONBLOCK).bits().cast_signed();

/// Held until dropped; the kernel lets go of it when we die.
pub(crate) struct StartLock {
    _file: File,
}

impl StartLock {
    pub(crate) fn acquire(path: &Path) -> Result<Self, TokenError> {
        let failed = |why: String| TokenError::StartLock { path: path.to_owned(), why };
        let mut open = OpenOptions::new();
        open.create(true).write(true).truncate(false).mode(0o600).custom_flags(NOT_ELSEWHERE);
        let file = open.open(path).map_err(|e| failed(e.to_string()))?;
        let begun = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(failed(std::io::Error::from(error).to_string())),
            }
            if begun.elapsed() > PATIENCE {
                return Err(failed(format!("another start holds it for {} s", PATIENCE.as_secs())));
            }
            std::thread::sleep(PAUSE);
        }
    }
}
