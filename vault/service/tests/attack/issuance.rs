//! Attacks on `mint_token`.

use tgp_authority::{Operation, RecordKind, Revoke as RevokeOrder};
use tgp_request::MasterKey;
use tgp_request::token::{Jwks, TokenKeys};
use tgp_vault_client::wire::{MintToken, Proof, RefusalCode, Revoke, Seal, SealItem, WireSecret};
use uuid::Uuid;

use crate::actors::{Working, grant, resource, set_grant};
use crate::deployment::{Deployment, ISSUER, OTHER_TENANT, TENANT, refused};

#[test]
fn a_token_says_what_record_and_grant_say() {
    let at = Deployment::start();
    let working = Working::new(&at);
    let minted = working.mint(&at);
    let jwks: Jwks = serde_json::from_str(&at.about().jwks).unwrap();
    let keys = TokenKeys::from_jwks(&jwks).unwrap();
    let text = minted.token.expose_text().unwrap();
    let token = keys.verify(text, ISSUER, at.now()).unwrap();
    let claims = token.claims();
    assert_eq!(token.agent(), working.agent.id);
    assert_eq!(token.keyid(), working.agent.identity.public().keyid());
    assert_eq!(claims.aud, resource("mail"));
    assert_eq!(claims.scope, "mail:mail.send");
    assert_eq!(claims.aan.to_string(), working.enrolled.facts.aan);
    assert_eq!((claims.jti, claims.exp - claims.iat), (minted.jti, 300));
}

#[test]
fn a_token_ends_with_its_grant() {
    let at = Deployment::start();
    let working = Working::new(&at);
    let mut short = grant(&at, working.agent.id, "mail");
    short.not_after = at.now() + 100;
    let grant_record = set_grant(&at, &short).unwrap().record;
    let minted = at.call(MintToken { grant_record, ..working.mint_call() }).unwrap();
    assert_eq!(minted.exp, short.not_after);
}

