//! Upstreams behind OAuth2: rotating refresh tokens between two gateways, and token endpoints that misbehave.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::credentials::{Seen, add_tool, grant, set};
use crate::support::{Deployment, Setup};
use crate::upstream::outcomes_of;
use crate::wire::Wire;

/// A provider and its API in one: each refresh token is good once, and one that is used twice ends them all.
pub struct Provider {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub struct State {
    access: HashSet<String>,
    refresh: String,
    used: HashSet<String>,
    pub fetched: u32,
    pub reused: u32,
    /// How often the API refused.
    pub refused: u32,
    /// Where a token request waits until it is told to go on; the first half says that one is there.
    gate: Option<(Sender<()>, Receiver<()>)>,
}

const FIRST: &str = "0f3a9c61d2b84e75-refresh";
const CLIENT_SECRET: &str = "5d1e7b8a90c34f62-client";

impl Provider {
    pub fn start(expires_in_s: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let state = Arc::new(Mutex::new(State { refresh: FIRST.into(), ..State::default() }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &shared, expires_in_s));
            }
        });
        Self { port, state }
    }

    pub fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no test failed with it")
    }

    /// A tool in front of it, whose `go` reads the API under a rotating refresh token.
    pub fn add_tool(&self, deployment: &Deployment, agent: &str, slug: &str) {
        let (url, refresh) = (format!("http://127.0.0.1:{}", self.port), deployment.path("refresh.secret"));
        add_tool(deployment, slug, &url, &["go=GET /api"]);
        std::fs::write(&refresh, FIRST).expect("written");
        let endpoint = format!("{url}/token");
        let args = ["--oauth2", "refresh_token", "--token-endpoint", &endpoint, "--client-id", "tgp"];
        let from = ["--refresh-token-file", refresh.to_str().expect("utf-8")];
        set(deployment, slug, CLIENT_SECRET, &[&args[..], &from].concat());
        std::fs::remove_file(&refresh).expect("removed");
        deployment.grant(agent, slug, &["go"]);
    }

    /// Every secret that it knows of: the client's, and all tokens that it gave out.
    pub fn secrets(&self) -> Vec<String> {
        let state = self.state();
        let mut all: Vec<String> = state.access.iter().chain(&state.used).cloned().collect();
        all.extend([state.refresh.clone(), CLIENT_SECRET.to_owned()]);
        all
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>, expires_in_s: u32) {
    while let Some((head, body)) = request(&mut stream) {
        let (status, answer) =
            if head.starts_with("POST /token ") { token(&head, &body, state, expires_in_s) } else { api(&head, state) };
        let reply = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        );
        if stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

fn request(stream: &mut TcpStream) -> Option<(String, String)> {
    let (mut octets, mut buffer) = (Vec::new(), [0; 8192]);
    loop {
        if let Some(end) = octets.windows(4).position(|end| end == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&octets[..end + 4]).into_owned();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
            if octets.len() >= end + 4 + length {
                return Some((head, String::from_utf8_lossy(&octets[end + 4..]).into_owned()));
            }
        }
        match stream.read(&mut buffer) {
            Ok(n) if n > 0 => octets.extend_from_slice(&buffer[..n]),
            _ => return None,
        }
    }
}

