//! A new SoftHSM directory with a token, and a way to it past our own types.

use std::path::{Path, PathBuf};

use cryptoki::context::Pkcs11;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::Session;
use tgp_token::softhsm::{self, NewToken};
use tgp_token::{Token, TokenConfig, TokenSession};

pub const LABEL: &str = "tgp-test";
pub const PIN: &str = "1234-5678";
pub const SO_PIN: &str = "8765-4321";

/// A test in a process of its own: SoftHSM reads its configuration once per process.
macro_rules! alone {
    ($(fn $name:ident($scene:ident) $body:block)+) => { $(
        #[test]
        fn $name() {
            let path = concat!(module_path!(), "::", stringify!($name));
            let (_crate, test) = path.split_once("::").unwrap();
            tgp_token::softhsm::own_process(test, |dir| {
                let $scene = &$crate::scene::Scene::new(test, dir);
                $body
            });
        }
    )+ };
}
pub(crate) use alone;

pub struct Scene {
    pub test: String,
    pub dir: PathBuf,
}

impl Scene {
    pub fn new(test: &str, dir: &Path) -> Self {
        Self { test: test.to_owned(), dir: dir.to_owned() }
    }

    pub fn module() -> PathBuf {
        softhsm::module().expect("softhsm2 is installed")
    }

    pub fn new_token(&self, label: &str) {
        let start_lock = self.dir.join("start.lock");
        let (so_pin, pin) = (SO_PIN.into(), PIN.into());
        let token = NewToken { module: Self::module(), label: label.into(), so_pin, pin, start_lock };
        softhsm::dangerous_init_token(&token).unwrap();
    }

    pub fn config(&self) -> TokenConfig {
        self.config_with(PIN)
    }

    pub fn config_with(&self, pin: &str) -> TokenConfig {
        let start_lock = self.dir.join("start.lock");
        TokenConfig { module: Self::module(), label: LABEL.into(), pin: pin.into(), start_lock }
    }

    /// As somebody who starts a token of this directory at the moment; until it is dropped.
    pub fn hold_start_lock(&self) -> std::fs::File {
        let lock = std::fs::File::options().create(true).append(true).open(self.dir.join("start.lock")).unwrap();
        lock.lock().unwrap();
        lock
    }

    pub fn empty(&self) -> (Token, TokenSession) {
        self.new_token(LABEL);
        let token = Token::open(&self.config()).unwrap();
        let session = token.session().unwrap();
        (token, session)
    }

    pub fn provisioned(&self) -> (Token, TokenSession) {
        let (token, session) = self.empty();
        token.dangerous_provision().unwrap();
        (token, session)
    }

    pub fn token_dir(&self) -> PathBuf {
        self.dir.join("tokens")
    }

    /// The token's storage goes, as a disk does.
    pub fn take_away(&self) {
        std::fs::rename(self.token_dir(), self.dir.join("away")).unwrap();
    }

    pub fn put_back(&self) {
        std::fs::rename(self.dir.join("away"), self.token_dir()).unwrap();
    }
}

/// A session past our own types, in the module that the open token has initialised and logged in to.
pub fn raw(_token: &Token) -> Session {
    let context = Pkcs11::new(Scene::module()).unwrap();
    let slots = context.get_slots_with_token().unwrap();
    let slot = slots.into_iter().find(|s| context.get_token_info(*s).unwrap().label() == LABEL).unwrap();
    context.open_rw_session(slot).unwrap()
}

/// Every object with this label.
pub fn objects(raw: &Session, label: &str) -> Vec<ObjectHandle> {
    raw.find_objects(&[Attribute::Label(label.into())]).unwrap()
}