#[test]
fn nothing_but_a_proof_within_a_grant_brings_a_token() {
    let at = Deployment::start();
    let (one, two) = (Working::new(&at), Working::new(&at));
    let id = one.agent.id;
    let key = MasterKey::parse(one.master_key()).unwrap();
    let key_text = |agent, root, generation, mac| {
        let text = MasterKey::new(agent, root, generation, mac).expose_text();
        Proof::MasterKey(WireSecret::from(text.to_string()))
    };
    let mac = *key.expose_mac();
    let mut spoiled = mac;
    spoiled[31] ^= 1;
    let sealed_grant = |change: &dyn Fn(&mut tgp_authority::Grant)| {
        let mut grant = grant(&at, id, "mail");
        change(&mut grant);
        set_grant(&at, &grant).unwrap().record
    };
    let edited = |record: &[u8], at: usize| {
        let mut record = record.to_vec();
        record[at] ^= 1;
        record
    };
    let last = one.grant.record.len() - 1;
    let now = at.now();
    let call = || one.mint_call();
    let actions = |list: &[&str]| list.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>();
    use RefusalCode as Code;
    let cases: Vec<(&str, MintToken, Code)> = vec![
        // The agent's record.
        (
            "another agent's record",
            MintToken { agent_record: two.enrolled.record.clone(), ..call() },
            Code::MasterKeyInvalid,
        ),
        (
            "a grant as agent record",
            MintToken { agent_record: one.grant.record.clone(), ..call() },
            Code::RecordInvalid,
        ),
        ("an empty agent record", MintToken { agent_record: vec![], ..call() }, Code::RecordInvalid),
        (
            "an agent record with its version edited",
            MintToken { agent_record: edited(&one.enrolled.record, 24), ..call() },
            Code::RecordInvalid,
        ),
        (
            "an agent record with its last octet edited",
            MintToken { agent_record: edited(&one.enrolled.record, one.enrolled.record.len() - 1), ..call() },
            Code::RecordInvalid,
        ),
        // The grant's.
        ("another agent's grant", MintToken { grant_record: two.grant.record.clone(), ..call() }, Code::RecordMismatch),
        (
            "a grant with its label edited",
            MintToken { grant_record: edited(&one.grant.record, 30), ..call() },
            Code::RecordInvalid,
        ),
        (
            "a grant with its content edited",
            MintToken { grant_record: edited(&one.grant.record, last), ..call() },
            Code::RecordInvalid,
        ),
        (
            "a credential as grant",
            MintToken { grant_record: one.credential.record.clone(), ..call() },
            Code::RecordInvalid,
        ),
        ("an agent as grant", MintToken { grant_record: one.enrolled.record.clone(), ..call() }, Code::RecordInvalid),
        (
            "a grant that is over",
            MintToken {
                grant_record: sealed_grant(&|g| {
                    g.not_before = now - 100;
                    g.not_after = now - 1;
                }),
                ..call()
            },
            Code::GrantMissing,
        ),
        (
            "a grant to come",
            MintToken { grant_record: sealed_grant(&|g| g.not_before = now + 100), ..call() },
            Code::GrantMissing,
        ),
        (
            "a grant of another tool",
            MintToken { grant_record: sealed_grant(&|g| g.tool = "files".parse().unwrap()), ..call() },
            Code::GrantMissing,
        ),
        (
            "a grant of another resource",
            MintToken { grant_record: sealed_grant(&|g| g.resource = resource("mail2")), ..call() },
            Code::ResourceRefused,
        ),
        (
            "a grant of another agent",
            MintToken { grant_record: sealed_grant(&|g| g.agent = Uuid::new_v4()), ..call() },
            Code::RecordMismatch,
        ),
        // The proof.
        (
            "another agent's master key",
            MintToken { proof: Proof::MasterKey(WireSecret::from(two.master_key().to_owned())), ..call() },
            Code::MasterKeyInvalid,
        ),
        (
            "one bit of the master key",
            MintToken { proof: key_text(id, 1, 1, spoiled), ..call() },
            Code::MasterKeyInvalid,
        ),
        ("an older generation", MintToken { proof: key_text(id, 1, 0, mac), ..call() }, Code::MasterKeyInvalid),
        ("a later generation", MintToken { proof: key_text(id, 1, 2, mac), ..call() }, Code::MasterKeyInvalid),
        ("another root", MintToken { proof: key_text(id, 2, 1, mac), ..call() }, Code::MasterKeyInvalid),
        (
            "another agent's name on it",
            MintToken { proof: key_text(two.agent.id, 1, 1, mac), ..call() },
            Code::MasterKeyInvalid,
        ),
        ("all zeros", MintToken { proof: key_text(id, 1, 1, [0; 32]), ..call() }, Code::MasterKeyInvalid),
        (
            "no master key at all",
            MintToken { proof: Proof::MasterKey(WireSecret::new(vec![])), ..call() },
            Code::MasterKeyInvalid,
        ),
        (
            "octets that are no text",
            MintToken { proof: Proof::MasterKey(WireSecret::new(vec![0xff; 90])), ..call() },
            Code::MasterKeyInvalid,
        ),
        // What is asked for.
        ("another tool", MintToken { tool: "files".into(), ..call() }, Code::GrantMissing),
        ("another resource", MintToken { resource: resource("files"), ..call() }, Code::ResourceRefused),
        ("a longer resource", MintToken { resource: resource("mail/x"), ..call() }, Code::ResourceRefused),
        (
            "an action beyond the grant",
            MintToken { actions: actions(&["files.read"]), ..call() },
            Code::ScopeInsufficient,
        ),
        (
            "one action within and one beyond",
            MintToken { actions: actions(&["mail.send", "files.read"]), ..call() },
            Code::ScopeInsufficient,
        ),
        ("the pattern itself", MintToken { actions: actions(&["mail.*"]), ..call() }, Code::ScopeInsufficient),
        (
            "an action with a space",
            MintToken { actions: actions(&["mail.send x:y"]), ..call() },
            Code::ScopeInsufficient,
        ),
        (
            "an action twice",
            MintToken { actions: actions(&["mail.send", "mail.send"]), ..call() },
            Code::ScopeInsufficient,
        ),
        ("no action", MintToken { actions: vec![], ..call() }, Code::OutOfRange),
        (
            "too many actions",
            MintToken { actions: (0..33).map(|n| format!("mail.{n}")).collect(), ..call() },
            Code::OutOfRange,
        ),
        ("no lifetime", MintToken { lifetime_s: 0, ..call() }, Code::OutOfRange),
        ("a second too long", MintToken { lifetime_s: 901, ..call() }, Code::OutOfRange),
        ("for ever", MintToken { lifetime_s: u32::MAX, ..call() }, Code::OutOfRange),
    ];
    for (what, call, expected) in cases {
        assert_eq!(refused(what, at.call(call)), expected, "{what}");
    }
    one.mint(&at);
}

