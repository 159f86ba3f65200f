//! SoftHSM for development and tests: its configuration, a new token, a process for each test.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use cryptoki::session::UserType;
use secrecy::SecretString;

use crate::context::{self, Process};
use crate::error::TokenError;
use crate::start::StartLock;

/// Names the configuration to SoftHSM; read by C_Initialize, so it is set for a process by whoever
/// starts it.
pub const CONF_VARIABLE: &str = "SOFTHSM2_CONF";

const DEFAULT_CONF: &str = "/etc/softhsm/softhsm2.conf";

const MODULES: [&str; 5] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

/// SoftHSM's module where distributions put it.
pub fn module() -> Option<PathBuf> {
    MODULES.iter().map(PathBuf::from).find(|path| path.exists())
}

/// What SoftHSM reads and changes while it runs.
pub struct Files {
    /// Its configuration.
    pub conf: PathBuf,
    /// The directory of its tokens, where the configuration could be read.
    pub tokens: Option<PathBuf>,
}

/// Where this process's SoftHSM keeps its files; nothing for another vendor's module.
pub fn files(module: &Path) -> Option<Files> {
    module.file_name()?.to_str()?.starts_with("libsofthsm2").then(|| {
        let conf = std::env::var_os(CONF_VARIABLE).map_or_else(|| DEFAULT_CONF.into(), PathBuf::from);
        let tokens = std::fs::read_to_string(&conf).ok().and_then(|text| token_directory(&text));
        Files { conf, tokens }
    })
}

fn token_directory(conf: &str) -> Option<PathBuf> {
    let lines = conf.lines().filter_map(|line| line.split_once('='));
    let named = lines.filter(|(name, _)| name.trim() == "directories.tokendir");
    named.map(|(_, path)| PathBuf::from(path.trim())).next_back()
}

/// Writes `softhsm2.conf` for a token directory below `directory`, which it makes, and gives its
/// path. The token directory is readable by its owner alone.
///
/// # Errors
/// When the files cannot be written.
pub fn write_conf(directory: &Path) -> io::Result<PathBuf> {
    let tokens = directory.join("tokens");
    DirBuilder::new().recursive(true).mode(0o700).create(&tokens)?;
    let path = directory.join("softhsm2.conf");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&path)?;
    let tokens = tokens.display();
    write!(
        file,
        "directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n"
    )?;
    Ok(path)
}

/// A token to be made.
pub struct NewToken {
    pub module: PathBuf,
    pub label: String,
    /// The security officer's PIN, by which the token is made and its user PIN is set.
    pub so_pin: SecretString,
    pub pin: SecretString,
    pub start_lock: PathBuf,
}

/// C_InitToken in a slot that has no token yet, then C_InitPIN. For soft tokens: a real HSM's token
/// is made by its own ceremony.
///
/// # Errors
/// When a token with this label is there already, or no slot is free.
pub fn dangerous_init_token(token: &NewToken) -> Result<(), TokenError> {
    let NewToken { module, label, so_pin, pin, start_lock } = token;
    let _process = Process::claim()?;
    let _lock = StartLock::acquire(start_lock)?;
    let context = context::initialise(module)?;
    let made = (|| {
        let mut free = None;
        for slot in context.get_slots_with_token()? {
            let info = context.get_token_info(slot)?;
            match info.token_initialized() {
                true if info.label() == label => return Err(TokenError::LabelTaken { label: label.clone() }),
                true => {}
                false => free = free.or(Some(slot)),
            }
        }
        let none = || TokenError::TokenNotFound { module: module.clone(), label: String::new(), count: 0 };
        context.init_token(free.ok_or_else(none)?, so_pin, label)?;
        let slot = context::slot(&context, module, label, None)?;
        let session = context.open_rw_session(slot)?;
        session.login(UserType::So, Some(so_pin))?;
        Ok(session.init_pin(pin)?)
    })();
    let finalised = context.finalize();
    made?;
    Ok(finalised?)
}

/// For tests: runs `body` with a new directory that [`CONF_VARIABLE`] points into, in a process of
/// its own, since one process has one C_Initialize and reads its configuration then. `test` is the
/// test's full path in its binary (`module::name`); the binary is run again for that test alone.
///
/// # Panics
/// When `body` does.
pub fn own_process(test: &str, body: impl FnOnce(&Path)) {
    const DIRECTORY: &str = "TGP_TEST_OWN_PROCESS";
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return body(Path::new(&directory));
    }
    let directory = TestDirectory::create();
    let conf = write_conf(&directory.0).expect("a new directory can be written to");
    let binary = std::env::current_exe().expect("a test has a binary");
    let output = Command::new(binary)
        .args([test, "--exact", "--nocapture", "--include-ignored", "--test-threads=1"])
        .env(CONF_VARIABLE, conf)
        .env(DIRECTORY, &directory.0)
        .output()
        .expect("the test binary runs again");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{test} in its own process: {}\n{out}\n{err}", output.status);
    // A name that selects nothing passes too.
    assert!(out.contains("1 passed"), "no test is called {test}\n{out}");
}

struct TestDirectory(PathBuf);

impl TestDirectory {
    fn create() -> Self {
        for attempt in 0.. {
            let path = std::env::temp_dir().join(format!("tgp-token-{}-{attempt}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Self(path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
        unreachable!("the loop ends by returning")
    }
}

impl Drop for TestDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
