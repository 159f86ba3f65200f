use std::os::unix::fs::PermissionsExt as _;

use super::*;

const AGENT_ID: Uuid = Uuid::from_u128(0x0198f2c4_6d1e_7c3a_9b52_3f8e1a2b4c5d);

fn pending(code: &str) -> PendingFile {
    PendingFile { agent: AGENT_ID, code: code.into() }
}

fn agent_file() -> AgentFile {
    let aan = Aan::from_random("7284", [0, 1, 9, 9, 5, 3, 3, 1, 0, 4, 7]).unwrap();
    AgentFile { version: 1, agent: AGENT_ID, aan, gateway: "https://gw.example".into() }
}

fn enrolled(path: &Path) -> AgentDir {
    let (dir, _) = AgentDir::begin(path, &pending("c1")).unwrap();
    dir.keys().unwrap();
    dir.finish(&agent_file(), "chain", "ca", Some("tgpmk_x")).unwrap();
    dir
}

#[test]
fn everything_in_an_agents_directory_is_its_owners_alone() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("bot");
    enrolled(&path);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["agent.json", "ca.pem", "chain.pem", "identity.pem", "master-key", "tls.key"]);
    let (dir, file) = AgentDir::open(&path).unwrap();
    assert_eq!(file, agent_file());
    assert_eq!(dir.master_key().unwrap().as_deref().map(String::as_str), Some("tgpmk_x"));
}

#[test]
fn an_interrupted_enrolment_goes_on_with_the_same_keys() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("bot");
    let (dir, begun) = AgentDir::begin(&path, &pending("c1")).unwrap();
    assert_eq!(begun, Begun::Now);
    let (identity, tls) = dir.keys().unwrap();
    assert!(AgentDir::open(&path).unwrap_err().to_string().contains("not finished"));
    let (again, begun) = AgentDir::begin(&path, &pending("c1")).unwrap();
    assert_eq!(begun, Begun::Before);
    let (identity_again, tls_again) = again.keys().unwrap();
    assert_eq!(identity.public().keyid(), identity_again.public().keyid());
    assert_eq!(tls.spki(), tls_again.spki());
    // A crash between the two keys, and one in the middle of writing the first.
    fs::remove_file(path.join("tls.key")).unwrap();
    fs::write(path.join("tls.key.new"), "half").unwrap();
    let (identity_again, _) = again.keys().unwrap();
    assert_eq!(identity.public().keyid(), identity_again.public().keyid());
}

#[test]
fn nothing_is_overwritten() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("bot");
    enrolled(&path);
    let key = fs::read(path.join("identity.pem")).unwrap();
    assert!(matches!(AgentDir::begin(&path, &pending("c1")), Err(ClientError::Occupied { .. })));
    assert_eq!(fs::read(path.join("identity.pem")).unwrap(), key);
    // Another code's enrolment, and keys of unknown origin.
    let other = root.path().join("other");
    AgentDir::begin(&other, &pending("c1")).unwrap();
    assert!(matches!(AgentDir::begin(&other, &pending("c2")), Err(ClientError::Occupied { .. })));
    let strange = root.path().join("strange");
    create_private_dir(&strange).unwrap();
    fs::write(strange.join("tls.key"), "x").unwrap();
    assert!(matches!(AgentDir::begin(&strange, &pending("c1")), Err(ClientError::Occupied { .. })));
}

#[test]
fn a_directory_or_key_that_others_may_read_is_refused() {
    let root = tempfile::tempdir().unwrap();
    for name in ["", "identity.pem", "tls.key", "master-key"] {
        let path = root.path().join(format!("bot-{name}"));
        enrolled(&path);
        let loose = if name.is_empty() { path.clone() } else { path.join(name) };
        let mode = if name.is_empty() { 0o750 } else { 0o640 };
        fs::set_permissions(&loose, fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(AgentDir::open(&path), Err(ClientError::TooOpen { path, .. }) if path == loose), "{name}");
    }
}

#[test]
fn an_identity_key_survives_its_file() {
    let root = tempfile::tempdir().unwrap();
    let (dir, _) = AgentDir::begin(&root.path().join("bot"), &pending("c1")).unwrap();
    let (identity, _) = dir.keys().unwrap();
    let again = dir.identity().unwrap();
    assert_eq!(identity.sign(b"x"), again.sign(b"x"));
    let pem = fs::read_to_string(root.path().join("bot/identity.pem")).unwrap();
    assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----"));
}

#[test]
fn an_abandoned_enrolment_leaves_nothing_of_its_own() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("bot");
    let (dir, _) = AgentDir::begin(&path, &pending("c1")).unwrap();
    dir.keys().unwrap();
    dir.abandon();
    assert!(!path.exists());
    // Something of the caller's own keeps the directory.
    let (dir, _) = AgentDir::begin(&path, &pending("c1")).unwrap();
    dir.keys().unwrap();
    fs::write(path.join("notes"), "mine").unwrap();
    dir.abandon();
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
}
