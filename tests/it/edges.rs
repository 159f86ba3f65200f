//! What the gateway does at its bounds: malformed heads, large bodies, tools that fail, agents that stop or go away, and
//! a vault that is gone.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::support::{Deployment, Setup};
use crate::wire::{Draft, Live, Reply, TestAgent, Wire};

fn plain(method: &str, target: &str) -> Draft {
    Draft { method: method.into(), target: target.into(), headers: HeaderMap::new(), body: Vec::new() }
}

async fn anonymous(wire: &Wire, draft: &Draft) -> Reply {
    wire.send(None, &draft.method, &draft.target, draft.headers.clone(), &draft.body).await.expect("an answer")
}

/// An upstream that does to each connection what `serve` says.
fn upstream(serve: impl Fn(std::net::TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || {
                let mut stream = stream;
                let _ = stream.read(&mut [0; 8192]);
                serve(stream);
            });
        }
    });
    port
}

/// Puts an upstream behind the gateway as `slug` with the one action `go`, and grants it.
fn add_tool(deployment: &Deployment, agent: &str, slug: &str, port: u16) {
    let secret = deployment.path("secret");
    std::fs::write(&secret, "s3cret").expect("a secret");
    let url = format!("http://127.0.0.1:{port}");
    deployment.operator(&["tool", "add", slug, "--upstream", &url, "--allow-private", "--action", "go=GET /go"]);
    deployment.operator(&["tool", "credential", slug, "--bearer", "--secret-file", secret.to_str().expect("utf-8")]);
    deployment.grant(agent, slug, &["go"]);
}

async fn go(agent: &TestAgent, wire: &Wire, slug: &str) -> Draft {
    let token = agent.token(wire, slug, "go").await;
    agent.signed(wire, &token, "GET", &format!("/t/{slug}/go"), b"")
}

#[test]
fn a_head_at_its_bounds_is_refused_with_its_reason() {
    let deployment = Deployment::start();
    let wire = deployment.wire();
    deployment.runtime.block_on(async {
        let mut live = Live::open(&wire, None).await.expect("connected");
        // Whatever `Host` says, and in absolute form, this is the configured origin.
        let own = plain("GET", &format!("{}/oauth2/jwks", wire.issuer));
        live.send(&own).await.ok();
        live.send(&plain("GET", "https://evil.example/oauth2/jwks")).await.refused(400, "request-malformed");
        live.send(&plain("GET", "/nothing/here")).await.refused(404, "not-found");
        let reply = live.send(&plain("GET", "/oauth2/token")).await;
        reply.refused(405, "method-not-allowed");
        assert_eq!(reply.headers["allow"], "POST");

        let mut many = plain("GET", "/oauth2/jwks");
        for n in 0..130 {
            many.headers.insert(HeaderName::try_from(format!("x-{n}")).expect("a name"), HeaderValue::from_static("v"));
        }
        anonymous(&wire, &many).await.refused(431, "headers-too-large");
        let mut long = plain("GET", "/oauth2/jwks");
        long.set("x-long", &"v".repeat(66_000));
        anonymous(&wire, &long).await.refused(431, "headers-too-large");

        let mut twice = plain("POST", "/v1/enrol");
        twice.headers.append("content-type", HeaderValue::from_static("application/json"));
        twice.headers.append("content-type", HeaderValue::from_static("application/json"));
        twice.body = b"{}".to_vec();
        let reply = anonymous(&wire, &twice).await;
        reply.refused(400, "request-malformed");
        assert_eq!(reply.headers["connection"], "close");
    });
}

