//! A signed request in the making. It signs by itself, after RFC 9421 and with no code of the product but the key's: what
//! `tgp-request` would never sign is what the tables need.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256, Sha512};
use tgp_request::jwk::IdentitySecret;

use crate::table::Answer;
use crate::wire::{Certificate, nonce, now};
use crate::world::World;

/// A covered component: its identifier as it is written, and its value where it is not the plain one.
pub struct Component {
    pub identifier: String,
    pub value: Option<String>,
}

/// A good `POST /messages`, until a case changes it.
pub struct Plan<'w> {
    pub world: &'w World,
    pub method: String,
    pub target: String,
    pub fields: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    pub label: String,
    pub components: Vec<Component>,
    /// Names and values as they are written.
    pub params: Vec<(String, String)>,
    pub key: &'w IdentitySecret,
    pub certificate: Option<&'w Certificate>,
    pub http2: bool,
    /// Changes r‖s after signing.
    pub forge: fn([u8; 64]) -> Vec<u8>,
    /// Respells the value of `signature-input`, after signing.
    pub spell: fn(String) -> String,
    /// Respells the value of `signature`.
    pub spell_signature: fn(String) -> String,
    /// Changes the request after it was signed.
    pub after: fn(&mut Plan<'_>),
}

pub const BODY: &[u8] = br#"{"to":"ada","text":"hello"}"#;

pub fn sha256(content: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(content)))
}

pub fn sha512(content: &[u8]) -> String {
    format!("sha-512=:{}:", STANDARD.encode(Sha512::digest(content)))
}

impl<'w> Plan<'w> {
    pub fn new(world: &'w World) -> Self {
        let created = now();
        let keyid = world.agent.identity.public().keyid();
        let mut plan = Self {
            world,
            method: "POST".to_owned(),
            target: "/t/mail/messages".to_owned(),
            fields: Vec::new(),
            body: BODY.to_vec(),
            label: "sig".to_owned(),
            components: Vec::new(),
            params: Vec::new(),
            key: &world.agent.identity,
            certificate: Some(&world.agent.certificate),
            http2: false,
            forge: |signature| signature.to_vec(),
            spell: |input| input,
            spell_signature: |signature| signature,
            after: |_| {},
        };
        plan.add("authorization", &format!("Bearer {}", world.token));
        plan.add("content-type", "application/json");
        plan.add("content-digest", &sha256(BODY));
        for name in ["@method", "@target-uri", "content-type", "content-digest", "authorization"] {
            plan.cover(name);
        }
        plan.param("created", &created.to_string());
        plan.param("expires", &(created + 60).to_string());
        plan.param("nonce", &format!("\"{}\"", nonce()));
        plan.param("keyid", &format!("\"{keyid}\""));
        plan.param("tag", "\"tgp-request\"");
        plan
    }

    /// A `GET` of a path below the tool, without a body; the token is for `list` and `read`.
    pub fn get(world: &'w World, target: &str, token: &str) -> Self {
        let mut plan = Self::new(world);
        plan.method = "GET".to_owned();
        plan.target = target.to_owned();
        plan.bodiless();
        plan.set("authorization", &format!("Bearer {token}"));
        plan
    }

    pub fn bodiless(&mut self) {
        self.body.clear();
        for name in ["content-type", "content-digest"] {
            self.remove(name);
            self.uncover(name);
        }
    }

    pub fn add(&mut self, name: &str, value: &str) {
        self.fields.push((name.to_owned(), value.as_bytes().to_vec()));
    }

    pub fn remove(&mut self, name: &str) {
        self.fields.retain(|(other, _)| other != name);
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.add(name, value);
    }

    pub fn cover(&mut self, name: &str) {
        self.components.push(Component { identifier: format!("\"{name}\""), value: None });
    }

    /// Covers a component whose value the case knows.
    pub fn cover_as(&mut self, identifier: &str, value: &str) {
        self.components.push(Component { identifier: identifier.to_owned(), value: Some(value.to_owned()) });
    }

    pub fn uncover(&mut self, name: &str) {
        let identifier = format!("\"{name}\"");
        self.components.retain(|component| component.identifier != identifier);
    }

