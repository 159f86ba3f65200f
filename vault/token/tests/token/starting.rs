//! One token per process, one start at a time per directory.

use std::fs::File;
use std::process::Command;
use std::time::{Duration, Instant};

use tgp_token::{KeyOps, Role, Token, TokenError, softhsm};

use crate::scene::{LABEL, Scene, alone};

/// Set for the processes that start beside each other.
const STARTER: &str = "TGP_TEST_STARTER";

alone! {
    fn a_process_has_one_token_open_and_may_open_it_again_afterwards(scene) {
        let (token, session) = scene.empty();
        assert!(matches!(Token::open(&scene.config()), Err(TokenError::AlreadyOpen)));
        drop(token);
        assert!(matches!(Token::open(&scene.config()), Err(TokenError::AlreadyOpen)), "a session still holds it");
        drop(session);
        for _ in 0..5 {
            Token::open(&scene.config()).unwrap();
        }
    }

    fn the_token_says_what_it_is(scene) {
        let (token, _session) = scene.empty();
        let info = token.info();
        assert_eq!((info.label.as_str(), info.soft), (LABEL, true));
        assert!(info.manufacturer.contains("SoftHSM") && !info.serial.is_empty() && info.firmware.contains('.'));
    }

    fn a_token_is_found_by_its_label_among_others(scene) {
        scene.new_token("another");
        scene.new_token(LABEL);
        scene.new_token("third");
        let token = Token::open(&scene.config()).unwrap();
        assert_eq!(token.info().label, LABEL);
        drop(token);
        let mut config = scene.config();
        config.label = "fourth".into();
        assert!(matches!(Token::open(&config), Err(TokenError::TokenNotFound { count: 0, .. })));
    }

    fn a_token_is_not_initialised_over_one_of_the_same_label(scene) {
        scene.provisioned();
        let start_lock = scene.dir.join("start.lock");
        let (so_pin, pin) = (crate::scene::SO_PIN.into(), crate::scene::PIN.into());
        let again = softhsm::NewToken { module: Scene::module(), label: LABEL.into(), so_pin, pin, start_lock };
        assert!(matches!(softhsm::dangerous_init_token(&again), Err(TokenError::LabelTaken { .. })));
        let token = Token::open(&scene.config()).unwrap();
        assert_eq!(token.session().unwrap().inventory().unwrap().len(), 12);
    }

    fn a_start_waits_for_the_lock(scene) {
        scene.new_token(LABEL);
        let lock = File::options().write(true).open(scene.dir.join("start.lock")).unwrap();
        lock.lock().unwrap();
        let begun = Instant::now();
        let holder = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            drop(lock);
        });
        Token::open(&scene.config()).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(300));
        holder.join().unwrap();
    }

    fn processes_that_start_together_all_start_beside_one_that_works(scene) {
        if std::env::var_os(STARTER).is_some() {
            for _ in 0..5 {
                let token = Token::open(&scene.config()).unwrap();
                let mut session = token.session().unwrap();
                let key = session.find(Role::MasterRoot, 1).unwrap();
                session.hmac(&key, b"x").unwrap();
            }
            return;
        }
        let (token, mut session) = scene.provisioned();
        let key = session.find(Role::MasterRoot, 1).unwrap();
        let mac = session.hmac(&key, b"x").unwrap();
        let start = |_| {
            Command::new(std::env::current_exe().unwrap())
                .args([&scene.test, "--exact", "--nocapture", "--test-threads=1"])
                .env(STARTER, "yes")
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        };
        let mut processes: Vec<_> = (0..6).map(start).collect();
        let mut running = true;
        while running {
            assert_eq!(session.hmac(&key, b"x").unwrap(), mac);
            // And sessions are opened beside their logins.
            assert_eq!(token.session().unwrap().hmac(&key, b"x").unwrap(), mac);
            running = processes.iter_mut().any(|process| process.try_wait().unwrap().is_none());
        }
        for mut process in processes {
            assert!(process.wait().unwrap().success());
        }
    }

    fn a_module_that_is_no_module_is_named(scene) {
        let mut config = scene.config();
        config.module = scene.dir.join("softhsm2.conf");
        let error = Token::open(&config).err().unwrap();
        assert!(matches!(&error, TokenError::Module { .. }) && error.to_string().contains("softhsm2.conf"), "{error}");
        // And the process may go on with another.
        scene.empty();
    }
}