#[test]
fn metadata_and_keys_are_those_of_the_standards() {
    let deployment = Deployment::start();
    let wire = deployment.wire();
    deployment.runtime.block_on(async {
        let metadata = anonymous(&wire, &plain("GET", "/.well-known/oauth-authorization-server")).await.ok().json();
        assert_eq!(metadata["issuer"], wire.issuer.as_str());
        assert_eq!(metadata["token_endpoint"], format!("{}/oauth2/token", wire.issuer));
        let methods = json!(["client_secret_basic", "private_key_jwt"]);
        assert_eq!(metadata["token_endpoint_auth_methods_supported"], methods);
        assert_eq!(metadata["authorization_details_types_supported"], json!(["tgp_tool"]));
        let keys = anonymous(&wire, &plain("GET", "/oauth2/jwks")).await;
        assert_eq!(keys.headers["cache-control"], "max-age=300");
        assert_eq!(keys.ok().json()["keys"][0]["alg"], "ES256");
    });
}

#[test]
fn the_token_endpoint_answers_in_the_standards_terms() {
    let deployment = Deployment::start();
    let agent = deployment.agent("travel-bot");
    deployment.grant("travel-bot", "mail", &["list", "send"]);
    let wire = deployment.wire();
    let form = |body: String| {
        let mut draft = plain("POST", "/oauth2/token");
        draft.set("content-type", "application/x-www-form-urlencoded");
        let basic = {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", agent.id, agent.master_key))
        };
        draft.set("authorization", &format!("Basic {basic}"));
        draft.body = body.into_bytes();
        draft
    };
    let outcome = |reply: Reply| {
        let json = reply.json();
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        (reply.status, text("error"), text("tgp_code"))
    };
    let details = |value: Value| {
        let text = value.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        form(format!("grant_type=client_credentials&authorization_details={text}"))
    };
    deployment.runtime.block_on(async {
        let good = details(json!([{ "type": "tgp_tool", "identifier": "mail", "actions": ["list"] }]));
        let reply = agent.send(&wire, &good).await;
        assert_eq!(reply.headers["cache-control"], "no-store");
        let token = reply.ok().json();
        assert_eq!(token["authorization_details"][0]["locations"][0], format!("{}/t/mail", wire.issuer));
        assert_eq!(token["scope"], "mail:list");
        let draft =
            agent.signed(&wire, token["access_token"].as_str().expect("a token"), "GET", "/t/mail/messages", b"");
        agent.send(&wire, &draft).await.ok();

        let (status, error, code) = outcome(anonymous(&wire, &good).await);
        assert_eq!((status, error.as_str(), code.as_str()), (401, "invalid_client", "certificate-required"));
        let cases = [
            (form("grant_type=password".into()), (400, "unsupported_grant_type", "request-malformed")),
            (form("grant_type=client_credentials".into()), (400, "invalid_request", "request-malformed")),
            (
                form("grant_type=client_credentials&scope=mail:list".into()),
                (400, "invalid_target", "request-malformed"),
            ),
            (
                details(json!([{ "type": "tgp_tool", "identifier": "mail", "actions": ["delete"] }])),
                (400, "invalid_authorization_details", "scope-insufficient"),
            ),
            (
                details(json!([{ "type": "tgp_tool", "identifier": "nothing", "actions": ["list"] }])),
                (400, "invalid_authorization_details", "tool-unknown"),
            ),
        ];
        for (draft, (status, error, code)) in cases {
            assert_eq!(outcome(agent.send(&wire, &draft).await), (status, error.to_owned(), code.to_owned()));
        }
        let mut bad = good;
        bad.headers.remove("authorization");
        let reply = agent.send(&wire, &bad).await;
        assert_eq!(reply.headers["www-authenticate"], "Basic realm=\"tgp\"");
        assert_eq!(outcome(reply), (401, "invalid_client".into(), "code-invalid".into()));
    });
    let records = deployment.records();
    let refused = records.iter().filter(|record| record["kind"] == "token" && record["verdict"] != "allow").count();
    assert_eq!(refused, 6, "each refusal of a certified caller is on record");
}

