//! Attacks on the calls that carry out what operators signed.

use tgp_authority::{
    CertifyOperator as OperatorOrder, CertifyServer as ServerOrder, NewDek as DekOrder, Operation, OperatorSecret,
    Purpose, RecordKind, Revoke as RevokeOrder, Signed,
};
use tgp_vault_client::CallError;
use tgp_vault_client::wire::{
    CertifyOperator, CertifyServer, NewDek, RefusalCode, Revoke, SetCredential, SetGrant, SetRoster, StatementText,
    WireSecret,
};
use uuid::Uuid;

use crate::actors::{Agent, Person, SALT, SECRET, credential, grant, set_credential, set_grant};
use crate::deployment::{Deployment, OTHER_TENANT, TENANT, other_text, refused};

/// Carries an order to the call that it is for, and says only how that ended.
fn carry(at: &Deployment, signed: &Signed) -> Result<(), CallError> {
    let statement = StatementText::of(signed);
    let statements = vec![statement.clone()];
    let dek = at.dek;
    match signed.statement.op.as_str() {
        "grant" => at.call(SetGrant { statement, dek }).map(drop),
        "credential" => {
            let (salt, secret) = (SALT.to_vec(), WireSecret::new(SECRET.to_vec()));
            at.call(SetCredential { statement, salt, secret, dek }).map(drop)
        }
        "revoke" => at.call(Revoke { statements }).map(drop),
        "roster" => at.call(SetRoster { statements }).map(drop),
        "certify-operator" => at.call(CertifyOperator { statement }).map(drop),
        "certify-server" => at.call(CertifyServer { statements }).map(drop),
        "new-dek" => at.call(NewDek { statement }).map(drop),
        other => panic!("{other} has no call"),
    }
}

/// One good order of each kind, and who may give it.
fn orders(at: &Deployment) -> Vec<(Operation, &Person)> {
    let agent = Uuid::new_v4();
    let mut next = at.roster.clone();
    next.version = 2;
    let revoke = |kind, id: String| Operation::Revoke(RevokeOrder { tenant: TENANT, kind, id });
    vec![
        (Operation::Grant(grant(at, agent, "mail")), &at.granter),
        (Operation::Credential(credential("mail", 1)), &at.granter),
        (revoke(RecordKind::Agent, agent.to_string()), &at.inviter),
        (revoke(RecordKind::Grant, Uuid::new_v4().to_string()), &at.granter),
        (revoke(RecordKind::Credential, "files".into()), &at.granter),
        (Operation::NewDek(DekOrder { tenant: TENANT, purpose: Purpose::Record }), &at.owner),
        (Operation::CertifyServer(ServerOrder { names: vec!["new.tgp.example".into()] }), &at.owner),
        (
            Operation::CertifyOperator(OperatorOrder {
                operator: at.granter.id,
                csr: at.granter.secret.certificate_request(),
            }),
            &at.granter,
        ),
        // Last: the roster of version 1 gives all the others.
        (Operation::Roster(tgp_authority::RosterChange { roster: next }), &at.owner),
    ]
}

#[test]
fn every_order_is_carried_out_once_and_only_as_it_was_signed() {
    let at = Deployment::start();
    let stranger = Person::new();
    for (order, person) in orders(&at) {
        let op = order.op();
        let good = person.signed(&at, &order, 600);
        let resigned = |change: &dyn Fn(&mut tgp_authority::Statement)| {
            let mut statement = person.statement(&at, &order, 600);
            change(&mut statement);
            statement.sign(&person.secret).unwrap()
        };
        let kept = |change: &dyn Fn(&mut Signed)| {
            let mut signed = person.signed(&at, &order, 600);
            change(&mut signed);
            signed
        };
        use RefusalCode::{StatementExpired, StatementInvalid};
        let forged = [
            ("by a stranger", stranger.signed(&at, &order, 600), StatementInvalid),
            (
                "by a stranger in an operator's name",
                {
                    let statement = person.statement(&at, &order, 600);
                    statement.sign(&stranger.secret).unwrap()
                },
                StatementInvalid,
            ),
            ("by an operator of another tenant", at.outsider.signed(&at, &order, 600), StatementInvalid),
            ("for another deployment", resigned(&|s| s.deployment = other_text(&s.deployment)), StatementInvalid),
            ("for another vault", resigned(&|s| s.vault = "vault-2".into()), StatementInvalid),
            ("expired", person.signed(&at, &order, 0), StatementExpired),
            ("good for too long", person.signed(&at, &order, 15 * 60 + 30), StatementExpired),
            ("with a longer life, the signature kept", kept(&|s| s.statement.not_after += 1), StatementInvalid),
            (
                "with a fresh nonce, the signature kept",
                kept(&|s| s.statement.nonce = other_text(&s.statement.nonce)),
                StatementInvalid,
            ),
            ("with another signature", kept(&|s| s.signature = other_text(&s.signature)), StatementInvalid),
            ("with a member too many", kept(&|s| s.statement.params["extra"] = 1.into()), StatementInvalid),
        ];
        for (what, signed, expected) in forged {
            let what = format!("{op} {what}");
            assert_eq!(refused(&what, carry(&at, &signed)), expected, "{what}");
        }
        carry(&at, &good).unwrap_or_else(|error| panic!("{op}: {error}"));
        let expected = match op {
            // Version 2 may not follow version 2: found before the nonce is.
            tgp_authority::Op::Roster => StatementInvalid,
            _ => RefusalCode::StatementReplayed,
        };
        assert_eq!(refused("replay", carry(&at, &good)), expected, "{op} replayed");
    }
}

