//! Credentials of every kind in front of upstreams that tell what arrived, and several credentials of one tool.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::support::{Deployment, Setup};
use crate::third_party::{python, script};
use crate::tools::{Server, free_port};
use crate::wire::Draft;

/// An upstream that answers with the head of what it was asked, and keeps the heads.
pub struct Seen {
    pub port: u16,
    heads: Receiver<String>,
}

impl Seen {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let (tell, heads) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let tell = tell.clone();
                std::thread::spawn(move || reflect(stream, &tell));
            }
        });
        Self { port, heads }
    }

    /// The head of the next request, in lower case but for what stands behind the names.
    #[track_caller]
    pub fn next(&self) -> String {
        self.heads.recv_timeout(Duration::from_secs(10)).expect("a request")
    }

    pub fn nothing_more(&self) -> bool {
        self.heads.try_recv().is_err()
    }
}

fn reflect(mut stream: TcpStream, tell: &Sender<String>) {
    let mut buffer = [0; 8192];
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut buffer) {
                Ok(n) if n > 0 => head.extend_from_slice(&buffer[..n]),
                _ => return,
            }
        }
        let head = String::from_utf8(head).expect("text");
        let reply =
            format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{head}", head.len());
        // Told first: whoever has the answer finds it told.
        if tell.send(head).is_err() || stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

/// Sets a credential of `tool`, its secret read from a file.
pub fn set(deployment: &Deployment, tool: &str, secret: &str, args: &[&str]) {
    let path = deployment.path("a.secret");
    std::fs::write(&path, secret).expect("written");
    let file = path.to_str().expect("utf-8");
    let from = if secret.is_empty() { vec![] } else { vec!["--secret-file", file] };
    deployment.operator(&[&["tool", "credential", tool], args, &from].concat());
    std::fs::remove_file(&path).expect("removed");
}

/// Lets `agent` take one action of `tool` under a credential.
pub fn grant(deployment: &Deployment, agent: &str, tool: &str, action: &str, credential: &str) {
    deployment.operator(&["grant", "add", agent, tool, "--action", action, "--credential", credential]);
}

pub fn add_tool(deployment: &Deployment, slug: &str, upstream: &str, actions: &[&str]) {
    let mut args = vec!["tool", "add", slug, "--upstream", upstream, "--allow-private"];
    actions.iter().for_each(|action| args.extend(["--action", action]));
    deployment.operator(&args);
}

/// Name, arguments, secret, and what arrives.
#[rustfmt::skip]
const KINDS: &[(&str, &[&str], &str, &str)] = &[
    ("none", &["--none"], "", "GET /none?a=1&key=mine HTTP/1.1\r\n"),
    ("bearer", &["--bearer"], "bearer-secret-4711", "\r\nauthorization: Bearer bearer-secret-4711\r\n"),
    ("header", &["--header", "X-Api-Key"], "header-secret-4711", "\r\nx-api-key: header-secret-4711\r\n"),
    ("query", &["--query", "key"], "query/secret&4711", "GET /query?a=1&key=query%2Fsecret%264711 HTTP/1.1\r\n"),
    ("basic", &["--basic"], "bot:basic-secret-4711", "\r\nauthorization: Basic Ym90OmJhc2ljLXNlY3JldC00NzEx\r\n"),
    ("sigv4", &["--aws-sigv4", "eu-central-1/execute-api"], "AKIDEXAMPLE:aws-secret-4711:aws-session-4711", "\r\nx-amz-security-token: aws-session-4711\r\n"),
];

#[test]
fn each_kind_of_credential_arrives_in_its_place_and_comes_back_masked() {
    let deployment = Deployment::start();
    let upstream = Seen::start();
    let actions: Vec<String> = KINDS.iter().map(|(name, ..)| format!("{name}=GET /{name}")).collect();
    let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
    add_tool(&deployment, "kinds", &format!("http://127.0.0.1:{}", upstream.port), &actions);
    let agent = deployment.agent("kinds-bot");
    for (name, args, secret, _) in KINDS {
        set(&deployment, "kinds", secret, &[&["--name", name], *args].concat());
        grant(&deployment, "kinds-bot", "kinds", name, name);
    }
    let wire = deployment.wire();
    for (name, _, secret, expected) in KINDS {
        let reply = deployment.runtime.block_on(async {
            let token = agent.token(&wire, "kinds", name).await;
            let mut draft: Draft = agent.draft(&token, "GET", &format!("/t/kinds/{name}?a=1&key=mine"), b"");
            draft.set("x-api-key", "mine");
            draft.set("x-amz-security-token", "mine");
            agent.sign(&wire, &mut draft);
            agent.send(&wire, &draft).await
        });
        let head = upstream.next();
        assert!(head.contains(expected), "{name}: {head}");
        assert_eq!(head.contains("mine"), !matches!(*name, "query"), "{name}: {head}");
        assert!(!head.contains(": mine"), "{name}: the agent's own copy arrived: {head}");
        let body = String::from_utf8(reply.ok().body.to_vec()).expect("text");
        for part in secret.split(':').filter(|part| part.contains("4711")) {
            assert!(!body.contains(part), "{name}: {part} came back: {body}");
        }
        assert_eq!(body.len(), head.len(), "{name}: masked octet by octet");
        assert_eq!(body.contains("****"), *name != "none", "{name}: {body}");
    }
    // What operators see: kinds, versions and dates.
    let shown = deployment.operator(&["tool", "show", "kinds"]);
    for (name, _, secret, _) in KINDS {
        assert!(shown.contains(name), "{name} is not in {shown}");
        assert!(secret.is_empty() || !shown.contains(secret), "{secret} is in {shown}");
    }
    assert!(shown.contains("aws-sigv4 eu-central-1 execute-api") && shown.contains("header x-api-key"), "{shown}");
    let listed = deployment.operator(&["tool", "list"]);
    assert!(listed.contains("basic:basic") && listed.contains("sigv4:aws-sigv4"), "{listed}");
}

