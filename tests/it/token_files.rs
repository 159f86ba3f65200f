//! SoftHSM's files, opened as a thief of files and PIN would: so that a test knows the very octets that no memory may
//! show. (Not extractable means through PKCS#11; a soft token's keys are files.)
//!
//! Format: `OSToken`/`ObjectFile` of SoftHSM 2: a generation, then attributes of type, kind and value, big-endian. Private
//! ones are AES-256-CBC under a key that RFC 4880's derivation makes from the PIN.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use sha2::{Digest as _, Sha256};

const CKA_PRIVATE: u64 = 0x2;
const CKA_LABEL: u64 = 0x3;
const CKA_VALUE: u64 = 0x11;
const CKA_CLASS: u64 = 0x0;
const OS_USER_PIN: u64 = 0x8000_534d;
/// "RJR", before the token's key.
const MAGIC: &[u8] = b"RJR";

/// Private and secret keys of the one token below `directory`, by label.
pub fn secret_keys(directory: &Path, pin: &str) -> BTreeMap<String, Vec<u8>> {
    let token = std::fs::read_dir(directory).expect("tokens").next().expect("one token").expect("an entry").path();
    let about = attributes(&std::fs::read(token.join("token.object")).expect("token.object"));
    let key = token_key(&about[&OS_USER_PIN], pin);
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(&token).expect("objects") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|e| e != "object") || path.ends_with("token.object") {
            continue;
        }
        let object = attributes(&std::fs::read(&path).expect("an object"));
        let class = object.get(&CKA_CLASS).and_then(|class| class.last().copied());
        // CKO_PRIVATE_KEY and CKO_SECRET_KEY; data objects and public halves are no secrets.
        if !matches!(class, Some(3 | 4)) || object[&CKA_PRIVATE] == [0] {
            continue;
        }
        let open = |attribute: u64| {
            let (iv, sealed) = object[&attribute].split_at(16);
            openssl("aes-256-cbc", &key, iv, sealed)
        };
        found.insert(String::from_utf8(open(CKA_LABEL)).expect("a label"), open(CKA_VALUE));
    }
    found
}

/// The plaintext of AES-256-GCM, of which the tag is not checked: counter mode from 2 on.
pub fn open_gcm(key: &[u8], sealed: &[u8]) -> Vec<u8> {
    let (iv, rest) = sealed.split_at(12);
    let counter = [iv, &[0, 0, 0, 2]].concat();
    openssl("aes-256-ctr", key, &counter, &rest[..rest.len() - 16])
}

fn token_key(blob: &[u8], pin: &str) -> Vec<u8> {
    let (salt, rest) = blob.split_at(8);
    let mut key = Sha256::new_with_prefix(salt).chain_update(pin).finalize();
    for _ in 1..1500 + u32::from(salt[7]) {
        key = Sha256::digest(key);
    }
    let opened = openssl("aes-256-cbc", &key, &rest[..16], &rest[16..]);
    opened.strip_prefix(MAGIC).expect("the PIN opens the token").to_vec()
}

fn attributes(file: &[u8]) -> BTreeMap<u64, Vec<u8>> {
    let number = |at: usize| u64::from_be_bytes(file[at..at + 8].try_into().expect("eight octets"));
    let (mut at, mut found) = (8, BTreeMap::new());
    while at < file.len() {
        let (name, kind) = (number(at), number(at + 8));
        at += 16;
        let (start, length) = match kind {
            1 => (at, 1),                           // a boolean
            2 => (at, 8),                           // a number
            3 | 5 => (at + 8, number(at) as usize), // octets, a template
            4 => (at + 8, number(at) as usize * 8), // mechanisms
            other => panic!("attribute {name:x} is of kind {other}"),
        };
        found.insert(name, file[start..start + length].to_vec());
        at = start + length;
    }
    found
}

fn openssl(cipher: &str, key: &[u8], iv: &[u8], sealed: &[u8]) -> Vec<u8> {
    let hex = |octets: &[u8]| octets.iter().map(|o| format!("{o:02x}")).collect::<String>();
    let mut child = Command::new("openssl")
        .args(["enc", "-d", &format!("-{cipher}"), "-K", &hex(key), "-iv", &hex(iv)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl");
    child.stdin.take().expect("its input").write_all(sealed).expect("written");
    let output = child.wait_with_output().expect("openssl");
    assert!(output.status.success(), "{cipher}: {output:?}");
    output.stdout
}
