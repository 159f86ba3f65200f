//! Attacks on `mint_token` by assertion.

use tgp_authority::{Method, Operation};
use tgp_request::assertion::assert as made;
use tgp_request::jwk::IdentitySecret;
use tgp_vault_client::wire::{MintToken, Proof, RefusalCode as Code, WireSecret};

use crate::actors::{Agent, Working, grant, invite, set_grant};
use crate::deployment::{Deployment, ISSUER, refused};

/// An agent whose record allows these methods.
fn working(at: &Deployment, methods: &[Method]) -> Working {
    let mut agent = Agent::invited(at);
    let mut order = invite(agent.id, &agent.code, at.now() + 600);
    order.methods = methods.to_vec();
    agent.invitation = at.inviter.signed(at, &Operation::Invite(order), 600);
    let enrolled = agent.enrol(at);
    let grant = set_grant(at, &grant(at, agent.id, "mail")).unwrap();
    Working { agent, enrolled, grant, ..Working::new(at) }
}

fn by(text: String) -> Proof {
    Proof::Assertion(WireSecret::from(text))
}

#[test]
fn an_assertion_brings_one_token_and_no_other_spelling_of_it_a_second() {
    let mut at = Deployment::start();
    let agent = working(&at, &[Method::PrivateKeyJwt]);
    let (id, key) = (agent.agent.id, &agent.agent.identity);
    // A second later than it is: what was made in the second of the vault's start is refused.
    let fresh = |at: &Deployment, jti: &str| made(id, ISSUER, key, jti, at.now() + 1);
    let call = |text: String| MintToken { proof: by(text), ..agent.mint_call() };
    let first = fresh(&at, "one");
    at.call(call(first.clone())).unwrap();
    assert_eq!(refused("again", at.call(call(first.clone()))), Code::SignatureReplayed);
    assert_eq!(refused("its jti again", at.call(call(fresh(&at, "one")))), Code::SignatureReplayed);
    // The other s of the same signature.
    let (message, signature) = first.rsplit_once('.').unwrap();
    assert_eq!(
        refused("its high twin", at.call(call(format!("{message}.{}", high(signature))))),
        Code::SignatureReplayed
    );
    // What is refused for what goes with it is not spent.
    let second = fresh(&at, "two");
    let beyond = MintToken { actions: vec!["files.read".into()], ..call(second.clone()) };
    assert_eq!(refused("beyond the grant", at.call(beyond)), Code::ScopeInsufficient);
    at.call(call(second)).unwrap();

    let before = fresh(&at, "before the start");
    at.restart_later(2);
    assert_eq!(refused("made before the start", at.call(call(before))), Code::SignatureExpired);
}

#[test]
fn only_the_agents_own_fresh_assertion_is_its_proof() {
    let at = Deployment::start();
    let (one, two) = (working(&at, &[Method::PrivateKeyJwt]), working(&at, &[Method::PrivateKeyJwt]));
    let (id, key) = (one.agent.id, &one.agent.identity);
    let now = at.now() + 1;
    let call = |text: String| MintToken { proof: by(text), ..one.mint_call() };
    let cases = [
        ("another agent's", made(two.agent.id, ISSUER, &two.agent.identity, "a", now)),
        ("in another agent's name", made(two.agent.id, ISSUER, key, "b", now)),
        ("by another agent's key", made(id, ISSUER, &two.agent.identity, "c", now)),
        ("by a key that nobody knows", made(id, ISSUER, &IdentitySecret::generate(), "d", now)),
        ("for another issuer", made(id, "https://evil.example", key, "e", now)),
        ("for the token endpoint", made(id, &format!("{ISSUER}/oauth2/token"), key, "f", now)),
        ("of a minute ago", made(id, ISSUER, key, "g", now - 61)),
        ("of the future", made(id, ISSUER, key, "h", now + 60)),
        ("its access token", one_token(&at, &one, "i")),
        ("nothing", String::new()),
        ("not text", "\u{0}\u{ff}".to_owned()),
    ];
    for (what, text) in cases {
        assert_eq!(refused(what, at.call(call(text))), Code::AssertionInvalid, "{what}");
    }
    let master = MintToken { proof: one.mint_call().proof, ..one.mint_call() };
    assert_eq!(refused("the master key, which the record does not allow", at.call(master)), Code::MasterKeyInvalid);
    let basic = working(&at, &[Method::ClientSecretBasic]);
    let text = made(basic.agent.id, ISSUER, &basic.agent.identity, "j", now);
    let asserting = MintToken { proof: by(text), ..basic.mint_call() };
    assert_eq!(refused("an assertion, which the record does not allow", at.call(asserting)), Code::AssertionInvalid);
    let both = working(&at, &[Method::ClientSecretBasic, Method::PrivateKeyJwt]);
    at.call(both.mint_call()).unwrap();
    let text = made(both.agent.id, ISSUER, &both.agent.identity, "k", now);
    at.call(MintToken { proof: by(text), ..both.mint_call() }).unwrap();
}

fn one_token(at: &Deployment, working: &Working, jti: &str) -> String {
    let text = made(working.agent.id, ISSUER, &working.agent.identity, jti, at.now() + 1);
    let minted = at.call(MintToken { proof: by(text), ..working.mint_call() }).unwrap();
    minted.token.expose_text().unwrap().to_owned()
}

/// n − s in place of s, on secp256k1.
fn high(signature: &str) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba, 0xae,
        0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
    ];
    let mut octets = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = 0;
    for at in (0..32).rev() {
        let difference = i16::from(ORDER[at]) - i16::from(octets[32 + at]) - borrow;
        borrow = i16::from(difference < 0);
        octets[32 + at] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    URL_SAFE_NO_PAD.encode(octets)
}
