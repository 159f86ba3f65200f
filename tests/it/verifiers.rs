//! Tools that ask: what they learn, until when their keys are good, and a real nginx that asks before it passes a request on.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tgp_request::status::{StatusError, StatusList};
use tgp_request::token::{Jwks, TokenKeys};

use crate::support::Deployment;
use crate::wire::{Draft, Reply, TestAgent, Wire};

/// A tool with a URL of its own, at nobody's address.
fn add_shop(deployment: &Deployment, resource: &str) {
    let add = ["tool", "add", "shop", "--upstream", "http://127.0.0.1:9", "--allow-private", "--resource", resource];
    let actions = ["--action", "order=POST /orders", "--action", "list=GET /orders"];
    deployment.operator(&[&add[..], &actions].concat());
}

fn grant_shop(deployment: &Deployment, agent: &str, resource: &str) -> Value {
    deployment.operator_json(&["grant", "add", agent, "shop", "--resource", resource, "--action", "*"])
}

/// A verifier key and its id.
fn issue(deployment: &Deployment, verb: &str, tool: &str) -> (String, String) {
    let made = deployment.operator_json(&["tool", "key", verb, tool]);
    let text = |member: &str| made[member].as_str().expect(member).to_owned();
    (text("verifier_key"), text("key"))
}

async fn token(agent: &TestAgent, wire: &Wire, scope: &str, resource: &str) -> String {
    let reply = agent.ask_with(wire, &agent.master_key, scope, resource).await;
    reply.ok().json()["access_token"].as_str().expect("a token").to_owned()
}

async fn form(wire: &Wire, agent: Option<&TestAgent>, path: &str, login: Option<&str>, form: &str) -> Reply {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
    if let Some(login) = login {
        headers.insert("authorization", HeaderValue::from_str(login).expect("a field value"));
    }
    let certificate = agent.map(|agent| &agent.certificate);
    wire.send(certificate, "POST", path, headers, form.as_bytes()).await.expect("an answer")
}

async fn introspect(wire: &Wire, key: &str, token: &str) -> Value {
    let basic = format!("Basic {}", STANDARD.encode(format!("shop:{key}")));
    form(wire, None, "/oauth2/introspect", Some(&basic), &format!("token={token}")).await.ok().json()
}

/// Asks `/v1/verify` about a request as it was sent.
async fn verify(wire: &Wire, key: &str, draft: &Draft) -> Reply {
    let pairs: Vec<_> =
        draft.headers.iter().map(|(name, value)| json!([name.as_str(), value.to_str().expect("text")])).collect();
    let uri = format!("{}{}", wire.issuer, draft.target);
    let body = json!({ "method": draft.method, "uri": uri, "headers": pairs }).to_string();
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {key}")).expect("a field value"));
    wire.send(None, "POST", "/v1/verify", headers, body.as_bytes()).await.expect("an answer")
}

const SHOP: &str = "https://shop.example/api";

#[test]
fn a_tool_learns_of_a_token_what_holds_now() {
    let deployment = Deployment::start();
    let wire = deployment.wire();
    add_shop(&deployment, SHOP);
    let (key, _) = issue(&deployment, "issue", "shop");
    let agent = deployment.agent("travel-bot");
    let narrow = ["grant", "add", "travel-bot", "shop", "--resource", SHOP, "--action", "order"];
    let order = deployment.operator_json(&narrow)["grant"].as_str().expect("an id").to_owned();
    let wide = grant_shop(&deployment, "travel-bot", SHOP)["grant"].as_str().expect("an id").to_owned();
    let block = |future| deployment.runtime.block_on::<std::pin::Pin<Box<dyn Future<Output = Value>>>>(future);
    let token = deployment.runtime.block_on(token(&agent, &wire, "shop:order shop:list", SHOP));
    let ask = || block(Box::pin(introspect(&wire, &key, &token)));

    let known = ask();
    assert_eq!((&known["active"], &known["scope"]), (&json!(true), &json!("shop:order shop:list")));
    assert_eq!((known["client_id"].as_str(), known["aud"].as_str()), (Some(agent.id.as_str()), Some(SHOP)));
    assert_eq!(known["cnf"]["jwk"]["kid"].as_str(), Some(agent.identity.public().keyid()));
    assert_eq!(known["exp"].as_i64().zip(known["iat"].as_i64()).map(|(exp, iat)| exp - iat), Some(300));

    deployment.operator(&["grant", "revoke", &wide]);
    let known = ask();
    assert_eq!((&known["active"], &known["scope"]), (&json!(true), &json!("shop:order")), "what is left of it");
    assert_eq!(known["authorization_details"][0]["actions"], json!(["order"]));
    deployment.operator(&["grant", "revoke", &order]);
    assert_eq!(ask(), json!({ "active": false }));
}