#[test]
fn a_role_gives_its_own_orders_only() {
    let at = Deployment::start();
    for (order, person) in orders(&at) {
        for other in [&at.owner, &at.inviter, &at.granter] {
            let allowed = other.id == person.id
                || other.id == at.owner.id && matches!(order, Operation::Revoke(_) | Operation::CertifyOperator(_));
            if !allowed {
                let what = format!("{} by another role", order.op());
                let code = refused(&what, carry(&at, &other.signed(&at, &order, 600)));
                assert_eq!(code, RefusalCode::StatementInvalid, "{what}");
            }
        }
    }
}

#[test]
fn an_order_is_of_no_use_to_another_call() {
    let at = Deployment::start();
    let all = orders(&at);
    let carried_as = |op: &str, statement: StatementText| -> Result<(), CallError> {
        let (statements, dek) = (vec![statement.clone()], at.dek);
        match op {
            "grant" => at.call(SetGrant { statement, dek }).map(drop),
            "credential" => {
                let (salt, secret) = (SALT.to_vec(), WireSecret::new(SECRET.to_vec()));
                at.call(SetCredential { statement, salt, secret, dek }).map(drop)
            }
            "revoke" => at.call(Revoke { statements }).map(drop),
            "roster" => at.call(SetRoster { statements }).map(drop),
            "certify-operator" => at.call(CertifyOperator { statement }).map(drop),
            "certify-server" => at.call(CertifyServer { statements }).map(drop),
            _ => at.call(NewDek { statement }).map(drop),
        }
    };
    let calls = ["grant", "credential", "revoke", "roster", "certify-operator", "certify-server", "new-dek"];
    for (order, person) in &all {
        for call in calls {
            if call != order.op().as_str() {
                let what = format!("{} as {call}", order.op());
                let statement = person.order(&at, order);
                let code = refused(&what, carried_as(call, statement));
                assert_eq!(code, RefusalCode::StatementInvalid, "{what}");
            }
        }
    }
    for text in ["", "{}", "[]", "\u{0}", "{\"statement\":{},\"signature\":\"\"}"] {
        for call in calls {
            let code = refused(text, carried_as(call, StatementText(text.into())));
            assert_eq!(code, RefusalCode::StatementInvalid);
        }
    }
}

#[test]
fn no_order_at_all_is_no_order() {
    let at = Deployment::start();
    let none = || Vec::<StatementText>::new();
    let answers = [
        refused("revoke", at.call(Revoke { statements: none() })),
        refused("roster", at.call(SetRoster { statements: none() })),
        refused("server", at.call(CertifyServer { statements: none() })),
    ];
    assert_eq!(answers, [RefusalCode::StatementInvalid; 3]);
}

