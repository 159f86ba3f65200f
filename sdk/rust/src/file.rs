//! Files that only their owner reads: 0600 in a directory of 0700, written whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::ClientError;

/// Makes `dir` (and its parents), mode 0700; one that is there must be private already.
pub fn create_private_dir(dir: &Path) -> Result<(), ClientError> {
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(|e| ClientError::file(parent, e))?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => check_private(dir),
        Err(e) => Err(ClientError::file(dir, e)),
    }
}

/// Refuses a path that its group or others may touch.
pub fn check_private(path: &Path) -> Result<(), ClientError> {
    let mode = fs::metadata(path).map_err(|e| ClientError::file(path, e))?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(ClientError::TooOpen { path: path.to_owned(), mode });
    }
    Ok(())
}

/// Writes a new file, mode 0600; refuses when there is one.
pub fn write_private(path: &Path, octets: &[u8]) -> Result<(), ClientError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => ClientError::Occupied { path: path.to_owned(), what: "something already".into() },
        _ => ClientError::file(path, e),
    })?;
    finish(file, path, octets)
}

/// Puts a file in the place of what is there, in one step: a reader sees the old or the new one.
pub fn replace_private(path: &Path, octets: &[u8]) -> Result<(), ClientError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    match fs::remove_file(&fresh) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(ClientError::file(fresh, e)),
        _ => write_private(&fresh, octets)?, // what was there is half a file from a crash
    }
    fs::rename(&fresh, path).map_err(|e| ClientError::file(path, e))?;
    sync_dir(path)
}

fn finish(mut file: File, path: &Path, octets: &[u8]) -> Result<(), ClientError> {
    let written = file.write_all(octets).and_then(|()| file.sync_all());
    written.map_err(|e| ClientError::file(path, e))?;
    sync_dir(path)
}

/// A new name is durable only when its directory is.
fn sync_dir(path: &Path) -> Result<(), ClientError> {
    let dir = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|e| ClientError::file(dir, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_is_written_once_and_only_for_its_owner() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/b");
        create_private_dir(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        let path = dir.join("key");
        write_private(&path, b"one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(write_private(&path, b"two"), Err(ClientError::Occupied { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"one");
        fs::write(dir.join("key.new"), b"half").unwrap();
        replace_private(&path, b"three").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert!(!dir.join("key.new").exists());
    }

    #[test]
    fn a_path_that_others_may_touch_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("key");
        write_private(&path, b"x").unwrap();
        for mode in [0o640, 0o604, 0o660, 0o610] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(check_private(&path), Err(ClientError::TooOpen { mode: m, .. }) if m == mode));
        }
        let dir = root.path().join("open");
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(create_private_dir(&dir), Err(ClientError::TooOpen { .. })));
    }
}
