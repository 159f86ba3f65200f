//! Against SoftHSM: a token of its own for each test, in one directory per process (SoftHSM reads its configuration from
//! the process's environment, once).

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use secrecy::SecretString;
use tempfile::TempDir;
use tgp_token::{KeyOps as _, KeyReport, Role, Token, TokenConfig, TokenError, TokenSession, pin_from_file, softhsm};

const PIN: &str = "1234567890";

/// Runs the test again in a process whose SOFTHSM2_CONF names a directory of its own; false in that process.
fn alone(test: &str) -> Option<()> {
    if std::env::var_os("TGP_TOKEN_TEST").is_some() {
        return Some(());
    }
    let directory = TempDir::new().unwrap();
    let tokens = directory.path().join("tokens");
    std::fs::create_dir(&tokens).unwrap();
    let conf = directory.path().join("softhsm2.conf");
    std::fs::write(
        &conf,
        format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display()),
    )
    .unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env("SOFTHSM2_CONF", &conf)
        .env("TGP_TOKEN_TEST", directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{said}");
    None
}

fn directory() -> &'static PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| std::env::var_os("TGP_TOKEN_TEST").unwrap().into())
}

fn config(pin: &str) -> TokenConfig {
    TokenConfig {
        module: softhsm::module().unwrap(),
        label: "test".into(),
        pin: pin.into(),
        start_lock: directory().join("lock"),
    }
}

fn provisioned() -> (Token, TokenSession) {
    softhsm::init_token(&config(PIN), &"so-12345678".into()).unwrap();
    let token = Token::open(&config(PIN)).unwrap();
    token.dangerous_provision().unwrap();
    let session = token.session().unwrap();
    (token, session)
}

fn value<'r>(report: &'r KeyReport, name: &str) -> Option<&'r str> {
    report.attributes.iter().find(|(attribute, _)| attribute == name).expect("a reported attribute").1.as_deref()
}

#[test]
fn every_key_has_exactly_the_attributes_of_the_table() {
    let Some(()) = alone("every_key_has_exactly_the_attributes_of_the_table") else { return };
    let (_, mut session) = provisioned();
    let reports = session.inventory().unwrap();
    assert_eq!(reports.len(), 12, "four pairs and four secrets: {reports:?}");
    let mut ids: Vec<&str> = reports.iter().filter(|r| r.class != "public-key").map(|r| r.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 8, "CKA_ID is unique");
    for role in Role::ALL {
        let label = role.label(1);
        let report = reports.iter().find(|r| r.label == label && r.class != "public-key").unwrap();
        for (name, wanted) in [
            ("CKA_TOKEN", "true"),
            ("CKA_PRIVATE", "true"),
            ("CKA_SENSITIVE", "true"),
            ("CKA_ALWAYS_SENSITIVE", "true"),
            ("CKA_EXTRACTABLE", "false"),
            ("CKA_NEVER_EXTRACTABLE", "true"),
            ("CKA_LOCAL", "true"),
            ("CKA_MODIFIABLE", "false"),
            ("CKA_UNWRAP", "false"),
            ("CKA_DERIVE", "false"),
        ] {
            assert_eq!(value(report, name), Some(wanted), "{label} {name}");
        }
        let (sign, crypt) = if role == Role::Kek { ("false", "true") } else { ("true", "false") };
        assert_eq!(value(report, "CKA_SIGN"), Some(sign), "{label}");
        assert_eq!(value(report, "CKA_DECRYPT"), Some(crypt), "{label}");
        if report.class == "secret-key" {
            assert_eq!(value(report, "CKA_ENCRYPT"), Some(crypt), "{label}");
            assert_eq!(value(report, "CKA_WRAP"), Some("false"), "{label}");
        }
        assert!(!report.fingerprint.is_empty(), "{label}");
        let kind = match role {
            Role::Kek => "AES-256",
            Role::MasterRoot | Role::StateMac | Role::BlindIndex => "generic secret 32 B",
            Role::LogSigning => "Ed25519",
            _ => "EC P-256",
        };
        assert_eq!(report.kind, kind, "{label}");
    }
}

