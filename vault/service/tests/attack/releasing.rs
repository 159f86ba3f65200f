//! Attacks on `release`.

use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use p256::elliptic_curve::Generate;
use tgp_request::jwk::IdentitySecret;
use tgp_request::signature::Params;
use tgp_request::token::{Jwks, TokenKeys, assemble, signing_input};
use tgp_vault_client::wire::{Placement, RefusalCode, Release, RequestEnvelope};

use crate::actors::{SECRET, Working, credential, resource, set_credential};
use crate::deployment::{Deployment, ISSUER, refused};

const URL: &str = "https://gw.tgp.example:8443/t/mail/messages/1";

#[test]
fn an_agents_signed_request_draws_the_credential_and_where_it_may_go() {
    let at = Deployment::start();
    let working = Working::new(&at);
    let token = working.token(&at);
    for _ in 0..3 {
        let request = working.agent.request(&at, &token, URL);
        let released = at.call(working.release_call(request)).unwrap();
        assert_eq!(released.secret.expose_secret(), SECRET);
        assert_eq!(released.placement, Placement::Bearer);
        assert_eq!(released.origins, ["https://mail.upstream.example"]);
    }
}

#[test]
fn no_credential_is_drawn_without_its_agents_signed_request() {
    let at = Deployment::start();
    let (one, two) = (Working::new(&at), Working::new(&at));
    let token = one.token(&at);
    let others_token = two.token(&at);
    let agent = &one.agent;
    let good = || agent.request(&at, &token, URL);
    let signed = |token: &str, url: &str| agent.request(&at, token, url);
    let aged = |created: i64, expires: i64| {
        let fresh = Params::new(at.now(), *uuid::Uuid::new_v4().as_bytes());
        let params = Params { created, expires, ..fresh };
        agent.request_with(&token, URL, &agent.identity, params)
    };
    let by = |key: &IdentitySecret| {
        let params = Params::new(at.now(), *uuid::Uuid::new_v4().as_bytes());
        agent.request_with(&token, URL, key, params)
    };
    let without = |name: &str| {
        let mut request = good();
        request.headers.retain(|(n, _)| n != name);
        request
    };
    let twice = |name: &str| {
        let mut request = good();
        let field = request.headers.iter().find(|(n, _)| n == name).unwrap().clone();
        request.headers.push(field);
        request
    };
    let changed = |change: &dyn Fn(&mut RequestEnvelope)| {
        let mut request = good();
        change(&mut request);
        request
    };
    let now = at.now();
    let call = |request| one.release_call(request);
    use RefusalCode as Code;
    let cases: Vec<(&str, Release, Code)> = vec![
        // The signature.
        ("another agent's key", call(by(&two.agent.identity)), Code::SignatureInvalid),
        ("a stranger's key", call(by(&IdentitySecret::generate())), Code::SignatureInvalid),
        ("another method than signed", call(changed(&|r| r.method = "DELETE".into())), Code::SignatureInvalid),
        (
            "another target than signed",
            call(changed(&|r| r.target_uri = format!("{}/messages/2", resource("mail")))),
            Code::SignatureInvalid,
        ),
        ("no signature", call(without("signature")), Code::SignatureInvalid),
        ("no signature input", call(without("signature-input")), Code::SignatureInvalid),
        ("no token", call(without("authorization")), Code::TokenMissing),
        ("two tokens", call(twice("authorization")), Code::RequestMalformed),
        ("expired", call(aged(now - 60, now - 1)), Code::SignatureExpired),
        ("valid for too long", call(changed(&|r| lengthen(r, now))), Code::SignatureInvalid),
        ("from the future", call(aged(now + 45, now + 60)), Code::SignatureInvalid),
        // The token.
        ("another agent's token", call(signed(&others_token, URL)), Code::RecordMismatch),
        ("a token cut short", call(signed(&token[..token.len() - 4], URL)), Code::TokenInvalid),
        ("a token that is none", call(signed("e30.e30.e30", URL)), Code::TokenInvalid),
        ("outside its audience", call(signed(&token, &format!("{}/x", resource("files")))), Code::ScopeInsufficient),
        ("beside its audience", call(signed(&token, &format!("{}x", resource("mail")))), Code::ScopeInsufficient),
        (
            "a path with two spellings",
            call(changed(&|r| r.target_uri = format!("{}/a/../b", resource("mail")))),
            Code::PathNotCanonical,
        ),
        // The records.
        (
            "another agent's record",
            Release { agent_record: two.enrolled.record.clone(), ..call(good()) },
            Code::RecordMismatch,
        ),
        (
            "a credential as agent",
            Release { agent_record: one.credential.record.clone(), ..call(good()) },
            Code::RecordInvalid,
        ),
        (
            "a grant as credential",
            Release { credential_record: one.grant.record.clone(), ..call(good()) },
            Code::RecordInvalid,
        ),
        ("no credential", Release { credential_record: vec![], ..call(good()) }, Code::RecordInvalid),
    ];
    for (what, call, expected) in cases {
        assert_eq!(refused(what, at.call(call)), expected, "{what}");
    }
}

