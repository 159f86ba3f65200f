//! Enrolment and renewal: proofs that do not fit, and JSON that two readers could read in two ways.

use tgp_client::TlsKey;
use tgp_request::enrol::EnrolmentCode;
use tgp_request::jwk::IdentitySecret;

use crate::plan::{Plan, sha256};
use crate::table::{Answer, Case, run};
use crate::wire::{nonce, now};
use crate::world::World;

/// A good enrolment of `waiting-bot`, or a good renewal of `travel-bot`, until a case changes it.
struct Join<'w> {
    world: &'w World,
    scene: &'w Scene,
    plan: Plan<'w>,
    body: String,
    /// Tag and key of each signature.
    signers: Vec<(&'static str, &'w IdentitySecret)>,
    /// What comes back has a record.
    recorded: bool,
    /// Sent once before, as it is.
    twice: bool,
}

/// The invitations and keys that the cases use.
pub struct Scene {
    /// Of `waiting-bot`, `late-bot` and `travel-bot`.
    codes: [EnrolmentCode; 3],
    identity: IdentitySecret,
    tls: TlsKey,
    stranger: IdentitySecret,
}

#[rustfmt::skip]
const ENROLMENT: &[Case<fn(&mut Join<'_>)>] = &[
    ("no signature", |j| j.signers.clear(), 401, "signature-missing"),
    ("the identity key's signature alone", |j| j.signers.truncate(1), 401, "signature-missing"),
    ("the code's signature alone", |j| { j.signers.remove(0); }, 401, "signature-missing"),
    ("both signatures by the identity key", |j| j.signers[1].1 = &j.scene.identity, 401, "code-invalid"),
    ("both signatures by the code's key", |j| j.signers[0].1 = j.scene.codes[0].secret(), 400, "signature-invalid"),
    ("the tags exchanged", |j| { j.signers[0].0 = "tgp-enrol-code"; j.signers[1].0 = "tgp-enrol" }, 400, "signature-invalid"),
    ("the tag of a call", |j| j.signers[0].0 = "tgp-request", 401, "signature-missing"),
    ("a code that nobody made", |j| j.signers[1].1 = &j.scene.stranger, 401, "code-invalid"),
    ("a code of another agent", |j| j.signers[1].1 = j.scene.codes[1].secret(), 401, "code-invalid"),
    ("an agent that does not exist", |j| { let id = j.scene.codes[0].agent.to_string(); j.body = j.body.replace(&id, "0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d") }, 401, "code-invalid"),
    ("an agent that is enrolled, by a code that nobody made", |j| { let (old, id) = (j.scene.codes[0].agent.to_string(), j.world.agent.id.clone()); j.body = j.body.replace(&old, &id) }, 401, "code-invalid"),
    ("a code that was used, with other keys", |j| j.of(2), 400, "code-used"),
    ("a code that came late", |j| j.of(1), 400, "code-expired"),
    ("another body than was signed", |j| j.plan.after = |p| p.body.push(b' '), 400, "digest-mismatch"),
    ("the digest not covered", |j| j.plan.uncover("content-digest"), 400, "signature-invalid"),
    ("the content-type not covered", |j| j.plan.uncover("content-type"), 400, "signature-invalid"),
    ("the target not covered", |j| j.plan.uncover("@target-uri"), 400, "signature-invalid"),
    ("the method not covered", |j| j.plan.uncover("@method"), 400, "signature-invalid"),
    ("expired", |j| j.plan.window(-60, -10), 400, "signature-expired"),
    ("created in the future", |j| j.plan.window(60, 90), 400, "signature-invalid"),
    ("high s, with another agent's code", |j| { j.plan.forge = crate::ecdsa::high_s; j.signers[1].1 = j.scene.codes[1].secret() }, 401, "code-invalid"),
    ("not JSON", |j| j.body = "x".into(), 400, "request-malformed"),
    ("an array", |j| j.body = "[]".into(), 400, "request-malformed"),
    ("a sequence in place of an object", |j| { let id = j.scene.codes[0].agent; j.body = format!("[\"{id}\",\"\",{{}}]") }, 400, "request-malformed"),
    ("null", |j| j.body = "null".into(), 400, "request-malformed"),
    ("nothing", |j| j.body = String::new(), 400, "request-malformed"),
    ("something after the object", |j| j.body.push_str("{}"), 400, "request-malformed"),
    ("a byte order mark", |j| j.body.insert(0, '\u{feff}'), 400, "request-malformed"),
    ("a comma at the end", |j| j.body = j.body.replacen("}}", "},}", 1), 400, "request-malformed"),
    ("a comment", |j| j.body.insert_str(0, "/**/"), 400, "request-malformed"),
    ("the agent twice", |j| j.body = j.body.replacen('{', "{\"agent\":\"0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d\",", 1), 400, "request-malformed"),
    ("the agent twice, once escaped", |j| j.body = j.body.replacen('{', "{\"\\u0061gent\":\"0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d\",", 1), 400, "request-malformed"),
    ("the key twice", |j| { let jwk = serde_json::to_string(&j.scene.stranger.public().to_jwk()).expect("JSON"); j.body = j.body.replacen('{', &format!("{{\"jwk\":{jwk},"), 1) }, 400, "request-malformed"),
    ("a coordinate twice", |j| j.body = j.body.replacen("\"x\":", "\"x\":\"AAAA\",\"x\":", 1), 400, "request-malformed"),
    ("the request twice", |j| j.body = j.body.replacen("\"csr\":", "\"csr\":\"\",\"csr\":", 1), 400, "request-malformed"),
    ("a member that nobody knows", |j| j.body = j.body.replacen('{', "{\"tenant\":1,", 1), 400, "request-malformed"),
    ("a member of great depth", |j| j.body = j.body.replacen('{', &format!("{{\"x\":{}{},", "[".repeat(5000), "]".repeat(5000)), 1), 400, "request-malformed"),
    ("a huge number", |j| j.body = j.body.replacen("\"csr\":", "\"csr\":1e999999,\"x\":", 1), 400, "request-malformed"),
    ("a number of a thousand digits", |j| j.body = j.body.replacen("\"csr\":", &format!("\"csr\":{},\"x\":", "9".repeat(1000)), 1), 400, "request-malformed"),
    ("half a surrogate pair", |j| j.body = j.body.replacen("\"csr\":\"", "\"csr\":\"\\ud800", 1), 400, "request-malformed"),
    ("the agent in capitals", |j| { let id = j.scene.codes[0].agent.to_string(); j.body = j.body.replace(&id, &id.to_uppercase()) }, 400, "request-malformed"),
    ("the agent without dashes", |j| { let id = j.scene.codes[0].agent; j.body = j.body.replace(&id.to_string(), &id.simple().to_string()) }, 400, "request-malformed"),
    ("the agent in braces", |j| { let id = j.scene.codes[0].agent; j.body = j.body.replace(&id.to_string(), &format!("{{{id}}}")) }, 400, "request-malformed"),
    ("a key of another curve", |j| j.body = j.body.replace("secp256k1", "P-256"), 400, "request-malformed"),
    ("a key of another kind", |j| j.body = j.body.replace("\"EC\"", "\"oct\""), 400, "request-malformed"),
    ("a key without a coordinate", |j| j.body = j.body.replacen("\"y\":", "\"z\":", 1), 400, "request-malformed"),
    ("a key that is not on the curve", |j| j.body = j.with_jwk(|jwk| jwk["x"] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into()), 400, "request-malformed"),
    ("a key with a short coordinate", |j| j.body = j.with_jwk(|jwk| jwk["x"] = "AAAA".into()), 400, "request-malformed"),
    ("a key with padding", |j| j.body = j.with_jwk(|jwk| jwk["x"] = format!("{}=", jwk["x"].as_str().expect("x")).into()), 400, "request-malformed"),
    ("a key with its private half", |j| j.body = j.with_jwk(|jwk| jwk["d"] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE".into()), 400, "request-malformed"),
    ("the point at infinity", |j| j.body = j.with_jwk(|jwk| for it in ["x", "y"] { jwk[it] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into() }), 400, "request-malformed"),
    ("a body of 65 KiB", |j| j.body = j.body.replacen("\"csr\":\"", &format!("\"csr\":\"{}", "A".repeat(65 * 1024)), 1), 413, "body-too-large"),
    ("GET", |j| j.plan.method = "GET".into(), 405, "method-not-allowed"),
    ("another content-type, signed", |j| { j.plan.set("content-type", "text/plain"); j.recorded = true }, 200, ""),
    ("the same again with the same keys", |j| j.recorded = true, 200, ""),
    ("the same again as it was", |j| { j.twice = true; j.recorded = true }, 400, "signature-replayed"),
    ("the same again with another TLS key", |j| { let csr = TlsKey::generate().csr().expect("a request"); j.csr(&csr); j.recorded = true }, 400, "code-used"),
    ("a request that is no PEM", |j| { j.csr("x"); j.recorded = true }, 400, "request-malformed"),
    ("a request whose signature is broken", |j| { let csr = broken(j.scene); j.csr(&csr); j.recorded = true }, 400, "request-malformed"),
    ("a query behind the endpoint", |j| { j.plan.target.push_str("?x"); j.recorded = true }, 400, "signature-invalid"),
];

#[rustfmt::skip]
const RENEWAL: &[Case<fn(&mut Join<'_>)>] = &[
    ("a good renewal", |_| {}, 200, ""),
    ("no certificate", |j| { j.plan.certificate = None; j.recorded = false }, 401, "certificate-required"),
    ("no signature", |j| j.signers.clear(), 401, "signature-missing"),
    ("the tag of an enrolment", |j| j.signers[0].0 = "tgp-enrol", 401, "signature-missing"),
    ("the tag of a call", |j| j.signers[0].0 = "tgp-request", 401, "signature-missing"),
    ("signed by another agent", |j| j.signers[0].1 = &j.world.other.identity, 400, "signature-invalid"),
    ("with another agent's certificate", |j| j.plan.certificate = Some(&j.world.other.certificate), 400, "signature-invalid"),
    ("expired", |j| j.plan.window(-60, -10), 400, "signature-expired"),
    ("sent again as it was", |j| j.twice = true, 400, "signature-replayed"),
    ("another body than was signed", |j| j.plan.after = |p| p.body.push(b' '), 400, "digest-mismatch"),
    ("the digest not covered", |j| j.plan.uncover("content-digest"), 400, "signature-invalid"),
    ("not JSON", |j| j.body = "x".into(), 400, "request-malformed"),
    ("an array", |j| j.body = "[\"x\"]".into(), 400, "request-malformed"),
    ("the request twice", |j| j.body = j.body.replacen("\"csr\":", "\"csr\":\"\",\"csr\":", 1), 400, "request-malformed"),
    ("a member that nobody knows", |j| j.body = j.body.replacen('{', "{\"agent\":\"x\",", 1), 400, "request-malformed"),
    ("a member of great depth", |j| j.body = j.body.replacen('{', &format!("{{\"x\":{}{},", "[".repeat(5000), "]".repeat(5000)), 1), 400, "request-malformed"),
    ("a huge number", |j| j.body = "{\"csr\":1e999999}".into(), 400, "request-malformed"),
    ("a request that is no PEM", |j| j.csr("x"), 400, "request-malformed"),
    ("a request whose signature is broken", |j| { let csr = broken(j.scene); j.csr(&csr) }, 400, "request-malformed"),
    ("a body of 65 KiB", |j| j.body = j.body.replacen("\"csr\":\"", &format!("\"csr\":\"{}", "A".repeat(65 * 1024)), 1), 413, "body-too-large"),
    ("a query behind the endpoint", |j| j.plan.target.push_str("?x"), 400, "signature-invalid"),
];

pub const COUNT: usize = ENROLMENT.len() + RENEWAL.len();

/// Every code that the two tables expect.
pub fn codes() -> impl Iterator<Item = &'static str> {
    ENROLMENT.iter().chain(RENEWAL).map(|(.., code)| *code)
}

impl<'w> Join<'w> {
    fn enrolment(world: &'w World, scene: &'w Scene) -> Self {
        let mut join = Self::new(world, scene, "/v1/enrol");
        let csr = scene.tls.csr().expect("a request");
        join.body = body(scene, &scene.codes[0], &csr);
        join.signers = vec![("tgp-enrol", &scene.identity), ("tgp-enrol-code", scene.codes[0].secret())];
        join.plan.certificate = None;
        join
    }

    fn renewal(world: &'w World, scene: &'w Scene) -> Self {
        let mut join = Self::new(world, scene, "/v1/certificates");
        join.body = serde_json::json!({ "csr": scene.tls.csr().expect("a request") }).to_string();
        join.signers = vec![("tgp-renew", &world.agent.identity)];
        join.recorded = true;
        join
    }

    fn new(world: &'w World, scene: &'w Scene, target: &str) -> Self {
        let mut plan = Plan::new(world);
        plan.target = target.to_owned();
        plan.remove("authorization");
        plan.uncover("authorization");
        Self { world, scene, plan, body: String::new(), signers: Vec::new(), recorded: false, twice: false }
    }

    /// By another invitation.
    fn of(&mut self, code: usize) {
        let code = &self.scene.codes[code];
        self.body = body(self.scene, code, &self.scene.tls.csr().expect("a request"));
        self.signers[1].1 = code.secret();
        self.recorded = true;
    }

    fn csr(&mut self, csr: &str) {
        let mut json: serde_json::Value = serde_json::from_str(&self.body).expect("JSON");
        json["csr"] = csr.into();
        self.body = json.to_string();
    }

    fn with_jwk(&self, change: impl Fn(&mut serde_json::Value)) -> String {
        let mut json: serde_json::Value = serde_json::from_str(&self.body).expect("JSON");
        change(&mut json["jwk"]);
        json.to_string()
    }

    fn send(mut self) -> Answer {
        self.plan.body = self.body.into_bytes();
        let digest = sha256(&self.plan.body);
        self.plan.set("content-digest", &digest);
        for (n, (tag, key)) in self.signers.iter().enumerate() {
            self.plan.label = format!("s{n}");
            self.plan.key = key;
            self.plan.set_param("nonce", &format!("\"{}\"", nonce()));
            self.plan.set_param("keyid", &format!("\"{}\"", key.public().keyid()));
            self.plan.set_param("tag", &format!("\"{tag}\""));
            self.plan.sign();
        }
        let after = self.plan.after;
        after(&mut self.plan);
        if self.twice {
            assert_eq!(self.plan.send().status, 200, "the first of two");
        }
        let mut answer = self.plan.send();
        // Good ones are on record twice: the proof, and the certificate that came of it.
        answer.recorded = self.recorded;
        answer.forwarded = false;
        answer
    }
}

fn body(scene: &Scene, code: &EnrolmentCode, csr: &str) -> String {
    let jwk = serde_json::to_string(&scene.identity.public().to_jwk()).expect("JSON");
    format!("{{\"agent\":\"{}\",\"csr\":{},\"jwk\":{jwk}}}", code.agent, serde_json::Value::from(csr))
}

/// A request with one bit of its signature turned.
fn broken(scene: &Scene) -> String {
    let csr = scene.tls.csr().expect("a request");
    let end = csr.find("\n-----END").expect("PEM") - 8;
    let other = if csr.as_bytes()[end] == b'A' { "B" } else { "A" };
    format!("{}{other}{}", &csr[..end], &csr[end + 1..])
}

impl Scene {
    fn prepare(world: &World) -> Self {
        let create = |handle: &str, lasts: &str| {
            let path = world.deployment.path(&format!("{handle}.code"));
            let path_text = path.to_str().expect("utf-8");
            world.deployment.operator(&["agent", "create", handle, "--for", lasts, "--code-file", path_text]);
        };
        create("waiting-bot", "1h");
        create("late-bot", "8s"); // the vault has to see it in time, on a busy machine too
        let codes = ["waiting-bot", "late-bot", "travel-bot"].map(|handle| {
            let text = std::fs::read_to_string(world.deployment.path(&format!("{handle}.code"))).expect("a code");
            EnrolmentCode::parse(text.trim()).expect("a code")
        });
        while u64::try_from(now()).expect("after 1970") <= codes[1].expires {
            std::thread::sleep(std::time::Duration::from_millis(50)); // time has to pass: that is what is tried
        }
        Self {
            codes,
            identity: IdentitySecret::generate(),
            tls: TlsKey::generate(),
            stranger: IdentitySecret::generate(),
        }
    }
}

#[test]
fn enrolment_and_renewal() {
    let world = World::start();
    let scene = Scene::prepare(&world);
    run(&world, ENROLMENT, |world, with| {
        let mut join = Join::enrolment(world, &scene);
        with(&mut join);
        join.send()
    });
    run(&world, RENEWAL, |world, with| {
        let mut join = Join::renewal(world, &scene);
        with(&mut join);
        join.send()
    });
}
