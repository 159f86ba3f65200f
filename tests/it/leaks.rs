//! Secrets stay where they belong: after load nothing of them is in memory that should not be, and logs, metrics,
//! arguments, environments and files hold none.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use crate::credentials::{Seen, add_tool, grant, set};
use crate::oauth2::Provider;
use crate::secrets::{Home, Secrets, memory_holds};
use crate::support::{Deployment, Setup};
use crate::tools::free_port;
use crate::wire::{TestAgent, Wire};

const AWS_SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const AWS_SESSION: &str = "IQoJb3JpZ2luX2VjEXAMPLE9f3b7c1d5e8a";
const QUERY_SECRET: &str = "query-parameter-7c0d9e4b1f6a8352";
const CLIENT_KEY: &str = include_str!("../../src/proxy/testdata/upstream-key.pem");
const CLIENT_CHAIN: &str = include_str!("../../src/proxy/testdata/upstream-chain.pem");

/// Calls of tools whose credentials are signed with, fetched, put into the query or shown in a handshake.
fn other_kinds(deployment: &Deployment, handle: &str, agent: &TestAgent, secrets: &mut Secrets) -> Vec<u16> {
    let (seen, provider) = (Seen::start(), Provider::start(600));
    provider.add_tool(deployment, handle, "fetched");
    add_tool(deployment, "kinds", &format!("http://127.0.0.1:{}", seen.port), &["aws=GET /aws", "query=GET /query"]);
    let key = format!("AKIDEXAMPLE:{AWS_SECRET}:{AWS_SESSION}");
    set(deployment, "kinds", &key, &["--aws-sigv4", "eu-central-1/s3", "--name", "aws"]);
    set(deployment, "kinds", QUERY_SECRET, &["--query", "key", "--name", "query"]);
    // Nobody is there: the key is read and lent, and given back.
    let certified = format!("https://127.0.0.1:{}", free_port());
    add_tool(deployment, "certified", &certified, &["go=GET /go"]);
    set(deployment, "certified", &format!("{CLIENT_CHAIN}{CLIENT_KEY}"), &["--client-certificate"]);
    for action in ["aws", "query"] {
        grant(deployment, handle, "kinds", action, action);
    }
    deployment.grant(handle, "certified", &["go"]);
    let wire = deployment.wire();
    deployment.runtime.block_on(async {
        for _ in 0..3 {
            agent.call(&wire, "kinds", "aws", "GET", "/aws", b"").await.ok();
            agent.call(&wire, "kinds", "query", "GET", "/query", b"").await.ok();
            agent.call(&wire, "fetched", "go", "GET", "/api", b"").await.ok();
            assert_eq!(agent.call(&wire, "certified", "go", "GET", "/go", b"").await.status, 502);
        }
    });
    assert_eq!(provider.state().fetched, 1);
    secrets.add_credential("AWS secret key", AWS_SECRET);
    secrets.add_credential("AWS session token", AWS_SESSION);
    secrets.add_credential("credential in the query", QUERY_SECRET);
    for secret in provider.secrets() {
        secrets.add_credential("OAuth2 token or client secret", &secret);
    }
    secrets.add_pem("client certificate's key", CLIENT_KEY);
    vec![seen.port, provider.port]
}

const SLOW_SECRET: &str = "slow-tool-credential-5f1c8b7e2d9a4c60";

/// A tool that takes a request and answers when it is told to.
fn slow_tool() -> (u16, Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let (go, gone) = channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        assert!(stream.read(&mut [0; 8192]).expect("a request") > 0);
        gone.recv().expect("told to");
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").expect("answered");
        // Kept until the gateway closes it.
        let _ = stream.read(&mut [0; 1]);
    });
    (port, go)
}

fn add_slow_tool(deployment: &Deployment, agent: &str) -> (u16, Sender<()>) {
    let (port, go) = slow_tool();
    let (url, secret) = (format!("http://127.0.0.1:{port}"), deployment.path("slow.secret"));
    std::fs::write(&secret, SLOW_SECRET).expect("a secret");
    deployment.operator(&["tool", "add", "slow", "--upstream", &url, "--allow-private", "--action", "go=GET /go"]);
    deployment.operator(&["tool", "credential", "slow", "--bearer", "--secret-file", secret.to_str().expect("utf-8")]);
    deployment.grant(agent, "slow", &["go"]);
    (port, go)
}