/// `expires` moved away, as if that were not signed.
fn lengthen(request: &mut RequestEnvelope, now: i64) {
    for (name, value) in &mut request.headers {
        if name == "signature-input" {
            *value = value.replace(&format!("expires={}", now + 60), &format!("expires={}", now + 600));
        }
    }
}

#[test]
fn another_tools_credential_or_origin_is_not_released() {
    let at = Deployment::start();
    let working = Working::new(&at);
    let token = working.token(&at);
    let call = |credential_record: Vec<u8>| Release {
        credential_record,
        ..working.release_call(working.agent.request(&at, &token, URL))
    };
    let other_tool = set_credential(&at, &credential("files", 1)).unwrap().record;
    let mut elsewhere = credential("crm", 1);
    elsewhere.resource = resource("crm2");
    let other_resource = set_credential(&at, &elsewhere).unwrap().record;
    for (what, record) in [("tool", other_tool), ("tool and resource", other_resource)] {
        let code = refused(what, at.call(call(record)));
        assert_eq!(code, RefusalCode::RecordMismatch, "{what}");
    }
    // An attacker would want the secret sent to an origin of his: every octet of a record is bound.
    let record = &working.credential.record;
    for place in (0..record.len()).step_by(7) {
        let mut edited = record.clone();
        edited[place] ^= 0x20;
        match at.call(call(edited)) {
            Err(tgp_vault_client::CallError::Refused(_)) => {}
            // The id of the key that sealed it: one that there is not.
            Err(tgp_vault_client::CallError::DekUnknown(_)) => {}
            other => panic!("octet {place}: {:?}", other.map(|_| "released")),
        }
    }
    // The newer credential, with other origins, replaces the older.
    let mut newer = credential("mail", 2);
    newer.origins = vec!["https://new.upstream.example".into()];
    let newer = set_credential(&at, &newer).unwrap().record;
    let code = refused("older", at.call(call(record.clone())));
    assert_eq!(code, RefusalCode::RecordStale);
    let released = at.call(call(newer)).unwrap();
    assert_eq!(released.origins, ["https://new.upstream.example"]);
}

