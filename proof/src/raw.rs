//! What the parts of a request cost by themselves, on this machine and in this run: the token's operations, the
//! primitives in process, request verification against them. CPU µs of one thread.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use aes_gcm::aead::{Aead as _, KeyInit as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue};
use k256::ecdsa::signature::Verifier as _;
use ring::signature as ring_signature;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tgp_request::signature::{Tag, UnverifiedRequest};
use tgp_request::token::{TokenKey, TokenKeys};
use tgp_token::softhsm::{self, NewToken};
use tgp_token::{KeyOps as _, Role, Token, TokenConfig};

use crate::Failure;
use crate::cpu::thread_ns;

/// Names to µs of CPU.
pub type Raw = BTreeMap<String, f64>;

const VECTOR: &str = include_str!("../../attest/request/tests/vectors/request-signature.json");
const ISSUER: &str = "https://gw.tgp.example";

/// Everything; the token in a process of its own, as SoftHSM reads its configuration from the environment.
pub fn measure(directory: &Path) -> Result<Raw, Failure> {
    let mut raw = in_process()?;
    let conf = softhsm::write_conf(directory)?;
    let output = Command::new(std::env::current_exe()?)
        .args(["raw-token", "--directory"])
        .arg(directory)
        .env(softhsm::CONF_VARIABLE, conf)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    raw.extend(serde_json::from_slice::<Raw>(&output.stdout)?);
    Ok(raw)
}

/// The token's operations that requests wait for, on a fresh SoftHSM token in `directory`.
pub fn token(directory: &Path) -> Result<Raw, Failure> {
    let module = softhsm::module().ok_or("SoftHSM is not installed")?;
    let (label, pin, start_lock) = ("raw", "1234-5678", directory.join("start.lock"));
    softhsm::dangerous_init_token(&NewToken {
        module: module.clone(),
        label: label.into(),
        so_pin: "8765-4321".into(),
        pin: pin.into(),
        start_lock: start_lock.clone(),
    })?;
    let token = Token::open(&TokenConfig { module, label: label.into(), pin: pin.into(), start_lock })?;
    token.dangerous_provision()?;
    let mut session = token.session()?;
    let (mac, pair) = (session.find(Role::MasterRoot, 1)?, session.find(Role::TokenSigning, 1)?);
    let kek = session.find(Role::Kek, 1)?;
    let sealed = session.seal(&kek, b"tenant|purpose|1", &[9; 32])?;
    let mut raw = Raw::new();
    let mut row = |name: &str, us: Result<f64, Failure>| us.map(|us| raw.insert(name.to_owned(), us));
    row("token_hmac", each(5_000, || Ok(session.hmac(&mac, &[7; 64]).map(drop)?)))?;
    row("token_p256_sign", each(5_000, || Ok(session.sign_p256(&pair, &[7; 32]).map(drop)?)))?;
    row("token_gcm_open", each(5_000, || Ok(session.open(&kek, b"tenant|purpose|1", &sealed).map(drop)?)))?;
    Ok(raw)
}

/// Mean CPU µs of `rounds` calls after a tenth as many unmeasured ones.
fn each(rounds: u32, mut call: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    for _ in 0..rounds / 10 {
        call()?;
    }
    let before = thread_ns();
    for _ in 0..rounds {
        call()?;
    }
    Ok((thread_ns() - before) as f64 / f64::from(rounds) / 1000.0)
}

fn in_process() -> Result<Raw, Failure> {
    let vector: Value = serde_json::from_str(VECTOR)?;
    let mut raw = Raw::new();
    p256(&vector, &mut raw)?;
    secp256k1(&vector, &mut raw)?;
    let cipher = aes_gcm::Aes256Gcm::new(&[7; 32].into());
    let kib = [9_u8; 1024];
    let sealed = cipher.encrypt(&[1; 12].into(), &kib[..]).map_err(|_| "aes-gcm")?;
    let open = || cipher.decrypt(&[1; 12].into(), black_box(&sealed[..])).map(drop).map_err(|_| "aes-gcm".into());
    raw.insert("aes_gcm_open_1_kib".to_owned(), each(20_000, open)?);
    verification(&vector, &mut raw)?;
    Ok(raw)
}

fn text<'a>(vector: &'a Value, name: &str) -> Result<&'a str, Failure> {
    vector.pointer(name).and_then(Value::as_str).ok_or_else(|| format!("the vector has no {name}").into())
}

fn octets(vector: &Value, name: &str) -> Result<Vec<u8>, Failure> {
    Ok(URL_SAFE_NO_PAD.decode(text(vector, name)?)?)
}

