//! Verifiers and signers that nobody here wrote.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::Deployment;
use crate::wire::TestAgent;

/// A program of the tests' Python environment (`scripts/python-tools` makes it).
pub fn python(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(target).join("third-party/bin").join(name);
    assert!(path.exists(), "{} is missing; `make test` makes it (scripts/python-tools)", path.display());
    path
}

pub fn script(name: &str, args: &[&str], input: &str) -> String {
    let path = format!("{}/tests/third_party/{name}", env!("CARGO_MANIFEST_DIR"));
    run(Command::new(python("python")).arg(path).args(args), name, input)
}

fn run(command: &mut Command, name: &str, input: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
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

/// A script of `tests/third_party/node`, which `scripts/node-tools` put beside what it imports.
fn node(name: &str, job: &Value) -> Value {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(target).join("third-party-node").join(name);
    assert!(path.exists(), "{} is missing; `make test` makes it (scripts/node-tools)", path.display());
    let text = run(Command::new("node").arg(path), name, &job.to_string());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}: {text}"))
}

#[test]
fn stock_oauth_clients_get_tokens_by_metadata_discovery() {
    let deployment = Deployment::start();
    let methods = ["--method", "client_secret_basic", "--method", "private_key_jwt"];
    let (agent, child) = (deployment.agent_with("travel-bot", &methods), deployment.agent("child-bot"));
    deployment.grant("travel-bot", "mail", &["send", "list"]);
    let wire = deployment.wire();
    let resource = format!("{}/t/mail", wire.issuer);
    let job = |agent: &TestAgent, more: Value| {
        let mut job = json!({
            "issuer": wire.issuer,
            "ca": wire.ca,
            "certificate": [agent.certificate.chain, agent.certificate.key],
            "agent": agent.id,
            "scope": "mail:send",
            "resource": resource,
        });
        job.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        job
    };
    let used = |agent: &TestAgent, what: &str, reply: &Value| {
        let token = reply["access_token"].as_str().unwrap_or_else(|| panic!("{what}: {reply}"));
        let draft = agent.signed(&wire, token, "POST", "/t/mail/messages", b"{}");
        deployment.runtime.block_on(agent.send(&wire, &draft)).ok();
    };
    for library in ["oauth4webapi", "openid-client"] {
        let by_key = json!({ "library": library, "master_key": agent.master_key });
        used(&agent, library, &node("client.mjs", &job(&agent, by_key)));
        // The same clients exchange a token that was made out to the child.
        let handed = deployment.runtime.block_on(agent.made_out(&wire, "mail:send", &resource, &child.id));
        let exchange = json!({ "library": library, "master_key": child.master_key, "exchange": handed });
        let reply = node("client.mjs", &job(&child, exchange));
        assert_eq!(reply["issued_token_type"], crate::wire::ACCESS_TOKEN);
        used(&child, library, &reply);
    }
    let get_token =
        |job: &Value| -> Value { serde_json::from_str(&script("get_token.py", &[], &job.to_string())).expect("JSON") };
    used(&agent, "authlib", &get_token(&job(&agent, json!({ "master_key": agent.master_key }))));
    let mut jwk = serde_json::to_value(agent.identity.public().to_jwk()).expect("a JWK");
    jwk["d"] = json!(URL_SAFE_NO_PAD.encode(*agent.identity.dangerous_to_bytes()));
    used(&agent, "authlib, private_key_jwt", &get_token(&job(&agent, json!({ "jwk": jwk }))));
}