#[test]
fn a_body_too_large_is_refused_and_never_reaches_the_tool() {
    let deployment = Deployment::start();
    let agent = deployment.agent("travel-bot");
    deployment.grant("travel-bot", "mail", &["send"]);
    let wire = deployment.wire();
    deployment.runtime.block_on(async {
        let token = agent.token(&wire, "mail", "send").await;
        let exactly = vec![b' '; 1024 * 1024];
        let draft = agent.signed(&wire, &token, "POST", "/t/mail/messages", &exactly);
        agent.send(&wire, &draft).await.ok();
        let larger = vec![b' '; 1024 * 1024 + 1];
        let draft = agent.signed(&wire, &token, "POST", "/t/mail/messages", &larger);
        agent.send(&wire, &draft).await.refused(413, "body-too-large");
    });
    assert_eq!(deployment.stack.tool().journal().len(), 1);
}

#[test]
fn a_tool_that_fails_is_named_and_its_outcome_recorded() {
    let deployment = Deployment::with(Setup { config: "[upstream]\nreply_timeout_s = 1\n", ..Setup::default() });
    let agent = deployment.agent("travel-bot");
    let wire = deployment.wire();
    let silent = upstream(|stream| {
        std::thread::sleep(Duration::from_secs(5)); // longer than the gateway waits
        drop(stream);
    });
    let garbage = upstream(|mut stream| {
        let _ = stream.write_all(b"this is not http\r\n\r\n");
    });
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("its address").port()
    };
    let mut expected = Vec::new();
    for (slug, port, status, code) in [
        ("silent", silent, 504, "upstream-timeout"),
        ("garbage", garbage, 502, "upstream-broken"),
        ("nobody", nobody, 502, "upstream-refused"),
    ] {
        add_tool(&deployment, "travel-bot", slug, port);
        let reply = deployment.runtime.block_on(async { agent.send(&wire, &go(&agent, &wire, slug).await).await });
        reply.refused(status, code);
        expected.push((reply.headers["tgp-request-id"].to_str().expect("text").to_owned(), code));
    }
    let outcomes = deployment.outcomes();
    for (id, code) in expected {
        let outcome = outcomes.iter().find(|outcome| outcome["request_id"] == id.as_str()).expect("an outcome");
        assert_eq!((outcome["error"].as_str(), outcome["status"].as_u64()), (Some(code), None));
    }
}

/// The outcome with this error; outcomes are written when a reply has ended, a moment after the caller knows.
fn outcome_with(deployment: &Deployment, error: &str) -> Value {
    let patience = Instant::now();
    loop {
        if let Some(found) = deployment.outcomes().into_iter().find(|outcome| outcome["error"] == error) {
            return found;
        }
        assert!(patience.elapsed() < Duration::from_secs(10), "no outcome says {error}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_freeze_cuts_a_reply_that_is_still_coming() {
    let deployment = Deployment::start();
    let agent = deployment.agent("travel-bot");
    let wire = deployment.wire();
    let endless = upstream(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n");
        while stream.write_all(b"data: on and on\n\n").is_ok() {
            std::thread::sleep(Duration::from_millis(20)); // the pace of the stream
        }
    });
    add_tool(&deployment, "travel-bot", "endless", endless);
    let reading = deployment.runtime.block_on(async { go(&agent, &wire, "endless").await });
    let (certificate, reader) = (agent.certificate.clone(), wire.clone());
    let stream = deployment.runtime.spawn(async move {
        let Draft { method, target, headers, body } = reading;
        reader.send(Some(&certificate), &method, &target, headers, &body).await
    });
    std::thread::sleep(Duration::from_millis(300)); // so that the stream has begun
    deployment.operator(&["agent", "freeze", "travel-bot"]);
    let cut = deployment.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(2), stream).await });
    assert!(cut.expect("cut within a second").expect("joined").is_err(), "the stream did not end by itself");
    let outcome = outcome_with(&deployment, "agent-frozen");
    assert!(outcome["bytes"].as_u64().expect("a count") > 0);
}