#[test]
fn a_verifier_key_is_good_until_it_is_replaced_or_ended_and_stored_nowhere() {
    let deployment = Deployment::start();
    let wire = deployment.wire();
    add_shop(&deployment, SHOP);
    let file = deployment.path("shop.key");
    deployment.operator(&["tool", "key", "issue", "shop", "--key-file", file.to_str().expect("utf-8")]);
    let first = std::fs::read_to_string(&file).expect("the key").trim().to_owned();
    let login = |key: &str| {
        let login = format!("Bearer {key}");
        deployment.runtime.block_on(form(&wire, None, "/oauth2/introspect", Some(&login), "token=x")).status
    };
    assert_eq!(login(&first), 200);
    let (second, second_id) = issue(&deployment, "rotate", "shop");
    assert_eq!((login(&first), login(&second)), (200, 200), "both, while they overlap");
    let keys = deployment.operator_json(&["tool", "key", "list", "shop"]);
    let ends: Vec<bool> = keys["keys"].as_array().expect("keys").iter().map(|key| key["ends"].is_i64()).collect();
    assert_eq!(ends, [true, false]);
    let shown = deployment.operator(&["tool", "key", "list", "shop"]);
    let states: Vec<_> = shown.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(states, ["STATE", "ending", "good", "keys"], "{shown}");
    // The overlap is over; an end never moves away again.
    deployment.sql("postgres", "update verifier_key set ends = now() where ends is not null");
    deployment.sql("postgres", "update verifier_key set ends = now() + interval '1 day' where ends is not null");
    assert_eq!((login(&first), login(&second)), (401, 200));
    deployment.operator(&["tool", "key", "revoke", "shop", &second_id]);
    assert_eq!(login(&second), 401, "on the next question");

    let dump =
        deployment.sql("postgres", "select string_agg(k::text || encode(digest, 'base64'), ' ') from verifier_key k");
    let audit = deployment.sql("postgres", "select string_agg(a::text, ' ') from audit a");
    for key in [&first, &second] {
        let random = key.strip_prefix("tgpvk_").expect("a key");
        assert!(!dump.contains(random) && !audit.contains(random), "the key is in the database");
    }
    assert!(audit.contains("verifier-key-rotate") && audit.contains("verifier-key-revoke"));
}

#[test]
fn a_request_is_good_at_one_door_only() {
    let deployment = Deployment::start();
    let wire = deployment.wire();
    let (key, _) = issue(&deployment, "issue", "mail");
    let agent = deployment.agent("travel-bot");
    deployment.grant("travel-bot", "mail", &["list"]);
    deployment.runtime.block_on(async {
        let token = agent.token(&wire, "mail", "list").await;
        let draft = agent.signed(&wire, &token, "GET", "/t/mail/messages", b"");
        assert_eq!(agent.send(&wire, &draft).await.status, 200);
        let verdict = verify(&wire, &key, &draft).await.ok().json();
        assert_eq!((&verdict["allowed"], verdict["code"].as_str()), (&json!(false), Some("signature-replayed")));
        let draft = agent.signed(&wire, &token, "GET", "/t/mail/messages", b"");
        let verdict = verify(&wire, &key, &draft).await.ok().json();
        assert_eq!((&verdict["allowed"], verdict["action"].as_str()), (&json!(true), Some("list")), "{verdict}");
        assert_eq!(verdict["agent"].as_str(), Some(agent.id.as_str()));
        agent.send(&wire, &draft).await.refused(400, "signature-replayed");
    });
    let asked: Vec<_> = deployment.records().into_iter().filter(|record| record["kind"] == "verify").collect();
    let verdicts: Vec<_> = asked.iter().map(|record| record["verdict"].as_str().expect("a verdict")).collect();
    assert_eq!(verdicts, ["signature-replayed", "allow"]);
    assert!(
        asked.iter().all(|record| record["detail"]["verifier"].is_string() && record["agent"] == agent.id.as_str())
    );
}

