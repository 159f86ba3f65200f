//! The main job and its refusals.

use std::os::unix::fs::PermissionsExt as _;

use tgp_request::jwk::IdentitySecret;
use tgp_request::signature::{Params, Tag, sign_request};

use crate::support::{Deployment, Setup};
use crate::wire::{TestAgent, Wire, nonce, now};

/// A deployment with `travel-bot`, which may list and send mail.
fn ready() -> (Deployment, Wire, TestAgent) {
    let deployment = Deployment::start();
    let agent = deployment.agent("travel-bot");
    deployment.grant("travel-bot", "mail", &["list", "send"]);
    let wire = deployment.wire();
    (deployment, wire, agent)
}

const MESSAGE: &[u8] = br#"{"to":"ada","text":"hello"}"#;

#[test]
fn an_agent_enrols_takes_a_token_and_calls_and_never_sees_the_credential() {
    let (deployment, wire, agent) = ready();
    for name in ["agent.json", "identity.pem", "tls.key", "chain.pem", "ca.pem", "master-key"] {
        let mode = std::fs::metadata(agent.directory.join(name)).expect(name).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let secret = std::fs::read_to_string(deployment.path("d/sample-tool.secret")).expect("the tool's secret");
    for http2 in [false, true] {
        let wire = Wire { http2, ..wire.clone() };
        let reply = deployment.runtime.block_on(agent.call(&wire, "mail", "send", "POST", "/messages", MESSAGE));
        assert_eq!(reply.status, 201);
        let everything = format!("{:?} {}", reply.headers, String::from_utf8_lossy(&reply.body));
        assert!(!everything.contains(&secret));
        let seen = deployment.stack.tool().journal().pop().expect("the tool was called");
        assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/messages"));
        assert_eq!(seen.headers["authorization"], format!("Bearer {secret}").as_str());
        for ours in ["signature", "signature-input", "forwarded", "cookie"] {
            assert!(!seen.headers.contains_key(ours), "{ours} reached the tool");
        }
    }
}

#[test]
fn every_refusal_gives_its_reason_and_nothing_reaches_the_tool() {
    let (deployment, wire, agent) = ready();
    let other = deployment.agent("other-bot");
    deployment.grant("other-bot", "mail", &["*"]);
    let before = deployment.stack.tool().journal().len();
    deployment.runtime.block_on(async {
        let token = agent.token(&wire, "mail", "send").await;
        let target = "/t/mail/messages";
        let signed = || agent.signed(&wire, &token, "POST", target, MESSAGE);

        agent.send(&wire, &agent.draft(&token, "POST", target, MESSAGE)).await.refused(401, "signature-missing");

        let mut draft = signed();
        draft.body = br#"{"to":"eve","text":"hello"}"#.to_vec();
        agent.send(&wire, &draft).await.refused(400, "digest-mismatch");

        let mut draft = signed();
        draft.headers.remove("content-digest");
        agent.send(&wire, &draft).await.refused(400, "signature-invalid");

        let mut draft = signed();
        draft.set("authorization", &format!("Bearer {}", agent.token(&wire, "mail", "send").await));
        agent.send(&wire, &draft).await.refused(400, "signature-invalid");

        let mut draft = agent.draft(&token, "POST", target, MESSAGE);
        agent.sign_at(&wire, &mut draft, now() - 90, now() - 31);
        agent.send(&wire, &draft).await.refused(400, "signature-expired");

        let mut draft = agent.draft(&token, "POST", target, MESSAGE);
        agent.sign_at(&wire, &mut draft, now() + 45, now() + 90);
        agent.send(&wire, &draft).await.refused(400, "signature-invalid");

        let mut draft = agent.draft(&token, "POST", target, MESSAGE);
        other.sign(&wire, &mut draft);
        agent.send(&wire, &draft).await.refused(400, "signature-invalid");

        other.send(&wire, &signed()).await.refused(403, "certificate-mismatch");

        let reply = wire.send(None, "POST", target, signed().headers, MESSAGE).await.expect("an answer");
        reply.refused(401, "certificate-required");

        let draft = agent.signed(&wire, &token, "DELETE", "/t/mail/messages/1", b"");
        let reply = agent.send(&wire, &draft).await;
        reply.refused(403, "scope-insufficient");
        assert!(reply.headers["www-authenticate"].to_str().expect("text").contains("mail:delete"));

        let draft = agent.signed(&wire, &token, "PATCH", "/t/mail/messages", MESSAGE);
        agent.send(&wire, &draft).await.refused(403, "action-unknown");

        let draft = agent.signed(&wire, &token, "POST", "/t/mail/%2e%2e/messages", MESSAGE);
        agent.send(&wire, &draft).await.refused(400, "path-not-canonical");

        let draft = agent.signed(&wire, &token, "POST", "/t/nothing/messages", MESSAGE);
        let reply = agent.send(&wire, &draft).await;
        assert!(
            matches!((reply.status, reply.code().as_str()), (403, "scope-insufficient") | (404, "tool-unknown")),
            "{reply:?}"
        );

        let mut draft = signed();
        draft.headers.remove("authorization");
        agent.send(&wire, &draft).await.refused(401, "token-missing");

        let forged = format!("{}x", &token[..token.len() - 1]);
        let draft = agent.signed(&wire, &forged, "POST", target, MESSAGE);
        agent.send(&wire, &draft).await.refused(401, "token-invalid");

        agent.ask(&wire, "mail", "delete").await.refused(400, "scope-insufficient");
        let elsewhere = agent.ask_with(&wire, &agent.master_key, "mail:send", "https://elsewhere.example/t/mail").await;
        assert_eq!((elsewhere.status, elsewhere.json()["error"].as_str()), (400, Some("invalid_target")));
        let wrong = agent.ask_with(&wire, &other.master_key, "mail:send", &format!("{}/t/mail", wire.issuer)).await;
        assert_eq!((wrong.status, wrong.json()["error"].as_str()), (401, Some("invalid_client")));
        assert_eq!(deployment.stack.tool().journal().len(), before);

        let draft = signed();
        agent.send(&wire, &draft).await.ok();
        agent.send(&wire, &draft).await.refused(400, "signature-replayed");
    });
    assert_eq!(deployment.stack.tool().journal().len(), before + 1);
}

#[test]
fn a_freeze_holds_on_the_next_call_with_a_token_still_running() {
    let (deployment, wire, agent) = ready();
    let call = |token: &str| {
        let draft = agent.signed(&wire, token, "GET", "/t/mail/messages", b"");
        deployment.runtime.block_on(agent.send(&wire, &draft))
    };
    let token = deployment.runtime.block_on(agent.token(&wire, "mail", "list"));
    call(&token).ok();
    deployment.operator(&["agent", "freeze", "travel-bot"]);
    call(&token).refused(403, "agent-frozen");
    let reply = deployment.runtime.block_on(agent.ask(&wire, "mail", "list"));
    assert_eq!(reply.code(), "agent-frozen");
    deployment.operator(&["agent", "unfreeze", "travel-bot"]);
    call(&token).ok();
    deployment.operator(&["agent", "retire", "travel-bot"]);
    call(&token).refused(403, "agent-retired");
}

#[test]
fn a_revoked_grant_stops_tokens_that_were_issued_under_it() {
    let deployment = Deployment::start();
    let agent = deployment.agent("travel-bot");
    let grant = deployment.grant("travel-bot", "mail", &["list"]);
    let wire = deployment.wire();
    let token = deployment.runtime.block_on(agent.token(&wire, "mail", "list"));
    let call = || {
        let draft = agent.signed(&wire, &token, "GET", "/t/mail/messages", b"");
        deployment.runtime.block_on(agent.send(&wire, &draft))
    };
    call().ok();
    deployment.operator(&["grant", "revoke", grant["grant"].as_str().expect("an id")]);
    call().refused(403, "grant-missing");
    deployment.runtime.block_on(agent.ask(&wire, "mail", "list")).refused(400, "grant-missing");
}

#[test]
fn an_expired_token_is_refused() {
    let deployment = Deployment::with(Setup { token_lifetime_s: Some(2), ..Setup::default() });
    let agent = deployment.agent("travel-bot");
    deployment.grant("travel-bot", "mail", &["list"]);
    let wire = deployment.wire();
    deployment.runtime.block_on(async {
        let token = agent.token(&wire, "mail", "list").await;
        let issued = now();
        while now() < issued + 3 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await; // time has to pass: that is what is tested
        }
        let reply = agent.send(&wire, &agent.signed(&wire, &token, "GET", "/t/mail/messages", b"")).await;
        reply.refused(401, "token-invalid");
        assert!(reply.headers["www-authenticate"].to_str().expect("text").contains("invalid_token"));
    });
}

