//! What tools may ask, and what comes when somebody else asks it, or asks about something else: introspection, revocation,
//! verify, forward-auth, verifier keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tgp_request::jwk::IdentitySecret;
use tgp_request::signature::{Params, Tag, sign_request};

use crate::plan::{sha256, sha512};
use crate::table::{Answer, Case, run};
use crate::wire::{nonce, now};
use crate::world::World;

/// Where `shop` is called: it asks by itself.
const SHOP: &str = "https://shop.example/api";

/// What is set up beside the world: a tool with its own URL, keys, tokens.
struct Shop {
    key: String,
    revoked: String,
    /// Of `mail`, which is behind the proxy.
    mail: String,
    /// `agent`'s for `shop:order` and `shop:list`.
    token: String,
    /// `other`'s, given up.
    given_up: String,
    /// Of an agent that was frozen since.
    frozen: (String, IdentitySecret),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    Introspect,
    Revoke,
    Verify,
    ForwardAuth,
}

/// A good question about a good request, until a case changes it.
pub struct Ask<'w> {
    world: &'w World,
    shop: &'w Shop,
    door: Door,
    /// The agent's request.
    method: &'static str,
    uri: String,
    body: Vec<u8>,
    token: String,
    identity: &'w IdentitySecret,
    /// Seconds from now.
    window: (i64, i64),
    /// Fields that stand in the request after it was signed, and those that do not.
    more: Vec<(&'static str, String)>,
    less: Vec<&'static str>,
    /// How the tool shows who it is.
    login: Vec<(&'static str, String)>,
    /// What the proxy says.
    said: Vec<(&'static str, String)>,
    /// Whether the proxy passes the body on.
    passes: bool,
    /// Changes what is handed over.
    json: fn(&mut Value),
    /// In place of all that.
    raw: Option<(&'static str, Vec<u8>)>,
    asked: (&'static str, String),
    certified: bool,
    recorded: bool,
    /// The same again.
    twice: bool,
}

#[rustfmt::skip]
pub const CASES: &[Case<fn(&mut Ask<'_>)>] = &[
    // Introspection.
    ("introspect: a good token", |a| a.introspect(), 200, ""),
    ("introspect: with the key as Basic's password", |a| { a.introspect(); a.basic("shop") }, 200, ""),
    ("introspect: with another tool as Basic's user", |a| { a.introspect(); a.basic("mail") }, 401, "invalid_client verifier-required"),
    ("introspect: without a key", |a| { a.introspect(); a.login.clear() }, 401, "invalid_client verifier-required"),
    ("introspect: with the key in forward-auth's field", |a| { a.introspect(); a.login = vec![("tgp-verifier", a.shop.key.clone())] }, 401, "invalid_client verifier-required"),
    ("introspect: with two keys", |a| { a.introspect(); let again = a.login[0].clone(); a.login.push(again) }, 401, "invalid_client verifier-required"),
    ("introspect: with a key that was revoked", |a| { a.introspect(); a.key(&a.shop.revoked) }, 401, "invalid_client verifier-required"),
    ("introspect: with a key that nobody made", |a| { a.introspect(); a.key(&format!("tgpvk_{}", "A".repeat(43))) }, 401, "invalid_client verifier-required"),
    ("introspect: with a key cut short", |a| { a.introspect(); a.key(&a.shop.key[..48]) }, 401, "invalid_client verifier-required"),
    ("introspect: with an access token for a key", |a| { a.introspect(); a.key(&a.shop.token) }, 401, "invalid_client verifier-required"),
    ("introspect: with a master key for a key", |a| { a.introspect(); a.key(&a.world.agent.master_key) }, 401, "invalid_client verifier-required"),
    ("introspect: an agent's certificate is no key", |a| { a.introspect(); a.login.clear(); a.certified = true; a.recorded = false }, 401, "invalid_client verifier-required"),
    ("introspect: a token of another tool", |a| { a.introspect(); a.key(&a.shop.mail) }, 200, "inactive"),
    ("introspect: a token that was given up", |a| { a.introspect(); a.form("token", &a.shop.given_up) }, 200, "inactive"),
    ("introspect: a token of a frozen agent", |a| { a.introspect(); a.form("token", &a.shop.frozen.0) }, 200, "inactive"),
    ("introspect: a token with its signature changed", |a| { a.introspect(); a.form("token", &flipped(&a.shop.token)) }, 200, "inactive"),
    ("introspect: text that is no token", |a| { a.introspect(); a.form("token", "x") }, 200, "inactive"),
    ("introspect: a verifier key as the token", |a| { a.introspect(); a.form("token", &a.shop.key) }, 200, "inactive"),
    ("introspect: no token", |a| { a.introspect(); a.form("x", "y") }, 400, "invalid_request request-malformed"),
    ("introspect: an empty token", |a| { a.introspect(); a.form("token", "") }, 400, "invalid_request request-malformed"),
    ("introspect: two tokens", |a| { a.introspect(); a.raw_form("token=a&token=b") }, 400, "invalid_request request-malformed"),
    ("introspect: a malformed escape", |a| { a.introspect(); a.raw_form("token=%zz") }, 400, "invalid_request request-malformed"),
    ("introspect: JSON", |a| { a.introspect(); a.raw = Some(("application/json", b"{\"token\":\"x\"}".to_vec())) }, 400, "invalid_request request-malformed"),
    ("introspect: the token in the query", |a| { a.introspect(); a.asked.1 = format!("/oauth2/introspect?token={}", a.shop.token); a.raw_form("") }, 400, "invalid_request request-malformed"),
    ("introspect: 17 KiB", |a| { a.introspect(); a.form("token", &"x".repeat(17 * 1024)) }, 413, "invalid_request body-too-large"),
    ("introspect: GET", |a| { a.introspect(); a.asked.0 = "GET" }, 405, "invalid_request method-not-allowed"),
    // Revocation.
    ("revoke: text that is no token", |a| { a.revoke("x"); a.recorded = false }, 200, ""),
    ("revoke: a token with its signature changed", |a| { a.revoke(&flipped(&a.shop.token)); a.recorded = false }, 200, ""),
    ("revoke: another agent's token", |a| a.revoke(&a.shop.given_up), 401, "invalid_client certificate-mismatch"),
    ("revoke: without a certificate", |a| { a.revoke(&a.shop.token); a.certified = false; a.recorded = false }, 401, "invalid_client certificate-required"),
    ("revoke: a verifier key is no certificate", |a| { a.revoke(&a.shop.token); a.key(&a.shop.key); a.certified = false; a.recorded = false }, 401, "invalid_client certificate-required"),
    ("revoke: no token", |a| { a.revoke(""); a.raw_form("x=y") }, 400, "invalid_request request-malformed"),
    ("revoke: two tokens", |a| { a.revoke(""); a.raw_form("token=a&token=b") }, 400, "invalid_request request-malformed"),
    ("revoke: JSON", |a| { a.revoke(""); a.raw = Some(("application/json", b"{}".to_vec())) }, 400, "invalid_request request-malformed"),
    ("revoke: GET", |a| { a.revoke("x"); a.asked.0 = "GET" }, 405, "invalid_request method-not-allowed"),
    // Verify: the question.
    ("verify: a good request", |_| {}, 200, ""),
    ("verify: a good request without a body", |a| a.get("/orders"), 200, ""),
    ("verify: with the key as Basic's password", |a| a.basic("shop"), 200, ""),
    ("verify: with the agent's own certificate named", |a| a.json = |j| j["certificate"] = agent(j).into(), 200, ""),
    ("verify: another digest field than was signed", |a| { a.less.push("content-digest"); a.more.push(("content-digest", sha512(BODY))); a.json = |j| j["content_digest"] = sha512(BODY).into(); a.unproven() }, 400, "signature-invalid"),
    ("verify: without a key", |a| { a.login.clear(); a.unproven() }, 401, "verifier-required"),
    ("verify: with a revoked key", |a| { a.key(&a.shop.revoked); a.unproven() }, 401, "verifier-required"),
    ("verify: with the agent's token for a key", |a| { a.key(&a.shop.token); a.unproven() }, 401, "verifier-required"),
    ("verify: GET", |a| { a.asked.0 = "GET"; a.unproven() }, 405, "method-not-allowed"),
    ("verify: not JSON", |a| a.raw_json("x"), 400, "request-malformed"),
    ("verify: an array", |a| a.raw_json(r#"["GET","https://shop.example/api",[]]"#), 400, "request-malformed"),
    ("verify: a member twice", |a| a.raw_json(r#"{"method":"GET","method":"PUT","uri":"https://shop.example/api","headers":[]}"#), 400, "request-malformed"),
    ("verify: a member that nobody knows", |a| { a.json = |j| j["body"] = "x".into(); a.unproven() }, 400, "request-malformed"),
    ("verify: no method", |a| { a.json = |j| drop(j.as_object_mut().expect("an object").remove("method")); a.unproven() }, 400, "request-malformed"),
    ("verify: headers as an object", |a| { a.json = |j| j["headers"] = json!({"a": "b"}); a.unproven() }, 400, "request-malformed"),
    ("verify: a header with a line's end", |a| { a.json = |j| push(j, "x-trip", "1\r\nauthorization: x"); a.unproven() }, 400, "request-malformed"),
    ("verify: great depth", |a| { let deep = "[".repeat(5000); a.raw_json(&format!("{{\"headers\":{deep}")) }, 400, "request-malformed"),
    ("verify: 513 KiB", |a| { let long = "x".repeat(513 * 1024); a.raw_json(&long) }, 413, "body-too-large"),
    // Verify: the request.
    ("verify: 129 fields", |a| { a.json = |j| (0..129).for_each(|n| push(j, &format!("x-{n}"), "v")); a.unproven() }, 431, "headers-too-large"),
    ("verify: no authorization", |a| a.without("authorization"), 401, "token-missing"),
    ("verify: two authorizations", |a| { a.more.push(("authorization", format!("Bearer {}", a.shop.token))); a.unproven() }, 400, "request-malformed"),
    ("verify: no signature", |a| { a.without("signature"); a.without("signature-input") }, 401, "signature-missing"),
    ("verify: half a signature", |a| a.without("signature-input"), 400, "signature-invalid"),
    ("verify: signed by another agent", |a| { a.identity = &a.world.other.identity; a.unproven() }, 400, "signature-invalid"),
    ("verify: another method than was signed", |a| { a.json = |j| j["method"] = "DELETE".into(); a.unproven() }, 400, "signature-invalid"),
    ("verify: another URL than was signed", |a| { a.json = |j| j["uri"] = format!("{SHOP}/orders?x").into(); a.unproven() }, 400, "signature-invalid"),
    ("verify: another scheme than was signed", |a| { a.json = |j| j["uri"] = "http://shop.example/api/orders".into(); a.unproven() }, 400, "signature-invalid"),
    ("verify: a URL that is none", |a| { a.json = |j| j["uri"] = "/api/orders".into(); a.unproven() }, 400, "request-malformed"),
    ("verify: dot segments", |a| { a.uri = format!("{SHOP}/../api/orders"); a.unproven() }, 400, "path-not-canonical"),
    ("verify: an escaped slash", |a| { a.uri = format!("{SHOP}/orders/1%2F2"); a.unproven() }, 400, "path-not-canonical"),
    ("verify: expired", |a| { a.window = (-61, -1); a.unproven() }, 400, "signature-expired"),
    ("verify: from the future", |a| { a.window = (45, 60); a.unproven() }, 400, "signature-invalid"),
    ("verify: a token with its signature changed", |a| { a.token = flipped(&a.shop.token); a.unproven() }, 401, "token-invalid"),
    ("verify: a verifier key as the token", |a| { a.token = a.shop.key.clone(); a.unproven() }, 401, "token-invalid"),
    ("verify: a token that was given up", |a| a.given_up(), 401, "token-invalid"),
    ("verify: a frozen agent's request", |a| a.frozen(), 403, "agent-frozen"),
    ("verify: another agent's certificate named", |a| { a.json = |j| j["certificate"] = "spiffe://tgp-dev.example/agent/0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d".into(); a.unproven() }, 403, "certificate-mismatch"),
    ("verify: an operator's certificate named", |a| { a.json = |j| j["certificate"] = agent(j).replace("/agent/", "/operator/").into(); a.unproven() }, 401, "certificate-invalid"),
    ("verify: a certificate of another trust domain named", |a| { a.json = |j| j["certificate"] = agent(j).replace("tgp-dev", "evil").into(); a.unproven() }, 401, "certificate-invalid"),
    ("verify: another digest than was signed", |a| a.json = |j| j["content_digest"] = sha256(b"other").into(), 400, "digest-mismatch"),
    ("verify: a digest by another algorithm only", |a| a.json = |j| j["content_digest"] = sha512(BODY).into(), 400, "digest-mismatch"),
    ("verify: a digest by an algorithm that nobody knows", |a| a.json = |j| j["content_digest"] = "md5=:AA==:".into(), 400, "request-malformed"),
    ("verify: two digests by one algorithm", |a| a.json = |j| j["content_digest"] = format!("{}, {}", sha256(BODY), sha256(BODY)).into(), 400, "request-malformed"),
    ("verify: a digest that is no structured field", |a| a.json = |j| j["content_digest"] = "sha-256".into(), 400, "request-malformed"),
    ("verify: a signed body and no digest", |a| a.json = |j| drop(j.as_object_mut().expect("an object").remove("content_digest")), 403, "body-required"),
    ("verify: a body that was not signed", |a| { a.get("/orders"); a.json = |j| j["content_digest"] = sha256(b"x").into() }, 400, "request-malformed"),
    ("verify: a request to the proxy", |a| { a.uri = format!("{}/t/mail/messages", a.world.wire.issuer); a.token = a.world.token.clone() }, 403, "resource-refused"),
    ("verify: a token for another tool", |a| a.token = a.world.token.clone(), 403, "scope-insufficient"),
    ("verify: a URL beside the tool", |a| a.uri = "https://shop.example/apix".into(), 403, "scope-insufficient"),
    ("verify: a path that is no action", |a| a.get("/admin"), 403, "action-unknown"),
    ("verify: an action that the token is not for", |a| { a.get("/orders/1"); a.method = "DELETE" }, 403, "scope-insufficient"),
    ("verify: the same request again", |a| a.twice = true, 400, "signature-replayed"),
    ("verify: the same request at forward-auth before", |a| { a.get("/orders"); a.at_forward_auth_first() }, 400, "signature-replayed"),
    // Forward-auth. The status is what the proxy gets; what it would have been stands beside it.
    ("forward-auth: a good request", |a| a.forward(), 200, ""),
    ("forward-auth: as Traefik says it", |a| { a.forward(); a.unsay("x-original-uri"); a.unsay("x-original-method"); a.say("x-forwarded-uri", "/api/orders"); a.say("x-forwarded-method", "GET"); a.say("x-forwarded-host", "evil.example") }, 200, ""),
    ("forward-auth: as Envoy says it", |a| { a.forward(); a.unsay("x-original-uri"); a.unsay("x-original-method"); a.asked.1 = "/v1/forward-auth/api/orders".into() }, 200, ""),
    ("forward-auth: as ingress-nginx says it", |a| { a.forward(); a.unsay("x-original-uri"); a.say("x-original-url", "https://any.example/api/orders") }, 200, ""),
    ("forward-auth: a body that is passed on", |a| { a.forward_post(); a.passes = true; a.unsay("tgp-content"); a.say("tgp-content", "passed") }, 200, ""),
    ("forward-auth: with the agent's certificate", |a| { a.forward(); let uri = format!("URI=spiffe://tgp-dev.example/agent/{}", a.world.agent.id); a.say("x-forwarded-client-cert", &uri) }, 200, ""),
    ("forward-auth: with no certificate, said so", |a| { a.forward(); a.say("x-forwarded-client-cert", "Cert=\"\"") }, 200, ""),
    ("forward-auth: without a key", |a| { a.forward(); a.login.clear(); a.unproven() }, 401, "verifier-required"),
    ("forward-auth: with the key in Authorization", |a| { a.forward(); a.login.clear(); a.more.push(("authorization", format!("Bearer {}", a.shop.key))); a.less.push("authorization"); a.unproven() }, 401, "verifier-required"),
    ("forward-auth: with two keys, one of which the client sent", |a| { a.forward(); a.say("tgp-verifier", "tgpvk_x"); a.unproven() }, 401, "verifier-required"),
    ("forward-auth: with a revoked key", |a| { a.forward(); a.login = vec![("tgp-verifier", a.shop.revoked.clone())]; a.unproven() }, 401, "verifier-required"),
    ("forward-auth: with another tool's key", |a| { a.forward(); a.login = vec![("tgp-verifier", a.shop.mail.clone())]; a.unproven() }, 401, "signature-invalid"),
    ("forward-auth: nothing said of the method", |a| { a.forward(); a.unsay("x-original-method"); a.unproven() }, 401, "request-malformed"),
    ("forward-auth: nothing said of the target", |a| { a.forward(); a.unsay("x-original-uri"); a.unproven() }, 401, "request-malformed"),
    ("forward-auth: nothing said of the body", |a| { a.forward(); a.unsay("tgp-content"); a.unproven() }, 403, "body-required"),
    ("forward-auth: something else said of the body", |a| { a.forward(); a.unsay("tgp-content"); a.say("tgp-content", "maybe"); a.unproven() }, 403, "body-required"),
    ("forward-auth: the client says another target, too", |a| { a.forward(); a.say("x-forwarded-uri", "/api/admin"); a.unproven() }, 401, "request-malformed"),
    ("forward-auth: the client says another method, too", |a| { a.forward(); a.say("x-forwarded-method", "DELETE"); a.unproven() }, 401, "request-malformed"),
    ("forward-auth: the client says the target again", |a| { a.forward(); a.say("x-original-uri", "/api/orders"); a.unproven() }, 401, "request-malformed"),
    ("forward-auth: a target that is a URL", |a| { a.forward(); a.unsay("x-original-uri"); a.say("x-original-uri", "https://shop.example/api/orders"); a.unproven() }, 401, "request-malformed"),
    ("forward-auth: another target than was signed", |a| { a.forward(); a.unsay("x-original-uri"); a.say("x-original-uri", "/api/orders?all"); a.unproven() }, 401, "signature-invalid"),
    ("forward-auth: a target with dot segments", |a| { a.forward(); a.unsay("x-original-uri"); a.say("x-original-uri", "/api/x/../orders"); a.unproven() }, 401, "path-not-canonical"),
    ("forward-auth: another agent's certificate", |a| { a.forward(); let uri = format!("URI=spiffe://tgp-dev.example/agent/{}", a.world.other.id); a.say("x-forwarded-client-cert", &uri); a.unproven() }, 403, "certificate-mismatch"),
    ("forward-auth: two elements, one of which the client sent", |a| { a.forward(); let uri = format!("URI=spiffe://tgp-dev.example/agent/{}", a.world.agent.id); a.say("x-forwarded-client-cert", &format!("{uri},{uri}")); a.unproven() }, 401, "request-malformed"),
    ("forward-auth: a certificate that does not parse", |a| { a.forward(); a.say("x-forwarded-client-cert", "Cert=\"-----BEGIN%20CERTIFICATE-----\""); a.unproven() }, 401, "certificate-invalid"),
    ("forward-auth: a signed body that is dropped", |a| a.forward_post(), 403, "body-required"),
    ("forward-auth: a signed body that is said to be passed on, and is not", |a| { a.forward_post(); a.unsay("tgp-content"); a.say("tgp-content", "passed") }, 401, "digest-mismatch"),
    ("forward-auth: a body passed on that was not signed", |a| { a.forward(); a.body = b"x".to_vec(); a.passes = true; a.unsay("tgp-content"); a.say("tgp-content", "passed"); a.less.extend(["content-type", "content-digest"]) }, 401, "request-malformed"),
    ("forward-auth: no token", |a| { a.forward(); a.without("authorization") }, 401, "token-missing"),
    ("forward-auth: no signature", |a| { a.forward(); a.without("signature"); a.without("signature-input") }, 401, "signature-missing"),
    ("forward-auth: a token that was given up", |a| { a.forward(); a.given_up() }, 401, "token-invalid"),
    ("forward-auth: a frozen agent", |a| { a.forward(); a.frozen() }, 403, "agent-frozen"),
    ("forward-auth: a token for another tool", |a| { a.forward(); a.token = a.world.token.clone() }, 403, "scope-insufficient"),
    ("forward-auth: a path that is no action", |a| { a.forward(); a.uri = format!("{SHOP}/admin"); a.unsay("x-original-uri"); a.say("x-original-uri", "/api/admin") }, 403, "action-unknown"),
    ("forward-auth: the same request again", |a| { a.forward(); a.twice = true }, 401, "signature-replayed"),
    ("forward-auth: headers of 65 KiB", |a| { a.forward(); let long = "x".repeat(65 * 1024); a.say("x-trip", &long); a.unproven() }, 403, "headers-too-large"),
    ("forward-auth: a path that only begins alike", |a| { a.forward(); a.asked.1 = "/v1/forward-authx".into(); a.unproven(); a.plain() }, 404, "not-found"),
];

const BODY: &[u8] = br#"{"item":"umbrella"}"#;

/// The SPIFFE ID of the agent that a handed-over request's token is of.
fn agent(handed: &Value) -> String {
    let headers = handed["headers"].as_array().expect("pairs");
    let token = headers.iter().find(|pair| pair[0] == "authorization").and_then(|pair| pair[1].as_str());
    let claims = token.and_then(|token| token.split('.').nth(1)).expect("a token");
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).expect("base64url");
    let claims: Value = serde_json::from_slice(&claims).expect("claims");
    claims["sub"].as_str().expect("a subject").to_owned()
}

fn push(handed: &mut Value, name: &str, value: &str) {
    handed["headers"].as_array_mut().expect("pairs").push(json!([name, value]));
}

/// The token with another signature.
fn flipped(token: &str) -> String {
    let (rest, signature) = token.rsplit_once('.').expect("three parts");
    let turned = if signature.starts_with('A') { "B" } else { "A" };
    format!("{rest}.{turned}{}", &signature[1..])
}

impl<'w> Ask<'w> {
    fn new(world: &'w World, shop: &'w Shop) -> Self {
        Self {
            world,
            shop,
            door: Door::Verify,
            method: "POST",
            uri: format!("{SHOP}/orders"),
            body: BODY.to_vec(),
            token: shop.token.clone(),
            identity: &world.agent.identity,
            window: (0, 60),
            more: Vec::new(),
            less: Vec::new(),
            login: vec![("authorization", format!("Bearer {}", shop.key))],
            said: Vec::new(),
            passes: false,
            json: |_| {},
            raw: None,
            asked: ("POST", "/v1/verify".to_owned()),
            certified: false,
            recorded: true,
            twice: false,
        }
    }

    fn key(&mut self, key: &str) {
        self.login = vec![("authorization", format!("Bearer {key}"))];
    }

    fn basic(&mut self, tool: &str) {
        let pair = STANDARD.encode(format!("{tool}:{}", self.shop.key));
        self.login = vec![("authorization", format!("Basic {pair}"))];
    }

    /// Nobody is known yet: it is counted, and not on record.
    fn unproven(&mut self) {
        self.recorded = false;
    }

    fn introspect(&mut self) {
        self.door = Door::Introspect;
        self.asked = ("POST", "/oauth2/introspect".to_owned());
        self.recorded = false;
        let token = self.shop.token.clone();
        self.form("token", &token);
    }

    fn revoke(&mut self, token: &str) {
        self.door = Door::Revoke;
        self.asked = ("POST", "/oauth2/revoke".to_owned());
        self.login.clear();
        self.certified = true;
        self.form("token", token);
    }

    fn form(&mut self, name: &str, value: &str) {
        self.raw_form(&format!("token_type_hint=refresh_token&{name}={value}"));
    }

    fn raw_form(&mut self, form: &str) {
        self.raw = Some(("application/x-www-form-urlencoded", form.as_bytes().to_vec()));
    }

    fn raw_json(&mut self, text: &str) {
        self.raw = Some(("application/json", text.as_bytes().to_vec()));
        self.unproven();
    }

    fn get(&mut self, path: &str) {
        (self.method, self.uri, self.body) = ("GET", format!("{SHOP}{path}"), Vec::new());
    }

    fn without(&mut self, field: &'static str) {
        self.less.push(field);
        self.unproven();
    }

    fn say(&mut self, name: &'static str, value: &str) {
        self.said.push((name, value.to_owned()));
    }

    fn unsay(&mut self, name: &str) {
        self.said.retain(|(other, _)| *other != name);
    }

    fn forward(&mut self) {
        self.get("/orders");
        self.forwarding("GET");
    }

    fn forward_post(&mut self) {
        self.forwarding("POST");
    }

    fn forwarding(&mut self, method: &str) {
        self.door = Door::ForwardAuth;
        self.asked = ("GET", "/v1/forward-auth".to_owned());
        self.login = vec![("tgp-verifier", self.shop.key.clone())];
        self.say("x-original-method", method);
        self.say("x-original-uri", "/api/orders");
        self.say("tgp-content", "dropped");
    }

    /// The answer is not forward-auth's.
    fn plain(&mut self) {
        self.door = Door::Verify;
    }

    fn given_up(&mut self) {
        self.token = self.shop.given_up.clone();
        self.identity = &self.world.other.identity;
    }

    fn frozen(&mut self) {
        self.token = self.shop.frozen.0.clone();
        self.identity = &self.shop.frozen.1;
    }

    fn at_forward_auth_first(&mut self) {
        self.twice = true;
        self.more.push(("x-first", "forward-auth".to_owned()));
    }

    /// The agent's request as the tool received it.
    fn received(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let value = |text: &str| HeaderValue::from_str(text).expect("a field value");
        headers.insert("authorization", value(&format!("Bearer {}", self.token)));
        if !self.body.is_empty() {
            headers.insert("content-type", value("application/json"));
        }
        let signed = if self.passes && self.less.contains(&"content-digest") { &[][..] } else { &self.body[..] };
        let params = Params { created: now() + self.window.0, expires: now() + self.window.1, nonce: nonce() };
        sign_request(self.method, &self.uri, &mut headers, signed, Tag::Request, self.identity, params, "sig")
            .expect("signable");
        for name in &self.less {
            headers.remove(*name);
        }
        for (name, text) in &self.more {
            headers.append(HeaderName::from_static(name), value(text));
        }
        headers
    }

    fn handed(&self, received: &HeaderMap) -> Vec<u8> {
        let pairs: Vec<Value> = received
            .iter()
            .filter(|(name, _)| *name != "x-first")
            .map(|(name, value)| json!([name.as_str(), value.to_str().expect("text")]))
            .collect();
        let mut handed = json!({ "method": self.method, "uri": self.uri, "headers": pairs });
        if !self.body.is_empty() {
            handed["content_digest"] = sha256(&self.body).into();
        }
        (self.json)(&mut handed);
        serde_json::to_vec(&handed).expect("JSON")
    }

    fn send(&self) -> Answer {
        let received = self.received();
        let mut answer = if received.contains_key("x-first") {
            let mut first = Ask::new(self.world, self.shop);
            first.forward();
            assert_eq!(first.ask(&received).status, 200, "once it is good");
            self.ask(&received)
        } else {
            self.ask(&received)
        };
        if self.twice && !received.contains_key("x-first") {
            assert_eq!(answer.status, 200, "once it is good");
            answer = self.ask(&received);
        }
        answer
    }

    fn ask(&self, received: &HeaderMap) -> Answer {
        let mut headers = HeaderMap::new();
        let mut body = Vec::new();
        match (&self.raw, self.door) {
            (Some((kind, raw)), _) => {
                headers.insert("content-type", HeaderValue::from_static(kind));
                body.clone_from(raw);
            }
            (None, Door::ForwardAuth) => {
                headers = received.clone();
                headers.remove("x-first");
                if self.passes {
                    body.clone_from(&self.body);
                }
            }
            (None, _) => {
                headers.insert("content-type", HeaderValue::from_static("application/json"));
                body = self.handed(received);
            }
        }
        for (name, value) in self.login.iter().chain(&self.said) {
            headers.append(*name, HeaderValue::from_str(value).expect("a field value"));
        }
        let certificate = self.certified.then_some(&self.world.agent.certificate);
        let sent = self.world.wire.send(certificate, self.asked.0, &self.asked.1, headers, &body);
        let reply = self.world.block(sent).expect("an answer");
        let mut answer = Answer::of(&reply, self.recorded);
        answer.forwarded = false;
        let json = reply.json();
        match self.door {
            Door::Introspect if reply.status == 200 && json["active"] == false => answer.code = "inactive".to_owned(),
            Door::Introspect | Door::Revoke => {
                if let Some(error) = json["error"].as_str() {
                    answer.code = format!("{error} {}", answer.code);
                }
            }
            // What is said of the request stands in the answer.
            Door::Verify if json["allowed"] == false => {
                answer.status = u16::try_from(json["status"].as_u64().expect("a status")).expect("a status");
                if answer.status == 401 && json["headers"]["www-authenticate"].is_null() {
                    answer.problem = Some("the refusal has no challenge to pass on".to_owned());
                }
            }
            Door::Verify => {}
            Door::ForwardAuth => {
                let field = |name: &str| reply.headers.get(name).and_then(|value| value.to_str().ok());
                let wanted = match reply.status {
                    200 => field("tgp-agent") == Some(&self.world.agent.id) && field("tgp-action").is_some(),
                    401 => {
                        field("tgp-reason") == Some(&answer.code) && matches!(field("tgp-status"), Some("400" | "401"))
                    }
                    403 => field("tgp-reason") == Some(&answer.code) && field("tgp-status").is_some(),
                    _ => false,
                };
                if !wanted {
                    answer.problem = Some(format!("not as a proxy knows it: {reply:?}"));
                }
            }
        }
        answer
    }
}

impl Shop {
    fn open(world: &World) -> Self {
        let deployment = &world.deployment;
        let operator = |args: &[&str]| deployment.operator_json(args);
        let add = "tool add shop --upstream http://127.0.0.1:9 --allow-private --resource https://shop.example/api";
        let actions = ["order=POST /orders", "list=GET /orders", "cancel=DELETE /orders/{id}"];
        let mut add: Vec<&str> = add.split(' ').collect();
        actions.iter().for_each(|action| add.extend(["--action", *action]));
        operator(&add);
        let issue = |tool: &str| {
            let made = operator(&["tool", "key", "issue", tool]);
            let text = |member: &str| made[member].as_str().expect(member).to_owned();
            (text("verifier_key"), text("key"))
        };
        let (key, _) = issue("shop");
        let (revoked, id) = issue("shop");
        operator(&["tool", "key", "revoke", "shop", &id]);
        let (mail, _) = issue("mail");

        let frozen = deployment.agent("frozen-bot");
        for agent in ["travel-bot", "other-bot", "frozen-bot"] {
            operator(&["grant", "add", agent, "shop", "--resource", SHOP, "--action", "*"]);
        }
        let token = |agent: &crate::wire::TestAgent| {
            let reply = agent.ask_with(&world.wire, &agent.master_key, "shop:order shop:list", SHOP);
            world.block(reply).ok().json()["access_token"].as_str().expect("a token").to_owned()
        };
        let given_up = token(&world.other);
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
        let form = format!("token={given_up}");
        let other = Some(&world.other.certificate);
        world.block(world.wire.send(other, "POST", "/oauth2/revoke", headers, form.as_bytes())).expect("sent").ok();
        let shop = Self {
            key,
            revoked,
            mail,
            token: token(&world.agent),
            given_up,
            frozen: (token(&frozen), frozen.identity),
        };
        deployment.operator(&["agent", "freeze", "frozen-bot"]);
        shop
    }
}

#[test]
fn what_tools_ask() {
    // Failures of whoever shows no key are counted against his address, and this is one address.
    let world = World::with("failures_per_minute = 100000\n");
    let shop = Shop::open(&world);
    run(&world, CASES, |world, with| {
        let mut ask = Ask::new(world, &shop);
        with(&mut ask);
        ask.send()
    });
}