#[test]
fn a_revoked_token_is_refused_on_the_next_call() {
    let deployment = Deployment::start();
    let wire = deployment.wire();
    let agent = deployment.agent("travel-bot");
    deployment.grant("travel-bot", "mail", &["list"]);
    deployment.runtime.block_on(async {
        let (token, other) = (agent.token(&wire, "mail", "list").await, agent.token(&wire, "mail", "list").await);
        let call = async |token: &str| {
            let draft = agent.signed(&wire, token, "GET", "/t/mail/messages", b"");
            agent.send(&wire, &draft).await
        };
        call(&token).await.ok();
        form(&wire, Some(&agent), "/oauth2/revoke", None, &format!("token={token}")).await.ok();
        call(&token).await.refused(401, "token-invalid");
        call(&other).await.ok();
        form(&wire, Some(&agent), "/oauth2/revoke", None, &format!("token={token}")).await.ok();
    });
}

#[test]
fn an_offline_verifier_learns_of_freezes_and_revocations_from_the_status_list() {
    let deployment = Deployment::start();
    let wire = deployment.wire();
    let agents: Vec<TestAgent> = ["one", "two", "three"].map(|handle| deployment.agent(handle)).into();
    let tokens: Vec<String> = ["one", "two", "three"]
        .iter()
        .zip(&agents)
        .map(|(handle, agent)| {
            deployment.grant(handle, "mail", &["list"]);
            deployment.runtime.block_on(agent.token(&wire, "mail", "list"))
        })
        .collect();
    let get = |path: &str| {
        deployment.runtime.block_on(wire.send(None, "GET", path, HeaderMap::new(), b"")).expect("an answer")
    };
    let jwks: Jwks = serde_json::from_slice(&get("/oauth2/jwks").ok().body).expect("a JWK set");
    let keys = TokenKeys::from_jwks(&jwks).expect("keys");
    let now = crate::wire::now();
    let verified: Vec<_> = tokens.iter().map(|token| keys.verify(token, &wire.issuer, now).expect("genuine")).collect();
    let list = || {
        let reply = get("/v1/status-list");
        assert_eq!((reply.status, &reply.headers["content-type"]), (200, &HeaderValue::from_static("application/jwt")));
        assert_eq!(reply.headers["cache-control"], "public, max-age=5");
        let text = String::from_utf8(reply.body.to_vec()).expect("text");
        // A list is no token, nor a token a list.
        assert!(keys.verify(&text, &wire.issuer, now).is_err());
        StatusList::verify(&keys, &text, &wire.issuer, crate::wire::now()).expect("a list")
    };
    assert!(StatusList::verify(&keys, &tokens[0], &wire.issuer, now).is_err());
    let fresh = list();
    assert!(verified.iter().all(|token| fresh.check(token, now) == Ok(())));
    assert_eq!(fresh.check(&verified[0], fresh.issued() + 60), Err(StatusError::Expired), "an old list says nothing");

    deployment.operator(&["agent", "freeze", "one"]);
    deployment.operator(&["agent", "retire", "two"]);
    let given_up = format!("token={}", tokens[2]);
    deployment.runtime.block_on(form(&wire, Some(&agents[2]), "/oauth2/revoke", None, &given_up)).ok();
    let patience = Instant::now();
    let told = loop {
        let told = list();
        if told.check(&verified[2], crate::wire::now()).is_err() {
            break told;
        }
        assert!(patience.elapsed() < Duration::from_secs(20), "the list never names them");
        std::thread::sleep(Duration::from_millis(200)); // a list is served again for some seconds
    };
    let now = crate::wire::now();
    let said: Vec<_> = verified.iter().map(|token| told.check(token, now)).collect();
    use StatusError::{AgentStopped, TokenRevoked};
    assert_eq!(said, [Err(AgentStopped), Err(AgentStopped), Err(TokenRevoked)]);
}

