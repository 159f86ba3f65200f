//! `private_key_jwt`: assertions that are another's, another issuer's, another time's, or were seen before.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tgp_request::jwk::IdentitySecret;

use crate::table::{Answer, Case, run};
use crate::wire::{TestAgent, nonce, now};
use crate::world::World;

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A good assertion, until a case changes it.
pub struct Ask<'w> {
    world: &'w World,
    /// Allowed both methods.
    agent: &'w TestAgent,
    header: Value,
    claims: Value,
    key: &'w IdentitySecret,
    kind: &'static str,
    basic: Option<String>,
    more: Vec<(&'static str, String)>,
    spell: fn(String) -> String,
    /// Sends it once before.
    twice: bool,
}

#[rustfmt::skip]
pub const CASES: &[Case<fn(&mut Ask<'_>)>] = &[
    ("a good assertion", |_| {}, 200, ""),
    ("with its kid", |a| { let kid = a.key.public().keyid().to_owned(); a.header["kid"] = json!(kid) }, 200, ""),
    ("without typ", |a| a.header = json!({ "alg": "ES256K" }), 200, ""),
    ("aud an array of one", |a| { let aud = a.claims["aud"].clone(); a.claims["aud"] = json!([aud]) }, 200, ""),
    ("client_id that says the same", |a| { let id = a.agent.id.clone(); a.more.push(("client_id", id)) }, 200, ""),
    ("a second time", |a| a.twice = true, 401, "invalid_client signature-replayed"),
    ("alg none", |a| a.header["alg"] = json!("none"), 401, "invalid_client code-invalid"),
    ("alg ES256", |a| a.header["alg"] = json!("ES256"), 401, "invalid_client code-invalid"),
    ("alg HS256", |a| a.header["alg"] = json!("HS256"), 401, "invalid_client code-invalid"),
    ("an access token's typ", |a| a.header["typ"] = json!("at+jwt"), 401, "invalid_client code-invalid"),
    ("crit", |a| a.header["crit"] = json!([]), 401, "invalid_client code-invalid"),
    ("another's kid", |a| { let kid = a.world.other.identity.public().keyid().to_owned(); a.header["kid"] = json!(kid) }, 401, "invalid_client code-invalid"),
    ("by another agent's key", |a| a.key = &a.world.other.identity, 401, "invalid_client code-invalid"),
    ("in another agent's name", |a| { let id = a.world.other.id.clone(); (a.claims["iss"], a.claims["sub"]) = (json!(id), json!(id)) }, 401, "invalid_client certificate-mismatch"),
    ("another agent's whole", |a| { let id = a.world.other.id.clone(); (a.claims["iss"], a.claims["sub"]) = (json!(id), json!(id)); a.key = &a.world.other.identity }, 401, "invalid_client certificate-mismatch"),
    ("iss of another", |a| { let id = a.world.other.id.clone(); a.claims["iss"] = json!(id) }, 401, "invalid_client code-invalid"),
    ("its SPIFFE ID as sub", |a| { let id = format!("spiffe://tgp-dev.example/agent/{}", a.agent.id); (a.claims["iss"], a.claims["sub"]) = (json!(id), json!(id)) }, 401, "invalid_client code-invalid"),
    ("no sub", |a| a.without("sub"), 401, "invalid_client code-invalid"),
    ("no iss", |a| a.without("iss"), 401, "invalid_client code-invalid"),
    ("no aud", |a| a.without("aud"), 401, "invalid_client code-invalid"),
    ("no exp", |a| a.without("exp"), 401, "invalid_client code-invalid"),
    ("no jti", |a| a.without("jti"), 401, "invalid_client code-invalid"),
    ("an empty jti", |a| a.claims["jti"] = json!(""), 401, "invalid_client code-invalid"),
    ("a jti of 257 characters", |a| a.claims["jti"] = json!("x".repeat(257)), 401, "invalid_client code-invalid"),
    ("aud the token endpoint", |a| { let aud = format!("{}/oauth2/token", a.world.wire.issuer); a.claims["aud"] = json!(aud) }, 401, "invalid_client code-invalid"),
    ("aud with a slash", |a| { let aud = format!("{}/", a.world.wire.issuer); a.claims["aud"] = json!(aud) }, 401, "invalid_client code-invalid"),
    ("aud of two", |a| { let aud = a.claims["aud"].clone(); a.claims["aud"] = json!([aud, "x"]) }, 401, "invalid_client code-invalid"),
    ("expired", |a| a.claims["exp"] = json!(now() - 1), 401, "invalid_client code-invalid"),
    ("of an hour", |a| a.claims["exp"] = json!(now() + 3600), 401, "invalid_client code-invalid"),
    ("exp beyond all integers", |a| a.claims["exp"] = json!(1e30), 401, "invalid_client code-invalid"),
    ("nbf of tomorrow", |a| a.claims["nbf"] = json!(now() + 86400), 401, "invalid_client code-invalid"),
    ("iat of tomorrow", |a| a.claims["iat"] = json!(now() + 86400), 401, "invalid_client code-invalid"),
    ("spoiled", |a| a.spell = |text| format!("{}AAAA", &text[..text.len() - 4]), 401, "invalid_client code-invalid"),
    ("with a fourth part", |a| a.spell = |text| text + ".x", 401, "invalid_client code-invalid"),
    ("with padding", |a| a.spell = |text| text + "==", 401, "invalid_client code-invalid"),
    ("without a signature", |a| a.spell = |text| text.rsplit_once('.').expect("three parts").0.to_owned() + ".", 401, "invalid_client code-invalid"),
    ("of 5 KiB", |a| a.claims["x"] = json!("x".repeat(5000)), 401, "invalid_client code-invalid"),
    ("nothing", |a| a.spell = |_| String::new(), 401, "invalid_client code-invalid"),
    ("another client_assertion_type", |a| a.kind = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer", 401, "invalid_client code-invalid"),
    ("no client_assertion_type", |a| a.kind = "", 401, "invalid_client code-invalid"),
    ("two assertions", |a| a.more.push(("client_assertion", "x".into())), 400, "invalid_request request-malformed"),
    ("the master key beside it", |a| a.basic = Some(format!("Basic {}", STANDARD.encode(format!("{}:{}", a.agent.id, a.agent.master_key)))), 400, "invalid_request request-malformed"),
    ("client_secret beside it", |a| a.more.push(("client_secret", "x".into())), 401, "invalid_client code-invalid"),
    ("client_id of another", |a| { let id = a.world.other.id.clone(); a.more.push(("client_id", id)) }, 400, "invalid_request request-malformed"),
    ("by an agent whose record does not allow it", |a| { let agent = &a.world.agent; a.agent = agent; a.key = &agent.identity; (a.claims["iss"], a.claims["sub"]) = (json!(agent.id), json!(agent.id)) }, 401, "invalid_client code-invalid"),
];

impl<'w> Ask<'w> {
    fn new(world: &'w World, agent: &'w TestAgent) -> Self {
        let claims = json!({
            "iss": agent.id, "sub": agent.id, "aud": world.wire.issuer, "exp": now() + 60, "iat": now(), "jti": nonce(),
        });
        Self {
            world,
            agent,
            header: json!({ "alg": "ES256K", "typ": "JWT" }),
            claims,
            key: &agent.identity,
            kind: TYPE,
            basic: None,
            more: Vec::new(),
            spell: |text| text,
            twice: false,
        }
    }

    fn without(&mut self, claim: &str) {
        self.claims.as_object_mut().expect("an object").remove(claim);
    }

    fn text(&self) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(&self.header), encode(&self.claims));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(message.as_bytes()));
        (self.spell)(format!("{message}.{signature}"))
    }
}