#[test]
fn a_grant_says_whose_credential_a_call_carries() {
    let deployment = Deployment::start();
    let upstream = Seen::start();
    add_tool(&deployment, "mailbox", &format!("http://127.0.0.1:{}", upstream.port), &["read=GET /read"]);
    let agents = ["alice-bot", "bob-bot", "any-bot"].map(|handle| deployment.agent(handle));
    for (name, secret) in [("alice", "the-secret-of-alice"), ("bob", "the-secret-of-bob-1")] {
        set(&deployment, "mailbox", secret, &["--bearer", "--name", name]);
        grant(&deployment, &format!("{name}-bot"), "mailbox", "read", name);
    }
    // A grant that names none is for the unnamed one, which there is not yet.
    deployment.grant("any-bot", "mailbox", &["read"]);
    let wire = deployment.wire();
    let call = |n: usize| deployment.runtime.block_on(agents[n].call(&wire, "mailbox", "read", "GET", "/read", b""));
    call(2).refused(502, "upstream-refused");
    set(&deployment, "mailbox", "the-secret-of-all-1", &["--bearer"]);
    for (n, secret) in [(0, "the-secret-of-alice"), (1, "the-secret-of-bob-1"), (2, "the-secret-of-all-1")] {
        call(n).ok();
        let head = upstream.next();
        assert!(head.contains(&format!("authorization: Bearer {secret}\r\n")), "{head}");
    }
    // Each is replaced by itself, and the next call carries the new one.
    set(&deployment, "mailbox", "the-secret-of-bob-2", &["--bearer", "--name", "bob"]);
    for (n, secret) in [(1, "the-secret-of-bob-2"), (0, "the-secret-of-alice")] {
        call(n).ok();
        assert!(upstream.next().contains(secret));
    }
    assert!(upstream.nothing_more());
    // A credential that there is not cannot be granted.
    let refused = deployment.tgp(&["grant", "add", "any-bot", "mailbox", "--action", "read", "--credential", "carol"]);
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && words.contains("no credential carol"), "{words}");
    // Whoever writes to the database does not change whose credential it is: the vault was shown what was signed.
    deployment.sql(
        "postgres",
        "update \"grant\" set credential = 'bob' where agent = (select id from agent where handle = 'alice-bot')",
    );
    let reply = call(0);
    assert_eq!(reply.status, 500, "{}", String::from_utf8_lossy(&reply.body));
    assert!(upstream.nothing_more());
}

