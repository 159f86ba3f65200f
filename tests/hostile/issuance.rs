//! The token endpoint. Codes are RFC 6749's name and ours.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::table::{Answer, Case, run};
use crate::wire::Draft;
use crate::world::World;

/// A good request for `mail:send`, until a case changes it.
pub struct Ask<'w> {
    pub world: &'w World,
    method: &'static str,
    target: &'static str,
    /// Before base64.
    pair: String,
    fields: Vec<(&'static str, String)>,
    form: Vec<(&'static str, String)>,
    /// In place of the form.
    body: Option<Vec<u8>>,
    certified: bool,
    recorded: bool,
}

#[rustfmt::skip]
pub const CASES: &[Case<fn(&mut Ask<'_>)>] = &[
    ("a good request", |_| {}, 200, ""),
    ("by details", |a| a.details(r#"[{"type":"tgp_tool","identifier":"mail","actions":["send"]}]"#), 200, ""),
    ("user and password form-encoded", |a| a.pair = a.pair.replace('-', "%2D").replace('_', "%5F"), 200, ""),
    ("the scheme in capitals", |a| { let value = a.basic().replace("Basic", "BASIC"); a.field("authorization", &value) }, 200, ""),
    ("client_id that says the same", |a| { let id = a.world.agent.id.clone(); a.add("client_id", &id) }, 200, ""),
    ("a parameter that nobody knows", |a| a.add("audience", "x"), 200, ""),
    ("a scope asked for twice", |a| a.set("scope", "mail:send mail:send"), 200, ""),
    ("no authorization", |a| a.field("authorization", ""), 401, "invalid_client code-invalid"),
    ("bearer in place of basic", |a| a.field("authorization", "Bearer x"), 401, "invalid_client code-invalid"),
    ("basic without a pair", |a| a.field("authorization", "Basic"), 401, "invalid_client code-invalid"),
    ("basic that is not base64", |a| a.field("authorization", "Basic %%%"), 401, "invalid_client code-invalid"),
    ("basic in base64url", |a| { let value = format!("Basic {}", URL_SAFE_NO_PAD.encode(format!("{}\u{3f}\u{3e}", a.pair))); a.field("authorization", &value) }, 401, "invalid_client code-invalid"),
    ("basic with something after it", |a| { let value = a.basic() + " x"; a.field("authorization", &value) }, 401, "invalid_client code-invalid"),
    ("two authorizations", |a| { let value = a.basic(); a.fields.push(("authorization", value.clone())); a.fields.push(("authorization", value)) }, 400, "invalid_request request-malformed"),
    ("no colon in the pair", |a| a.pair = a.pair.replace(':', ""), 401, "invalid_client code-invalid"),
    ("an empty password", |a| a.pair = format!("{}:", a.world.agent.id), 401, "invalid_client code-invalid"),
    ("an empty user", |a| a.pair = format!(":{}", a.world.agent.master_key), 401, "invalid_client code-invalid"),
    ("the user in capitals", |a| a.pair = format!("{}:{}", a.world.agent.id.to_uppercase(), a.world.agent.master_key), 401, "invalid_client code-invalid"),
    ("another agent's user and key", |a| a.pair = format!("{}:{}", a.world.other.id, a.world.other.master_key), 401, "invalid_client certificate-mismatch"),
    ("another agent's key", |a| a.pair = format!("{}:{}", a.world.agent.id, a.world.other.master_key), 401, "invalid_client code-invalid"),
    ("a key of the right form that is not the agent's", |a| a.pair = a.wrong_key(), 401, "invalid_client code-invalid"),
    ("a wrong key for a tool without a grant, which is not told", |a| { a.pair = a.wrong_key(); a.set("scope", "none:send"); a.set("resource", "x") }, 401, "invalid_client code-invalid"),
    ("a wrong key for an action without a grant, which is not told", |a| { a.pair = a.wrong_key(); a.set("scope", "mail:delete") }, 401, "invalid_client code-invalid"),
    ("a wrong key for another resource, which is not told", |a| { a.pair = a.wrong_key(); a.set("resource", "https://evil.example/t/mail") }, 401, "invalid_client code-invalid"),
    ("a key of the next generation", |a| a.pair = a.pair.replace("_1.1_", "_1.2_"), 401, "invalid_client code-invalid"),
    ("a key of another root", |a| a.pair = a.pair.replace("_1.1_", "_2.1_"), 401, "invalid_client code-invalid"),
    ("a key with a leading zero in its version", |a| a.pair = a.pair.replace("_1.1_", "_01.1_"), 401, "invalid_client code-invalid"),
    ("a key cut short", |a| { a.pair.pop(); }, 401, "invalid_client code-invalid"),
    ("a key with a space behind it", |a| a.pair.push(' '), 401, "invalid_client code-invalid"),
    ("a pair that is not UTF-8", |a| { let value = format!("Basic {}", STANDARD.encode(b"\xff:\xff")); a.field("authorization", &value) }, 401, "invalid_client code-invalid"),
    ("the key in the form", |a| { let key = a.world.agent.master_key.clone(); a.field("authorization", ""); a.add("client_secret", &key) }, 401, "invalid_client code-invalid"),
    ("the key in the form and in the header", |a| { let key = a.world.agent.master_key.clone(); a.add("client_secret", &key) }, 400, "invalid_request request-malformed"),
    ("an assertion beside the key", |a| a.add("client_assertion", "x"), 400, "invalid_request request-malformed"),
    ("a client_id of another agent", |a| { let id = a.world.other.id.clone(); a.add("client_id", &id) }, 400, "invalid_request request-malformed"),
    ("no certificate", |a| { a.certified = false; a.recorded = false }, 401, "invalid_client certificate-required"),
    ("no grant_type", |a| a.drop("grant_type"), 400, "invalid_request request-malformed"),
    ("an empty grant_type", |a| a.set("grant_type", ""), 400, "invalid_request request-malformed"),
    ("grant_type password", |a| a.set("grant_type", "password"), 400, "unsupported_grant_type request-malformed"),
    ("grant_type authorization_code", |a| a.set("grant_type", "authorization_code"), 400, "unsupported_grant_type request-malformed"),
    ("grant_type in capitals", |a| a.set("grant_type", "CLIENT_CREDENTIALS"), 400, "unsupported_grant_type request-malformed"),
    ("grant_type twice", |a| a.add("grant_type", "client_credentials"), 400, "invalid_request request-malformed"),
    ("grant_type token exchange, without a token", |a| a.set("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"), 400, "invalid_request request-malformed"),
    ("made out to nobody", |a| a.add("may_act", "x"), 400, "invalid_request request-malformed"),
    ("made out to itself", |a| { let id = a.world.agent.id.clone(); a.add("may_act", &id) }, 400, "invalid_request request-malformed"),
    ("neither way of asking", |a| { a.drop("scope"); a.drop("resource") }, 400, "invalid_request request-malformed"),
    ("both ways of asking", |a| a.add("authorization_details", "[]"), 400, "invalid_request request-malformed"),
    ("no scope", |a| a.drop("scope"), 400, "invalid_scope request-malformed"),
    ("no resource", |a| a.drop("resource"), 400, "invalid_target request-malformed"),
    ("two resources", |a| a.add("resource", "https://x.example"), 400, "invalid_target request-malformed"),
    ("two scopes", |a| a.add("scope", "mail:list"), 400, "invalid_request request-malformed"),
    ("a scope of spaces", |a| a.set("scope", "  "), 400, "invalid_scope request-malformed"),
    ("a scope without an action", |a| a.set("scope", "mail"), 400, "invalid_scope request-malformed"),
    ("a scope with an empty action", |a| a.set("scope", "mail:"), 400, "invalid_scope request-malformed"),
    ("a scope with a star", |a| a.set("scope", "mail:*"), 400, "invalid_scope request-malformed"),
    ("a scope with a line's end", |a| a.set("scope", "mail:send\r\nx"), 400, "invalid_scope request-malformed"),
    ("a scope with a tab between", |a| a.set("scope", "mail:send\tmail:list"), 400, "invalid_scope request-malformed"),
    ("scopes of two tools", |a| a.set("scope", "mail:send other:send"), 400, "invalid_scope request-malformed"),
    ("a scope of sixty-five actions", |a| { let scope: Vec<String> = (0..65).map(|n| format!("mail:a{n}")).collect(); a.set("scope", &scope.join(" ")) }, 400, "invalid_scope request-malformed"),
    ("a scope of two thousand actions", |a| { let scope: Vec<String> = (0..2000).map(|n| format!("mail:{n:x}")).collect(); a.set("scope", &scope.join(" ")) }, 400, "invalid_scope request-malformed"),
    ("a tool without a grant", |a| a.of_crm(), 400, "invalid_scope grant-missing"),
    ("a tool without a grant, by details", |a| a.details(r#"[{"type":"tgp_tool","identifier":"crm","actions":["go"]}]"#), 400, "invalid_authorization_details grant-missing"),
    ("a wrong key for a tool without a grant at all, which is not told", |a| { a.pair = a.wrong_key(); a.of_crm() }, 401, "invalid_client code-invalid"),
    ("an action without a grant", |a| a.set("scope", "mail:delete"), 400, "invalid_scope scope-insufficient"),
    ("one of two actions without a grant", |a| a.set("scope", "mail:send mail:delete"), 400, "invalid_scope scope-insufficient"),
    ("a tool that does not exist", |a| a.set("scope", "none:send"), 400, "invalid_target tool-unknown"),
    ("another resource", |a| a.set("resource", "https://evil.example/t/mail"), 400, "invalid_target resource-refused"),
    ("the resource with a slash", |a| { let resource = format!("{}/t/mail/", a.world.wire.issuer); a.set("resource", &resource) }, 400, "invalid_target resource-refused"),
    ("the resource with a fragment", |a| { let resource = format!("{}/t/mail#x", a.world.wire.issuer); a.set("resource", &resource) }, 400, "invalid_target resource-refused"),
    ("the resource in capitals", |a| { let resource = format!("{}/T/MAIL", a.world.wire.issuer); a.set("resource", &resource) }, 400, "invalid_target resource-refused"),
    ("details that are not JSON", |a| a.details("x"), 400, "invalid_authorization_details request-malformed"),
    ("details that are an object", |a| a.details(r#"{"type":"tgp_tool","identifier":"mail","actions":["send"]}"#), 400, "invalid_authorization_details request-malformed"),
    ("no detail", |a| a.details("[]"), 400, "invalid_authorization_details request-malformed"),
    ("two details", |a| a.details(r#"[{"type":"tgp_tool","identifier":"mail","actions":["send"]},{"type":"tgp_tool","identifier":"mail","actions":["list"]}]"#), 400, "invalid_authorization_details request-malformed"),
    ("details of another type", |a| a.details(r#"[{"type":"payment","identifier":"mail","actions":["send"]}]"#), 400, "invalid_authorization_details request-malformed"),
    ("details without actions", |a| a.details(r#"[{"type":"tgp_tool","identifier":"mail"}]"#), 400, "invalid_authorization_details request-malformed"),
    ("details with no action", |a| a.details(r#"[{"type":"tgp_tool","identifier":"mail","actions":[]}]"#), 400, "invalid_authorization_details request-malformed"),
    ("details with a star", |a| a.details(r#"[{"type":"tgp_tool","identifier":"mail","actions":["*"]}]"#), 400, "invalid_authorization_details request-malformed"),
    ("details with a member twice", |a| a.details(r#"[{"type":"tgp_tool","identifier":"none","identifier":"mail","actions":["send"]}]"#), 400, "invalid_authorization_details request-malformed"),
    ("details with a member that nobody knows", |a| a.details(r#"[{"type":"tgp_tool","identifier":"mail","actions":["send"],"datatypes":["x"]}]"#), 400, "invalid_authorization_details request-malformed"),
    ("details with a resource", |a| a.details(r#"[{"type":"tgp_tool","identifier":"mail","actions":["send"],"resources":["x/*"]}]"#), 200, ""),
    ("details with no resource", |a| a.details(r#"[{"type":"tgp_tool","identifier":"mail","actions":["send"],"resources":[]}]"#), 400, "invalid_authorization_details request-malformed"),
    ("details with a resource that climbs", |a| a.details(r#"[{"type":"tgp_tool","identifier":"mail","actions":["send"],"resources":["a/%2e%2E/b"]}]"#), 400, "invalid_authorization_details request-malformed"),
    ("details with half a star", |a| a.details(r#"[{"type":"tgp_tool","identifier":"mail","actions":["send"],"resources":["octo*"]}]"#), 400, "invalid_authorization_details request-malformed"),
    ("details with seventeen resources", |a| { let many: Vec<String> = (0..17).map(|n| format!("\"r{n}\"")).collect(); a.details(&format!(r#"[{{"type":"tgp_tool","identifier":"mail","actions":["send"],"resources":[{}]}}]"#, many.join(","))) }, 400, "invalid_authorization_details request-malformed"),
    ("details with two thousand resources", |a| { let many: Vec<String> = (0..2000).map(|n| format!("\"{n:x}\"")).collect(); a.details(&format!(r#"[{{"type":"tgp_tool","identifier":"mail","actions":["send"],"resources":[{}]}}]"#, many.join(","))) }, 400, "invalid_authorization_details request-malformed"),
    ("details as a sequence in place of an object", |a| a.details(r#"[["tgp_tool","mail",["send"]]]"#), 400, "invalid_authorization_details request-malformed"),
    ("details with two locations", |a| a.details(r#"[{"type":"tgp_tool","identifier":"mail","actions":["send"],"locations":["a","b"]}]"#), 400, "invalid_authorization_details request-malformed"),
    ("details with another location", |a| a.details(r#"[{"type":"tgp_tool","identifier":"mail","actions":["send"],"locations":["https://evil.example"]}]"#), 400, "invalid_authorization_details resource-refused"),
    ("details of great depth", |a| a.details(&format!("{}{}", "[".repeat(5000), "]".repeat(5000))), 400, "invalid_authorization_details request-malformed"),
    ("details with a huge number", |a| a.details(r#"[{"type":"tgp_tool","identifier":1e400,"actions":["send"]}]"#), 400, "invalid_authorization_details request-malformed"),
    ("details of an action without a grant", |a| a.details(r#"[{"type":"tgp_tool","identifier":"mail","actions":["delete"]}]"#), 400, "invalid_authorization_details scope-insufficient"),
    ("details of a tool that does not exist", |a| a.details(r#"[{"type":"tgp_tool","identifier":"none","actions":["send"]}]"#), 400, "invalid_authorization_details tool-unknown"),
    ("a form with a malformed escape", |a| a.body = Some(b"grant_type=%zz".to_vec()), 400, "invalid_request request-malformed"),
    ("a form that is not UTF-8", |a| a.body = Some(b"grant_type=\xff".to_vec()), 400, "invalid_request request-malformed"),
    ("a form that is not UTF-8, escaped", |a| a.body = Some(b"grant_type=%ff".to_vec()), 400, "invalid_request request-malformed"),
    ("no form", |a| a.body = Some(Vec::new()), 400, "invalid_request request-malformed"),
    ("JSON", |a| { a.field("content-type", "application/json"); a.body = Some(b"{}".to_vec()) }, 400, "invalid_request request-malformed"),
    ("multipart", |a| a.field("content-type", "multipart/form-data; boundary=x"), 400, "invalid_request request-malformed"),
    ("no content-type", |a| a.fields.retain(|(name, _)| *name != "content-type"), 400, "invalid_request request-malformed"),
    ("two content-types", |a| a.fields.push(("content-type", "application/x-www-form-urlencoded".into())), 400, "invalid_request request-malformed"),
    ("a form of 65 KiB", |a| { let long = "x".repeat(65 * 1024); a.add("x", &long) }, 413, "invalid_request body-too-large"),
    ("the parameters in the query", |a| { a.target = "/oauth2/token?grant_type=client_credentials"; a.drop("grant_type") }, 400, "invalid_request request-malformed"),
    ("GET", |a| a.method = "GET", 405, "invalid_request method-not-allowed"),
    ("PUT", |a| a.method = "PUT", 405, "invalid_request method-not-allowed"),
    ("POST of the keys", |a| a.target = "/oauth2/jwks", 405, "invalid_request method-not-allowed"),
    ("an endpoint that is not built", |a| a.target = "/oauth2/par", 404, "invalid_request not-found"),
    ("a slash behind the endpoint", |a| a.target = "/oauth2/token/", 404, "invalid_request not-found"),
    ("headers of 65 KiB", |a| { let long = "x".repeat(65 * 1024); a.field("x-trip", &long) }, 431, "invalid_request headers-too-large"),
];

impl<'w> Ask<'w> {
    pub fn new(world: &'w World) -> Self {
        let resource = format!("{}/t/mail", world.wire.issuer);
        let form = [("grant_type", "client_credentials"), ("scope", "mail:send"), ("resource", &resource)];
        Self {
            world,
            method: "POST",
            target: "/oauth2/token",
            pair: format!("{}:{}", world.agent.id, world.agent.master_key),
            fields: vec![("content-type", "application/x-www-form-urlencoded".to_owned())],
            form: form.map(|(name, value)| (name, value.to_owned())).to_vec(),
            body: None,
            certified: true,
            recorded: true,
        }
    }

    fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(&self.pair))
    }

    /// The agent's user with a key whose last characters are others.
    fn wrong_key(&self) -> String {
        format!("{}{}", &self.pair[..self.pair.len() - 8], "AAAAAAAA")
    }

    fn field(&mut self, name: &'static str, value: &str) {
        self.fields.retain(|(other, _)| *other != name);
        self.fields.push((name, value.to_owned()));
    }

    fn add(&mut self, name: &'static str, value: &str) {
        self.form.push((name, value.to_owned()));
    }

    fn drop(&mut self, name: &str) {
        self.form.retain(|(other, _)| *other != name);
    }

    fn set(&mut self, name: &'static str, value: &str) {
        self.drop(name);
        self.add(name, value);
    }

    fn of_crm(&mut self) {
        let resource = format!("{}/t/crm", self.world.wire.issuer);
        self.set("scope", "crm:go");
        self.set("resource", &resource);
    }

    fn details(&mut self, details: &str) {
        self.drop("scope");
        self.drop("resource");
        self.add("authorization_details", details);
    }

    pub fn draft(&self) -> Draft {
        let mut draft = self.world.draft(self.method, self.target);
        let escape = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let pairs: Vec<String> = self.form.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
        draft.body = self.body.clone().unwrap_or_else(|| pairs.join("&").into_bytes());
        let mut fields = self.fields.clone();
        if !fields.iter().any(|(name, _)| *name == "authorization") {
            fields.push(("authorization", self.basic()));
        }
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
            draft.headers.append(*name, http::HeaderValue::from_str(value).expect("a value"));
        }
        draft
    }
}

fn attempt(world: &World, with: fn(&mut Ask<'_>)) -> Answer {
    let mut ask = Ask::new(world);
    with(&mut ask);
    let Draft { method, target, headers, body } = ask.draft();
    let certificate = ask.certified.then_some(&world.agent.certificate);
    let reply = world.block(world.wire.send(certificate, &method, &target, headers, &body)).expect("an answer");
    let mut answer = Answer::of(&reply, ask.recorded);
    if let Some(error) = reply.json()["error"].as_str() {
        answer.code = format!("{error} {}", answer.code);
    }
    answer.forwarded = false;
    answer
}

#[test]
fn the_token_endpoint() {
    let world = World::start();
    let upstream = format!("http://127.0.0.1:{}", world.deployment.stack.ports().tool);
    world.deployment.operator(&[
        "tool",
        "add",
        "crm",
        "--upstream",
        &upstream,
        "--allow-private",
        "--action",
        "go=GET /go",
    ]);
    run(&world, CASES, attempt);
}
