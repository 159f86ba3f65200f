//! The token goes away under the running vault and comes back: nobody has to do anything.

use std::time::{Duration, Instant};

use tgp_vault_client::CallError;
use tgp_vault_client::wire::{Health, HealthReport, TlsSign};

use crate::deployment::Deployment;

/// Asks for health, which touches no more than the known answer, until it is as expected.
#[track_caller]
fn health(at: &Deployment, what: &str, expected: impl Fn(&HealthReport) -> bool) -> HealthReport {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let report = at.call(Health {}).unwrap();
        if expected(&report) {
            return report;
        }
        assert!(Instant::now() < deadline, "{what}: {report:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn handshake() -> TlsSign {
    let context = b"TLS 1.3, server CertificateVerify\0";
    TlsSign { scheme: 0x0403, message: [&[b' '; 64][..], context, &[7; 32]].concat() }
}

#[test]
fn a_token_that_comes_back_is_taken_up_again_with_one_login_and_without_a_call() {
    let mut at = Deployment::start();
    let begun = health(&at, "at first", |report| report.known_answer);
    assert_eq!((begun.logins, begun.token_starts), (1, 1));

    std::fs::rename(at.path("tokens"), at.path("gone")).unwrap();
    std::fs::create_dir(at.path("tokens")).unwrap();
    // It is looked for again and again, and no PIN is given to a token that is not there.
    let away = health(&at, "away", |report| !report.known_answer && report.token_starts >= 3);
    assert_eq!(away.logins, 1);
    let signed = at.call(handshake());
    assert!(matches!(signed, Err(CallError::Unavailable(_))), "{signed:?}");

    std::fs::remove_dir_all(at.path("tokens")).unwrap();
    std::fs::rename(at.path("gone"), at.path("tokens")).unwrap();
    let back = health(&at, "back", |report| report.known_answer);
    assert_eq!(back.logins, 2);
    at.call(handshake()).unwrap();
    // It stays so: one recovery, not one for each connection that had failed.
    let later = health(&at, "later", |report| report.known_answer);
    assert_eq!((later.logins, later.token_starts), (2, back.token_starts));
    at.stop();
}