#[test]
fn moto_accepts_what_was_signed_with_its_users_key_and_nothing_else() {
    let port = free_port();
    let mut moto = Command::new(python("moto_server"));
    // After the three acts that make a user, moto checks every signature.
    moto.args(["-H", "127.0.0.1", "-p", &port.to_string()]).env("INITIAL_NO_AUTH_ACTION_COUNT", "3");
    let server = Server::start(&mut moto, port);
    let key = script("moto_user.py", &[&server.upstream()], "").trim().to_owned();
    let deployment = Deployment::start();
    let actions = ["make=PUT /{bucket}", "put=PUT /{bucket}/{key}", "get=GET /{bucket}/{key}", "who=POST /"];
    add_tool(&deployment, "aws", &server.upstream(), &actions);
    let agent = deployment.agent("aws-bot");
    let other_end = if key.ends_with('x') { 'y' } else { 'x' };
    let wrong = format!("{}{other_end}", &key[..key.len() - 1]);
    let s3 = "--aws-sigv4=eu-central-1/s3";
    for (name, kind, secret) in [("s3", s3, &key), ("wrong", s3, &wrong), ("sts", "--aws-sigv4=us-east-1/sts", &key)] {
        set(&deployment, "aws", secret, &[kind, "--name", name]);
    }
    let wire = deployment.wire();
    let call = |action: &str, method: &str, path: &str, body: &[u8]| {
        deployment.runtime.block_on(async {
            let token = agent.token(&wire, "aws", action).await;
            let mut draft = agent.draft(&token, method, &format!("/t/aws{path}"), body);
            if action == "who" {
                draft.set("content-type", "application/x-www-form-urlencoded");
            }
            agent.sign(&wire, &mut draft);
            agent.send(&wire, &draft).await
        })
    };
    let text = |reply: &crate::wire::Reply| String::from_utf8_lossy(&reply.body).into_owned();
    for action in ["make", "put", "get"] {
        grant(&deployment, "aws-bot", "aws", action, "s3");
    }
    grant(&deployment, "aws-bot", "aws", "who", "sts");
    let place = br#"<CreateBucketConfiguration><LocationConstraint>eu-central-1</LocationConstraint></CreateBucketConfiguration>"#;
    let made = call("make", "PUT", "/a-bucket", place);
    assert_eq!(made.status, 200, "{}", text(&made));
    let put = call("put", "PUT", "/a-bucket/a%20key", b"{\"n\":1}");
    assert_eq!(put.status, 200, "{}", text(&put));
    let got = call("get", "GET", "/a-bucket/a%20key?response-content-type=text%2Fplain", b"");
    assert_eq!((got.status, text(&got).as_str()), (200, "{\"n\":1}"));
    let who = call("who", "POST", "/", b"Action=GetCallerIdentity&Version=2011-06-15");
    assert!(who.status == 200 && text(&who).contains("user/tgp"), "{} {}", who.status, text(&who));

    // What is too long to be read whole is signed by the digest that it must have when it has passed.
    deployment.operator(&["tool", "update", "aws", "--stream", "put"]);
    let long = vec![b'x'; 1024 * 1024 + 1];
    let put = call("put", "PUT", "/a-bucket/long", &long);
    assert_eq!(put.status, 200, "{}", text(&put));
    let got = call("get", "GET", "/a-bucket/long", b"");
    assert!(got.status == 200 && got.body == long, "{} {}", got.status, got.body.len());

    // With another key moto refuses what is signed: it does look.
    let other = deployment.agent("wrong-bot");
    grant(&deployment, "wrong-bot", "aws", "get", "wrong");
    let refused = deployment.runtime.block_on(other.call(&wire, "aws", "get", "GET", "/a-bucket/a%20key", b""));
    assert_eq!(refused.status, 403, "{}", text(&refused));
    assert!(text(&refused).contains("SignatureDoesNotMatch"), "{}", text(&refused));
}

#[test]
fn a_client_certificate_opens_connections_that_no_other_call_rides_on() {
    let directory = tempfile::TempDir::with_prefix("tgp-tls-").expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let port = free_port();
    // OpenSSL behind Python: it makes a CA and certificates, and demands one of every client.
    let mut openssl = Command::new(python("python"));
    openssl.arg(format!("{}/tests/third_party/tls_server.py", env!("CARGO_MANIFEST_DIR")));
    let _server = Server::start(openssl.arg(directory.path()).arg(port.to_string()), port);
    let config = format!("\n[upstream]\nca_file = \"{}\"\n", path("ca.pem").display());
    let deployment = Deployment::with(Setup { config: config.leak(), ..Setup::default() });
    let upstream = format!("https://localhost:{port}");
    add_tool(&deployment, "certified", &upstream, &["ada=GET /ada", "bob=GET /bob", "bare=GET /bare"]);
    let agent = deployment.agent("tls-bot");
    for name in ["ada", "bob"] {
        let pem = std::fs::read_to_string(path(&format!("{name}.pem"))).expect("certificate and key");
        set(&deployment, "certified", &pem, &["--client-certificate", "--name", name]);
        grant(&deployment, "tls-bot", "certified", name, name);
    }
    set(&deployment, "certified", "not-a-certificate", &["--bearer", "--name", "bare"]);
    grant(&deployment, "tls-bot", "certified", "bare", "bare");
    let wire = deployment.wire();
    let mut connections = std::collections::BTreeMap::<String, std::collections::BTreeSet<String>>::new();
    for name in ["ada", "bob", "ada", "bob", "ada"] {
        let reply = deployment.runtime.block_on(agent.call(&wire, "certified", name, "GET", &format!("/{name}"), b""));
        let seen = String::from_utf8(reply.ok().body.to_vec()).expect("text");
        let (who, connection) = seen.split_once(' ').expect("a name and a number");
        assert_eq!(who, name);
        connections.entry(who.to_owned()).or_default().insert(connection.to_owned());
    }
    assert!(connections["ada"].is_disjoint(&connections["bob"]), "{connections:?}");
    assert_eq!(connections["ada"].len(), 1, "its own connection is used again: {connections:?}");
    // Without a certificate the server does not speak, whoever spoke to it before.
    let bare = deployment.runtime.block_on(agent.call(&wire, "certified", "bare", "GET", "/bare", b""));
    assert_eq!(bare.status, 502, "{}", String::from_utf8_lossy(&bare.body));
}
