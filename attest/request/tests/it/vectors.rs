//! Runs every vector, and keeps the vector files equal to what makes them.
//!
//! `TGP_WRITE_VECTORS=1 cargo nextest run -p tgp-request vector` writes them anew.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::generate::{Case, File};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderMap;
use p256::ecdsa::signature::Signer as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tgp_request::jwk::{IdentityKey, IdentitySecret};
use tgp_request::signature::{Params, Refusal, Tag, UnverifiedRequest, VerifiedRequest, sign_request};
use tgp_request::token::{Claims, Jwks, TokenKeys, assemble, signing_input};

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "vectors", name].iter().collect()
}

fn headers(list: &[(String, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in list {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn tag(text: &str) -> Tag {
    [Tag::Request, Tag::Enrol, Tag::EnrolCode, Tag::Renew, Tag::RotateOld, Tag::RotateNew]
        .into_iter()
        .find(|tag| tag.as_str() == text)
        .unwrap()
}

fn verify(file: &File, case: &Case) -> Result<VerifiedRequest, Refusal> {
    let headers = headers(&case.headers);
    let request = UnverifiedRequest::parse(&case.method, &case.target_uri, &headers, tag(&case.tag), case.now)?;
    if let Some(base) = &case.signature_base {
        assert_eq!(request.signature_base(), base, "{}", case.name);
    }
    let head = match &case.jwk {
        Some(jwk) => request.verify_with_key(&IdentityKey::from_jwk(jwk).unwrap())?,
        None => {
            let keys = TokenKeys::from_jwks(&file.jwks).unwrap();
            let token = keys.verify(request.bearer(), &file.issuer, case.now)?;
            request.verify(&token)?
        }
    };
    head.body(case.body.as_bytes())
}

fn check(made: File, name: &str) {
    let text = serde_json::to_string_pretty(&made).unwrap() + "\n";
    if std::env::var_os("TGP_WRITE_VECTORS").is_some() {
        std::fs::write(path(name), &text).unwrap();
    }
    let file = std::fs::read_to_string(path(name)).unwrap();
    assert_eq!(file, text, "{name} is not what the generator makes");
    let file: File = serde_json::from_str(&file).unwrap();

    let names: BTreeSet<&str> = file.cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), file.cases.len(), "two cases have one name");
    let wrong: Vec<String> = file
        .cases
        .iter()
        .filter_map(|case| {
            let outcome = verify(&file, case);
            let code = outcome.as_ref().map_or_else(|refusal| refusal.code.as_str(), |_| "accepted");
            (code != case.expect).then(|| format!("{}: expected {}, got {outcome:?}", case.name, case.expect))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_request_that_must_be_accepted_is() {
    check(crate::generate::accepted::file(), "accepted.json");
}

#[test]
fn every_request_that_must_be_refused_is_with_its_code() {
    check(crate::generate::refused_request::file(), "refused-request.json");
}

#[test]
fn every_token_that_must_be_refused_is() {
    check(crate::generate::refused_token::file(), "refused-token.json");
}

#[test]
fn every_code_of_this_crate_has_a_vector() {
    let files = [crate::generate::refused_request::file(), crate::generate::refused_token::file()];
    let seen: BTreeSet<&str> = files.iter().flat_map(|file| &file.cases).map(|case| case.expect.as_str()).collect();
    let codes: BTreeSet<&str> = tgp_request::Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(seen, codes);
}

fn shared() -> Value {
    serde_json::from_str(&std::fs::read_to_string(path("request-signature.json")).unwrap()).unwrap()
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).unwrap().as_str().unwrap()
}

fn shared_keys(vector: &Value) -> TokenKeys {
    let jwk = serde_json::from_value(vector["gateway_jwk"].clone()).unwrap();
    TokenKeys::from_jwks(&Jwks { keys: vec![jwk] }).unwrap()
}

fn shared_headers(vector: &Value) -> HeaderMap {
    let list: Vec<(String, String)> = vector["request"]["headers"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
        .collect();
    headers(&list)
}

const SHARED_ISSUER: &str = "https://gw.tgp.example";
const SHARED_NOW: i64 = 1_795_000_015;

#[test]
fn the_shared_token_is_made_and_verified_byte_for_byte() {
    let vector = shared();
    let claims: Claims = serde_json::from_value(vector["jwt_claims"].clone()).unwrap();
    let input = signing_input(text(&vector, "/jwt_header/kid"), &claims);
    assert_eq!(input, text(&vector, "/jwt_signing_input"));

    let scalar = URL_SAFE_NO_PAD.decode(text(&vector, "/gateway_d")).unwrap();
    assert_eq!(scalar, crate::generate::scalar(text(&vector, "/gateway_seed")));
    let signature: p256::ecdsa::Signature =
        p256::ecdsa::SigningKey::from_slice(&scalar).unwrap().sign(input.as_bytes());
    let token = assemble(input, &signature.to_bytes().into());
    assert_eq!(token, text(&vector, "/access_token"));

    let verified = shared_keys(&vector).verify(&token, SHARED_ISSUER, SHARED_NOW).unwrap();
    assert_eq!(verified.claims(), &claims);
    assert_eq!(verified.keyid(), text(&vector, "/agent_jwk/kid"));
    assert_eq!(verified.tool().as_str(), "crm");
    assert!(verified.covers(&"search".parse().unwrap()));
    assert!(!verified.covers(&"delete".parse().unwrap()));
    assert_eq!(verified.hash(), Sha256::digest(token.as_bytes()).as_slice());
}

#[test]
fn the_shared_request_is_verified_with_either_signature() {
    let vector = shared();
    let keys = shared_keys(&vector);
    let (method, url) = (text(&vector, "/request/method"), text(&vector, "/request/url"));
    for signature in [text(&vector, "/request/headers/signature"), text(&vector, "/signature_high_s")] {
        let mut headers = shared_headers(&vector);
        headers.insert("signature", signature.parse().unwrap());
        let request = UnverifiedRequest::parse(method, url, &headers, Tag::Request, SHARED_NOW).unwrap();
        assert_eq!(request.signature_base(), text(&vector, "/signature_base"));
        let token = keys.verify(request.bearer(), SHARED_ISSUER, SHARED_NOW).unwrap();
        let head = request.verify(&token).unwrap();
        assert_eq!(head.nonce_digest(), <[u8; 32]>::from(Sha256::digest("8IBTHwOdqNKAWeKl7plt8g")));
        let verified = head.body(text(&vector, "/request/body").as_bytes()).unwrap();
        assert_eq!((verified.created(), verified.expires()), (1_795_000_010, 1_795_000_070));
    }
}

#[test]
fn the_shared_request_is_signed_byte_for_byte() {
    let vector = shared();
    let scalar: [u8; 32] = URL_SAFE_NO_PAD.decode(text(&vector, "/agent_d")).unwrap().try_into().unwrap();
    assert_eq!(scalar, crate::generate::scalar(text(&vector, "/agent_seed")));
    let key = IdentitySecret::from_bytes(&scalar).unwrap();
    let expected = shared_headers(&vector);
    let mut signed = expected.clone();
    for name in ["signature", "signature-input", "content-digest"] {
        signed.remove(name);
    }
    let params = Params { created: 1_795_000_010, expires: 1_795_000_070, nonce: "8IBTHwOdqNKAWeKl7plt8g".to_owned() };
    let (method, url) = (text(&vector, "/request/method"), text(&vector, "/request/url"));
    let body = text(&vector, "/request/body").as_bytes();
    sign_request(method, url, &mut signed, body, Tag::Request, &key, params, "sig").unwrap();
    assert_eq!(signed, expected);

    // The high-S twin of the vector is the one that the generator's arithmetic makes.
    let base = text(&vector, "/signature_base");
    let digest: String = Sha256::digest(base).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, text(&vector, "/signature_base_sha256"));
    let high = crate::generate::negate_s(key.sign(base.as_bytes()));
    assert_eq!(format!("sig=:{}:", STANDARD.encode(high)), text(&vector, "/signature_high_s"));
}
