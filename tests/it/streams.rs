//! Streams that are cut, and endings that are kept: freezes while nobody hears of them, a database that is away, a
//! gateway that stops, an agent that goes away in the wrong moment; and connections on which nothing happens.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::ServerName;

use crate::support::{Deployment, Setup};
use crate::upstream::{add_tool, fetch, open, outcomes_of};
use crate::wire::TestAgent;

/// An upstream whose replies go on, an event every few milliseconds, until `end` is set.
fn events(end: &Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let end = Arc::clone(end);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let end = Arc::clone(&end);
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 8192]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n");
                while !end.load(Ordering::Relaxed) && stream.write_all(b"data: on and on\n\n").is_ok() {
                    std::thread::sleep(Duration::from_millis(10)); // the pace of the stream
                }
            });
        }
    });
    port
}

/// A call whose reply is being read elsewhere.
struct Reading {
    id: String,
    token: String,
    /// How it ended: whether the body was whole.
    done: tokio::task::JoinHandle<bool>,
}

fn read(deployment: &Deployment, agent: &TestAgent) -> Reading {
    let wire = deployment.wire();
    deployment.runtime.block_on(async {
        let token = agent.token(&wire, "events", "go").await;
        let draft = agent.signed(&wire, &token, "GET", "/t/events/go", b"");
        let (mut response, _) = open(agent, &wire, &draft).await;
        let id = response.headers()["tgp-request-id"].to_str().expect("text").to_owned();
        response.frame().await.expect("it has begun").expect("no error");
        let done = tokio::spawn(async move {
            loop {
                match response.frame().await {
                    None => return true,
                    Some(Ok(_)) => {}
                    Some(Err(_)) => return false,
                }
            }
        });
        Reading { id, token, done }
    })
}

fn start(config: &'static str) -> (Deployment, TestAgent, Arc<AtomicBool>) {
    let deployment = Deployment::with(Setup { config, ..Setup::default() });
    let agent = deployment.agent("travel-bot");
    let end = Arc::new(AtomicBool::new(false));
    add_tool(&deployment, "travel-bot", "events", events(&end), "/go");
    (deployment, agent, end)
}

/// Freezes as the operator's route does, without its way through a gateway.
const FREEZE: &str =
    "update agent set status = 'frozen', version = version + 1, frozen = now() where handle = 'travel-bot'";
const LISTENERS: &str = "select pid from pg_stat_activity where application_name = 'tgp listen'";

#[track_caller]
fn cut_within_a_second(deployment: &Deployment, reading: Reading, frozen: Instant) {
    cut_within_a_second_as(deployment, reading, frozen, "agent-frozen");
}

#[track_caller]
fn cut_within_a_second_as(deployment: &Deployment, reading: Reading, frozen: Instant, code: &str) {
    let cut = deployment.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), reading.done).await });
    let took = frozen.elapsed();
    assert!(!cut.expect("cut").expect("joined"), "the stream did not end by itself");
    assert!(took <= Duration::from_secs(1), "cut after {took:?}");
    let outcomes = outcomes_of(deployment, &reading.id);
    assert_eq!((outcomes.len(), outcomes[0]["error"].as_str()), (1, Some(code)));
}

#[test]
fn a_freeze_cuts_a_stream_within_a_second() {
    let (deployment, agent, _end) = start("");
    let reading = read(&deployment, &agent);
    deployment.sql("postgres", FREEZE);
    cut_within_a_second(&deployment, reading, Instant::now());
}

#[test]
fn a_freeze_cuts_a_stream_within_a_second_though_the_listening_connection_was_killed() {
    let (deployment, agent, _end) = start("");
    let reading = read(&deployment, &agent);
    let killed = format!("select count(pg_terminate_backend(pid)) from ({LISTENERS}) as l; {FREEZE}");
    assert_eq!(deployment.sql("postgres", &killed), "1");
    cut_within_a_second(&deployment, reading, Instant::now());
}

