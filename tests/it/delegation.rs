//! Agents that act for others, and grants for some resources of a tool: the whole way, as operators and agents go it.

use std::path::Path;
use std::time::Duration;

use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::support::Deployment;
use crate::third_party::script;
use crate::upstream::{add_tool, open, outcomes_of};
use crate::wire::{Reply, TestAgent, Wire};

fn token_of(reply: &Reply) -> String {
    reply.ok().json()["access_token"].as_str().expect("a token").to_owned()
}

/// A parent with a grant, its child and its grandchild, and a token that came down to the last.
struct Family {
    wire: Wire,
    parent: TestAgent,
    child: TestAgent,
    grandchild: TestAgent,
    grant: String,
    token: String,
    /// Of the token that the parent made out.
    jti: String,
}

impl Family {
    fn start(deployment: &Deployment) -> Self {
        let [parent, child, grandchild] =
            ["parent-bot", "child-bot", "grandchild-bot"].map(|name| deployment.agent(name));
        let grant = deployment.grant("parent-bot", "mail", &["send", "list"]);
        let wire = deployment.wire();
        let resource = format!("{}/t/mail", wire.issuer);
        let (token, jti) = deployment.runtime.block_on(async {
            let first = parent.made_out(&wire, "mail:send mail:list", &resource, &child.id).await;
            let second = token_of(&child.exchange(&wire, &first, &[("may_act", &grandchild.id)]).await);
            let third = token_of(&grandchild.exchange(&wire, &second, &[("scope", "mail:send")]).await);
            (third, claims(&first)["jti"].as_str().expect("a jti").to_owned())
        });
        let grant = grant["grant"].as_str().expect("an id").to_owned();
        Self { wire, parent, child, grandchild, grant, token, jti }
    }

    fn call(&self, deployment: &Deployment) -> Reply {
        let draft = self.grandchild.signed(&self.wire, &self.token, "POST", "/t/mail/messages", b"{}");
        deployment.runtime.block_on(self.grandchild.send(&self.wire, &draft))
    }
}

fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).expect("three parts");
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    serde_json::from_slice(&payload).expect("JSON")
}

#[test]
fn a_childs_token_is_refused_the_moment_anybody_above_it_is_stopped() {
    let deployment = Deployment::start();
    let family = Family::start(&deployment);
    let spiffe = |id: &str| format!("spiffe://tgp-dev.example/agent/{id}");

    // A verifier that knows RFC 8693 and nothing of us reads for whom, and by whom.
    let (issuer, audience) = (family.wire.issuer.clone(), format!("{}/t/mail", family.wire.issuer));
    let (jwks, ca) = (format!("{issuer}/oauth2/jwks"), family.wire.ca.display().to_string());
    let read = script("verify_token.py", &[&jwks, &ca, &issuer, &audience], &family.token);
    let read: Value = serde_json::from_str(&read).expect("json");
    assert_eq!(read["sub"], spiffe(&family.parent.id).as_str());
    let chain = json!({ "sub": spiffe(&family.grandchild.id), "act": { "sub": spiffe(&family.child.id) } });
    assert_eq!(read["act"], chain);
    assert_eq!(read["client_id"], family.grandchild.id.as_str());
    assert_eq!(read["derived_from"][1], family.jti.as_str());

    family.call(&deployment).ok();
    let record = deployment.records().pop().expect("a record");
    assert_eq!(record["detail"]["on_behalf_of"], json!([family.parent.id, family.child.id]));

    for above in ["parent-bot", "child-bot"] {
        deployment.operator(&["agent", "freeze", above]);
        family.call(&deployment).refused(403, "agent-frozen");
        deployment.operator(&["agent", "unfreeze", above]);
        family.call(&deployment).ok();
    }
    // Behind every cache, too: what admission reads is what holds.
    let (name, freeze) =
        ("child-bot", "update agent set status = 'frozen', version = version + 1, frozen = now() where handle =");
    deployment.sql("postgres", &format!("{freeze} '{name}'"));
    family.call(&deployment).refused(403, "agent-frozen");
    deployment.operator(&["agent", "unfreeze", "child-bot"]);
    family.call(&deployment).ok();

    // A revocation of the first token is one of all that came of it.
    let revoke =
        "insert into token_revocation (jti, tenant, agent, expires) select jti, tenant, agent, expires from token";
    deployment.sql("postgres", &format!("{revoke} where jti = '{}'", family.jti));
    family.call(&deployment).refused(401, "token-invalid");
    deployment.sql("postgres", "delete from token_revocation");
    family.call(&deployment).ok();

    deployment.operator(&["grant", "revoke", &family.grant]);
    family.call(&deployment).refused(403, "grant-missing");
    deployment.grant("parent-bot", "mail", &["send"]);
    family.call(&deployment).ok();
    deployment.operator(&["agent", "retire", "parent-bot"]);
    family.call(&deployment).refused(403, "agent-retired");
}

