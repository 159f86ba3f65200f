//! The proxy in front of servers that nobody here wrote.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::support::Deployment;
use crate::third_party::python;

/// A server process; killed when dropped.
pub struct Server {
    child: Child,
    port: u16,
}

impl Server {
    pub fn start(command: &mut Command, port: u16) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let server = Self { child, port };
        let patience = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(patience.elapsed() < Duration::from_secs(60), "{command:?} does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    pub fn upstream(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).expect("a port").local_addr().expect("an address").port()
}

pub fn httpbin() -> Server {
    let port = free_port();
    let bind = format!("127.0.0.1:{port}");
    Server::start(Command::new(python("gunicorn")).args(["--bind", &bind, "--threads", "8", "httpbin:app"]), port)
}

pub fn secret_file(deployment: &Deployment, text: &str) -> String {
    let path = deployment.path("secret");
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

#[test]
fn httpbin_sees_the_bearer_credential_and_exactly_what_was_signed() {
    let deployment = Deployment::start();
    let server = httpbin();
    let secret = secret_file(&deployment, "upstream-secret-1");
    deployment.operator(&[
        "tool",
        "add",
        "bin",
        "--upstream",
        &server.upstream(),
        "--allow-private",
        "--action",
        "bearer=GET /bearer",
        "--action",
        "post=POST /anything/{path}",
        "--action",
        "stream=GET /stream/{n}",
        "--action",
        "get=GET /get",
    ]);
    deployment.operator(&["tool", "credential", "bin", "--bearer", "--secret-file", &secret]);
    let agent = deployment.agent("bin-bot");
    deployment.grant("bin-bot", "bin", &["*"]);
    let wire = deployment.wire();
    deployment.runtime.block_on(async {
        let reply = agent.call(&wire, "bin", "bearer", "GET", "/bearer", b"").await;
        // httpbin tells what it saw, and only the credential itself would have been masked.
        assert_eq!(reply.ok().json()["token"], "*".repeat("upstream-secret-1".len()));

        let body = "{\"text\":\"h\u{e9}llo\"}".as_bytes();
        let token = agent.token(&wire, "bin", "post").await;
        let mut draft = agent.draft(&token, "POST", "/t/bin/anything/here?q=a%20b&q=%C3%A9&empty=", body);
        draft.set("accept", "application/json");
        draft.set("x-http-method-override", "DELETE");
        agent.sign(&wire, &mut draft);
        let reply = agent.send(&wire, &draft).await;
        let seen = reply.ok().json();
        assert_eq!(seen["method"], "POST");
        assert_eq!(seen["json"]["text"], "h\u{e9}llo");
        assert_eq!(seen["args"]["q"], serde_json::json!(["a b", "\u{e9}"]));
        let url = seen["url"].as_str().expect("a url"); // as the tool's framework shows it
        assert!(url.contains("/anything/here?q=a%20b&q=") && url.ends_with("&empty="), "{url}");
        // The digest that was signed is the digest of what the tool saw.
        let signed = draft.headers["content-digest"].to_str().expect("text");
        let digest = base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            Sha256::digest(seen["data"].as_str().expect("data")),
        );
        assert!(signed.contains(&digest), "{signed} does not hold {digest}");
        let headers = seen["headers"].as_object().expect("headers");
        assert_eq!(headers["Authorization"], "Bearer *****************");
        for dropped in ["Signature", "Signature-Input", "X-Http-Method-Override"] {
            assert!(!headers.contains_key(dropped), "{dropped} reached the tool");
        }

        let reply = agent.call(&wire, "bin", "stream", "GET", "/stream/20", b"").await;
        assert_eq!(String::from_utf8_lossy(&reply.ok().body).lines().count(), 20);
    });
}

#[test]
fn httpbin_sees_a_header_credential_and_not_the_agents_copy_of_it() {
    let deployment = Deployment::start();
    let server = httpbin();
    let secret = secret_file(&deployment, "header-secret-1");
    deployment.operator(&[
        "tool",
        "add",
        "bin",
        "--upstream",
        &server.upstream(),
        "--allow-private",
        "--action",
        "headers=GET /headers",
        "--action",
        "away=GET /redirect-to",
    ]);
    deployment.operator(&["tool", "credential", "bin", "--header", "X-Api-Key", "--secret-file", &secret]);
    let agent = deployment.agent("bin-bot");
    deployment.grant("bin-bot", "bin", &["headers", "away"]);
    let wire = deployment.wire();
    deployment.runtime.block_on(async {
        let token = agent.token(&wire, "bin", "headers").await;
        let mut draft = agent.draft(&token, "GET", "/t/bin/headers", b"");
        draft.set("x-api-key", "the agent's own");
        agent.sign(&wire, &mut draft);
        let reply = agent.send(&wire, &draft).await;
        assert_eq!(reply.ok().json()["headers"]["X-Api-Key"], "*".repeat("header-secret-1".len()));

        // A redirect is the agent's to see, not ours to follow.
        let reply =
            agent.call(&wire, "bin", "away", "GET", "/redirect-to?url=http%3A%2F%2F169.254.169.254%2F", b"").await;
        assert_eq!(reply.status, 302);
    });
}

#[test]
fn radicale_keeps_a_calendar_entry_behind_basic_credentials() {
    let deployment = Deployment::start();
    let port = free_port();
    std::fs::write(deployment.path("users"), "bot:calendar-secret-1\n").expect("written");
    let text = |name: &str| deployment.path(name).display().to_string();
    let config = format!(
        "[server]\nhosts = 127.0.0.1:{port}\n[auth]\ntype = htpasswd\nhtpasswd_filename = {}\nhtpasswd_encryption = plain\n\
         [storage]\nfilesystem_folder = {}\n",
        text("users"),
        text("calendars"),
    );
    std::fs::write(deployment.path("radicale.conf"), config).expect("written");
    let server = Server::start(Command::new(python("radicale")).args(["--config", &text("radicale.conf")]), port);
    let secret = secret_file(&deployment, "bot:calendar-secret-1");
    deployment.operator(&[
        "tool",
        "add",
        "calendar",
        "--upstream",
        &server.upstream(),
        "--allow-private",
        "--action",
        "create=MKCALENDAR /bot/{calendar}/",
        "--action",
        "put=PUT /bot/{calendar}/{entry}",
        "--action",
        "read=GET /bot/{calendar}/{entry}",
    ]);
    deployment.operator(&["tool", "credential", "calendar", "--basic", "--secret-file", &secret]);
    let agent = deployment.agent("calendar-bot");
    deployment.grant("calendar-bot", "calendar", &["create", "put", "read"]);
    let wire = deployment.wire();
    let entry = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nBEGIN:VEVENT\r\nUID:meeting-1\r\nDTSTAMP:20261125T100000Z\r\n\
                 DTSTART:20261126T100000Z\r\nDTEND:20261126T110000Z\r\nSUMMARY:Review the vault\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
    deployment.runtime.block_on(async {
        let reply = agent.call(&wire, "calendar", "create", "MKCALENDAR", "/bot/team/", b"").await;
        assert_eq!(reply.status, 201, "{reply:?}");
        let token = agent.token(&wire, "calendar", "put").await;
        let mut draft = agent.draft(&token, "PUT", "/t/calendar/bot/team/meeting-1.ics", entry.as_bytes());
        draft.set("content-type", "text/calendar; charset=utf-8");
        agent.sign(&wire, &mut draft);
        let reply = agent.send(&wire, &draft).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        let reply = agent.call(&wire, "calendar", "read", "GET", "/bot/team/meeting-1.ics", b"").await;
        assert!(String::from_utf8_lossy(&reply.ok().body).contains("SUMMARY:Review the vault"), "{reply:?}");
    });
}

#[test]
fn an_upstream_that_the_guard_refuses_is_never_reached() {
    let deployment = Deployment::start();
    let agent = deployment.agent("probe-bot");
    let wire = deployment.wire();
    let secret = secret_file(&deployment, "s");
    let ports = deployment.stack.ports();
    let sample = format!("http://127.0.0.1:{}", ports.tool);
    let ours = "is one of the gateway's own listeners or its database";
    let metadata = "is a link-local or metadata address";
    let refused = [
        ("metadata", "http://169.254.169.254".to_owned(), true, metadata),
        ("mapped", "http://[::ffff:169.254.169.254]".to_owned(), true, metadata),
        ("health", format!("http://127.0.0.1:{}", ports.health), true, ours),
        ("operators", format!("https://127.0.0.1:{}", ports.operators), true, ours),
        ("ourselves", format!("https://localhost:{}", ports.gateway), true, ours),
        ("loopback", sample.clone(), false, "is a private address, which this tool does not allow"),
    ];
    for (slug, upstream, allow_private, reason) in refused {
        let mut add = vec!["tool", "add", slug, "--upstream", &upstream, "--action", "get=GET /{path}"];
        if allow_private {
            add.push("--allow-private");
        }
        let added = deployment.tgp(&add);
        let said = String::from_utf8_lossy(&added.stderr);
        assert!(!added.status.success() && said.contains(reason), "{slug}: {said}");
    }
    // What was allowed when it was added and is not any more is refused when it is called.
    deployment.operator(&[
        "tool",
        "add",
        "later",
        "--upstream",
        &sample,
        "--allow-private",
        "--action",
        "get=GET /{path}",
    ]);
    deployment.operator(&["tool", "credential", "later", "--bearer", "--secret-file", &secret]);
    deployment.grant("probe-bot", "later", &["get"]);
    let call = || deployment.runtime.block_on(agent.call(&wire, "later", "get", "GET", "/messages", b""));
    assert_eq!(call().status, 401, "the sample tool wants another credential: it was reached");
    let reached = deployment.stack.tool().journal().len();
    deployment.sql("postgres", "update tool set allow_private = false where slug = 'later'");
    call().refused(502, "upstream-refused");
    assert_eq!(deployment.stack.tool().journal().len(), reached);
}