#[test]
fn an_agent_that_goes_away_leaves_an_outcome_too() {
    let deployment = Deployment::start();
    let agent = deployment.agent("travel-bot");
    let wire = deployment.wire();
    let reached = Arc::new(tokio::sync::Notify::new());
    let there = reached.clone();
    let silent = upstream(move |stream| {
        there.notify_one();
        std::thread::sleep(Duration::from_secs(5)); // longer than the agent waits
        drop(stream);
    });
    add_tool(&deployment, "travel-bot", "silent", silent);
    deployment.runtime.block_on(async {
        let draft = go(&agent, &wire, "silent").await;
        // The agent goes away as soon as the tool has its call.
        tokio::select! {
            reply = agent.send(&wire, &draft) => panic!("the tool says nothing: {reply:?}"),
            () = reached.notified() => {}
        }
    });
    assert!(outcome_with(&deployment, "agent-gone")["status"].is_null());
}

#[test]
fn a_vault_that_is_gone_is_said_on_live_connections_and_by_an_alert_on_new_ones() {
    let mut deployment = Deployment::start();
    let agent = deployment.agent("travel-bot");
    deployment.grant("travel-bot", "mail", &["list"]);
    let wire = deployment.wire();
    let (mut live, token) = deployment.runtime.block_on(async {
        let live = Live::open(&wire, Some(&agent.certificate)).await.expect("connected");
        (live, agent.token(&wire, "mail", "list").await)
    });
    let list = || agent.signed(&wire, &token, "GET", "/t/mail/messages", b"");
    deployment.runtime.block_on(live.send(&list())).ok();
    deployment.stack.vault().stop();
    let before = deployment.stack.tool().journal().len();
    deployment.runtime.block_on(async {
        let reply = live.send(&list()).await;
        reply.refused(503, "vault-unavailable");
        assert!(reply.headers.contains_key("retry-after"));
        assert!(Live::open(&wire, Some(&agent.certificate)).await.is_err(), "the server's key is in the vault");
    });
    assert_eq!(deployment.stack.tool().journal().len(), before);
    deployment.stack.restart_vault().unwrap_or_else(|e| panic!("{e}"));
    // The very same connection works again, and so do new ones.
    let patience = Instant::now();
    loop {
        let reply = deployment.runtime.block_on(live.send(&list()));
        if reply.status == 200 {
            break;
        }
        assert!(patience.elapsed() < Duration::from_secs(10), "{reply:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    deployment.runtime.block_on(agent.call(&wire, "mail", "list", "GET", "/messages", b"")).ok();
}

#[test]
fn a_database_that_is_gone_forwards_nothing() {
    let mut deployment = Deployment::start();
    let agent = deployment.agent("travel-bot");
    deployment.grant("travel-bot", "mail", &["list"]);
    let wire = deployment.wire();
    let token = deployment.runtime.block_on(agent.token(&wire, "mail", "list"));
    let before = deployment.stack.tool().journal().len();
    deployment.stack.postgres().stop();
    let reply = deployment
        .runtime
        .block_on(async { agent.send(&wire, &agent.signed(&wire, &token, "GET", "/t/mail/messages", b"")).await });
    reply.refused(503, "store-unavailable");
    assert_eq!(deployment.stack.tool().journal().len(), before);
}

#[test]
fn readiness_is_red_while_the_token_is_away_and_green_by_itself_when_it_is_back() {
    let deployment = Deployment::start();
    let health = |path: &str| {
        let mut stream =
            std::net::TcpStream::connect(("127.0.0.1", deployment.stack.ports().health)).expect("connected");
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("asked");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("an answer");
        reply
    };
    let until = |status: &str| {
        let patience = Instant::now();
        while !health("/health/ready").starts_with(&format!("HTTP/1.1 {status}")) {
            assert!(patience.elapsed() < Duration::from_secs(30), "{}", health("/health/ready"));
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    until("200");
    assert!(health("/metrics").contains("tgp_vault_token_logins_total 1\n"));
    let (tokens, gone) = (deployment.path("d/token"), deployment.path("d/gone"));
    std::fs::rename(&tokens, &gone).expect("taken away");
    until("503");
    std::fs::rename(&gone, &tokens).expect("put back");
    until("200");
    let metrics = health("/metrics");
    assert!(metrics.contains("tgp_vault_token_logins_total 2\n"), "{metrics}");
    assert!(metrics.contains("tgp_vault_connections_total{met=\"turned-away-full\"} 0\n"), "{metrics}");
}