#[test]
fn a_frozen_parent_hands_nothing_on_and_its_childs_open_stream_is_cut() {
    let deployment = Deployment::start();
    let (parent, child) = (deployment.agent("travel-bot"), deployment.agent("child-bot"));
    let tool = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = tool.local_addr().expect("its address").port();
    // One reply that begins and does not end.
    let held = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = tool.accept().expect("a connection");
        let _ = stream.read(&mut [0; 8192]);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: begun\n\n")
            .expect("written");
        let _ = stream.read(&mut [0; 1]);
    });
    add_tool(&deployment, "travel-bot", "events", port, "/go");
    let wire = deployment.wire();
    let resource = format!("{}/t/events", wire.issuer);
    let id = deployment.runtime.block_on(async {
        let handed = parent.made_out(&wire, "events:go", &resource, &child.id).await;
        let token = token_of(&child.exchange(&wire, &handed, &[]).await);
        let draft = child.signed(&wire, &token, "GET", "/t/events/go", b"");
        let (mut response, _) = open(&child, &wire, &draft).await;
        let id = response.headers()["tgp-request-id"].to_str().expect("text").to_owned();
        response.frame().await.expect("it has begun").expect("no error");
        deployment.sql(
            "postgres",
            "update agent set status = 'frozen', version = version + 1, frozen = now() where handle = 'travel-bot'",
        );
        let ended = tokio::time::timeout(Duration::from_secs(10), response.frame()).await.expect("cut");
        assert!(matches!(ended, Some(Err(_))), "the stream did not end by itself");
        // Whoever is frozen hands nothing on, though the token is still in its time.
        child.exchange(&wire, &handed, &[]).await.refused(400, "agent-frozen");
        id
    });
    let outcomes = outcomes_of(&deployment, &id);
    assert_eq!((outcomes.len(), outcomes[0]["error"].as_str()), (1, Some("agent-frozen")));
    held.join().expect("the tool ends");
}