#[test]
fn an_absent_attribute_is_not_reported_as_false() {
    let Some(()) = alone("an_absent_attribute_is_not_reported_as_false") else { return };
    let (_, mut session) = provisioned();
    for report in session.inventory().unwrap() {
        assert_eq!(value(&report, "CKA_UNIQUE_ID"), None, "SoftHSM has none");
        if report.class == "public-key" {
            assert_eq!(value(&report, "CKA_SENSITIVE"), None, "a public key has none");
        }
    }
}

#[test]
fn keys_are_made_once() {
    let Some(()) = alone("keys_are_made_once") else { return };
    let (token, mut session) = provisioned();
    let before = session.inventory().unwrap().len();
    assert!(matches!(token.dangerous_provision(), Err(TokenError::KeyExists(_))));
    assert_eq!(session.inventory().unwrap().len(), before);
}

#[test]
fn an_empty_token_is_an_error_and_no_reason_to_make_keys() {
    let Some(()) = alone("an_empty_token_is_an_error_and_no_reason_to_make_keys") else { return };
    softhsm::init_token(&config(PIN), &"so-12345678".into()).unwrap();
    let token = Token::open(&config(PIN)).unwrap();
    let mut session = token.session().unwrap();
    assert!(matches!(session.find(Role::Kek, 1), Err(TokenError::NoKey(label)) if label == "kek.1"));
    assert!(session.read_version().is_err());
    assert!(session.write_version(1).is_err());
    assert!(session.inventory().unwrap().is_empty());
}

#[test]
fn a_vanished_directory_is_an_error_and_no_reason_to_make_keys() {
    let Some(()) = alone("a_vanished_directory_is_an_error_and_no_reason_to_make_keys") else { return };
    let (_, mut session) = provisioned();
    let kek = session.find(Role::Kek, 1).unwrap();
    std::fs::rename(directory().join("tokens"), directory().join("away")).unwrap();
    assert!(matches!(session.find(Role::MasterRoot, 1), Err(TokenError::NoKey(_)) | Err(TokenError::Call { .. })));
    let refused = session.seal(&kek, b"", b"x").unwrap_err().to_string();
    assert!(refused.contains("C_"), "{refused}");
    std::fs::rename(directory().join("away"), directory().join("tokens")).unwrap();
}

#[test]
fn sealed_values_open_only_whole_and_in_their_context() {
    let Some(()) = alone("sealed_values_open_only_whole_and_in_their_context") else { return };
    let (_, mut session) = provisioned();
    let kek = session.find(Role::Kek, 1).unwrap();
    let sealed = session.seal(&kek, b"tenant", &[9; 32]).unwrap();
    assert_eq!(sealed.len(), 12 + 32 + 16);
    assert_eq!(session.open(&kek, b"tenant", &sealed).unwrap(), [9; 32]);
    assert!(session.open(&kek, b"another", &sealed).is_err());
    for position in 0..sealed.len() {
        let mut tampered = sealed.clone();
        tampered[position] ^= 1;
        assert!(session.open(&kek, b"tenant", &tampered).is_err(), "byte {position}");
    }
    for length in 0..28 {
        assert!(session.open(&kek, b"tenant", &sealed[..length]).is_err(), "{length} bytes");
    }
    // After all those errors the session works: it was dropped and opened again.
    assert_eq!(session.open(&kek, b"tenant", &sealed).unwrap(), [9; 32]);
}

