//! Status lists: the vectors, and what holds of every list.

use serde::{Deserialize, Serialize};
use tgp_request::status::{MAX_ENTRIES, MAX_LENGTH, StatusClaims, StatusList, signing_input};
use tgp_request::token::{Jwks, TokenKeys, assemble};
use uuid::Uuid;

use crate::generate::{GATEWAY_SEED, ISSUER, NOW, gateway, gateway_public, jwks, token, token_of};

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct File {
    note: String,
    issuer: String,
    jwks: Jwks,
    /// An access token, which lists are checked against.
    token: String,
    cases: Vec<Case>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Case {
    name: String,
    /// `accepted`, `agent-stopped`, `token-revoked`, or `refused`: the list itself is not used.
    expect: String,
    now: i64,
    list: String,
}

const AGENT: &str = "0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d";
const JTI: &str = "0198f2c4-7000-7abc-8def-0123456789ab";
const OTHER: &str = "0198f2c4-7000-7abc-8def-000000000000";

fn header(typ: &str) -> String {
    format!(r#"{{"typ":"{typ}","alg":"ES256","kid":"{}"}}"#, gateway_public(GATEWAY_SEED).kid())
}

fn claims(iat: i64, exp: i64, agents: &[&str], tokens: &[&str]) -> String {
    let ids = |list: &[&str]| list.iter().map(|id| format!("\"{id}\"")).collect::<Vec<_>>().join(",");
    format!(r#"{{"iss":"{ISSUER}","iat":{iat},"exp":{exp},"agents":[{}],"tokens":[{}]}}"#, ids(agents), ids(tokens))
}

fn made() -> File {
    let typ = header("tgp-status-list+jwt");
    let good = claims(NOW - 10, NOW + 50, &[OTHER], &[OTHER]);
    let list = |claims: &str| token_of(&typ, claims);
    let flipped = {
        let list = list(&good);
        let (rest, signature) = list.rsplit_once('.').unwrap();
        let first = if signature.starts_with('A') { 'B' } else { 'A' };
        format!("{rest}.{first}{}", &signature[1..])
    };
    let cases = [
        ("names others", "accepted", list(&good)),
        ("names nobody", "accepted", list(&claims(NOW, NOW + 60, &[], &[]))),
        ("names the agent", "agent-stopped", list(&claims(NOW, NOW + 60, &[OTHER, AGENT], &[]))),
        ("names the token", "token-revoked", list(&claims(NOW, NOW + 60, &[], &[JTI]))),
        ("from a clock that is ahead", "accepted", list(&claims(NOW + 30, NOW + 90, &[], &[]))),
        ("from the future", "refused", list(&claims(NOW + 31, NOW + 91, &[], &[]))),
        ("expired", "refused", list(&claims(NOW - 60, NOW, &[], &[]))),
        ("good for too long", "refused", list(&claims(NOW, NOW + 61, &[], &[]))),
        ("ends before it begins", "refused", list(&claims(NOW + 20, NOW + 10, &[], &[]))),
        ("of another issuer", "refused", list(&good.replace(ISSUER, "https://evil.example"))),
        ("with a member that nobody knows", "refused", list(&good.replace("\"agents\"", "\"more\":1,\"agents\""))),
        ("without tokens", "refused", list(&good.replace(&format!(",\"tokens\":[\"{OTHER}\"]"), ""))),
        ("an id that is none", "refused", list(&good.replace(OTHER, "x"))),
        ("an access token", "refused", token()),
        ("of an access token's typ", "refused", token_of(&header("at+jwt"), &good)),
        ("of no typ", "refused", token_of(&header(""), &good)),
        ("by no algorithm", "refused", token_of(&typ.replace("ES256", "none"), &good)),
        ("by a key that is not in the set", "refused", token_of(&typ.replace("\"kid\":\"", "\"kid\":\"x"), &good)),
        ("with its signature changed", "refused", flipped),
        ("cut short", "refused", list(&good).rsplit_once('.').unwrap().0.to_owned()),
        ("nothing", "refused", String::new()),
    ];
    File {
        note: "status lists; all keys are test keys".to_owned(),
        issuer: ISSUER.to_owned(),
        jwks: jwks(),
        token: token(),
        cases: cases
            .into_iter()
            .map(|(name, expect, list)| Case { name: name.to_owned(), expect: expect.to_owned(), now: NOW, list })
            .collect(),
    }
}

#[test]
fn every_vector_of_a_status_list_is_judged_as_it_says() {
    // Signatures are deterministic (RFC 6979), so that the file can be made anew.
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/status-list.json");
    let text = serde_json::to_string_pretty(&made()).unwrap() + "\n";
    if std::env::var_os("TGP_WRITE_VECTORS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert_eq!(kept, text, "the file is not what makes it");
    let file: File = serde_json::from_str(&kept).unwrap();
    let keys = TokenKeys::from_jwks(&file.jwks).unwrap();
    for Case { name, expect, now, list } in &file.cases {
        let token = keys.verify(&file.token, &file.issuer, *now).unwrap();
        let judged = match StatusList::verify(&keys, list, &file.issuer, *now) {
            Err(_) => "refused",
            Ok(list) => match list.check(&token, *now) {
                Ok(()) => "accepted",
                Err(tgp_request::status::StatusError::AgentStopped) => "agent-stopped",
                Err(tgp_request::status::StatusError::TokenRevoked) => "token-revoked",
                Err(other) => panic!("{name}: {other}"),
            },
        };
        assert_eq!(judged, expect, "{name}");
    }
}

#[test]
fn the_longest_list_that_may_be_made_may_be_read() {
    use p256::ecdsa::signature::Signer as _;
    let ids = |count: usize| (0..count).map(|n| Uuid::from_u128(n as u128)).collect::<Vec<_>>();
    let iss = format!("https://{}.example", "a".repeat(200));
    let claims =
        StatusClaims { iss: iss.clone(), iat: NOW, exp: NOW + 60, agents: ids(MAX_ENTRIES), tokens: ids(MAX_ENTRIES) };
    let input = signing_input(gateway_public(GATEWAY_SEED).kid(), &claims);
    let signature: p256::ecdsa::Signature = gateway(GATEWAY_SEED).sign(input.as_bytes());
    let text = assemble(input, &signature.to_bytes().into());
    assert!(text.len() <= MAX_LENGTH, "{}", text.len());
    let keys = TokenKeys::from_jwks(&jwks()).unwrap();
    assert!(StatusList::verify(&keys, &text, &iss, NOW).is_ok());
    let longer = format!("{text}{}", "A".repeat(MAX_LENGTH));
    assert!(StatusList::verify(&keys, &longer, &iss, NOW).is_err());
}