fn attempt(world: &World, agent: &TestAgent, with: fn(&mut Ask<'_>)) -> Answer {
    let mut ask = Ask::new(world, agent);
    with(&mut ask);
    let (text, resource) = (ask.text(), format!("{}/t/mail", world.wire.issuer));
    let mut form = vec![
        ("grant_type", "client_credentials"),
        ("scope", "mail:send"),
        ("resource", &resource),
        ("client_assertion_type", ask.kind),
        ("client_assertion", &text),
    ];
    form.extend(ask.more.iter().map(|(name, value)| (*name, value.as_str())));
    let send = || world.block(ask.agent.post_form(&world.wire, ask.basic.as_deref(), &form));
    if ask.twice {
        send().ok();
    }
    let reply = send();
    let mut answer = Answer::of(&reply, true);
    if let Some(error) = reply.json()["error"].as_str() {
        answer.code = format!("{error} {}", answer.code);
    }
    answer.forwarded = false;
    answer
}

#[test]
fn assertions_at_the_token_endpoint() {
    let world = World::start();
    let methods = ["--method", "client_secret_basic", "--method", "private_key_jwt"];
    let agent = world.deployment.agent_with("asserting-bot", &methods);
    world.deployment.grant("asserting-bot", "mail", &["send"]);
    run(&world, CASES, |world, with| attempt(world, &agent, with));
}
