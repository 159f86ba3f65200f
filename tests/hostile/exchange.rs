//! Token exchange: a child that asks with what was or was not made out to it, and what it then does with its token.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::plan::Plan;
use crate::table::{Answer, Case, run};
use crate::wire::{ACCESS_TOKEN, EXCHANGE, TestAgent};
use crate::world::World;

/// A good exchange by `other`, of a token of `agent`'s for `mail:send` and `mail:list`, until a case changes it.
pub struct Ask<'w> {
    world: &'w World,
    child: &'w TestAgent,
    pair: String,
    form: Vec<(&'static str, String)>,
    certified: bool,
}

#[rustfmt::skip]
pub const CASES: &[Case<fn(&mut Ask<'_>)>] = &[
    ("a good exchange", |_| {}, 200, ""),
    ("of one of two actions", |a| a.add("scope", "mail:list"), 200, ""),
    ("with the resource said again", |a| { let resource = a.resource(); a.add("resource", &resource) }, 200, ""),
    ("by details, on some resources", |a| a.add("authorization_details", r#"[{"type":"tgp_tool","identifier":"mail","actions":["send"],"resources":["a/*"]}]"#), 200, ""),
    ("an access token asked for", |a| a.add("requested_token_type", ACCESS_TOKEN), 200, ""),
    ("made out to the next", |a| a.add("may_act", "0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d"), 200, ""),
    ("no subject_token", |a| a.drop("subject_token"), 400, "invalid_request request-malformed"),
    ("an empty subject_token", |a| a.set("subject_token", ""), 400, "invalid_request request-malformed"),
    ("two subject_tokens", |a| a.add("subject_token", "x"), 400, "invalid_request request-malformed"),
    ("no subject_token_type", |a| a.drop("subject_token_type"), 400, "invalid_request request-malformed"),
    ("a refresh token, it says", |a| a.set("subject_token_type", "urn:ietf:params:oauth:token-type:refresh_token"), 400, "invalid_request request-malformed"),
    ("a JWT, it says", |a| a.set("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"), 400, "invalid_request request-malformed"),
    ("an id token asked for", |a| a.add("requested_token_type", "urn:ietf:params:oauth:token-type:id_token"), 400, "invalid_request request-malformed"),
    ("an actor_token", |a| { let token = a.world.token.clone(); a.add("actor_token", &token) }, 400, "invalid_request request-malformed"),
    ("an actor_token_type alone", |a| a.add("actor_token_type", ACCESS_TOKEN), 400, "invalid_request request-malformed"),
    ("made out to nobody", |a| a.add("may_act", "someone"), 400, "invalid_request request-malformed"),
    ("made out to itself", |a| { let id = a.child.id.clone(); a.add("may_act", &id) }, 400, "invalid_request request-malformed"),
    ("a token that was only seen", |a| { let token = a.world.token.clone(); a.set("subject_token", &token) }, 400, "invalid_request delegation-refused"),
    ("a token made out to another", |a| { let token = a.made_out("0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d"); a.set("subject_token", &token) }, 400, "invalid_request delegation-refused"),
    ("a token made out to its holder's own child, by the holder", |a| { a.child = &a.world.agent; a.pair = pair(&a.world.agent) }, 400, "invalid_request delegation-refused"),
    ("the child's own token", |a| { let token = a.world.block(a.child.token(&a.world.wire, "mail", "send")); a.set("subject_token", &token) }, 400, "invalid_request delegation-refused"),
    ("a token that is none", |a| a.set("subject_token", "x"), 400, "invalid_request token-invalid"),
    ("a token of 9 KiB", |a| a.set("subject_token", &"x".repeat(9 * 1024)), 400, "invalid_request token-invalid"),
    ("a token spoiled", |a| { let token = a.subject(); a.set("subject_token", &format!("{}AAAA", &token[..token.len() - 4])) }, 400, "invalid_request token-invalid"),
    ("a token made out anew by the child", |a| { let token = a.respelled(); a.set("subject_token", &token) }, 400, "invalid_request token-invalid"),
    ("an action that the token has not", |a| a.add("scope", "mail:read"), 400, "invalid_scope scope-insufficient"),
    ("an action that its own grant has", |a| a.add("scope", "mail:send mail:delete"), 400, "invalid_scope scope-insufficient"),
    ("a scope with a star", |a| a.add("scope", "mail:*"), 400, "invalid_scope request-malformed"),
    ("another tool", |a| a.add("scope", "crm:send"), 400, "invalid_scope scope-insufficient"),
    ("another tool, by details", |a| a.add("authorization_details", r#"[{"type":"tgp_tool","identifier":"crm","actions":["send"]}]"#), 400, "invalid_authorization_details scope-insufficient"),
    ("another resource", |a| a.add("resource", "https://evil.example/t/mail"), 400, "invalid_target resource-refused"),
    ("both ways of asking", |a| { a.add("scope", "mail:send"); a.add("authorization_details", "[]") }, 400, "invalid_request request-malformed"),
    ("a wrong key", |a| a.pair = format!("{}AAAAAAAA", &a.pair[..a.pair.len() - 8]), 401, "invalid_client code-invalid"),
    ("the parent's key", |a| a.pair = pair(&a.world.agent), 401, "invalid_client certificate-mismatch"),
    ("the key in the form", |a| { let key = a.child.master_key.clone(); a.add("client_secret", &key) }, 400, "invalid_request request-malformed"),
    ("a client_id of the parent", |a| { let id = a.world.agent.id.clone(); a.add("client_id", &id) }, 400, "invalid_request request-malformed"),
    ("no certificate", |a| a.certified = false, 401, "invalid_client certificate-required"),
];

#[rustfmt::skip]
pub const USES: &[Case<fn(&mut Plan<'_>)>] = &[
    ("the child's call", |p| as_child(p, &delegated(p.world)), 200, ""),
    ("with the parent's token", |p| { let token = p.world.token.clone(); as_child(p, &token) }, 403, "certificate-mismatch"),
    ("with the token that was made out to it", |p| { let token = made_out(p.world, &p.world.other.id); as_child(p, &token) }, 403, "certificate-mismatch"),
    ("the parent with the child's token", |p| { let token = delegated(p.world); p.set("authorization", &format!("Bearer {token}")) }, 403, "certificate-mismatch"),
    ("signed by the parent", |p| { as_child(p, &delegated(p.world)); p.key = &p.world.agent.identity }, 400, "signature-invalid"),
    ("in the parent's name", |p| { as_child(p, &delegated(p.world)); p.key = &p.world.agent.identity; let keyid = format!("\"{}\"", p.key.public().keyid()); p.set_param("keyid", &keyid) }, 400, "signature-invalid"),
    ("on the parent's connection", |p| { as_child(p, &delegated(p.world)); p.certificate = Some(&p.world.agent.certificate) }, 403, "certificate-mismatch"),
    ("without a certificate", |p| { as_child(p, &delegated(p.world)); p.certificate = None }, 401, "certificate-required"),
    ("an action of the parent's that was not handed on", |p| { p.target = "/t/mail/messages/1".into(); p.method = "GET".into(); p.bodiless(); as_child(p, &delegated(p.world)) }, 403, "scope-insufficient"),
    ("an action of the child's own that was not handed on", |p| { p.target = "/t/mail/messages/1".into(); p.method = "DELETE".into(); p.bodiless(); as_child(p, &delegated(p.world)) }, 403, "scope-insufficient"),
];

fn as_child(plan: &mut Plan<'_>, token: &str) {
    let child = &plan.world.other;
    plan.certificate = Some(&child.certificate);
    plan.key = &child.identity;
    plan.set_param("keyid", &format!("\"{}\"", child.identity.public().keyid()));
    plan.set("authorization", &format!("Bearer {token}"));
}

fn made_out(world: &World, to: &str) -> String {
    let resource = format!("{}/t/mail", world.wire.issuer);
    world.block(world.agent.made_out(&world.wire, "mail:send mail:list", &resource, to))
}

fn delegated(world: &World) -> String {
    let handed = made_out(world, &world.other.id);
    let reply = world.block(world.other.exchange(&world.wire, &handed, &[("scope", "mail:send")]));
    reply.ok().json()["access_token"].as_str().expect("a token").to_owned()
}

fn pair(agent: &TestAgent) -> String {
    format!("{}:{}", agent.id, agent.master_key)
}

impl<'w> Ask<'w> {
    fn new(world: &'w World) -> Self {
        let child = &world.other;
        let form = [
            ("grant_type", EXCHANGE.to_owned()),
            ("subject_token", made_out(world, &child.id)),
            ("subject_token_type", ACCESS_TOKEN.to_owned()),
        ];
        Self { world, child, pair: pair(child), form: form.to_vec(), certified: true }
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

    fn resource(&self) -> String {
        format!("{}/t/mail", self.world.wire.issuer)
    }

    fn subject(&self) -> String {
        self.form[1].1.clone()
    }

    fn made_out(&self, to: &str) -> String {
        made_out(self.world, to)
    }

    /// A token that was only seen, with `may_act` written into it.
    fn respelled(&self) -> String {
        let parts: Vec<&str> = self.world.token.split('.').collect();
        let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).expect("base64url")).expect("text");
        let may_act = format!("{{\"may_act\":{{\"sub\":\"spiffe://tgp-dev.example/agent/{}\"}},", self.child.id);
        let claims = URL_SAFE_NO_PAD.encode(claims.replacen('{', &may_act, 1));
        format!("{}.{claims}.{}", parts[0], parts[2])
    }
}

fn attempt(world: &World, with: fn(&mut Ask<'_>)) -> Answer {
    let mut ask = Ask::new(world);
    with(&mut ask);
    let basic = format!("Basic {}", STANDARD.encode(&ask.pair));
    let form: Vec<(&str, &str)> = ask.form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let sent = ask.child.post_form_as(&world.wire, ask.certified, Some(&basic), &form);
    let reply = world.block(sent);
    let mut answer = Answer::of(&reply, ask.certified);
    if let Some(error) = reply.json()["error"].as_str() {
        answer.code = format!("{error} {}", answer.code);
    }
    answer.forwarded = false;
    answer
}

#[test]
fn the_exchange_of_tokens_and_what_is_done_with_them() {
    let world = World::start();
    run(&world, CASES, attempt);
    run(&world, USES, crate::plan::attempt);
}
