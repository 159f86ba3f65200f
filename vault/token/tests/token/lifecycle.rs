//! The token goes away and comes back; errors cost a session and nothing else.

use std::sync::atomic::{AtomicBool, Ordering};

use tgp_token::{KeyOps, Role, Token, TokenError};

use crate::scene::{PIN, alone, raw};

alone! {
    fn a_vanished_directory_is_not_taken_for_a_token_without_keys(scene) {
        let (token, mut session) = scene.provisioned();
        let key = session.find(Role::StateMac, 1).unwrap();
        let pinned = session.check_value(&key).unwrap();
        scene.take_away();
        // Nothing of this may say "no such key", or give an empty list.
        for mut session in [session, token.session().unwrap()] {
            let found = session.find(Role::Kek, 1).unwrap_err();
            assert!(matches!(found, TokenError::Vanished | TokenError::Call { .. }), "{found}");
            assert!(found.token_failed());
            let listed = session.inventory().unwrap_err();
            assert!(matches!(listed, TokenError::Vanished | TokenError::Call { .. }), "{listed}");
            let version = session.read_version().unwrap_err();
            assert!(matches!(version, TokenError::Vanished | TokenError::Call { .. }), "{version}");
            assert!(session.write_version(9).is_err());
            // And nothing may go on working as if nothing had happened.
            assert!(session.known_answer(&key, &pinned).unwrap_err().token_failed());
            assert!(session.hmac(&key, b"x").unwrap_err().token_failed());
        }
        let made = token.dangerous_provision().unwrap_err();
        assert!(made.token_failed(), "{made}");
        scene.put_back();
        token.recover(token.generation()).unwrap();
        let mut session = token.session().unwrap();
        assert_eq!(session.inventory().unwrap().len(), 12);
        assert_eq!(session.read_version().unwrap(), 0);
        session.known_answer(&key, &pinned).unwrap();
    }

    fn a_ciphertext_is_not_called_forged_while_the_token_is_away(scene) {
        let (_token, mut session) = scene.provisioned();
        let kek = session.find(Role::Kek, 1).unwrap();
        let sealed = session.seal(&kek, b"", b"x").unwrap();
        scene.take_away();
        let error = session.open(&kek, b"", &sealed).unwrap_err();
        assert!(error.token_failed(), "{error}");
    }

    fn a_token_that_comes_back_is_taken_up_by_every_session_after_one_recovery(scene) {
        let (token, mut session) = scene.provisioned();
        let mut other = token.session().unwrap();
        let key = session.find(Role::MasterRoot, 1).unwrap();
        let mac = session.hmac(&key, b"x").unwrap();
        assert_eq!(other.hmac(&key, b"x").unwrap(), mac);
        scene.take_away();
        assert!(session.hmac(&key, b"x").is_err());
        let seen = token.generation();
        let away = token.recover(seen).unwrap_err();
        assert!(away.token_failed(), "{away}");
        assert!(matches!(session.hmac(&key, b"x"), Err(TokenError::Away { .. })));
        scene.put_back();
        token.recover(token.generation()).unwrap();
        assert_eq!(session.hmac(&key, b"x").unwrap(), mac);
        assert_eq!(other.hmac(&key, b"x").unwrap(), mac);
    }

    fn operations_fail_at_once_while_the_module_is_being_started(scene) {
        let (token, mut session) = scene.provisioned();
        let key = session.find(Role::MasterRoot, 1).unwrap();
        let mac = session.hmac(&key, b"x").unwrap();
        // Somebody else is starting: the recovery waits for him, for up to half a minute.
        let lock = scene.hold_start_lock();
        std::thread::scope(|threads| {
            let recovery = threads.spawn(|| token.recover(token.generation()));
            while session.hmac(&key, b"x").is_ok() {}
            assert!(matches!(session.hmac(&key, b"x"), Err(TokenError::Away { .. })));
            assert!(token.session().unwrap().hmac(&key, b"x").is_err());
            assert!(!recovery.is_finished(), "nobody waited for it");
            drop(lock);
            recovery.join().unwrap().unwrap();
        });
        assert_eq!(session.hmac(&key, b"x").unwrap(), mac);
    }

    fn a_recovery_that_somebody_else_has_made_is_not_made_again(scene) {
        let (token, _session) = scene.provisioned();
        let seen = token.generation();
        token.recover(seen).unwrap();
        let now = token.generation();
        assert_eq!(now, seen + 1);
        token.recover(seen).unwrap();
        assert_eq!(token.generation(), now);
    }

    fn recoveries_beside_working_threads_give_no_wrong_answer(scene) {
        let (token, mut session) = scene.provisioned();
        let key = session.find(Role::MasterRoot, 1).unwrap();
        let mac = session.hmac(&key, b"x").unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..3).map(|_| scope.spawn(|| {
                let mut done = 0;
                while !stop.load(Ordering::Relaxed) {
                    // Sessions begin and end beside recoveries, too.
                    let mut session = token.session().unwrap();
                    for _ in 0..50 {
                        match session.hmac(&key, b"x") {
                            Ok(right) => {
                                assert_eq!(right, mac);
                                done += 1;
                            }
                            // In the midst of a recovery.
                            Err(TokenError::Away { .. }) => {}
                            Err(other) => panic!("{other}"),
                        }
                    }
                }
                done
            })).collect();
            for _ in 0..20 {
                token.recover(token.generation()).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            stop.store(true, Ordering::Relaxed);
            for worker in workers {
                assert!(worker.join().unwrap() > 0);
            }
        });
    }

    fn an_error_costs_the_session_and_the_next_operation_opens_another(scene) {
        let (_token, mut session) = scene.provisioned();
        let kek = session.find(Role::Kek, 1).unwrap();
        let sealed = session.seal(&kek, b"", b"x").unwrap();
        for _ in 0..300 {
            // Were sessions leaked, or left with an operation active, this would end.
            assert!(matches!(session.open(&kek, b"other", &sealed), Err(TokenError::Sealed { .. })));
            assert_eq!(*session.open(&kek, b"", &sealed).unwrap(), b"x");
        }
    }

    fn a_pin_that_is_refused_in_a_recovery_is_not_tried_again(scene) {
        let (token, mut session) = scene.provisioned();
        let key = session.find(Role::StateMac, 1).unwrap();
        raw(&token).set_pin(&PIN.into(), &"another-pin".into()).unwrap();
        let refused = token.recover(token.generation()).unwrap_err();
        assert!(matches!(refused, TokenError::PinRefused { .. }), "{refused}");
        // The token would now take the PIN: that it is not asked is what keeps it from locking.
        change_pin(scene, "another-pin", PIN);
        for _ in 0..5 {
            let refused = token.recover(token.generation()).unwrap_err();
            assert!(matches!(&refused, TokenError::PinRefused { ckr } if ckr == "CKR_PIN_INCORRECT"), "{refused}");
            assert!(matches!(session.hmac(&key, b""), Err(TokenError::PinRefused { .. })));
        }
        drop((token, session));
        let token = Token::open(&scene.config()).unwrap();
        token.session().unwrap().hmac(&key, b"").unwrap();
    }

    fn a_wrong_pin_is_reported_with_function_and_ckr_and_without_the_pin(scene) {
        scene.new_token(crate::scene::LABEL);
        let refused = Token::open(&scene.config_with("not-the-pin")).err().unwrap();
        assert!(matches!(&refused, TokenError::PinRefused { ckr } if ckr == "CKR_PIN_INCORRECT"));
        let text = format!("{refused} {refused:?}");
        assert!(text.contains("C_Login: CKR_PIN_INCORRECT") && !text.contains("not-the-pin"), "{text}");
        assert!(!refused.token_failed(), "a recovery must not be tried");
        // The module was finalised: the right PIN serves.
        Token::open(&scene.config()).unwrap();
    }
}

/// In a process of its own: this one's module is not initialised.
fn change_pin(scene: &crate::scene::Scene, old: &str, new: &str) {
    let module = crate::scene::Scene::module();
    let tool = std::process::Command::new("pkcs11-tool")
        .args(["--module", module.to_str().unwrap(), "--token-label", crate::scene::LABEL, "--login", "--change-pin"])
        .args(["--pin", old, "--new-pin", new])
        .env("SOFTHSM2_CONF", scene.dir.join("softhsm2.conf"))
        .output()
        .unwrap();
    assert!(tool.status.success(), "{}", String::from_utf8_lossy(&tool.stderr));
}
