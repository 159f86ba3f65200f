//! The processes that load the token: this test binary again, told by its environment what to be.
//!
//! PKCS#11 is initialised once per process and SoftHSM reads its configuration from the
//! environment, so no test loads the token itself.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde::{Deserialize, Serialize};
use tgp_authority::RosterDoc;
use tgp_token::TokenConfig;
use tgp_token::softhsm::NewToken;
use tgp_vault::{Confinement, InitOptions, ServeOptions, Stop};

const ROLE: &str = "TGP_VAULT_TEST_ROLE";
const TOKEN_LABEL: &str = "tgp-test";
const PIN: &str = "12345678";

/// What a child is to do.
#[derive(Serialize, Deserialize)]
pub enum Role {
    /// Make a token in the directory.
    MakeToken,
    /// `tgp init`.
    Init { roster: RosterDoc, state: PathBuf },
    /// `tgp vault`.
    Serve { state: PathBuf, socket: PathBuf, uids: Vec<u32>, clock_shift: i64 },
}

/// Starts a child for the token in this directory.
pub fn spawn(dir: &Path, role: &Role) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["child::the_process_that_loads_the_token", "--exact", "--nocapture"])
        .env(ROLE, serde_json::to_string(role).unwrap())
        .env("TGP_VAULT_TEST_DIR", dir)
        .env(tgp_token::softhsm::CONF_VARIABLE, dir.join("softhsm2.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs a child to its end; one that does not come to it is killed, and its caller sees no success.
pub fn run(dir: &Path, role: &Role) -> Output {
    let mut child = spawn(dir, role);
    for _ in 0..600 {
        if child.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    // Has no effect on one that has ended.
    drop(child.kill());
    child.wait_with_output().unwrap()
}

/// Runs a child that must succeed.
pub fn done(dir: &Path, role: &Role) {
    let output = run(dir, role);
    assert!(output.status.success(), "{}", text(&output));
}

/// What a child said.
pub fn text(output: &Output) -> String {
    let both = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn token(dir: &Path) -> TokenConfig {
    TokenConfig {
        module: tgp_token::softhsm::module().expect("softhsm2 is installed"),
        label: TOKEN_LABEL.to_owned(),
        pin: PIN.into(),
        start_lock: dir.join("start.lock"),
    }
}

/// A test only by name: without its environment it has nothing to do.
#[test]
fn the_process_that_loads_the_token() {
    act();
}

/// Does what the environment says; false where it says nothing.
pub fn act() -> bool {
    let (Ok(role), Some(dir)) = (std::env::var(ROLE), std::env::var_os("TGP_VAULT_TEST_DIR")) else {
        return false;
    };
    let dir = PathBuf::from(dir);
    match serde_json::from_str(&role).unwrap() {
        Role::MakeToken => {
            let TokenConfig { module, label, pin, start_lock } = token(&dir);
            let so_pin = "so-pin-87654321".into();
            let token = NewToken { module, label, so_pin, pin, start_lock };
            tgp_token::softhsm::dangerous_init_token(&token).unwrap();
        }
        Role::Init { roster, state } => {
            let options = InitOptions {
                token: token(&dir),
                state,
                vault: "vault-1".into(),
                roster,
                server_names: vec!["gw.tgp.example".into(), "127.0.0.1".into()],
            };
            tgp_vault::init(options).unwrap();
        }
        Role::Serve { state, socket, uids, clock_shift } => {
            let options = ServeOptions {
                token: token(&dir),
                state,
                socket,
                socket_group: None,
                allowed_uids: uids,
                confinement: Confinement::default(),
                stop: Stop::new(),
                dangerous_clock_shift_s: clock_shift,
            };
            if let Err(error) = tgp_vault::serve(options) {
                panic!("the vault does not serve: {error}");
            }
        }
    }
    true
}