#[test]
fn a_key_does_only_what_it_is_for() {
    let Some(()) = alone("a_key_does_only_what_it_is_for") else { return };
    let (_, mut session) = provisioned();
    let keys: Vec<_> = Role::ALL.into_iter().map(|role| (role, session.find(role, 1).unwrap())).collect();
    for (role, key) in &keys {
        let mac = session.hmac(key, b"data").is_ok();
        assert_eq!(mac, matches!(role, Role::MasterRoot | Role::StateMac | Role::BlindIndex), "{role:?} as a MAC key");
        let seal = session.seal(key, b"", b"data").is_ok();
        assert_eq!(seal, *role == Role::Kek, "{role:?} as a key-encryption key");
        let sign = session.sign_p256(key, &[7; 32]).is_ok();
        assert_eq!(
            sign,
            matches!(role, Role::TokenSigning | Role::AgentCa | Role::ServerTls),
            "{role:?} as a P-256 key"
        );
    }
}

#[test]
fn macs_and_check_values_tell_keys_apart_and_stay_the_same() {
    let Some(()) = alone("macs_and_check_values_tell_keys_apart_and_stay_the_same") else { return };
    let (token, mut session) = provisioned();
    let mut seen = std::collections::BTreeSet::new();
    for role in [Role::Kek, Role::MasterRoot, Role::StateMac, Role::BlindIndex] {
        let key = session.find(role, 1).unwrap();
        let value = session.check_value(&key).unwrap();
        assert!(seen.insert(value), "{role:?}");
        let mut another = token.session().unwrap();
        let key = another.find(role, 1).unwrap();
        assert_eq!(another.check_value(&key).unwrap(), value);
        assert_eq!(another.fingerprint(&key).unwrap(), value);
    }
    let pair = session.find(Role::AgentCa, 1).unwrap();
    assert_eq!(session.fingerprint(&pair).unwrap().len(), 32);
    assert!(session.check_value(&pair).is_err());
    assert_eq!(session.public_sec1(&pair).unwrap()[0], 4);
}

#[test]
fn the_states_version_is_kept_and_replaced() {
    let Some(()) = alone("the_states_version_is_kept_and_replaced") else { return };
    let (token, mut session) = provisioned();
    assert_eq!(session.read_version().unwrap(), 0);
    for version in [1, 2, u64::MAX] {
        session.write_version(version).unwrap();
        assert_eq!(token.session().unwrap().read_version().unwrap(), version);
    }
}

#[test]
fn a_wrong_pin_is_refused_and_named() {
    let Some(()) = alone("a_wrong_pin_is_refused_and_named") else { return };
    softhsm::init_token(&config(PIN), &"so-12345678".into()).unwrap();
    let error = Token::open(&config("0987654321")).err().unwrap();
    assert!(matches!(error, TokenError::Pin), "{error}");
    assert!(!error.to_string().contains("0987654321"));
    Token::open(&config(PIN)).unwrap();
}

#[test]
fn a_pin_file_that_others_may_read_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("pin");
    std::fs::write(&path, "12345\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(pin_from_file(&path).is_err());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let pin: SecretString = pin_from_file(&path).unwrap();
    assert_eq!(secrecy::ExposeSecret::expose_secret(&pin), "12345");
    std::fs::write(&path, "\n").unwrap();
    assert!(pin_from_file(&path).is_err());
}

#[test]
fn another_tool_sees_the_same_flags() {
    let Some(()) = alone("another_tool_sees_the_same_flags") else { return };
    let (_, _session) = provisioned();
    let module = softhsm::module().unwrap();
    let module = module.to_str().unwrap();
    // OpenSC reads the PIN of a throw-away token from its arguments; ours never does.
    let output = Command::new("pkcs11-tool")
        .args(["--module", module, "--token-label", "test", "--login", "--pin", PIN, "--list-objects"])
        .output()
        .expect("pkcs11-tool (opensc) is installed by make test");
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{listed}{}", String::from_utf8_lossy(&output.stderr));
    for role in Role::ALL {
        assert!(listed.contains(&role.label(1)), "{listed}");
    }
    let secrets = listed.matches("Access:     sensitive, always sensitive, never extract").count();
    assert!(secrets >= 8, "{listed}");
}
