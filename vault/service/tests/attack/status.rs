//! Attacks on `sign_status_list`: the vault signs what its gateway says, in a form that it composes.

use tgp_authority::{Operation, RecordKind, Revoke as RevokeOrder};
use tgp_request::status::{LIFETIME, MAX_ENTRIES, StatusError, StatusList};
use tgp_request::token::{Jwks, TokenKeys};
use tgp_vault_client::wire::{RefusalCode, Revoke, SignStatusList};
use uuid::Uuid;

use crate::actors::Working;
use crate::deployment::{Deployment, ISSUER, TENANT, refused};

fn keys(at: &Deployment) -> TokenKeys {
    let jwks: Jwks = serde_json::from_str(&at.about().jwks).unwrap();
    TokenKeys::from_jwks(&jwks).unwrap()
}

#[test]
fn whoever_holds_the_socket_can_stop_somebody_and_make_nothing_else_of_a_status_list() {
    let at = Deployment::start();
    let (one, two) = (Working::new(&at), Working::new(&at));
    let keys = keys(&at);
    let token = |working: &Working| {
        let minted = working.mint(&at);
        keys.verify(minted.token.expose_text().unwrap(), ISSUER, at.now()).unwrap()
    };
    let (one_token, two_token) = (token(&one), token(&two));
    let sign = |agents: Vec<Uuid>, tokens: Vec<Uuid>| at.call(SignStatusList { agents, tokens });
    let list = |text: &str| StatusList::verify(&keys, text, ISSUER, at.now()).unwrap();

    let stranger = Uuid::new_v4();
    let signed = sign(vec![one.agent.id, stranger, one.agent.id], vec![two_token.claims().jti]).unwrap();
    let told = list(&signed.text);
    assert_eq!(told.check(&one_token, at.now()), Err(StatusError::AgentStopped));
    assert_eq!(told.check(&two_token, at.now()), Err(StatusError::TokenRevoked));
    assert!(!payload(&signed.text).contains(&stranger.to_string()), "the vault never enrolled it");
    assert_eq!(payload(&signed.text).matches(&one.agent.id.to_string()).count(), 1);
    // Times, issuer and kind are the vault's: it is good for a minute, and no token.
    assert_eq!(signed.exp - signed.iat, LIFETIME);
    assert!((at.now() - 5..=at.now() + 5).contains(&signed.iat));
    assert!(keys.verify(&signed.text, ISSUER, at.now()).is_err());
    let other = StatusList::verify(&keys, &signed.text, "https://other.example", at.now());
    assert!(other.is_err());

    let many = |count: usize| (0..count).map(|_| Uuid::new_v4()).collect::<Vec<_>>();
    assert_eq!(refused("too many agents", sign(many(MAX_ENTRIES + 1), vec![])), RefusalCode::OutOfRange);
    assert_eq!(refused("too many tokens", sign(vec![], many(MAX_ENTRIES + 1))), RefusalCode::OutOfRange);
    let most = sign(vec![], many(MAX_ENTRIES)).unwrap();
    assert!(StatusList::verify(&keys, &most.text, ISSUER, at.now()).is_ok(), "the longest one fits");
}

#[test]
fn an_agent_that_an_operator_retired_cannot_be_left_out_of_the_status_list() {
    let mut at = Deployment::start();
    let (one, two) = (Working::new(&at), Working::new(&at));
    let order = RevokeOrder { tenant: TENANT, kind: RecordKind::Agent, id: one.agent.id.to_string() };
    let statement = at.inviter.order(&at, &Operation::Revoke(order));
    at.call(Revoke { statements: vec![statement] }).unwrap();
    let named = |at: &Deployment| payload(&at.call(SignStatusList { agents: vec![], tokens: vec![] }).unwrap().text);
    assert!(named(&at).contains(&one.agent.id.to_string()));
    assert!(!named(&at).contains(&two.agent.id.to_string()));
    // Its tokens have ended by then, and no more were made.
    at.restart_later(16 * 60);
    assert!(!named(&at).contains(&one.agent.id.to_string()));
}

fn payload(text: &str) -> String {
    use base64::Engine;
    let payload = text.split('.').nth(1).unwrap();
    String::from_utf8(base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}