#[test]
fn a_tools_metadata_is_found_from_its_refusal() {
    let deployment = Deployment::start();
    let wire = deployment.wire();
    let agent = deployment.agent("travel-bot");
    add_shop(&deployment, SHOP);
    let get = |path: &str| {
        deployment.runtime.block_on(wire.send(None, "GET", path, HeaderMap::new(), b"")).expect("an answer")
    };
    let url = format!("{}/.well-known/oauth-protected-resource/t/mail", wire.issuer);
    for certificate in [None, Some(&agent.certificate)] {
        let sent = wire.send(certificate, "GET", "/t/mail/messages", HeaderMap::new(), b"");
        let reply = deployment.runtime.block_on(sent).expect("an answer");
        let challenge = reply.headers["www-authenticate"].to_str().expect("text");
        assert_eq!((reply.status, challenge), (401, format!("Bearer resource_metadata=\"{url}\"").as_str()));
    }
    let metadata = get(url.strip_prefix(&wire.issuer).expect("ours")).ok().json();
    assert_eq!(metadata["resource"], format!("{}/t/mail", wire.issuer).as_str());
    assert_eq!(metadata["authorization_servers"], json!([wire.issuer]));
    assert!(metadata["scopes_supported"].as_array().expect("scopes").contains(&json!("mail:send")), "{metadata}");
    assert_eq!(get("/.well-known/oauth-protected-resource/t/shop").ok().json()["resource"], SHOP);
    get("/.well-known/oauth-protected-resource/t/none").refused(404, "tool-unknown");
    // A name that is none is not repeated into a field.
    let odd = wire.send(None, "GET", "/t/%22x/messages", HeaderMap::new(), b"");
    let odd = deployment.runtime.block_on(odd).expect("an answer");
    assert_eq!(odd.headers["www-authenticate"], "Bearer");

    let server = get("/.well-known/oauth-authorization-server").ok().json();
    for (member, path) in [("introspection_endpoint", "/oauth2/introspect"), ("revocation_endpoint", "/oauth2/revoke")]
    {
        assert_eq!(server[member], format!("{}{path}", wire.issuer).as_str());
    }
}

#[test]
fn a_resource_belongs_to_one_tool_and_never_to_the_gateway() {
    let deployment = Deployment::start();
    add_shop(&deployment, SHOP);
    let issuer = deployment.wire().issuer;
    let mails = format!("{issuer}/t/mail");
    for (resource, why) in [
        (SHOP, "another tool has this resource"),
        (&*mails, "not one of the gateway's"),
        (&*issuer, "not one of the gateway's"),
        ("https://shop.example/api/", "one spelling"),
        ("https://shop.example/api?x", "one spelling"),
    ] {
        let add = ["tool", "add", "twin", "--upstream", "http://127.0.0.1:9", "--allow-private", "--action", "a=GET /"];
        let output = deployment.tgp(&[&add[..], &["--resource", resource]].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(why), "{resource}: {said}");
    }
}

/// A server process; killed when dropped.
struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A tool that answers with the head of what it received.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = Vec::new();
            let mut buffer = [0; 8192];
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut buffer) {
                    Ok(n) if n > 0 => head.extend_from_slice(&buffer[..n]),
                    _ => break,
                }
            }
            let length = head.len();
            let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(&[reply.as_bytes(), &head].concat());
        }
    });
    port
}

/// What stands around the block of docs/OPERATIONS.md.
const NGINX: &str = r#"
daemon off; master_process off; pid nginx.pid; error_log error.log;
events {}
http {
  access_log off;
  client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;
  server {
    listen 127.0.0.1:PORT ssl;
    ssl_certificate tool.crt; ssl_certificate_key tool.key;
    ssl_client_certificate ca.pem; ssl_verify_client optional;
    BLOCK
  }
}
"#;

