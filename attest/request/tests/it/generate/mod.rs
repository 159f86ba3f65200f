//! Makes the vector files: requests with deterministic keys, signed by an independent and naive
//! builder of signature bases, so that the crate is not tested against itself.

pub mod accepted;
pub mod refused_request;
pub mod refused_token;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use p256::ecdsa::signature::Signer as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tgp_request::jwk::{IdentitySecret, Jwk};
use tgp_request::signature::Tag;
use tgp_request::token::{AuthorizationDetail, Claims, Confirmation, Jwks, TokenKey, TokenKeys, scope_text};

pub const NOW: i64 = 1_795_000_020;
pub const CREATED: i64 = 1_795_000_010;
pub const ISSUER: &str = "https://gw.tgp.example";
pub const RESOURCE: &str = "https://gw.tgp.example/t/mail";
pub const MESSAGES: &str = "https://gw.tgp.example/t/mail/messages";
pub const BODY: &str = r#"{"to":"a@example.org","text":"hello"}"#;
pub const NONCE: &str = "8IBTHwOdqNKAWeKl7plt8g";

/// One file: what a verifier is set up with, and requests with what must become of them.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
pub struct File {
    pub note: String,
    pub issuer: String,
    pub jwks: Jwks,
    pub cases: Vec<Case>,
}

#[derive(Clone, Serialize, Deserialize, PartialEq, Debug)]
pub struct Case {
    pub name: String,
    /// `accepted`, or the code of the refusal.
    pub expect: String,
    pub tag: String,
    /// The verifier's clock.
    pub now: i64,
    /// The key that the verifier knows, for the tags that go without an access token.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub jwk: Option<Jwk>,
    pub method: String,
    pub target_uri: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signature_base: Option<String>,
}

pub fn scalar(seed: &str) -> [u8; 32] {
    Sha256::digest(seed).into()
}

pub fn agent() -> IdentitySecret {
    IdentitySecret::from_bytes(&scalar("TGP test agent key 1")).unwrap()
}

pub fn other_agent() -> IdentitySecret {
    IdentitySecret::from_bytes(&scalar("TGP test agent key 2")).unwrap()
}

pub fn code_key() -> IdentitySecret {
    IdentitySecret::from_bytes(&scalar("TGP test enrolment code key 1")).unwrap()
}

pub fn gateway(seed: &str) -> p256::ecdsa::SigningKey {
    p256::ecdsa::SigningKey::from_slice(&scalar(seed)).unwrap()
}

pub fn gateway_public(seed: &str) -> TokenKey {
    TokenKey::from_sec1(gateway(seed).verifying_key().to_sec1_point(false).as_bytes()).unwrap()
}

pub const GATEWAY_SEED: &str = "TGP test gateway key 1";

pub fn jwks() -> Jwks {
    TokenKeys::new([gateway_public(GATEWAY_SEED), gateway_public("TGP test gateway key 2")]).to_jwks()
}

pub fn claims() -> Claims {
    let uuid = "0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d".parse().unwrap();
    let tool: tgp_request::name::Slug = "mail".parse().unwrap();
    let actions = vec!["send".parse().unwrap()];
    Claims {
        iss: ISSUER.to_owned(),
        sub: format!("spiffe://tgp.example/agent/{uuid}").parse().unwrap(),
        client_id: uuid,
        aud: RESOURCE.to_owned(),
        iat: 1_795_000_000,
        nbf: 1_795_000_000,
        exp: 1_795_000_300,
        jti: "0198f2c4-7000-7abc-8def-0123456789ab".parse().unwrap(),
        scope: scope_text(&tool, &actions),
        authorization_details: vec![AuthorizationDetail::new(tool, RESOURCE.to_owned(), actions)],
        cnf: Confirmation { jwk: agent().public().to_cnf_jwk() },
        aan: "7284019953310473".parse().unwrap(),
        act: None,
        may_act: None,
        derived_from: Vec::new(),
    }
}

pub fn claims_text() -> String {
    serde_json::to_string(&claims()).unwrap()
}

