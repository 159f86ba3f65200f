//! Requests whose only fault is the access token.

use super::*;

const REFUSED: &str = "token-invalid";

pub fn file() -> File {
    File {
        note:
            "TEST KEYS ONLY. Requests that are refused for their access token alone: the request signature is right, \
               and so is the token's unless the name says otherwise."
                .to_owned(),
        issuer: ISSUER.to_owned(),
        jwks: jwks(),
        cases: cases(),
    }
}

fn with_claims(name: &'static str, from: &str, to: &str) -> Case {
    let claims = claims_text();
    assert!(claims.contains(from), "{name}: no {from}");
    Draft::get(name, REFUSED).with_token(&token_of(&header_text(), &claims.replace(from, to))).sign()
}

fn with_header(name: &'static str, from: &str, to: &str) -> Case {
    let header = header_text();
    assert!(header.contains(from), "{name}: no {from}");
    Draft::get(name, REFUSED).with_token(&token_of(&header.replace(from, to), &claims_text())).sign()
}

fn with_text(name: &'static str, token: &str) -> Case {
    Draft::get(name, REFUSED).with_token(token).sign()
}

fn cases() -> Vec<Case> {
    let mut cases = headers();
    cases.extend(texts());
    cases.extend(times());
    cases.extend(claims_cases());
    cases.extend(details());
    cases.extend(delegated());
    cases
}

