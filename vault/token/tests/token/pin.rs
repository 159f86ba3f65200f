//! PIN files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use secrecy::ExposeSecret;
use tgp_token::{Pin, TokenError};

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn pin(&self, content: &[u8], mode: u32) -> PathBuf {
        let path = self.0.path().join("pin");
        let _ = fs::remove_file(&path);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

fn read(path: &std::path::Path) -> Result<String, String> {
    match Pin::from_file(path) {
        Ok(pin) => Ok(pin.expose_secret().to_owned()),
        Err(error @ TokenError::PinFile { .. }) => Err(error.to_string()),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn the_newline_that_ends_a_pin_file_is_no_part_of_the_pin() {
    let files = Files::new();
    for (content, pin) in
        [("1234", "1234"), ("1234\n", "1234"), ("1234\r\n", "1234"), (" 12 34 \n", " 12 34 "), ("pïn\n", "pïn")]
    {
        assert_eq!(read(&files.pin(content.as_bytes(), 0o600)).unwrap(), pin);
    }
}

#[test]
fn a_pin_file_that_others_may_read_or_change_is_refused() {
    let files = Files::new();
    for mode in [0o600, 0o400, 0o640, 0o440, 0o700] {
        read(&files.pin(b"1234", mode)).unwrap();
    }
    for mode in [0o644, 0o604, 0o602, 0o601, 0o620, 0o660, 0o666, 0o777] {
        let refused = read(&files.pin(b"1234", mode)).unwrap_err();
        assert!(refused.contains("chmod 0600"), "{mode:o}: {refused}");
    }
}

#[test]
fn a_pin_file_of_somebody_else_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let files = Files::new();
    let path = files.pin(b"1234", 0o600);
    std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
    assert!(read(&path).unwrap_err().contains("12345"));
}

#[test]
fn a_pin_file_without_exactly_one_line_of_text_is_refused_without_its_content() {
    let files = Files::new();
    let long = [b'7'; 256];
    for content in [b"".as_slice(), b"\n", b"4711\n4712\n", b"4711\n\n", b"47\x0011", b"47\xff11", &long] {
        let refused = read(&files.pin(content, 0o600)).unwrap_err();
        assert!(!refused.contains("47") && !refused.contains("7777"), "{refused}");
    }
    read(&files.pin(&long[..255], 0o600)).unwrap();
}

#[test]
fn what_is_no_file_is_refused() {
    let files = Files::new();
    assert!(read(files.0.path()).unwrap_err().contains("not a regular file"));
    assert!(read(&files.0.path().join("none")).is_err());
}

#[test]
fn a_systemd_credential_is_the_file_pin() {
    let files = Files::new();
    files.pin(b"1234\n", 0o400);
    assert_eq!(Pin::from_credentials_directory(files.0.path()).unwrap().expose_secret(), "1234");
}