#[test]
fn an_enrolment_code_works_once_and_tells_strangers_nothing() {
    let deployment = Deployment::start();
    let agent = deployment.agent("travel-bot");
    let code = deployment.path("travel-bot.code").display().to_string();
    let url = deployment.wire().issuer;
    let output = deployment.tgp(&[
        "enrol",
        "--code-file",
        &code,
        "--url",
        &url,
        "--dir",
        &deployment.path("again").display().to_string(),
    ]);
    assert!(!output.status.success());
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("code-used"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    drop(agent);
    // A bad proof for an agent that was invited, and one for an agent that does not exist: one answer.
    let invited = deployment.operator_json(&[
        "agent",
        "create",
        "waiting-bot",
        "--code-file",
        &deployment.path("w").display().to_string(),
    ]);
    let wire = deployment.wire();
    let answers = ["known", "unknown"].map(|which| {
        let id = if which == "known" {
            invited["agent"].as_str().expect("an id").to_owned()
        } else {
            uuid::Uuid::new_v4().to_string()
        };
        let (identity, code) = (IdentitySecret::generate(), IdentitySecret::generate());
        let body = serde_json::json!({ "agent": id, "csr": "x", "jwk": identity.public().to_jwk() }).to_string();
        let mut headers = http::HeaderMap::new();
        headers.insert("content-type", http::HeaderValue::from_static("application/json"));
        for (tag, key, label) in [(Tag::Enrol, &identity, "a"), (Tag::EnrolCode, &code, "b")] {
            let params = Params { created: now(), expires: now() + 30, nonce: nonce() };
            let target = format!("{}/v1/enrol", wire.issuer);
            sign_request("POST", &target, &mut headers, body.as_bytes(), tag, key, params, label).expect("signable");
        }
        let reply = deployment.runtime.block_on(wire.send(None, "POST", "/v1/enrol", headers, body.as_bytes()));
        let reply = reply.expect("an answer");
        reply.refused(401, "code-invalid");
        let mut json = reply.json();
        json["request_id"] = serde_json::Value::Null;
        json
    });
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn no_save_master_key_prints_it_instead() {
    let deployment = Deployment::start();
    let (code, directory) =
        (deployment.path("code").display().to_string(), deployment.path("bot").display().to_string());
    deployment.operator(&["agent", "create", "bot", "--code-file", &code]);
    let url = deployment.wire().issuer;
    let output =
        deployment.tgp(&["enrol", "--code-file", &code, "--url", &url, "--dir", &directory, "--no-save-master-key"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("tgpmk_"));
    assert!(!deployment.path("bot/master-key").exists());
}

#[test]
fn replies_stream_while_the_tool_is_still_sending() {
    let (deployment, _, _) = ready();
    deployment.grant("travel-bot", "mail", &["events"]);
    let directory = deployment.path("travel-bot").display().to_string();
    let output = deployment.tgp(&["call", "--agent", &directory, "mail", "events"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "data: 1\n\ndata: 2\n\ndata: 3\n\n", "{output:?}");
}

#[test]
fn a_certificate_is_renewed_over_mtls() {
    let (deployment, wire, agent) = ready();
    let before = std::fs::read_to_string(&agent.certificate.chain).expect("chain");
    let directory = deployment.path("travel-bot");
    let renewed = deployment.runtime.block_on(async {
        let agent = tgp_client::Agent::load(&directory).expect("an agent");
        agent.renew_certificate().await
    });
    renewed.unwrap_or_else(|e| panic!("{e}"));
    assert_ne!(before, std::fs::read_to_string(&agent.certificate.chain).expect("chain"));
    deployment.runtime.block_on(agent.call(&wire, "mail", "list", "GET", "/messages", b"")).ok();
}

#[test]
fn a_second_start_continues_with_the_same_data() {
    let (mut deployment, wire, agent) = ready();
    deployment.stack.stop();
    let ports = deployment.stack.ports();
    let options = Deployment::options(&deployment.directory, &Setup::default()).ports(ports);
    deployment.stack = tgp::dev::Stack::start(options, &deployment.runtime).unwrap_or_else(|e| panic!("{e}"));
    deployment.runtime.block_on(agent.call(&wire, "mail", "list", "GET", "/messages", b"")).ok();
}