fn nginx(deployment: &Deployment, place: &Path, port: u16, key: &str) -> Nginx {
    let text = |path: &Path| path.to_str().expect("utf-8").to_owned();
    let request = "[req]\ndistinguished_name = name\nx509_extensions = leaf\nprompt = no\n[name]\nCN = localhost\n\
                   [leaf]\nbasicConstraints = critical, CA:FALSE\nsubjectAltName = DNS:localhost\n";
    std::fs::write(place.join("req.cnf"), request).expect("written");
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"])
        .args(["-config", &text(&place.join("req.cnf"))])
        .args(["-keyout", &text(&place.join("tool.key")), "-out", &text(&place.join("tool.crt"))])
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let page = include_str!("../../docs/OPERATIONS.md");
    let block = page.split("```nginx\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the block");
    let gateway = format!("https://localhost:{}", deployment.stack.ports().gateway);
    let block = block
        .replace("https://gw.example:8443", &gateway)
        .replace("gw.example", "localhost")
        .replace("http://tool", &format!("http://127.0.0.1:{}", echo()));
    let config = NGINX.replace("PORT", &port.to_string()).replace("BLOCK", &block);
    std::fs::write(place.join("tgp-verifier.conf"), format!("proxy_set_header TGP-Verifier {key};")).expect("written");
    std::fs::copy(deployment.path("d/ca.pem"), place.join("ca.pem")).expect("copied");
    std::fs::write(place.join("nginx.conf"), config).expect("written");
    let child = Command::new("nginx")
        .args(["-p", &text(place), "-e", &text(&place.join("error.log")), "-c", &text(&place.join("nginx.conf"))])
        .env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()))
        .stdin(Stdio::null())
        .spawn()
        .expect("nginx (package nginx) is installed");
    let server = Nginx(child);
    let patience = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let log = std::fs::read_to_string(place.join("error.log")).unwrap_or_default();
        assert!(patience.elapsed() < Duration::from_secs(30), "nginx does not listen: {log}");
        std::thread::sleep(Duration::from_millis(50));
    }
    server
}

/// What an agent sends to the tool behind nginx, the status, and what the answer holds.
type Case = (&'static str, fn(&Behind<'_>) -> Draft, u16, &'static str);

struct Behind<'a> {
    agent: &'a TestAgent,
    wire: &'a Wire,
    token: &'a str,
}

impl Behind<'_> {
    fn get(&self, target: &str) -> Draft {
        self.agent.signed(self.wire, self.token, "GET", target, b"")
    }

    fn with(&self, name: &'static str, value: &str) -> Draft {
        let mut draft = self.get("/api/orders");
        draft.set(name, value);
        draft
    }
}

#[rustfmt::skip]
const BEHIND_NGINX: &[Case] = &[
    ("a good request", |b| b.get("/api/orders"), 200, "tgp-action: list"),
    ("with a query", |b| b.get("/api/orders?page=2&q=a%20b"), 200, "GET /api/orders?page=2&q=a%20b "),
    ("who it is said to be is overwritten", |b| b.with("tgp-agent", "somebody-else"), 200, "tgp-agent: {agent}"),
    ("who it is said to be in a name that tools read as the same", |b| b.with("tgp_agent", "somebody-else"), 200, "tgp-agent: {agent}"),
    ("what it is said to do is overwritten", |b| b.with("tgp-action", "refund"), 200, "tgp-action: list"),
    ("a key of the client's own", |b| b.with("tgp-verifier", "tgpvk_x"), 200, "tgp-action: list"),
    ("a certificate that the client names", |b| b.with("x-forwarded-client-cert", "URI=spiffe://x/agent/y"), 200, "tgp-action: list"),
    ("what becomes of the body, said by the client", |b| b.with("tgp-content", "passed"), 200, "tgp-action: list"),
    ("the target, said by the client in nginx's field", |b| b.with("x-original-uri", "/api/orders?x"), 200, "GET /api/orders "),
    ("the target, said by the client in Traefik's field", |b| b.with("x-forwarded-uri", "/api/admin"), 401, "request-malformed"),
    ("the method, said by the client in Traefik's field", |b| b.with("x-forwarded-method", "POST"), 401, "request-malformed"),
    ("the target, said by the client as a URL", |b| b.with("x-original-url", "https://x.example/api/admin"), 401, "request-malformed"),
    ("a body that nobody signed does not reach the tool", |b| { let mut draft = b.get("/api/orders"); draft.body = b"smuggled".to_vec(); draft }, 200, "connection: close\r\n"),
    ("a signed body cannot be judged there", |b| b.agent.signed(b.wire, b.token, "POST", "/api/orders", b"{}"), 403, "body-required"),
    ("another target than was signed", |b| { let mut draft = b.get("/api/orders"); draft.target = "/api/orders?all".into(); draft }, 401, "signature-invalid"),
    ("dot segments that nginx would resolve", |b| b.get("/api/x/../orders"), 401, "path-not-canonical"),
    ("slashes that nginx would merge", |b| b.get("/api//orders"), 401, "path-not-canonical"),
    ("a path that is no action", |b| b.get("/api/admin"), 403, "action-unknown"),
    ("no signature", |b| b.agent.draft(b.token, "GET", "/api/orders", b""), 401, "signature-missing"),
    ("no token", |b| Draft { headers: HeaderMap::new(), ..b.get("/api/orders") }, 401, "token-missing"),
];

