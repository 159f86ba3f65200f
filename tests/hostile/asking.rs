//! A question of a tool in the making: a request of an agent's, what the tool says of it, and who it says it is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tgp_request::jwk::IdentitySecret;
use tgp_request::signature::{Params, Tag, sign_request};

use crate::plan::sha256;
use crate::table::Answer;
use crate::wire::{nonce, now};
use crate::world::World;

/// Where `shop` is called: it asks by itself.
pub const SHOP: &str = "https://shop.example/api";

/// What is set up beside the world: a tool with its own URL, keys, tokens.
pub struct Shop {
    pub key: String,
    pub revoked: String,
    /// Of `mail`, which is behind the proxy.
    pub mail: String,
    /// `agent`'s for `shop:order` and `shop:list`.
    pub token: String,
    /// `other`'s, given up.
    pub given_up: String,
    /// Of an agent that was frozen since.
    pub frozen: (String, IdentitySecret),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Introspect,
    Revoke,
    Verify,
    ForwardAuth,
}

/// A good question about a good request, until a case changes it.
pub struct Ask<'w> {
    pub world: &'w World,
    pub shop: &'w Shop,
    pub door: Door,
    /// The agent's request.
    pub method: &'static str,
    pub uri: String,
    pub body: Vec<u8>,
    pub token: String,
    pub identity: &'w IdentitySecret,
    /// Seconds from now.
    pub window: (i64, i64),
    /// Fields that stand in the request after it was signed, and those that do not.
    pub more: Vec<(&'static str, String)>,
    pub less: Vec<&'static str>,
    /// How the tool shows who it is.
    pub login: Vec<(&'static str, String)>,
    /// What the proxy says.
    pub said: Vec<(&'static str, String)>,
    /// Whether the proxy passes the body on.
    pub passes: bool,
    /// Changes what is handed over.
    pub json: fn(&mut Value),
    /// In place of all that.
    pub raw: Option<(&'static str, Vec<u8>)>,
    pub asked: (&'static str, String),
    pub certified: bool,
    pub recorded: bool,
    /// The same again.
    pub twice: bool,
}

pub const BODY: &[u8] = br#"{"item":"umbrella"}"#;

/// The SPIFFE ID of the agent that a handed-over request's token is of.
pub fn agent(handed: &Value) -> String {
    let headers = handed["headers"].as_array().expect("pairs");
    let token = headers.iter().find(|pair| pair[0] == "authorization").and_then(|pair| pair[1].as_str());
    let claims = token.and_then(|token| token.split('.').nth(1)).expect("a token");
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).expect("base64url");
    let claims: Value = serde_json::from_slice(&claims).expect("claims");
    claims["sub"].as_str().expect("a subject").to_owned()
}

pub fn push(handed: &mut Value, name: &str, value: &str) {
    handed["headers"].as_array_mut().expect("pairs").push(json!([name, value]));
}

/// The token with another signature.
pub fn flipped(token: &str) -> String {
    let (rest, signature) = token.rsplit_once('.').expect("three parts");
    let turned = if signature.starts_with('A') { "B" } else { "A" };
    format!("{rest}.{turned}{}", &signature[1..])
}

impl<'w> Ask<'w> {
    pub fn new(world: &'w World, shop: &'w Shop) -> Self {
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

    pub fn key(&mut self, key: &str) {
        self.login = vec![("authorization", format!("Bearer {key}"))];
    }

    pub fn basic(&mut self, tool: &str) {
        let pair = STANDARD.encode(format!("{tool}:{}", self.shop.key));
        self.login = vec![("authorization", format!("Basic {pair}"))];
    }

    /// Nobody is known yet: it is counted, and not on record.
    pub fn unproven(&mut self) {
        self.recorded = false;
    }

    pub fn introspect(&mut self) {
        self.door = Door::Introspect;
        self.asked = ("POST", "/oauth2/introspect".to_owned());
        self.recorded = false;
        let token = self.shop.token.clone();
        self.form("token", &token);
    }

    pub fn revoke(&mut self, token: &str) {
        self.door = Door::Revoke;
        self.asked = ("POST", "/oauth2/revoke".to_owned());
        self.login.clear();
        self.certified = true;
        self.form("token", token);
    }

    pub fn form(&mut self, name: &str, value: &str) {
        self.raw_form(&format!("token_type_hint=refresh_token&{name}={value}"));
    }

    pub fn raw_form(&mut self, form: &str) {
        self.raw = Some(("application/x-www-form-urlencoded", form.as_bytes().to_vec()));
    }

    pub fn raw_json(&mut self, text: &str) {
        self.raw = Some(("application/json", text.as_bytes().to_vec()));
        self.unproven();
    }

    pub fn get(&mut self, path: &str) {
        (self.method, self.uri, self.body) = ("GET", format!("{SHOP}{path}"), Vec::new());
    }

    pub fn without(&mut self, field: &'static str) {
        self.less.push(field);
        self.unproven();
    }

    pub fn say(&mut self, name: &'static str, value: &str) {
        self.said.push((name, value.to_owned()));
    }

    pub fn unsay(&mut self, name: &str) {
        self.said.retain(|(other, _)| *other != name);
    }

    pub fn forward(&mut self) {
        self.get("/orders");
        self.forwarding("GET");
    }

    pub fn forward_post(&mut self) {
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
    pub fn plain(&mut self) {
        self.door = Door::Verify;
    }

    pub fn given_up(&mut self) {
        self.token = self.shop.given_up.clone();
        self.identity = &self.world.other.identity;
    }

    pub fn frozen(&mut self) {
        self.token = self.shop.frozen.0.clone();
        self.identity = &self.shop.frozen.1;
    }

    pub fn at_forward_auth_first(&mut self) {
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

    pub fn send(&self) -> Answer {
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
    pub fn open(world: &World) -> Self {
        let deployment = &world.deployment;
        let operator = |args: &[&str]| deployment.operator_json(args);
        let add = "tool add shop --upstream http://127.0.0.1:9 --allow-private --resource https://shop.example/api";
        let actions = ["order=POST /orders", "list=GET /orders", "cancel=DELETE /orders/{id}"];
        let mut add: Vec<&str> = add.split(' ').collect();
        actions.iter().for_each(|action| add.extend(["--action", *action]));
        // Means nothing here: what a tool hands over is judged whole.
        add.extend(["--stream", "order"]);
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