fn point(vector: &Value, jwk: &str) -> Result<Vec<u8>, Failure> {
    let (x, y) = (octets(vector, &format!("{jwk}/x"))?, octets(vector, &format!("{jwk}/y"))?);
    Ok([&[4][..], &x, &y].concat())
}

/// aws-lc-rs against ring, over the signature of the vector's token.
fn p256(vector: &Value, raw: &mut Raw) -> Result<(), Failure> {
    let point = point(vector, "/gateway_jwk")?;
    let (message, signature) = text(vector, "/access_token")?.rsplit_once('.').ok_or("not a token")?;
    let signature = URL_SAFE_NO_PAD.decode(signature)?;
    let aws = || {
        let key = aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED, &point);
        key.verify(black_box(message.as_bytes()), &signature).map_err(|_| "aws-lc-rs refuses".into())
    };
    raw.insert("p256_verify_aws_lc_rs".to_owned(), each(3_000, aws)?);
    let ring = || {
        let key = ring_signature::UnparsedPublicKey::new(&ring_signature::ECDSA_P256_SHA256_FIXED, &point);
        key.verify(black_box(message.as_bytes()), &signature).map_err(|_| "ring refuses".into())
    };
    raw.insert("p256_verify_ring".to_owned(), each(3_000, ring)?);
    Ok(())
}

/// k256 against libsecp256k1, over the vector's signature base, each with the parsing of a key that both need.
fn secp256k1(vector: &Value, raw: &mut Raw) -> Result<(), Failure> {
    let point = point(vector, "/agent_jwk")?;
    let base = text(vector, "/signature_base")?.as_bytes();
    let signature = signature_of(vector)?;
    let k256 = || {
        let key = k256::ecdsa::VerifyingKey::from_sec1_bytes(&point)?;
        let signature = k256::ecdsa::Signature::from_slice(&signature)?;
        Ok(key.verify(black_box(base), &signature)?)
    };
    raw.insert("secp256k1_verify_k256".to_owned(), each(3_000, k256)?);
    let libsecp256k1 = || {
        let key = secp256k1::PublicKey::from_slice(&point)?;
        let signature = secp256k1::ecdsa::Signature::from_compact(&signature)?;
        let message = secp256k1::Message::from_digest(Sha256::digest(black_box(base)).into());
        Ok(secp256k1::ecdsa::verify(&signature, message, &key)?)
    };
    raw.insert("secp256k1_verify_libsecp256k1".to_owned(), each(3_000, libsecp256k1)?);
    Ok(())
}

fn signature_of(vector: &Value) -> Result<Vec<u8>, Failure> {
    let field = text(vector, "/request/headers/signature")?;
    let encoded = field.split(':').nth(1).ok_or("no signature in the vector")?;
    Ok(STANDARD.decode(encoded)?)
}

/// All that a tool checks, at first sight of a token and with the token known, against the bare primitives.
fn verification(vector: &Value, raw: &mut Raw) -> Result<(), Failure> {
    let key = TokenKey::from_jwk(&serde_json::from_value(vector["gateway_jwk"].clone())?)?;
    let keys = TokenKeys::new([key]);
    let now = vector["jwt_claims"]["iat"].as_i64().ok_or("no iat")? + 1;
    let mut headers = HeaderMap::new();
    let fields = vector["request"]["headers"].as_object().ok_or("no headers")?;
    for (name, value) in fields {
        let value = HeaderValue::from_str(value.as_str().unwrap_or_default())?;
        headers.insert(HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes())?, value);
    }
    let (method, url) = (text(vector, "/request/method")?, text(vector, "/request/url")?);
    let body = text(vector, "/request/body")?.as_bytes();
    let created = text(vector, "/request/headers/signature-input")?
        .split("created=")
        .nth(1)
        .and_then(|rest| rest.split(';').next()?.parse::<i64>().ok())
        .ok_or("no created")?;
    let now = now.max(created);
    let parse = || UnverifiedRequest::parse(method, url, black_box(&headers), Tag::Request, now);
    let known = keys.verify(text(vector, "/access_token")?, ISSUER, now)?;
    let cached = || {
        parse()?.verify(&known)?.body(body)?;
        Ok(())
    };
    raw.insert("verify_request_token_known".to_owned(), each(3_000, cached)?);
    let first = || {
        let request = parse()?;
        let token = keys.verify(request.bearer(), ISSUER, now)?;
        request.verify(&token)?.body(body)?;
        Ok(())
    };
    raw.insert("verify_request_first_sight".to_owned(), each(3_000, first)?);
    Ok(())
}