/// The change is heard, and the question that it raises finds no connection: it is asked until it is answered.
#[test]
fn a_freeze_that_was_heard_while_the_database_could_not_be_asked_cuts_the_stream_once_it_can() {
    let (deployment, agent, _end) = start("");
    let reading = read(&deployment, &agent);
    let asking = "select pid from pg_stat_activity where application_name = 'tgp gateway'";
    let closed = format!(
        "alter role tgp_gateway nologin; select count(pg_terminate_backend(pid)) from ({asking}) as a; {FREEZE}"
    );
    deployment.sql("postgres", &closed);
    // It was heard: the connection that listens was there before, and is not asked to log in. Health asks later, waits as
    // long, and finds nobody either.
    let ready = format!("http://127.0.0.1:{}/health/ready", deployment.stack.ports().health);
    let asked = Command::new("curl").args(["-s", &ready]).output().expect("curl");
    assert!(String::from_utf8_lossy(&asked.stdout).contains("not ready"), "{asked:?}");
    assert!(!reading.done.is_finished(), "nobody could know");
    deployment.sql("postgres", "alter role tgp_gateway login");
    let cut = deployment.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), reading.done).await });
    assert!(!cut.expect("cut").expect("joined"), "the stream did not end by itself");
}

#[test]
fn a_freeze_cuts_a_stream_within_a_second_though_the_listening_connection_is_dead_and_does_not_say_so() {
    let (deployment, agent, _end) = start("");
    let reading = read(&deployment, &agent);
    let backend = deployment.sql("postgres", LISTENERS).parse().ok().and_then(Pid::from_raw).expect("one listener");
    kill_process(backend, Signal::STOP).expect("stopped");
    deployment.sql("postgres", FREEZE);
    let frozen = Instant::now();
    let cut =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| cut_within_a_second(&deployment, reading, frozen)));
    kill_process(backend, Signal::CONT).expect("it goes on");
    cut.expect("as it should be");
}

#[test]
fn a_revocation_cuts_the_tokens_stream_within_a_second_and_not_the_agents_others() {
    let (deployment, agent, end) = start("");
    let (revoked, other) = (read(&deployment, &agent), read(&deployment, &agent));
    let wire = deployment.wire();
    let mut headers = http::HeaderMap::new();
    headers.insert("content-type", http::HeaderValue::from_static("application/x-www-form-urlencoded"));
    let form = format!("token={}", revoked.token);
    let sent = wire.send(Some(&agent.certificate), "POST", "/oauth2/revoke", headers, form.as_bytes());
    deployment.runtime.block_on(sent).expect("an answer").ok();
    cut_within_a_second_as(&deployment, revoked, Instant::now(), "token-invalid");
    end.store(true, Ordering::Relaxed);
    assert!(deployment.runtime.block_on(other.done).expect("joined"), "the other went on to its end");
}