#[test]
fn a_value_that_the_general_seal_made_is_no_record() {
    let at = Deployment::start();
    let working = Working::new(&at);
    let item = |table: &str| SealItem {
        table: table.into(),
        column: "record".into(),
        key: working.grant.facts.grant.to_string(),
        version: 1,
        plaintext: vec![0; 64],
    };
    let seal = |item| Seal { tenant: TENANT, dek: at.metadata_dek, items: vec![item] };
    let sealed = at.call(seal(item("grant"))).unwrap().remove(0);
    // The label of a real grant before what the gateway had sealed for itself.
    let mut forged = working.grant.record[..26 + 36].to_vec();
    forged.extend_from_slice(&sealed);
    let call = MintToken { grant_record: forged, ..working.mint_call() };
    assert_eq!(refused("sealed by seal", at.call(call)), RefusalCode::DekRefused);
}

#[test]
fn an_older_record_is_refused_once_a_newer_one_was_made() {
    let at = Deployment::start();
    let working = Working::new(&at);
    let mut newer = grant(&at, working.agent.id, "mail");
    newer.grant = working.grant.facts.grant;
    newer.version = 2;
    newer.actions = vec!["mail.read".parse().unwrap()];
    let newer = set_grant(&at, &newer).unwrap();
    let code = refused("older grant", at.call(working.mint_call()));
    assert_eq!(code, RefusalCode::RecordStale);
    let call = MintToken { grant_record: newer.record, ..working.mint_call() };
    let code = refused("newer grant", at.call(call));
    assert_eq!(code, RefusalCode::ScopeInsufficient);
}

#[test]
fn a_revocation_holds_at_once_and_over_a_restart() {
    let mut at = Deployment::start();
    let (one, two) = (Working::new(&at), Working::new(&at));
    let revoke = |tenant, kind, id: String| Operation::Revoke(RevokeOrder { tenant, kind, id });
    let grant_id = one.grant.facts.grant.to_string();
    // Another tenant's granter may say so in his own tenant only, which is nobody's grant.
    let elsewhere = revoke(OTHER_TENANT, RecordKind::Grant, grant_id.clone());
    let statements = vec![at.outsider.order(&at, &elsewhere)];
    at.call(Revoke { statements }).unwrap();
    one.mint(&at);

    let statements = vec![at.granter.order(&at, &revoke(TENANT, RecordKind::Grant, grant_id))];
    at.call(Revoke { statements }).unwrap();
    assert_eq!(refused("grant", at.call(one.mint_call())), RefusalCode::RecordStale);
    two.mint(&at);

    let id = two.agent.id.to_string();
    let statements = vec![at.owner.order(&at, &revoke(TENANT, RecordKind::Agent, id))];
    at.call(Revoke { statements }).unwrap();
    assert_eq!(refused("agent", at.call(two.mint_call())), RefusalCode::RecordStale);

    at.restart_later(0);
    assert_eq!(refused("grant", at.call(one.mint_call())), RefusalCode::RecordStale);
    assert_eq!(refused("agent", at.call(two.mint_call())), RefusalCode::RecordStale);
}
