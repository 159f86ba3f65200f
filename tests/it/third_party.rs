//! Verifiers and signers that nobody here wrote.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::Deployment;

/// A program of the tests' Python environment (`scripts/python-tools` makes it).
pub fn python(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(target).join("third-party/bin").join(name);
    assert!(path.exists(), "{} is missing; `make test` makes it (scripts/python-tools)", path.display());
    path
}

pub fn script(name: &str, args: &[&str], input: &str) -> String {
    let path = format!("{}/tests/third_party/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut child = Command::new(python("python"))
        .arg(path)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("python ends");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("utf-8")
}

#[test]
fn pyjwt_verifies_a_token_from_the_jwks_url_alone() {
    let deployment = Deployment::start();
    let agent = deployment.agent("travel-bot");
    deployment.grant("travel-bot", "mail", &["list"]);
    let wire = deployment.wire();
    let token = deployment.runtime.block_on(agent.token(&wire, "mail", "list"));
    let audience = format!("{}/t/mail", wire.issuer);
    let jwks = format!("{}/oauth2/jwks", wire.issuer);
    let ca = wire.ca.display().to_string();
    let claims: Value =
        serde_json::from_str(&script("verify_token.py", &[&jwks, &ca, &wire.issuer, &audience], &token)).expect("json");
    assert_eq!(claims["client_id"], agent.id.as_str());
    assert_eq!(claims["sub"], format!("spiffe://tgp-dev.example/agent/{}", agent.id).as_str());
    assert_eq!(claims["scope"], "mail:list");
    assert_eq!(claims["authorization_details"][0]["actions"], json!(["list"]));
    assert_eq!(claims["cnf"]["jwk"]["crv"], "secp256k1");
}

#[test]
fn a_request_signed_by_http_message_signatures_is_accepted() {
    let deployment = Deployment::start();
    let agent = deployment.agent("travel-bot");
    deployment.grant("travel-bot", "mail", &["send"]);
    let wire = deployment.wire();
    // A stock signer's s is high half the time: several requests meet both.
    for n in 0..6 {
        let token = deployment.runtime.block_on(agent.token(&wire, "mail", "send"));
        let secret: String = agent.identity.dangerous_to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let job = json!({
            "url": format!("{}/t/mail/messages", wire.issuer),
            "method": "POST",
            "body": format!("{{\"n\":{n}}}"),
            "token": token,
            "keyid": agent.identity.public().keyid(),
            "secret": secret,
            "certificate": [agent.certificate.chain, agent.certificate.key],
            "ca": wire.ca,
        });
        let reply = script("sign_request.py", &[], &job.to_string());
        assert!(reply.starts_with("201\n"), "{reply}");
    }
}
