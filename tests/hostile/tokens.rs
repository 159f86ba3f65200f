//! Access tokens that were altered, made elsewhere, or signed by the deployment's own key over claims that it would never
//! make. The request itself is signed well by the agent each time.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::plan::Plan;
use crate::table::{Answer, Case, run};
use crate::wire::now;
use crate::world::World;

/// The parts of a good token as texts, and how it is put together again.
pub struct Jwt<'w> {
    world: &'w World,
    /// The token as it was issued.
    good: String,
    header: String,
    claims: String,
    signer: fn(&Jwt<'_>, &str) -> Vec<u8>,
    /// Respells the whole token.
    spell: fn(String) -> String,
}

#[rustfmt::skip]
pub const CASES: &[Case<fn(&mut Jwt<'_>)>] = &[
    ("signed again by our key, unchanged", |_| {}, 200, ""),
    ("alg none, with its signature", |t| t.header("\"ES256\"", "\"none\""), 401, "token-invalid"),
    ("alg none, without a signature", |t| { t.header("\"ES256\"", "\"none\""); t.signer = |_, _| Vec::new() }, 401, "token-invalid"),
    ("alg None, without a signature", |t| { t.header("\"ES256\"", "\"None\""); t.signer = |_, _| Vec::new() }, 401, "token-invalid"),
    ("HS256 with the public key as PEM", |t| { t.header("\"ES256\"", "\"HS256\""); t.signer = |t, input| hmac(&t.public_pem(), input) }, 401, "token-invalid"),
    ("HS256 with the public key as a point", |t| { t.header("\"ES256\"", "\"HS256\""); t.signer = |t, input| hmac(&t.public_point(), input) }, 401, "token-invalid"),
    ("ES256 said, HMAC done", |t| t.signer = |t, input| [hmac(&t.public_point(), input), vec![0; 32]].concat(), 401, "token-invalid"),
    ("alg ES256K, signed by the agent", |t| { t.header("\"ES256\"", "\"ES256K\""); t.signer = |t, input| t.world.agent.identity.sign(input.as_bytes()).to_vec() }, 401, "token-invalid"),
    ("alg ES384", |t| t.header("\"ES256\"", "\"ES384\""), 401, "token-invalid"),
    ("alg RS256", |t| t.header("\"ES256\"", "\"RS256\""), 401, "token-invalid"),
    ("alg in lower case", |t| t.header("\"ES256\"", "\"es256\""), 401, "token-invalid"),
    ("alg twice, none last", |t| t.header("\"ES256\"", "\"ES256\",\"alg\":\"none\""), 401, "token-invalid"),
    ("no alg", |t| t.header("\"alg\":\"ES256\",", ""), 401, "token-invalid"),
    ("typ JWT", |t| t.header("at+jwt", "JWT"), 401, "token-invalid"),
    ("typ of a type with application/", |t| t.header("at+jwt", "application/at+jwt"), 401, "token-invalid"),
    ("no typ", |t| t.header("\"typ\":\"at+jwt\",", ""), 401, "token-invalid"),
    ("no kid", |t| { let kid = t.kid(); t.header(&format!(",\"kid\":\"{kid}\""), "") }, 401, "token-invalid"),
    ("a foreign kid", |t| { let kid = t.kid(); t.header(&kid, "someone-else") }, 401, "token-invalid"),
    ("a kid that is a path", |t| { let kid = t.kid(); t.header(&kid, "../../../../dev/null") }, 401, "token-invalid"),
    ("a kid that is SQL", |t| { let kid = t.kid(); t.header(&kid, "x' or '1'='1") }, 401, "token-invalid"),
    ("kid twice, a foreign one last", |t| t.header("\"kid\"", "\"kid\":\"x\",\"kid\""), 401, "token-invalid"),
    ("kid that is a number", |t| { let kid = t.kid(); t.header(&format!("\"{kid}\""), "1") }, 401, "token-invalid"),
    ("crit, known", |t| t.header("\"alg\"", "\"crit\":[\"exp\"],\"alg\""), 401, "token-invalid"),
    ("crit, empty", |t| t.header("\"alg\"", "\"crit\":[],\"alg\""), 401, "token-invalid"),
    ("crit, null", |t| t.header("\"alg\"", "\"crit\":null,\"alg\""), 401, "token-invalid"),
    ("b64 false, unencoded payload", |t| t.header("\"alg\"", "\"b64\":false,\"crit\":[\"b64\"],\"alg\""), 401, "token-invalid"),
    ("a key in the header (jwk), which nobody asks", |t| t.header("\"alg\"", "\"jwk\":{\"kty\":\"EC\"},\"alg\""), 200, ""),
    ("a key's address in the header (jku), which nobody visits", |t| t.header("\"alg\"", "\"jku\":\"https://evil.example/jwks\",\"alg\""), 200, ""),
    ("a header that is an array", |t| t.header = "[]".into(), 401, "token-invalid"),
    ("a header that is not JSON", |t| t.header = "{".into(), 401, "token-invalid"),
    ("a header with something after it", |t| t.header.push_str("{}"), 401, "token-invalid"),
    ("a header of great depth, which nobody reads", |t| t.header("\"alg\"", &format!("\"x\":{}{},\"alg\"", "[".repeat(500), "]".repeat(500))), 200, ""),
    ("sub twice", |t| { let other = t.world.other.id.clone(); t.claims("\"client_id\"", &format!("\"sub\":\"spiffe://tgp-dev.example/agent/{other}\",\"client_id\"")) }, 401, "token-invalid"),
    ("act without derived_from", |t| t.claims("\"aan\"", &format!("\"act\":{{\"sub\":\"{}\"}},\"aan\"", t.claim("sub"))), 401, "token-invalid"),
    ("act of itself", |t| { let act = format!("\"act\":{{\"sub\":\"{}\"}},\"derived_from\":[\"{}\"],\"aan\"", t.claim("sub"), t.claim("jti")); t.claims("\"aan\"", &act) }, 401, "token-invalid"),
    ("act of another, which would be the caller", |t| { let act = format!("\"act\":{{\"sub\":\"spiffe://tgp-dev.example/agent/{}\"}},\"derived_from\":[\"{}\"],\"aan\"", t.world.other.id, t.claim("jti")); t.claims("\"aan\"", &act) }, 401, "token-invalid"),
    ("on behalf of an agent that nobody knows", |t| { let (sub, jti) = (t.claim("sub"), t.claim("jti")); t.claims(&format!("\"sub\":\"{sub}\""), "\"sub\":\"spiffe://tgp-dev.example/agent/0198f2c4-6d1e-7c3a-9b52-3f8e1a2b0001\""); t.claims("\"aan\"", &format!("\"act\":{{\"sub\":\"{sub}\"}},\"derived_from\":[\"{jti}\"],\"aan\"")) }, 401, "token-invalid"),
    ("on behalf of another, as we would write it", |t| { let (sub, jti, other) = (t.claim("sub"), t.claim("jti"), t.world.other.id.clone()); t.claims(&format!("\"sub\":\"{sub}\""), &format!("\"sub\":\"spiffe://tgp-dev.example/agent/{other}\"")); t.claims("\"aan\"", &format!("\"act\":{{\"sub\":\"{sub}\"}},\"derived_from\":[\"{jti}\"],\"aan\"")) }, 200, ""),
    ("resources that are none", |t| t.claims("\"identifier\"", "\"resources\":[],\"identifier\""), 401, "token-invalid"),
    ("resources, where the action names none", |t| t.claims("\"identifier\"", "\"resources\":[\"**\"],\"identifier\""), 403, "resource-refused"),
    ("aud twice", |t| t.claims("\"iat\"", "\"aud\":\"https://evil.example/t/mail\",\"iat\""), 401, "token-invalid"),
    ("exp twice", |t| t.claims("\"jti\"", "\"exp\":9999999999,\"jti\""), 401, "token-invalid"),
    ("cnf twice", |t| t.claims("\"aan\"", "\"cnf\":{\"jwk\":{}},\"aan\""), 401, "token-invalid"),
    ("scope twice", |t| t.claims("\"cnf\"", "\"scope\":\"mail:delete\",\"cnf\""), 401, "token-invalid"),
    ("aud an array of one", |t| { let aud = t.claim("aud"); t.claims(&format!("\"aud\":\"{aud}\""), &format!("\"aud\":[\"{aud}\"]")) }, 401, "token-invalid"),
    ("aud an array of two", |t| { let aud = t.claim("aud"); t.claims(&format!("\"aud\":\"{aud}\""), &format!("\"aud\":[\"{aud}\",\"x\"]")) }, 401, "token-invalid"),
    ("aud of a tool that does not exist", |t| t.replace_all("/t/mail", "/t/mai"), 403, "scope-insufficient"),
    ("aud of the issuer", |t| { let aud = t.claim("aud"); let issuer = t.world.wire.issuer.clone(); t.replace_all(&format!("\"{aud}\""), &format!("\"{issuer}\"")) }, 403, "resource-refused"),
    ("aud and locations that differ", |t| { let aud = t.claim("aud"); t.claims(&format!("[\"{aud}\"]"), "[\"https://evil.example/t/mail\"]") }, 401, "token-invalid"),
    ("another issuer", |t| { let iss = t.claim("iss"); t.claims(&format!("\"iss\":\"{iss}\""), "\"iss\":\"https://evil.example\"") }, 401, "token-invalid"),
    ("the issuer with a slash", |t| { let iss = t.claim("iss"); t.claims(&format!("\"iss\":\"{iss}\""), &format!("\"iss\":\"{iss}/\"")) }, 401, "token-invalid"),
    ("no iss", |t| { let iss = t.claim("iss"); t.claims(&format!("\"iss\":\"{iss}\","), "") }, 401, "token-invalid"),
    ("expired", |t| t.times(-400, -400, -100), 401, "token-invalid"),
    ("expired this second", |t| t.times(-300, -300, 0), 401, "token-invalid"),
    ("not valid yet", |t| t.times(0, 60, 300), 401, "token-invalid"),
    ("nbf after exp", |t| t.times(0, 400, 300), 401, "token-invalid"),
    ("issued in the future, which RFC 7519 lets decide nothing", |t| t.times(100, 0, 300), 200, ""),
    ("a lifetime of more than fifteen minutes", |t| t.times(0, 0, 901), 401, "token-invalid"),
    ("exp before iat", |t| t.times(200, 0, 100), 401, "token-invalid"),
    ("exp as a string", |t| { let exp = t.claim("exp"); t.claims(&format!("\"exp\":{exp}"), &format!("\"exp\":\"{exp}\"")) }, 401, "token-invalid"),
    ("exp as a fraction", |t| { let exp = t.claim("exp"); t.claims(&format!("\"exp\":{exp}"), &format!("\"exp\":{exp}.5")) }, 401, "token-invalid"),
    ("exp huge", |t| { let exp = t.claim("exp"); t.claims(&format!("\"exp\":{exp}"), "\"exp\":99999999999999999999999999") }, 401, "token-invalid"),
    ("exp with an exponent", |t| { let exp = t.claim("exp"); t.claims(&format!("\"exp\":{exp}"), "\"exp\":1e300") }, 401, "token-invalid"),
    ("no exp", |t| { let exp = t.claim("exp"); t.claims(&format!("\"exp\":{exp},"), "") }, 401, "token-invalid"),
    ("no nbf", |t| { let nbf = t.claim("nbf"); t.claims(&format!("\"nbf\":{nbf},"), "") }, 401, "token-invalid"),
    ("no jti", |t| { let jti = t.claim("jti"); t.claims(&format!("\"jti\":\"{jti}\","), "") }, 401, "token-invalid"),
    ("no cnf", |t| { let cnf = t.claim("cnf"); t.claims(&format!("\"cnf\":{cnf},"), "") }, 401, "token-invalid"),
    ("cnf a thumbprint", |t| { let cnf = t.claim("cnf"); t.claims(&format!("\"cnf\":{cnf}"), "\"cnf\":{\"jkt\":\"x\"}") }, 401, "token-invalid"),
    ("cnf of another agent", |t| { let theirs = t.other_cnf(); let cnf = t.claim("cnf"); t.claims(&cnf, &theirs) }, 400, "signature-invalid"),
    ("sub of another agent", |t| { let (mine, theirs) = (t.world.agent.id.clone(), t.world.other.id.clone()); t.replace_all(&mine, &theirs) }, 403, "certificate-mismatch"),
    ("sub and client_id that differ", |t| { let (mine, theirs) = (t.world.agent.id.clone(), t.world.other.id.clone()); t.claims(&format!("\"client_id\":\"{mine}\""), &format!("\"client_id\":\"{theirs}\"")) }, 401, "token-invalid"),
    ("sub an operator", |t| t.claims("/agent/", "/operator/"), 401, "token-invalid"),
    ("sub of another trust domain", |t| t.claims("tgp-dev.example", "evil.example"), 401, "token-invalid"),
    ("scope of another action than the details", |t| t.claims("\"scope\":\"mail:send\"", "\"scope\":\"mail:delete\""), 401, "token-invalid"),
    ("details of another action than the scope", |t| t.claims("\"actions\":[\"send\"]", "\"actions\":[\"delete\"]"), 401, "token-invalid"),
    ("scope and details of another action", |t| t.replace_all("send", "list"), 403, "scope-insufficient"),
    ("an action with a star", |t| t.replace_all("send", "*"), 401, "token-invalid"),
    ("two details", |t| { let details = t.claim("authorization_details"); let inner = details[1..details.len() - 1].to_owned(); t.claims(&details, &format!("[{inner},{inner}]")) }, 401, "token-invalid"),
    ("details with a member that nobody knows", |t| t.claims("\"type\":\"tgp_tool\"", "\"type\":\"tgp_tool\",\"privileges\":[\"admin\"]"), 401, "token-invalid"),
    ("details of another type", |t| t.claims("tgp_tool", "payment"), 401, "token-invalid"),
    ("claims of great depth, which nobody reads", |t| t.claims("\"aan\"", &format!("\"x\":{}{},\"aan\"", "[".repeat(500), "]".repeat(500))), 200, ""),
    ("a claim that is half a surrogate pair", |t| { let iss = t.claim("iss"); t.claims(&iss, &format!("{iss}\\ud800")) }, 401, "token-invalid"),
    ("longer than 8 KiB", |t| t.claims("\"aan\"", &format!("\"x\":\"{}\",\"aan\"", "a".repeat(9000))), 401, "token-invalid"),
    ("a claim that nobody knows", |t| t.claims("\"aan\"", "\"x\":1,\"aan\""), 200, ""),
    ("a signature by the agent's own key", |t| t.signer = |t, input| t.world.agent.identity.sign(input.as_bytes()).to_vec(), 401, "token-invalid"),
    ("another deployment's token", |t| { let kid = t.kid(); t.header(&kid, "jxmDgaCPEGrtNJqnhwW8nXxzV6M5Vf5z_iDrJJ5mUdI"); t.signer = by_a_stranger }, 401, "token-invalid"),
    ("a stranger's signature under our kid", |t| t.signer = by_a_stranger, 401, "token-invalid"),
    ("a signature of zeros", |t| t.signer = |_, _| vec![0; 64], 401, "token-invalid"),
    ("a signature cut short", |t| t.spell = |text| text[..text.len() - 4].to_owned(), 401, "token-invalid"),
    ("a signature with octets after it", |t| t.spell = |text| text + "AAAA", 401, "token-invalid"),
    ("a signature with padding", |t| t.spell = |text| text + "==", 401, "token-invalid"),
    ("a signature with loose bits at its end", |t| t.spell = loose, 401, "token-invalid"),
    ("a signature of another token", |t| { t.claims("\"aan\"", "\"x\":1,\"aan\""); t.signer = |t, _| decode(t.good.rsplit('.').next().expect("three parts")) }, 401, "token-invalid"),
    ("the payload in standard base64 with padding", |t| { t.claims("\"aan\"", "\"x\":1,\"aan\""); t.spell = padded }, 401, "token-invalid"),
    ("four parts", |t| t.spell = |text| text + ".AAAA", 401, "token-invalid"),
    ("two parts", |t| t.spell = |text| text.rsplit_once('.').expect("three parts").0.to_owned(), 401, "token-invalid"),
    ("five parts, as if encrypted", |t| t.spell = |text| format!("{text}.AAAA.AAAA"), 401, "token-invalid"),
    ("not a token", |t| t.spell = |_| "hello".into(), 401, "token-invalid"),
    ("a dot", |t| t.spell = |_| ".".into(), 401, "token-invalid"),
    ("two dots", |t| t.spell = |_| "..".into(), 401, "token-invalid"),
    ("a token with a space in it", |t| t.spell = |text| text.replacen('.', ". ", 1), 401, "token-invalid"),
    ("a token and another after a comma", |t| t.spell = |text| format!("{text}, {text}"), 401, "token-invalid"),
    ("the master key as token", |t| { t.header = "master".into(); t.spell = |_| "tgpmk_x".into() }, 401, "token-invalid"),
];

impl Jwt<'_> {
    fn header(&mut self, from: &str, to: &str) {
        assert!(self.header.contains(from), "{from} is not in {}", self.header);
        self.header = self.header.replacen(from, to, 1);
    }

    fn claims(&mut self, from: &str, to: &str) {
        assert!(self.claims.contains(from), "{from} is not in {}", self.claims);
        self.claims = self.claims.replacen(from, to, 1);
    }

    fn replace_all(&mut self, from: &str, to: &str) {
        assert!(self.claims.contains(from), "{from} is not in {}", self.claims);
        self.claims = self.claims.replace(from, to);
    }

    /// A claim as text: a string without its quotes, anything else as JSON.
    fn claim(&self, name: &str) -> String {
        let needle = format!("\"{name}\":");
        let start = self.claims.find(&needle).expect("a claim") + needle.len();
        let mut values = serde_json::Deserializer::from_str(&self.claims[start..]).into_iter::<Value>();
        values.next().expect("a value").expect("JSON");
        self.claims[start..start + values.byte_offset()].trim_matches('"').to_owned()
    }

    fn kid(&self) -> String {
        let header: Value = serde_json::from_str(&self.header).expect("JSON");
        header["kid"].as_str().expect("a kid").to_owned()
    }

    /// `iat`, `nbf` and `exp`, in seconds from now.
    fn times(&mut self, iat: i64, nbf: i64, exp: i64) {
        let now = now();
        for (name, value) in [("iat", iat), ("nbf", nbf), ("exp", exp)] {
            let old = self.claim(name);
            self.claims(&format!("\"{name}\":{old}"), &format!("\"{name}\":{}", now + value));
        }
    }

    fn other_cnf(&self) -> String {
        let token = self.world.block(self.world.other.token(&self.world.wire, "mail", "send"));
        let claims = String::from_utf8(decode(token.split('.').nth(1).expect("a payload"))).expect("UTF-8");
        Jwt { claims, header: String::new(), good: token, ..self.copy() }.claim("cnf")
    }

    fn copy(&self) -> Self {
        let Self { world, good, header, claims, signer, spell } = self;
        Self {
            world,
            good: good.clone(),
            header: header.clone(),
            claims: claims.clone(),
            signer: *signer,
            spell: *spell,
        }
    }

    /// The public key that verifies tokens, as an uncompressed point.
    fn public_point(&self) -> Vec<u8> {
        let keys = self.world.plain(false, "GET", "/oauth2/jwks", &[], b"").json();
        let part = |name: &str| decode(keys["keys"][0][name].as_str().expect("a coordinate"));
        [vec![4], part("x"), part("y")].concat()
    }

    fn public_pem(&self) -> Vec<u8> {
        // SubjectPublicKeyInfo of a P-256 point (RFC 5480).
        let head = [
            0x30, 0x59, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1,
            7, 3, 0x42, 0,
        ];
        let body = STANDARD.encode([head.as_slice(), &self.public_point()].concat());
        format!("-----BEGIN PUBLIC KEY-----\n{}\n{}\n-----END PUBLIC KEY-----\n", &body[..64], &body[64..]).into_bytes()
    }

    fn text(&self) -> String {
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(&self.header), URL_SAFE_NO_PAD.encode(&self.claims));
        let signature = (self.signer)(self, &input);
        (self.spell)(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn by_a_stranger(_: &Jwt<'_>, input: &str) -> Vec<u8> {
    use p256::ecdsa::signature::hazmat::PrehashSigner as _;
    use p256::elliptic_curve::Generate as _;
    let key = p256::ecdsa::SigningKey::generate();
    let signature: p256::ecdsa::Signature = key.sign_prehash(&Sha256::digest(input)).expect("32 octets");
    signature.to_bytes().to_vec()
}

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

/// The last character stands for two bits of four; the others are turned.
fn loose(text: String) -> String {
    let (head, last) = text.split_at(text.len() - 1);
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = ALPHABET.iter().position(|c| *c == last.as_bytes()[0]).expect("base64url");
    format!("{head}{}", char::from(ALPHABET[at ^ 1]))
}

fn padded(text: String) -> String {
    let parts: Vec<&str> = text.split('.').collect();
    format!("{}.{}.{}", parts[0], STANDARD.encode(decode(parts[1])) + "=", parts[2])
}

/// RFC 2104, so that no crate is needed for an attack that must fail.
fn hmac(key: &[u8], input: &str) -> Vec<u8> {
    let key = if key.len() > 64 { Sha256::digest(key).to_vec() } else { key.to_vec() };
    let pad = |with: u8| -> Vec<u8> { (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ with).collect() };
    let inner = Sha256::digest([pad(0x36), input.as_bytes().to_vec()].concat());
    Sha256::digest([pad(0x5c), inner.to_vec()].concat()).to_vec()
}

fn attempt(world: &World, with: fn(&mut Jwt<'_>)) -> Answer {
    let part = |n: usize| String::from_utf8(decode(world.token.split('.').nth(n).expect("a part"))).expect("UTF-8");
    let signer: fn(&Jwt<'_>, &str) -> Vec<u8> =
        |t, input| t.world.forge().sign("token-signing.1", input.as_bytes()).to_vec();
    let mut jwt =
        Jwt { world, good: world.token.clone(), header: part(0), claims: part(1), signer, spell: |text| text };
    with(&mut jwt);
    let mut plan = Plan::new(world);
    plan.set("authorization", &format!("Bearer {}", jwt.text()));
    plan.sign();
    plan.send()
}

#[test]
fn tokens_forged_and_altered() {
    run(&World::start(), CASES, attempt);
}