/// Tokens and calls of every kind, over both protocols, refused ones too.
fn load(deployment: &Deployment, agents: &[TestAgent], rounds: usize) {
    deployment.runtime.block_on(async {
        let calls = agents.iter().flat_map(|agent| [false, true].map(|http2| (agent, http2))).map(
            |(agent, http2)| async move {
                let wire = Wire { http2, ..deployment.wire() };
                for _ in 0..rounds {
                    agent.call(&wire, "mail", "send", "POST", "/messages", br#"{"to":"ada"}"#).await.ok();
                    let token = agent.token(&wire, "mail", "list").await;
                    agent.send(&wire, &agent.signed(&wire, &token, "GET", "/t/mail/messages", b"")).await.ok();
                    agent
                        .send(&wire, &agent.signed(&wire, &token, "GET", "/t/mail/messages/1", b""))
                        .await
                        .refused(403, "scope-insufficient");
                    agent.ask(&wire, "mail", "delete").await.refused(400, "scope-insufficient");
                    agent.call(&wire, "mail", "events", "GET", "/events", b"").await.ok();
                }
            },
        );
        let calls: Vec<_> = calls.collect();
        futures(calls).await;
    });
}

/// All of them, at the same time on one task.
async fn futures(calls: Vec<impl Future<Output = ()>>) {
    let mut calls: Vec<_> = calls.into_iter().map(|call| Some(Box::pin(call))).collect();
    std::future::poll_fn(|context| {
        for call in &mut calls {
            if call.as_mut().is_some_and(|running| running.as_mut().poll(context).is_ready()) {
                *call = None;
            }
        }
        if calls.iter().all(Option::is_none) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// Waits until no connection of these ports is left, pooled ones included.
fn wait_until_closed(ports: &[u16]) {
    let patience = Instant::now();
    loop {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("connections");
        let open: Vec<&str> = table
            .lines()
            .skip(1)
            .filter(|line| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                let port = |address: &str| address.rsplit(':').next().and_then(|p| u16::from_str_radix(p, 16).ok());
                let ours = [fields[1], fields[2]].iter().any(|a| port(a).is_some_and(|port| ports.contains(&port)));
                // 0A listens, 06 is over.
                ours && !matches!(fields[3], "0A" | "06")
            })
            .collect();
        if open.is_empty() {
            return;
        }
        assert!(patience.elapsed() < Duration::from_secs(60), "{open:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn agents(deployment: &Deployment, secrets: &mut Secrets) -> Vec<TestAgent> {
    let handles = ["mem-a", "mem-b"];
    handles
        .map(|handle| {
            let agent = deployment.agent(handle);
            deployment.grant(handle, "mail", &["list", "send", "events"]);
            secrets.add_agent(handle, &agent);
            agent
        })
        .into()
}

#[test]
fn after_load_no_memory_holds_a_secret_that_is_not_its_own() {
    if !rustix::process::geteuid().is_root() {
        panic!("only root reads the memory of a process that refuses to be traced");
    }
    let mut deployment = Deployment::with(Setup { config: "\n[upstream]\nkeep_s = 1\n", ..Setup::default() });
    let mut secrets = Secrets::of(&deployment);
    let agents = agents(&deployment, &mut secrets);
    secrets.add_credential("slow tool's credential", SLOW_SECRET);
    let (slow, go) = add_slow_tool(&deployment, "mem-a");
    load(&deployment, &agents, 10);

    let (gateway, vault) = (deployment.stack.gateway().id(), deployment.stack.vault().id());
    let issuer = deployment.wire().issuer;
    assert!(memory_holds(gateway, &issuer), "the search finds what is there");
    // The control: while a call is open its credential is in the gateway, and the search finds it.
    let wire = deployment.wire();
    let (seen, reply) = deployment.runtime.block_on(async {
        let call = agents[0].call(&wire, "slow", "go", "GET", "/go", b"");
        let search = async {
            let patience = Instant::now();
            loop {
                let seen =
                    tokio::task::spawn_blocking(move || memory_holds(gateway, SLOW_SECRET)).await.expect("searched");
                if seen || patience.elapsed() > Duration::from_secs(20) {
                    go.send(()).expect("the tool waits");
                    return seen;
                }
            }
        };
        tokio::join!(search, call)
    });
    assert!(seen, "a credential in use is found");
    reply.ok();

    let others = other_kinds(&deployment, "mem-b", &agents[1], &mut secrets);
    let ports = deployment.stack.ports();
    wait_until_closed(&[&[ports.gateway, ports.operators, ports.tool, slow][..], &others].concat());
    let left = secrets.in_memory(gateway, |_| false);
    assert!(left.is_empty(), "in the gateway: {left:#?}");
    // What lives in the vault by design is found there, so that it is known to be the right octets.
    let lives = secrets.in_memory(vault, |home| home != Home::Vault);
    for what in ["PIN (first half)", "data key 0 (first half)", "data key 1 (last half)"] {
        assert!(lives.iter().any(|found| found.starts_with(what)), "{what} is not in the vault");
    }
    let left = secrets.in_memory(vault, |home| home == Home::Vault);
    assert!(left.is_empty(), "in the vault: {left:#?}");
}

#[test]
fn logs_metrics_arguments_environments_and_files_hold_no_secret() {
    let mut deployment = Deployment::with(Setup { log: Some("trace"), ..Setup::default() });
    let mut secrets = Secrets::of(&deployment);
    let agents = agents(&deployment, &mut secrets);
    load(&deployment, &agents, 2);
    other_kinds(&deployment, "mem-b", &agents[1], &mut secrets);
    let ports = deployment.stack.ports();
    let mut texts = vec![("metrics", get(ports.health, "/metrics")), ("health", get(ports.health, "/health/ready"))];
    for pid in [deployment.stack.gateway().id(), deployment.stack.vault().id()] {
        for file in ["cmdline", "environ"] {
            let text = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            if file == "cmdline" {
                assert!(!text.is_empty());
            }
            texts.push((file, text));
        }
    }
    for (what, text) in &texts {
        assert!(secrets.in_octets(text).is_empty(), "{what}: {:?}", secrets.in_octets(text));
    }
    for log in ["gateway", "vault"] {
        let text = std::fs::read_to_string(deployment.stack.layout().log(log)).expect("a log");
        assert!(text.lines().count() > 1, "{log} logs");
        for line in text.lines() {
            let chatty = ["h2::", "hyper", "rustls", "sqlx"].iter().any(|library| line.contains(library));
            assert!(!(chatty && (line.contains("TRACE") || line.contains("DEBUG"))), "{line}");
        }
    }
    // Each secret in the file that is there to hold it, and in no other.
    let mut homes = 0;
    let root = deployment.path("d");
    let files = secrets.in_files(&root, |path, what| {
        let below = path.strip_prefix(&root).expect("below").to_str().expect("utf-8");
        let home = match below {
            "vault/pin" => what.starts_with("PIN"),
            "vault/so-pin" => what.starts_with("SO PIN"),
            "sample-tool.secret" => what.starts_with("sample tool's credential"),
            _ => false,
        };
        assert!(home, "{what} is in {below}");
        homes += 1;
    });
    assert!(files > 100 && homes >= 3, "the search finds what is there: {homes} in {files} files");
    // Nothing of it beside the deployments of other tests.
    for entry in std::fs::read_dir(std::env::temp_dir()).expect("a directory").map_while(Result::ok) {
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            secrets.in_files(&entry.path(), |path, what| panic!("{what} is in {}", path.display()));
        }
    }
}

fn get(port: u16, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("asked");
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("answered");
    assert!(reply.starts_with(b"HTTP/1.1 200"), "{path}");
    reply
}