#[test]
fn nginx_lets_through_what_the_gateway_allows_and_nothing_that_a_client_forges() {
    let deployment = Deployment::start();
    let place = deployment.path("nginx");
    std::fs::create_dir(&place).expect("a directory");
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let resource = format!("https://localhost:{port}/api");
    add_shop(&deployment, &resource);
    let (key, _) = issue(&deployment, "issue", "shop");
    let (agent, other) = (deployment.agent("travel-bot"), deployment.agent("other-bot"));
    grant_shop(&deployment, "travel-bot", &resource);
    let token = deployment.runtime.block_on(token(&agent, &deployment.wire(), "shop:order shop:list", &resource));
    let _nginx = nginx(&deployment, &place, port, &key);
    let wire = Wire { port, issuer: format!("https://localhost:{port}"), ca: place.join("tool.crt"), http2: false };
    let behind = Behind { agent: &agent, wire: &wire, token: &token };
    let send = |certificate, draft: &Draft| {
        let sent = wire.send(certificate, &draft.method, &draft.target, draft.headers.clone(), &draft.body);
        deployment.runtime.block_on(sent).expect("an answer")
    };

    let mut failures = Vec::new();
    for (name, make, status, holds) in BEHIND_NGINX {
        let reply = send(Some(&agent.certificate), &make(&behind));
        let seen = String::from_utf8_lossy(&reply.body).into_owned();
        // nginx has its own page for a refusal; the reason is on record, and in the gateway's answer to nginx.
        let told = if reply.status == 200 { seen.to_lowercase() } else { last_reason(&deployment) };
        let holds = holds.replace("{agent}", &agent.id).to_lowercase();
        if reply.status != *status
            || !told.contains(&holds)
            || seen.contains("smuggled")
            || seen.contains("somebody-else")
        {
            failures.push(format!("{name}: wanted {status} with {holds:?}, got {} {told:?} {seen:?}", reply.status));
        }
        if reply.status == 401
            && !reply
                .headers
                .get("www-authenticate")
                .is_some_and(|it| it.to_str().is_ok_and(|it| it.contains("Bearer")))
        {
            failures.push(format!("{name}: the challenge was lost: {:?}", reply.headers));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));

    // Once, whoever shows it; by the certificate of its agent, or by none.
    let draft = behind.get("/api/orders");
    assert_eq!(send(Some(&other.certificate), &draft).status, 403, "another agent's certificate");
    assert_eq!(last_reason(&deployment), "certificate-mismatch");
    assert_eq!(send(None, &draft).status, 200, "bound by its signature");
    assert_eq!(send(None, &draft).status, 401);
    assert_eq!(last_reason(&deployment), "signature-replayed");
    deployment.operator(&["agent", "freeze", "travel-bot"]);
    assert_eq!(send(Some(&agent.certificate), &behind.get("/api/orders")).status, 403);
    assert_eq!(last_reason(&deployment), "agent-frozen");
}

/// Why forward-auth refused last, as the gateway logged it.
fn last_reason(deployment: &Deployment) -> String {
    let log = std::fs::read_to_string(deployment.stack.layout().log("gateway")).expect("the gateway's log");
    let last = log.lines().rfind(|line| line.contains("refused") && line.contains("code"));
    let after = last.and_then(|line| line.split("code").nth(1)).unwrap_or_default();
    after.trim_start_matches(['=', '"', ':', ' ']).split([' ', '"', ',']).next().unwrap_or_default().to_owned()
}