    /// Writes a component otherwise, its value as it was.
    pub fn respell(&mut self, name: &str, identifier: &str) {
        let (plain, value) = (format!("\"{name}\""), self.value(name));
        for component in self.components.iter_mut().filter(|component| component.identifier == plain) {
            *component = Component { identifier: identifier.to_owned(), value: Some(value.clone()) };
        }
    }

    pub fn param(&mut self, name: &str, value: &str) {
        self.params.push((name.to_owned(), value.to_owned()));
    }

    pub fn drop_param(&mut self, name: &str) {
        self.params.retain(|(other, _)| other != name);
    }

    pub fn set_param(&mut self, name: &str, value: &str) {
        for (_, old) in self.params.iter_mut().filter(|(other, _)| other == name) {
            value.clone_into(old);
        }
    }

    /// A window from `from` to `to`, in seconds from now.
    pub fn window(&mut self, from: i64, to: i64) {
        let now = now();
        self.set_param("created", &(now + from).to_string());
        self.set_param("expires", &(now + to).to_string());
    }

    /// The plain value of a component: RFC 9421 §2.1 and §2.2.
    pub fn value(&self, name: &str) -> String {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        match name {
            "@method" => self.method.clone(),
            "@target-uri" => format!("{}{}", self.world.wire.issuer, self.target),
            "@authority" => self.world.wire.issuer.trim_start_matches("https://").to_owned(),
            "@scheme" => "https".to_owned(),
            "@request-target" => self.target.clone(),
            "@path" => path.to_owned(),
            "@query" => format!("?{query}"),
            name => {
                let lines = self.fields.iter().filter(|(other, _)| other == name);
                let lines: Vec<_> = lines.map(|(_, value)| String::from_utf8_lossy(value).trim().to_owned()).collect();
                lines.join(", ")
            }
        }
    }

    fn parameters(&self) -> String {
        let identifiers: Vec<&str> = self.components.iter().map(|it| it.identifier.as_str()).collect();
        let params: String = self
            .params
            .iter()
            .map(|(name, value)| match value.as_str() {
                "" => format!(";{name}"),
                value => format!(";{name}={value}"),
            })
            .collect();
        format!("({}){params}", identifiers.join(" "))
    }

    /// Adds `signature-input` and `signature` beside what is there.
    pub fn sign(&mut self) {
        let parameters = self.parameters();
        let mut base = String::new();
        for Component { identifier, value } in &self.components {
            let plain = identifier.trim_matches('"');
            let value = value.clone().unwrap_or_else(|| self.value(plain));
            base.push_str(&format!("{identifier}: {value}\n"));
        }
        base.push_str(&format!("\"@signature-params\": {parameters}"));
        let signature = (self.forge)(self.key.sign(base.as_bytes()));
        let input = (self.spell)(format!("{}={parameters}", self.label));
        let signature = (self.spell_signature)(format!("{}=:{}:", self.label, STANDARD.encode(signature)));
        self.add("signature-input", &input);
        self.add("signature", &signature);
    }

    /// Sends it once, well: what comes after meets its nonce again.
    pub fn use_up(&mut self) {
        self.sign();
        assert_eq!(self.send().status, 200, "the first of two");
        self.world.spent.set(self.world.spent.get() + 1);
        self.remove("signature");
        self.remove("signature-input");
    }

    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.fields {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a field name");
            headers.append(name, HeaderValue::from_bytes(value).expect("a field value"));
        }
        headers
    }

    /// Sends the request as it is now.
    pub fn send(&self) -> Answer {
        let wire = crate::wire::Wire { http2: self.http2, ..self.world.wire.clone() };
        let sent = wire.send(self.certificate, &self.method, &self.target, self.headers(), &self.body);
        match self.world.block(sent) {
            // The tool's own answers have no code; one that it gave is a request that was accepted.
            Ok(mut reply) => {
                if (200..300).contains(&reply.status) {
                    reply.status = 200;
                }
                Answer::of(&reply, self.certificate.is_some())
            }
            Err(error) => Answer::none(error),
        }
    }
}

/// Changes, signs, changes again, sends.
pub fn attempt(world: &World, with: fn(&mut Plan<'_>)) -> Answer {
    let mut plan = Plan::new(world);
    with(&mut plan);
    plan.sign();
    let after = plan.after;
    after(&mut plan);
    plan.send()
}