fn token(head: &str, body: &str, state: &Mutex<State>, expires_in_s: u32) -> (u16, String) {
    let gate = state.lock().expect("whole").gate.take();
    if let Some((there, go)) = gate {
        there.send(()).expect("awaited");
        go.recv().expect("told to");
    }
    let pair = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("tgp:{CLIENT_SECRET}"));
    let mut state = state.lock().expect("whole");
    if !head.contains(&format!("authorization: Basic {pair}\r\n")) {
        return (401, r#"{"error":"invalid_client"}"#.to_owned());
    }
    let presented = body.split('&').find_map(|part| part.strip_prefix("refresh_token=")).unwrap_or_default().to_owned();
    if state.used.contains(&presented) {
        // RFC 9700 §4.14.2: somebody has stolen it, and nobody knows who is who.
        state.reused += 1;
        state.refresh.clear();
        state.access.clear();
    }
    if !body.starts_with("grant_type=refresh_token&") || presented != state.refresh {
        return (400, r#"{"error":"invalid_grant"}"#.to_owned());
    }
    state.fetched += 1;
    let id = uuid::Uuid::new_v4().simple().to_string();
    let (access, refresh) = (format!("access-{id}"), format!("refresh-{id}"));
    state.used.insert(presented);
    state.refresh.clone_from(&refresh);
    state.access.insert(access.clone());
    let answer = serde_json::json!({
        "access_token": access, "token_type": "Bearer", "expires_in": expires_in_s, "refresh_token": refresh,
    });
    (200, answer.to_string())
}

fn api(head: &str, state: &Mutex<State>) -> (u16, String) {
    let mut state = state.lock().expect("whole");
    let bearer = head.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap_or_default();
    if state.access.contains(bearer) {
        return (200, format!(r#"{{"seen":"{bearer}"}}"#));
    }
    state.refused += 1;
    (401, r#"{"error":"invalid_token"}"#.to_owned())
}

#[test]
fn a_rotating_refresh_token_survives_two_gateways_that_race_for_it() {
    // It calls as fast as it can, for as long as its nonces live.
    let setup = || Setup { config: "live_nonces = 100000\n", ..Setup::default() };
    let mut deployment = Deployment::with(setup());
    let ports = tgp::dev::Ports::free().expect("ports");
    let options = Deployment::options(&deployment.directory, &setup());
    deployment.stack.start_another_gateway(&options, ports, |text| text).unwrap_or_else(|e| panic!("{e}"));
    let agent = deployment.agent("race-bot");
    // Six seconds of life: it is fetched anew every three.
    let provider = Provider::start(6);
    provider.add_tool(&deployment, "race-bot", "rotating");
    let (first, second) = (deployment.wire(), deployment.wire_to(ports.gateway));
    let call = async |wire: &Wire, token: &str| {
        let reply = agent.send(wire, &agent.signed(wire, token, "GET", "/t/rotating/api", b"")).await;
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
        let seen = reply.json()["seen"].as_str().expect("a text").to_owned();
        assert!(seen.chars().all(|c| c == '*'), "the access token came back: {seen}");
    };
    deployment.runtime.block_on(async {
        let token = agent.token(&first, "rotating", "go").await;
        let patience = Instant::now();
        while provider.state().fetched < 4 {
            assert!(patience.elapsed() < Duration::from_secs(120), "tokens are not fetched anew");
            tokio::join!(
                call(&first, &token),
                call(&second, &token),
                call(&first, &token),
                call(&second, &token),
                call(&first, &token),
                call(&second, &token),
            );
        }
    });
    let (fetched, reused, refused) = {
        let state = provider.state();
        (state.fetched, state.reused, state.refused)
    };
    assert_eq!((reused, refused), (0, 0), "of {fetched} fetches");
    // Nothing of it lies in the clear.
    let rows = deployment.sql("postgres", "select encode(record, 'escape'), claim is null from access_token");
    assert!(rows.ends_with("|t"), "a claim was left behind: {rows}");
    for secret in provider.secrets() {
        assert!(!rows.contains(&secret), "{secret} is in the database");
    }
}

#[test]
fn a_fetch_that_has_begun_ends_though_its_agent_has_gone() {
    let deployment = Deployment::start();
    let agent = deployment.agent("gone-bot");
    let provider = Provider::start(600);
    provider.add_tool(&deployment, "gone-bot", "held");
    let (there, is_there) = channel();
    let (go, gone) = channel();
    provider.state().gate = Some((there, gone));
    let wire = deployment.wire();
    let token = deployment.runtime.block_on(agent.token(&wire, "held", "go"));
    let draft = agent.signed(&wire, &token, "GET", "/t/held/api", b"");
    let call = {
        let (agent, wire) = (crate::support::load(&agent.directory), wire.clone());
        deployment.runtime.spawn(async move { drop(agent.send(&wire, &draft).await) })
    };
    is_there.recv_timeout(Duration::from_secs(20)).expect("the gateway asks for a token");
    call.abort();
    let outcome = {
        let patience = Instant::now();
        loop {
            let found = deployment.outcomes().into_iter().find(|outcome| outcome["error"] == "agent-gone");
            if let Some(found) = found {
                break found;
            }
            assert!(patience.elapsed() < Duration::from_secs(20), "no outcome of the call");
            std::thread::yield_now();
        }
    };
    assert!(outcome["status"].is_null());
    go.send(()).expect("the provider waits");
    // The refresh token that came with it is the one that is good now: had it been lost, this would be the end.
    let reply = deployment.runtime.block_on(agent.call(&wire, "held", "go", "GET", "/api", b""));
    reply.ok();
    let state = provider.state();
    assert_eq!((state.fetched, state.reused), (1, 0));
}

/// What a token endpoint does after it has said its piece.
#[derive(Clone, Copy)]
enum Then {
    Close,
    Silence,
    Repeat(&'static [u8]),
}
use Then::{Close, Repeat, Silence};

/// Name, what it says, what then, status and code; the code is empty where the tool is reached.
type Case = (&'static str, &'static [u8], Then, u16, &'static str);

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("good", b"HTTP/1.1 200 OK\r\ncontent-length: 63\r\n\r\n{\"token_type\":\"bearer\",\"access_token\":\"good-access-token-4711\"}", Close, 200, ""),
    ("silent", b"", Silence, 504, "upstream-timeout"),
    ("half-a-body", b"HTTP/1.1 200 OK\r\ncontent-length: 61\r\n\r\n{\"token_type\":", Silence, 504, "upstream-timeout"),
    ("endless", b"HTTP/1.1 200 OK\r\n\r\n{\"x\":\"", Repeat(b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), 502, "upstream-broken"),
    ("closed", b"", Close, 502, "upstream-broken"),
    ("not-http", b"this is not http\r\n\r\n", Close, 502, "upstream-broken"),
    ("not-json", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", Close, 502, "upstream-broken"),
    ("half-json", b"HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"token_type\": ", Close, 502, "upstream-broken"),
    ("array", b"HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n[\"a\",\"Bearer\"]", Close, 502, "upstream-broken"),
    ("no-token", b"HTTP/1.1 200 OK\r\ncontent-length: 23\r\n\r\n{\"token_type\":\"bearer\"}", Close, 502, "upstream-broken"),
    ("member-twice", b"HTTP/1.1 200 OK\r\ncontent-length: 61\r\n\r\n{\"access_token\":\"a\",\"access_token\":\"b\",\"token_type\":\"bearer\"}", Close, 502, "upstream-broken"),
    ("another-type", b"HTTP/1.1 200 OK\r\ncontent-length: 39\r\n\r\n{\"token_type\":\"mac\",\"access_token\":\"a\"}", Close, 502, "upstream-broken"),
    ("a-field-in-it", b"HTTP/1.1 200 OK\r\ncontent-length: 51\r\n\r\n{\"token_type\":\"bearer\",\"access_token\":\"a\\r\\nx: yz\"}", Close, 502, "upstream-broken"),
    ("redirect", b"HTTP/1.1 307 X\r\nlocation: http://127.0.0.1:1/token\r\ncontent-length: 0\r\n\r\n", Close, 502, "upstream-broken"),
    ("its-own-error", b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", Close, 502, "upstream-broken"),
    ("refused", b"HTTP/1.1 400 X\r\ncontent-length: 26\r\n\r\n{\"error\":\"invalid_client\"}", Close, 502, "upstream-refused"),
    ("refused-in-words", b"HTTP/1.1 401 X\r\ncontent-length: 27\r\n\r\nthe secret client-secret-x ", Close, 502, "upstream-refused"),
];

/// Serves `/token/<case>`, one request a connection.
fn endpoints() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let Some((head, body)) = request(&mut stream) else { return };
                let name = head.split(' ').nth(1).and_then(|path| path.strip_prefix("/token/")).unwrap_or_default();
                let (_, says, then, ..) = CASES.iter().find(|(case, ..)| *case == name).expect("a case of the table");
                assert!(head.contains("authorization: Basic ") && body == "grant_type=client_credentials&scope=a%20b");
                let _ = stream.write_all(says);
                match then {
                    Close => {}
                    Silence => drop(stream.read(&mut [0; 1])),
                    Repeat(piece) => while stream.write_all(&piece.repeat(512)).is_ok() {},
                }
            });
        }
    });
    port
}

#[test]
fn a_token_endpoint_that_misbehaves_gives_its_status_and_one_outcome_and_the_tool_is_not_asked() {
    let config = "[upstream]\nreply_timeout_s = 2\n";
    let deployment = Deployment::with(Setup { config, ..Setup::default() });
    let agent = deployment.agent("fetch-bot");
    let (endpoints, tool) = (endpoints(), Seen::start());
    let actions: Vec<String> = CASES.iter().map(|(name, ..)| format!("{name}=GET /{name}")).collect();
    let mut actions: Vec<&str> = actions.iter().map(String::as_str).collect();
    actions.push("nobody=GET /nobody");
    add_tool(&deployment, "fetched", &format!("http://127.0.0.1:{}", tool.port), &actions);
    let nobody = crate::tools::free_port();
    let cases: Vec<_> = CASES.iter().map(|(name, _, _, status, code)| (*name, endpoints, *status, *code)).collect();
    let cases = [cases, vec![("nobody", nobody, 502, "upstream-refused")]].concat();
    for (name, port, ..) in &cases {
        let endpoint = format!("http://localhost:{port}/token/{name}");
        let args = ["--oauth2", "client_credentials", "--token-endpoint", &endpoint, "--client-id", "tgp"];
        set(&deployment, "fetched", CLIENT_SECRET, &[&args[..], &["--scope", "a b", "--name", name]].concat());
        grant(&deployment, "fetch-bot", "fetched", name, name);
    }
    let wire = deployment.wire();
    for (name, _, status, code) in &cases {
        let path = format!("/{name}");
        let reply = deployment.runtime.block_on(agent.call(&wire, "fetched", name, "GET", &path, b""));
        let text = String::from_utf8_lossy(&reply.body);
        assert_eq!((reply.status, reply.code().as_str()), (*status, *code), "{name}: {text}");
        assert!(!text.contains("client-secret") && !text.contains(CLIENT_SECRET), "{name}: {text}");
        let outcomes = outcomes_of(&deployment, reply.headers["tgp-request-id"].to_str().expect("text"));
        let error = Some(*code).filter(|code| !code.is_empty());
        assert_eq!((outcomes.len(), outcomes[0]["error"].as_str()), (1, error), "{name}: {outcomes:?}");
        if *status == 200 {
            assert!(tool.next().contains("authorization: Bearer good-access-token-4711\r\n"));
            assert!(!text.contains("good-access-token"), "it came back: {text}");
        }
        assert!(tool.nothing_more(), "{name}: the tool was asked");
    }
    // A token endpoint where no upstream may be is refused when it is set.
    for bad in ["http://169.254.169.254/token", "http://localhost/token?x=1", "ftp://localhost/token"] {
        let secret = deployment.path("bad.secret");
        std::fs::write(&secret, CLIENT_SECRET).expect("written");
        let file = secret.to_str().expect("utf-8");
        let args = ["tool", "credential", "fetched", "--oauth2", "client_credentials", "--client-id", "tgp"];
        let refused = deployment.tgp(&[&args[..], &["--token-endpoint", bad, "--secret-file", file]].concat());
        let words = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && words.contains("token"), "{bad}: {words}");
    }
    let about: Value = deployment.operator_json(&["tool", "show", "fetched"]);
    assert_eq!(about["credentials"].as_array().map(Vec::len), Some(cases.len()));
}