#[test]
fn a_credential_is_the_signed_one_or_none() {
    let at = Deployment::start();
    let order = Operation::Credential(credential("mail", 1));
    let call = |salt: &[u8], secret: &[u8], dek| SetCredential {
        statement: at.granter.order(&at, &order),
        salt: salt.to_vec(),
        secret: WireSecret::new(secret.to_vec()),
        dek,
    };
    // The same octets, cut elsewhere: the digest is over their concatenation.
    let joined = [SALT, SECRET].concat();
    let cases = [
        ("another secret", call(SALT, b"attackers", at.dek), RefusalCode::SecretMismatch),
        ("another salt", call(b"fedcba9876543210", SECRET, at.dek), RefusalCode::SecretMismatch),
        ("a shorter salt", call(&joined[..8], &joined[8..], at.dek), RefusalCode::SecretMismatch),
        ("a longer salt", call(&joined[..20], &joined[20..], at.dek), RefusalCode::SecretMismatch),
        ("no secret", call(SALT, b"", at.dek), RefusalCode::SecretMismatch),
        ("a metadata key", call(SALT, SECRET, at.metadata_dek), RefusalCode::DekRefused),
        ("another tenant's key", call(SALT, SECRET, at.other_dek), RefusalCode::DekRefused),
    ];
    for (what, call, expected) in cases {
        assert_eq!(refused(what, at.call(call)), expected, "{what}");
    }
    set_credential(&at, &credential("mail", 1)).unwrap();
}

#[test]
fn an_older_version_is_not_sealed_again() {
    let at = Deployment::start();
    set_credential(&at, &credential("mail", 3)).unwrap();
    for (what, version) in [("older", 2), ("the same again", 3)] {
        let code = refused(what, set_credential(&at, &credential("mail", version)));
        assert_eq!(code, RefusalCode::RecordStale, "{what}");
    }
    let mut order = grant(&at, Uuid::new_v4(), "mail");
    set_grant(&at, &order).unwrap();
    order.actions = vec!["*".parse().unwrap()];
    assert_eq!(refused("another grant of one version", set_grant(&at, &order)), RefusalCode::RecordStale);
    order.version = u32::MAX;
    refused("a version that could not be revoked", set_grant(&at, &order));
}

#[test]
fn a_grant_is_sealed_with_no_other_key_than_its_tenants_record_key() {
    let at = Deployment::start();
    let order = Operation::Grant(grant(&at, Uuid::new_v4(), "mail"));
    for (what, dek) in [("metadata", at.metadata_dek), ("other tenant", at.other_dek)] {
        let statement = at.granter.order(&at, &order);
        let code = refused(what, at.call(SetGrant { statement, dek }));
        assert_eq!(code, RefusalCode::DekRefused, "{what}");
    }
}

#[test]
fn an_operators_certificate_is_for_a_key_of_the_roster() {
    let at = Deployment::start();
    let order = |operator, key: &OperatorSecret| {
        let csr = key.certificate_request();
        Operation::CertifyOperator(OperatorOrder { operator, csr })
    };
    let attacker = OperatorSecret::generate();
    let cases = [
        ("a key that is not in the roster", order(at.granter.id, &attacker)),
        ("another operator's key", order(at.granter.id, &at.owner.secret)),
        ("an operator who is not in the roster", order(Uuid::new_v4(), &at.owner.secret)),
    ];
    for (what, order) in cases {
        for person in [&at.owner, &at.granter] {
            let statement = person.order(&at, &order);
            let code = refused(what, at.call(CertifyOperator { statement }));
            assert_eq!(code, RefusalCode::StatementInvalid, "{what}");
        }
    }
    let statement = at.granter.order(&at, &order(at.granter.id, &at.granter.secret));
    let issued = at.call(CertifyOperator { statement }).unwrap();
    assert!(issued.not_after - issued.not_before <= 86_400);
}

#[test]
fn a_new_server_certificate_is_described_from_then_on() {
    let mut at = Deployment::start();
    let order = Operation::CertifyServer(ServerOrder { names: vec!["new.tgp.example".into()] });
    let statements = vec![at.owner.order(&at, &order)];
    let issued = at.call(CertifyServer { statements }).unwrap();
    assert_eq!(at.about().server_chain_pem, issued.chain);
    at.restart_later(0);
    assert_eq!(at.about().server_chain_pem, issued.chain);
}

#[test]
fn a_nonce_stays_spent_over_a_restart_and_a_clock_set_forward() {
    let mut at = Deployment::start();
    let order = Operation::NewDek(DekOrder { tenant: OTHER_TENANT, purpose: Purpose::Metadata });
    let signed = at.owner.signed(&at, &order, 600);
    carry(&at, &signed).unwrap();
    at.restart_later(0);
    assert_eq!(refused("restart", carry(&at, &signed)), RefusalCode::StatementReplayed);
    // The nonce is forgotten once the statement is over; then the clock goes back.
    at.restart_later(700);
    Agent::invited(&at).enrol(&at);
    at.restart_later(-700);
    assert_eq!(refused("clock set back", carry(&at, &signed)), RefusalCode::StatementExpired);
}
