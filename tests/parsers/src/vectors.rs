//! The published vectors and their test keys: what targets sign with, and what seeds are made of.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tgp_authority::{OperatorSecret, Roster};
use tgp_request::jwk::IdentitySecret;
use tgp_request::token::{Jwks, TokenKeys};

pub const ISSUER: &str = "https://gw.tgp.example";
/// When the requests of the vectors are judged.
pub const NOW: i64 = 1_795_000_020;

macro_rules! file {
    ($path:literal) => {
        LazyLock::new(|| serde_json::from_str(include_str!(concat!("../../../attest/", $path))).expect("a vector file"))
    };
}

pub static SHARED: LazyLock<Value> = file!("request/tests/vectors/request-signature.json");
pub static ACCEPTED: LazyLock<Value> = file!("request/tests/vectors/accepted.json");
pub static REFUSED: LazyLock<Value> = file!("request/tests/vectors/refused-request.json");
pub static REFUSED_TOKENS: LazyLock<Value> = file!("request/tests/vectors/refused-token.json");
pub static STATUS_LISTS: LazyLock<Value> = file!("request/tests/vectors/status-list.json");
pub static STATEMENTS: LazyLock<Value> = file!("authority/tests/vectors/operator-statement.json");

fn scalar(name: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(SHARED[name].as_str().unwrap()).unwrap()
}

/// The agent of the vectors.
pub static AGENT: LazyLock<IdentitySecret> =
    LazyLock::new(|| IdentitySecret::from_bytes(&scalar("agent_d").try_into().unwrap()).unwrap());

/// The gateway of the vectors: signs tokens.
pub static GATEWAY: LazyLock<p256::ecdsa::SigningKey> =
    LazyLock::new(|| p256::ecdsa::SigningKey::from_slice(&scalar("gateway_d")).unwrap());

/// What verifies its tokens.
pub static TOKEN_KEYS: LazyLock<TokenKeys> = LazyLock::new(|| {
    let jwks: Jwks = serde_json::from_value(ACCEPTED["jwks"].clone()).unwrap();
    TokenKeys::from_jwks(&jwks).unwrap()
});

pub static ROSTER: LazyLock<Roster> =
    LazyLock::new(|| Roster::parse(STATEMENTS["roster"].as_str().unwrap().as_bytes()).unwrap());

/// Each operator's id and key.
pub static OPERATORS: LazyLock<Vec<(String, OperatorSecret)>> = LazyLock::new(|| {
    let keys = STATEMENTS["keys"].as_array().unwrap();
    let text = |key: &Value, member: &str| key[member].as_str().unwrap().to_owned();
    keys.iter()
        .map(|key| (text(key, "operator"), OperatorSecret::from_pem(&text(key, "private_pem")).unwrap()))
        .collect()
});