/// Agents beside the one that signs: those on whose behalf it acts.
pub fn spiffe(number: usize) -> String {
    format!("spiffe://tgp.example/agent/0198f2c4-6d1e-7c3a-9b52-3f8e1a2b000{number}")
}

/// Claims without their last brace.
pub fn open(claims: &str) -> String {
    claims.strip_suffix('}').unwrap().to_owned()
}

/// The claims of a token that the agent got by way of these: the first is the subject.
pub fn acting(principals: &[usize]) -> String {
    let own = claims().sub.to_string();
    let mut act = String::new();
    for actor in principals[1..].iter().map(|number| spiffe(*number)).chain([own.clone()]) {
        let inner = if act.is_empty() { String::new() } else { format!(",\"act\":{act}") };
        act = format!("{{\"sub\":\"{actor}\"{inner}}}");
    }
    let jtis: Vec<String> =
        principals.iter().map(|number| format!("\"0198f2c4-7000-7abc-8def-00000000000{number}\"")).collect();
    let claims =
        claims_text().replace(&format!("\"sub\":\"{own}\""), &format!("\"sub\":\"{}\"", spiffe(principals[0])));
    format!("{},\"act\":{act},\"derived_from\":[{}]}}", open(&claims), jtis.join(","))
}

pub fn header_text() -> String {
    format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{}"}}"#, gateway_public(GATEWAY_SEED).kid())
}

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token of these texts, signed by the first gateway key whatever the header says.
pub fn token_of(header: &str, claims: &str) -> String {
    let input = format!("{}.{}", b64(header), b64(claims));
    let signature: p256::ecdsa::Signature = gateway(GATEWAY_SEED).sign(input.as_bytes());
    format!("{input}.{}", b64(signature.to_bytes()))
}

pub fn token() -> String {
    token_of(&header_text(), &claims_text())
}

pub fn sha256_field(body: &str) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)))
}

pub fn sha512_field(body: &str) -> String {
    format!("sha-512=:{}:", STANDARD.encode(sha2::Sha512::digest(body)))
}

/// A request to be signed. Everything is text, so that anything can be wrong with it.
#[derive(Clone)]
pub struct Draft {
    pub name: &'static str,
    pub expect: &'static str,
    pub tag: Tag,
    pub now: i64,
    pub method: &'static str,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: &'static str,
    pub label: &'static str,
    /// Component identifiers with the value each has in the base; `None` where the naive rule finds it.
    pub components: Vec<(&'static str, Option<String>)>,
    pub parameters: String,
    pub high_s: bool,
}

impl Draft {
    pub fn post(name: &'static str, expect: &'static str) -> Self {
        Self {
            name,
            expect,
            tag: Tag::Request,
            now: NOW,
            method: "POST",
            target: MESSAGES.to_owned(),
            headers: vec![
                ("authorization".to_owned(), format!("Bearer {}", token())),
                ("content-type".to_owned(), "application/json".to_owned()),
                ("content-digest".to_owned(), sha256_field(BODY)),
            ],
            body: BODY,
            label: "sig",
            components: [
                r#""@method""#,
                r#""@target-uri""#,
                r#""authorization""#,
                r#""content-digest""#,
                r#""content-type""#,
            ]
            .map(|it| (it, None))
            .to_vec(),
            parameters: parameters(&agent(), Tag::Request),
            high_s: false,
        }
    }

    pub fn get(name: &'static str, expect: &'static str) -> Self {
        let mut draft = Self::post(name, expect);
        draft.method = "GET";
        draft.body = "";
        draft.headers.truncate(1);
        draft.components.truncate(3);
        draft
    }

    pub fn target(mut self, target: &str) -> Self {
        self.target = target.to_owned();
        self
    }

    /// Replaces text in the signature's parameters; the text must be there.
    pub fn parameter(mut self, from: &str, to: &str) -> Self {
        assert!(self.parameters.contains(from), "{}: no {from}", self.name);
        self.parameters = self.parameters.replace(from, to);
        self
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|(existing, _)| existing != name);
        self.and_header(name, value)
    }