#[test]
fn a_grant_for_some_resources_covers_no_others() {
    let deployment = Deployment::start();
    let agent = deployment.agent("octo-bot");
    let upstream = format!("http://127.0.0.1:{}", deployment.stack.ports().tool);
    let secret = deployment.path("secret");
    std::fs::write(&secret, "s3cret").expect("written");
    let actions = ["read=GET /{owner}/{repo} on {owner}/{repo}", "list=GET /all"];
    let mut add = vec!["tool", "add", "repos", "--upstream", &upstream, "--allow-private"];
    add.extend(actions.iter().flat_map(|action| ["--action", action]));
    deployment.operator(&add);
    deployment.operator(&["tool", "credential", "repos", "--bearer", "--secret-file", secret.to_str().expect("utf-8")]);
    let shown = deployment.operator(&["tool", "show", "repos"]);
    assert!(shown.contains("{owner}/{repo}"), "{shown}");
    let granted = ["grant", "add", "octo-bot", "repos", "--action", "*", "--on", "octocat/*", "--on", "pub/hello"];
    let shown = deployment.operator(&granted);
    assert!(shown.contains("octocat/* pub/hello"), "{shown}");
    let listed = deployment.operator(&["grant", "list"]);
    assert!(listed.contains("octocat/* pub/hello"), "{listed}");

    let wire = deployment.wire();
    let call = |token: &str, path: &str| {
        let draft = agent.signed(&wire, token, "GET", &format!("/t/repos{path}"), b"");
        deployment.runtime.block_on(agent.send(&wire, &draft))
    };
    // The token carries the grant's patterns though nobody asked for them.
    let token = deployment.runtime.block_on(agent.token(&wire, "repos", "read"));
    assert_eq!(claims(&token)["authorization_details"][0]["resources"], json!(["octocat/*", "pub/hello"]));
    // The sample tool has no such path, and wants another credential: what it answers is its own.
    for path in ["/octocat/hello", "/octocat/caf%C3%A9", "/pub/hello"] {
        assert_eq!(call(&token, path).status, 401, "{path}");
    }
    assert_eq!(deployment.stack.tool().journal().last().map(|seen| seen.path.clone()).as_deref(), Some("/pub/hello"));
    for path in ["/octodog/hello", "/Octocat/hello", "/pub/other", "/octocat%20/hello"] {
        call(&token, path).refused(403, "resource-refused");
    }
    // An action that names no resource is covered by no pattern.
    let list = deployment.runtime.block_on(agent.token(&wire, "repos", "list"));
    call(&list, "/all").refused(403, "resource-refused");

    // A narrower token, by the command line; and one that is too wide.
    let token = |on: &str| {
        let agent = agent.directory.to_str().expect("utf-8").to_owned();
        deployment.tgp(&["token", "repos", "read", "--on", on, "--agent", &agent])
    };
    let narrow = token("octocat/hello");
    assert!(narrow.status.success(), "{}", String::from_utf8_lossy(&narrow.stderr));
    let narrow = String::from_utf8(narrow.stdout).expect("utf-8");
    assert_eq!(call(narrow.trim(), "/octocat/hello").status, 401);
    call(narrow.trim(), "/octocat/world").refused(403, "resource-refused");
    let wide = token("**");
    assert!(!wide.status.success() && String::from_utf8_lossy(&wide.stderr).contains("resource-refused"));

    // What the store says of a grant is no grant: the vault has the signed patterns.
    deployment.sql("postgres", "update \"grant\" set resources = '{}'");
    let asked = |on: &str| {
        let detail = json!([{ "type": "tgp_tool", "identifier": "repos", "actions": ["read"], "resources": [on] }]);
        let form = [("grant_type", "client_credentials"), ("authorization_details", &detail.to_string())];
        deployment.runtime.block_on(agent.ask_form(&wire, &form))
    };
    // Admission has the gateway read the changed row before it answers this.
    asked("octocat/hello").ok();
    let refused = asked("**");
    refused.refused(400, "resource-refused");
    let told = refused.json()["error_description"].as_str().unwrap_or_default().to_owned();
    assert!(told.contains("beyond what was granted"), "by the vault: {told}");
}

#[test]
fn the_command_line_hands_on_exchanges_and_asserts() {
    let deployment = Deployment::start();
    let parent = deployment.agent_with("parent-bot", &["--method", "private_key_jwt"]);
    let child = deployment.agent("child-bot");
    deployment.grant("parent-bot", "mail", &["send", "list"]);
    let handed = deployment.path("handed");
    let token = |agent: &TestAgent, more: &[&str]| {
        let directory = agent.directory.to_str().expect("utf-8").to_owned();
        deployment.tgp(&[&["token", "mail", "send", "--agent", &directory], more].concat())
    };
    let text = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let by_master_key = token(&parent, &[]);
    assert!(text(&by_master_key).contains("does not allow") || text(&by_master_key).contains("code-invalid"));
    let made_out = token(&parent, &["--private-key-jwt", "--for-agent", &child.id]);
    assert!(made_out.status.success(), "{}", text(&made_out));
    write_private(&handed, &made_out.stdout);
    let claims = token(&child, &["--handed", handed.to_str().expect("utf-8"), "--claims"]);
    assert!(claims.status.success(), "{}", text(&claims));
    let claims: Value = serde_json::from_slice(&claims.stdout).expect("JSON");
    assert!(claims["sub"].as_str().is_some_and(|sub| sub.ends_with(&parent.id)), "{claims}");
    assert!(claims["act"]["sub"].as_str().is_some_and(|sub| sub.ends_with(&child.id)), "{claims}");
    let stolen = token(&parent, &["--private-key-jwt", "--handed", handed.to_str().expect("utf-8")]);
    assert!(text(&stolen).contains("delegation-refused"), "{}", text(&stolen));
}

fn write_private(path: &Path, text: &[u8]) {
    std::fs::write(path, text).expect("written");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(path, private).expect("private");
}