fn headers() -> Vec<Case> {
    let kid = gateway_public(GATEWAY_SEED).kid().to_owned();
    let second = gateway_public("TGP test gateway key 2").kid().to_owned();
    vec![
        with_header("another typ", "at+jwt", "JWT"),
        with_header("no typ", r#""typ":"at+jwt","#, ""),
        with_header("alg none", "ES256", "none"),
        with_header("alg HS256", "ES256", "HS256"),
        with_header("alg ES384", "ES256", "ES384"),
        with_header("a critical extension", "{", r#"{"crit":["b64"],"b64":false,"#),
        with_header("an empty crit", "{", r#"{"crit":null,"#),
        with_header("a kid of no key", &kid, "AAAA"),
        with_header("the kid of another key", &kid, &second),
        with_header("no kid", &format!(r#","kid":"{kid}""#), ""),
        with_header("a repeated alg", "{", r#"{"alg":"none","#),
    ]
}

fn texts() -> Vec<Case> {
    let good = token();
    let (input, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = input.split_once('.').unwrap();
    let other: p256::ecdsa::Signature = gateway("TGP test gateway key 3").sign(input.as_bytes());
    let der: p256::ecdsa::Signature = gateway(GATEWAY_SEED).sign(input.as_bytes());
    let widened = b64(claims_text().replace("send", "wipe"));
    vec![
        with_text("the signature of a key that is not ours", &format!("{input}.{}", b64(other.to_bytes()))),
        with_text("a DER signature", &format!("{input}.{}", b64(der.to_der()))),
        with_text("no signature", &format!("{input}.")),
        with_text("a signature of zeros", &format!("{input}.{}", b64([0; 64]))),
        with_text("altered claims", &format!("{header}.{widened}.{signature}")),
        with_text("two parts", input),
        with_text("four parts", &format!("{good}.{signature}")),
        with_text("padded base64url", &format!("{good}==")),
        with_text("text after the token", &format!("{good} x")),
        with_text("not a token", "abc"),
        with_text("more than 8 KiB", &{
            let claims = claims_text().replace("{\"iss\"", &format!("{{\"x\":\"{}\",\"iss\"", "x".repeat(8000)));
            token_of(&header_text(), &claims)
        }),
        with_text("claims that are not JSON", &token_of(&header_text(), "{")),
        with_text("text after the claims", &token_of(&header_text(), &format!("{} {{}}", claims_text()))),
    ]
}

fn times() -> Vec<Case> {
    vec![
        with_claims("expired this second", "\"exp\":1795000300", "\"exp\":1795000020"),
        with_claims("valid from the next second", "\"nbf\":1795000000", "\"nbf\":1795000021"),
        with_claims("a lifetime of 901 seconds", "\"exp\":1795000300", "\"exp\":1795000901"),
        with_claims("no exp", "\"exp\":1795000300,", ""),
        with_claims("no nbf", "\"nbf\":1795000000,", ""),
        with_claims("no iat", "\"iat\":1795000000,", ""),
        with_claims("exp as text", "\"exp\":1795000300", "\"exp\":\"1795000300\""),
        with_claims("exp with a fraction", "\"exp\":1795000300", "\"exp\":1795000300.5"),
        with_claims("exp beyond all integers", "\"exp\":1795000300", "\"exp\":1e30"),
        with_claims("iat so early that the lifetime overflows", "\"iat\":1795000000", "\"iat\":-9223372036854775808"),
        with_claims("a repeated exp", "\"exp\":1795000300", "\"exp\":1795000300,\"exp\":1795000400"),
    ]
}

fn claims_cases() -> Vec<Case> {
    let other_jwk = serde_json::to_string(&other_agent().public().to_cnf_jwk()).unwrap();
    let jwk = serde_json::to_string(&agent().public().to_cnf_jwk()).unwrap();
    let kid = agent().public().keyid().to_owned();
    vec![
        with_claims("another issuer", "\"iss\":\"https://gw", "\"iss\":\"https://gx"),
        with_claims("the issuer with a slash", "gw.tgp.example\",\"sub\"", "gw.tgp.example/\",\"sub\""),
        with_claims("no iss", "\"iss\":\"https://gw.tgp.example\",", ""),
        with_claims("an operator as sub", "/agent/", "/operator/"),
        with_claims("sub and client_id of two agents", "\"client_id\":\"0198f2c4", "\"client_id\":\"0198f2c5"),
        with_claims("client_id in upper case", "\"client_id\":\"0198f2c4", "\"client_id\":\"0198F2C4"),
        with_claims("aud as a list", &format!("\"aud\":\"{RESOURCE}\""), &format!("\"aud\":[\"{RESOURCE}\"]")),
        with_claims("no aud", &format!("\"aud\":\"{RESOURCE}\","), ""),
        with_claims("no jti", "\"jti\":\"0198f2c4-7000-7abc-8def-0123456789ab\",", ""),
        with_claims("no cnf", &format!("\"cnf\":{{\"jwk\":{jwk}}},"), ""),
        with_claims("a second confirmation", "\"cnf\":{", "\"cnf\":{\"x5t#S256\":\"AAAA\","),
        with_claims("a kid in cnf.jwk that is not its thumbprint", &kid, other_agent().public().keyid()),
        with_claims("a private key in cnf.jwk", "\"jwk\":{", "\"jwk\":{\"d\":\"AAAA\","),
        with_claims("a P-256 key in cnf.jwk", "\"crv\":\"secp256k1\"", "\"crv\":\"P-256\""),
        with_claims("a cnf.jwk off the curve", "\"x\":\"fMf", "\"x\":\"gMf"),
        with_claims("an alg in cnf.jwk that is not ES256K", "\"alg\":\"ES256K\"", "\"alg\":\"ES256\""),
        with_claims("an AAN whose check digit is wrong", "7284019953310473", "7284019953310474"),
        Case {
            expect: "signature-invalid".to_owned(),
            ..with_claims("bound to another agent's key", &jwk, &other_jwk)
        },
    ]
}

fn delegated() -> Vec<Case> {
    let of = |name, claims: &str| with_text(name, &token_of(&header_text(), claims));
    let changed = |name, from: &str, to: &str| {
        let claims = acting(&[1, 2]);
        assert!(claims.contains(from), "{name}: no {from}");
        of(name, &claims.replacen(from, to, 1))
    };
    let own = claims().sub.to_string();
    vec![
        of("handed on four times", &acting(&[1, 2, 3, 4])),
        of("an agent twice in its chain", &acting(&[1, 2, 1])),
        changed("the actor's own subject", &spiffe(1), &own),
        changed("a client_id that is not the actor", "\"client_id\":\"0198f2c4", "\"client_id\":\"0198f2c5"),
        changed("an operator as an actor", &spiffe(2), &spiffe(2).replace("/agent/", "/operator/")),
        changed("an actor of another trust domain", &spiffe(2), &spiffe(2).replace("tgp.example", "tgp.evil")),
        changed("an actor with a member that might mean more", "\"act\":{", "\"act\":{\"iss\":\"x\","),
        changed("an act that is a text", "\"act\":{", "\"act\":\"x\",\"x\":{"),
        changed("no derived_from", "\"derived_from\"", "\"derived\""),
        changed("one parent too few", ",\"0198f2c4-7000-7abc-8def-000000000002\"", ""),
        changed("a parent's jti in upper case", "7abc-8def-000000000002", "7ABC-8def-000000000002"),
        with_claims(
            "derived_from without act",
            "\"aan\"",
            "\"derived_from\":[\"0198f2c4-7000-7abc-8def-000000000002\"],\"aan\"",
        ),
        with_claims(
            "may_act of an operator",
            "\"aan\"",
            "\"may_act\":{\"sub\":\"spiffe://tgp.example/operator/0198f2c4-6d1e-7c3a-9b52-3f8e1a2b4c5d\"},\"aan\"",
        ),
        with_claims(
            "may_act of an issuer",
            "\"aan\"",
            "\"may_act\":{\"iss\":\"x\",\"sub\":\"spiffe://tgp.example/agent/0198f2c4-6d1e-7c3a-9b52-3f8e1a2b0001\"},\"aan\"",
        ),
    ]
}

fn details() -> Vec<Case> {
    let detail = serde_json::to_string(&claims().authorization_details[0]).unwrap();
    vec![
        with_claims("no authorization detail", &detail, ""),
        with_claims("two authorization details", &detail, &format!("{detail},{detail}")),
        with_claims("a detail of another type", "tgp_tool", "tgp_took"),
        with_claims("a detail for another location", "\"locations\":[\"https://gw", "\"locations\":[\"https://gx"),
        with_claims("a detail for two locations", "\"locations\":[", "\"locations\":[\"https://x\","),
        with_claims("a detail without actions", "[\"send\"]", "[]"),
        with_claims(
            "a detail with a member that might narrow it",
            "\"identifier\"",
            "\"privileges\":[],\"identifier\"",
        ),
        with_claims("a detail for no resource", "\"identifier\"", "\"resources\":[],\"identifier\""),
        with_claims("a resource with a dot segment", "\"identifier\"", "\"resources\":[\"a/..\"],\"identifier\""),
        with_claims("a resource with half a star", "\"identifier\"", "\"resources\":[\"a*\"],\"identifier\""),
        with_claims("a scope of more actions than the detail", "\"mail:send\"", "\"mail:send mail:read\""),
        with_claims("a scope of fewer actions than the detail", "[\"send\"]", "[\"send\",\"read\"]"),
        with_claims("a scope of another tool", "\"mail:send\"", "\"mall:send\""),
        with_claims("a scope with two spaces", "\"mail:send\"", "\" mail:send\""),
        with_claims("an empty scope", "\"mail:send\"", "\"\""),
    ]
}