    pub fn and_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn no_header(mut self, name: &str) -> Self {
        self.headers.retain(|(existing, _)| existing != name);
        self
    }

    pub fn covers(mut self, identifier: &'static str) -> Self {
        self.components.push((identifier, None));
        self
    }

    pub fn covers_as(mut self, identifier: &'static str, value: &str) -> Self {
        self.components.push((identifier, Some(value.to_owned())));
        self
    }

    pub fn does_not_cover(mut self, identifier: &str) -> Self {
        self.components.retain(|(existing, _)| *existing != identifier);
        self
    }

    pub fn with_token(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    pub fn sign(self) -> Case {
        self.sign_with(&agent())
    }

    pub fn sign_with(self, key: &IdentitySecret) -> Case {
        let mut base = String::new();
        for (identifier, value) in &self.components {
            let value = value.clone().unwrap_or_else(|| self.naive_value(identifier));
            base.push_str(&format!("{identifier}: {value}\n"));
        }
        let identifiers: Vec<&str> = self.components.iter().map(|(identifier, _)| *identifier).collect();
        let input = format!("({}){}", identifiers.join(" "), self.parameters);
        base.push_str(&format!("\"@signature-params\": {input}"));
        let signature = match self.high_s {
            true => negate_s(key.sign(base.as_bytes())),
            false => key.sign(base.as_bytes()),
        };
        let mut headers = self.headers;
        headers.push(("signature-input".to_owned(), format!("{}={input}", self.label)));
        headers.push(("signature".to_owned(), format!("{}=:{}:", self.label, STANDARD.encode(signature))));
        Case {
            name: self.name.to_owned(),
            expect: self.expect.to_owned(),
            tag: self.tag.as_str().to_owned(),
            now: self.now,
            jwk: None,
            method: self.method.to_owned(),
            target_uri: self.target,
            headers,
            body: self.body.to_owned(),
            signature_base: (self.expect == "accepted").then_some(base),
        }
    }

    fn naive_value(&self, identifier: &str) -> String {
        match identifier.trim_matches('"') {
            "@method" => self.method.to_owned(),
            "@target-uri" => self.target.clone(),
            field => {
                let lines = self.headers.iter().filter(|(name, _)| name == field);
                lines.map(|(_, value)| value.trim()).collect::<Vec<_>>().join(", ")
            }
        }
    }
}

impl Case {
    /// Replaces text in a field after it was signed; the text must be there.
    pub fn altered(mut self, field: &str, from: &str, to: &str) -> Self {
        let (_, value) = self.headers.iter_mut().find(|(name, _)| name == field).unwrap();
        assert!(value.contains(from), "{}: no {from} in {value}", self.name);
        *value = value.replace(from, to);
        self
    }

    pub fn without(mut self, field: &str) -> Self {
        self.headers.retain(|(name, _)| name != field);
        self
    }

    pub fn with(mut self, field: &str, value: &str) -> Self {
        self.headers.push((field.to_owned(), value.to_owned()));
        self
    }

    pub fn with_body(mut self, body: &str) -> Self {
        self.body = body.to_owned();
        self
    }

    pub fn known_key(mut self, key: &IdentitySecret) -> Self {
        self.jwk = Some(key.public().to_jwk());
        self
    }
}

pub fn parameters(key: &IdentitySecret, tag: Tag) -> String {
    format!(
        r#";created={CREATED};expires={};nonce="{NONCE}";keyid="{}";tag="{}""#,
        CREATED + 60,
        key.public().keyid(),
        tag.as_str()
    )
}

/// The order n of secp256k1.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba, 0xae, 0xdc,
    0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];

/// r‖(n − s): the other signature that verifies.
pub fn negate_s(mut signature: [u8; 64]) -> [u8; 64] {
    let mut borrow = 0;
    for index in (0..32).rev() {
        let difference = i32::from(ORDER[index]) - i32::from(signature[32 + index]) - borrow;
        borrow = i32::from(difference < 0);
        signature[32 + index] = u8::try_from(difference + 256 * borrow).unwrap();
    }
    signature
}