#[test]
fn a_token_of_another_issuer_opens_nothing() {
    let at = Deployment::start();
    let working = Working::new(&at);
    let token = working.token(&at);
    let jwks: Jwks = serde_json::from_str(&at.about().jwks).unwrap();
    let keys = TokenKeys::from_jwks(&jwks).unwrap();
    let claims = keys.verify(&token, ISSUER, at.now()).unwrap().claims().clone();
    let kid = jwks.keys[0].kid.clone().unwrap();

    // All claims as they should be, in the name of our key, signed by another.
    let key = SigningKey::generate();
    let forged = |kid: &str, claims| {
        let input = signing_input(kid, claims);
        let signature: Signature = key.sign(input.as_bytes());
        assemble(input, &signature.to_bytes().into())
    };
    let point = key.verifying_key().to_sec1_point(false);
    let own_kid = tgp_request::token::TokenKey::from_sec1(point.as_bytes()).unwrap();
    let mut longer = claims.clone();
    longer.exp += 600;
    let (_, payload) = token.split_once('.').unwrap();
    let unsigned = format!("eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJub25lIn0.{payload}");
    let (head, tail) = token.rsplit_once('.').unwrap();
    let stretched = signing_input(&kid, &longer) + "." + tail;
    assert_ne!(head, stretched);
    for (what, token) in [
        ("in our key's name", forged(&kid, &claims)),
        ("in its own key's name", forged(own_kid.kid(), &claims)),
        ("without an algorithm", unsigned),
        ("a longer life under the old signature", stretched),
    ] {
        let request = working.agent.request(&at, &token, URL);
        let code = refused(what, at.call(working.release_call(request)));
        assert_eq!(code, RefusalCode::TokenInvalid, "{what}");
    }
}

#[test]
fn an_expired_token_opens_nothing_also_when_it_was_seen_before() {
    let mut at = Deployment::start();
    let working = Working::new(&at);
    let short = tgp_vault_client::wire::MintToken { lifetime_s: 3, ..working.mint_call() };
    let minted = at.call(short).unwrap();
    let token = minted.token.expose_text().unwrap();
    let draw = |at: &Deployment| at.call(working.release_call(working.agent.request(at, token, URL)));
    draw(&at).unwrap();
    while at.now() < minted.exp {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(refused("cached", draw(&at)), RefusalCode::TokenInvalid);
    at.restart_later(1);
    assert_eq!(refused("not cached", draw(&at)), RefusalCode::TokenInvalid);
}

#[test]
fn a_replayed_proof_is_refused_also_after_a_restart() {
    let mut at = Deployment::start();
    let working = Working::new(&at);
    let token = working.token(&at);
    let draw = |at: &Deployment, request: &RequestEnvelope| at.call(working.release_call(request.clone()));
    let seen = working.agent.request(&at, &token, URL);
    let unseen = working.agent.request(&at, &token, URL);
    // By an agent whose clock is ahead, within what is allowed.
    let ahead = Params::new(at.now() + 20, *uuid::Uuid::new_v4().as_bytes());
    let ahead = working.agent.request_with(&token, URL, &working.agent.identity, ahead);
    draw(&at, &seen).unwrap();
    draw(&at, &ahead).unwrap();
    for (what, request) in [("seen", &seen), ("ahead", &ahead)] {
        let code = refused(what, draw(&at, request));
        assert_eq!(code, RefusalCode::SignatureReplayed, "{what}");
    }
    at.restart_later(0);
    for (what, request) in [("seen", &seen), ("unseen", &unseen), ("ahead", &ahead)] {
        let code = refused(what, draw(&at, request));
        assert_eq!(code, RefusalCode::SignatureExpired, "{what} after a restart");
    }
    // The horizon is as far as a proof from an agent ahead made it: beyond it all is well.
    at.restart_later(60);
    let fresh = working.agent.request(&at, &token, URL);
    draw(&at, &fresh).unwrap();
}

#[test]
fn a_killed_vault_has_not_forgotten_what_it_answered_for() {
    let mut at = Deployment::start();
    let working = Working::new(&at);
    let token = working.token(&at);
    let ahead = Params::new(at.now() + 25, *uuid::Uuid::new_v4().as_bytes());
    let ahead = working.agent.request_with(&token, URL, &working.agent.identity, ahead);
    at.call(working.release_call(ahead.clone())).unwrap();
    at.kill();
    at.serve();
    for dek in at.wrapped.clone() {
        at.call(tgp_vault_client::wire::LoadDek { dek }).unwrap();
    }
    let code = refused("after a kill", at.call(working.release_call(ahead)));
    assert_eq!(code, RefusalCode::SignatureExpired);
}