#[test]
fn an_outcome_waits_for_a_database_that_is_away() {
    let (deployment, agent, end) = start("");
    let reading = read(&deployment, &agent);
    let cut = "alter role tgp_admission nologin; select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'tgp_admission'";
    deployment.sql("postgres", cut);
    end.store(true, Ordering::Relaxed);
    assert!(deployment.runtime.block_on(reading.done).expect("joined"), "the reply goes on without the database");
    let log = || std::fs::read_to_string(deployment.stack.layout().log("gateway")).expect("the gateway's log");
    let patience = Instant::now();
    while !log().contains("outcomes wait for the database") {
        assert!(patience.elapsed() < Duration::from_secs(10), "it was never tried");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(
        deployment.sql("postgres", &format!("select count(*) from outcome where request = '{}'", reading.id)),
        "0"
    );
    deployment.sql("postgres", "alter role tgp_admission login");
    let outcomes = outcomes_of(&deployment, &reading.id);
    assert_eq!((outcomes.len(), outcomes[0]["error"].is_null(), outcomes[0]["status"].as_u64()), (1, true, Some(200)));
}

#[test]
fn a_gateway_that_stops_cuts_its_streams_after_their_grace_and_records_their_outcomes() {
    let (mut deployment, agent, _end) = start("");
    let reading = read(&deployment, &agent);
    deployment.stack.gateway().stop();
    assert!(!deployment.runtime.block_on(reading.done).expect("joined"), "it was cut");
    let recorded = format!("select error, status, bytes > 0 from outcome where request = '{}'", reading.id);
    assert_eq!(deployment.sql("postgres", &recorded), "gateway-stopping|200|t");
}

#[test]
fn an_agent_that_goes_away_while_its_verdict_is_committed_leaves_an_outcome() {
    let (deployment, agent, _end) = start("");
    let wire = deployment.wire();
    let draft = deployment.runtime.block_on(async {
        let token = agent.token(&wire, "events", "go").await;
        agent.signed(&wire, &token, "GET", "/t/events/go", b"")
    });
    // Whoever commits a verdict waits for this session.
    let mut psql = Command::new("psql")
        .args(["-XAtq", "-d", &deployment.stack.database("postgres")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("psql");
    let mut session = psql.stdin.take().expect("its input");
    session.write_all(b"begin; lock table audit in exclusive mode;\n").expect("locked");
    let waiting =
        "select count(*) from pg_stat_activity where application_name = 'tgp admission' and wait_event_type = 'Lock'";
    let locked =
        "select count(*) from pg_locks where relation = 'audit'::regclass and mode = 'ExclusiveLock' and granted";
    let until = |query: &str, there: &dyn Fn(&str) -> bool| {
        let patience = Instant::now();
        while !there(&deployment.sql("postgres", query)) {
            assert!(patience.elapsed() < Duration::from_secs(3), "never so: {query}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    until(locked, &|count| count == "1");
    let (certificate, sender) = (agent.certificate.clone(), wire.clone());
    let call = deployment.runtime.spawn(async move {
        sender.send(Some(&certificate), &draft.method, &draft.target, draft.headers.clone(), &draft.body).await
    });
    until(waiting, &|count| count == "1");
    call.abort();
    // Its connection is gone with it; the gateway has let go of the call when it has seen that.
    let _ = deployment.runtime.block_on(call);
    session.write_all(b"commit;\n").expect("unlocked");
    drop(session);
    psql.wait().expect("psql ends");
    let allowed = "select request from audit where kind = 'call' and code = 'allowed'";
    until(allowed, &|request| !request.is_empty());
    let outcomes = outcomes_of(&deployment, &deployment.sql("postgres", allowed));
    assert_eq!(
        (outcomes.len(), outcomes[0]["error"].as_str(), outcomes[0]["status"].is_null()),
        (1, Some("agent-gone"), true)
    );
}

#[test]
fn an_http_2_connection_on_which_nothing_happens_is_closed_and_one_with_an_open_reply_is_not() {
    let (deployment, agent, end) = start("header_timeout_s = 1\n");
    let wire = crate::wire::Wire { http2: true, ..deployment.wire() };
    deployment.runtime.block_on(async {
        let token = agent.token(&wire, "events", "go").await;
        let draft = agent.signed(&wire, &token, "GET", "/t/events/go", b"");
        let (mut response, connection) = open(&agent, &wire, &draft).await;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(3) {
            response.frame().await.expect("it goes on").expect("no error");
        }
        end.store(true, Ordering::Relaxed);
        while let Some(frame) = response.frame().await {
            frame.expect("no error");
        }
        // The client holds on to it: whoever ends it is the gateway.
        tokio::time::timeout(Duration::from_secs(10), connection).await.expect("closed").expect("joined");
    });
}

#[test]
fn an_address_has_so_many_connections_and_gets_them_back() {
    let deployment = Deployment::with(Setup { config: "connections_per_address = 3\n", ..Setup::default() });
    let wire = deployment.wire();
    deployment.runtime.block_on(async {
        let connect = async || {
            let connector = tokio_rustls::TlsConnector::from(Arc::new(wire.tls(None)));
            let tcp = tokio::net::TcpStream::connect(("127.0.0.1", wire.port)).await.map_err(|e| e.to_string())?;
            connector.connect(ServerName::try_from("localhost").expect("a name"), tcp).await.map_err(|e| e.to_string())
        };
        let mut open = Vec::new();
        for _ in 0..3 {
            open.push(connect().await.expect("a place"));
        }
        assert!(connect().await.is_err(), "a fourth");
        drop(open.pop());
        let patience = Instant::now();
        while connect().await.is_err() {
            assert!(patience.elapsed() < Duration::from_secs(10), "the place never came back");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

#[test]
fn a_reply_without_a_body_has_its_outcome() {
    let (deployment, agent, end) = start("");
    end.store(true, Ordering::Relaxed);
    let wire = deployment.wire();
    let fetched = deployment.runtime.block_on(async {
        let token = agent.token(&wire, "events", "go").await;
        fetch(&agent, &wire, &agent.signed(&wire, &token, "GET", "/t/events/go", b"")).await
    });
    assert!(fetched.whole && fetched.status == 200 && fetched.body.is_empty(), "{}", fetched.status);
    let outcomes = outcomes_of(&deployment, fetched.id());
    assert_eq!((outcomes.len(), outcomes[0]["error"].is_null()), (1, true));
}
