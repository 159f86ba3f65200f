//! Which rosters may be in force, and which may follow which.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::collections::BTreeMap;

use serde_json::json;
use support::{Deployment, NOW, Person, STARTED, TENANT, VAULT, grant, roster_change};
use tgp_authority::{AuthorityError, Op, OperatorKeyEntry, Role, Roster, RosterDoc, Signed, Tenants};

type Change = Box<dyn Fn(&mut RosterDoc)>;

fn webauthn(text: &str) -> OperatorKeyEntry {
    OperatorKeyEntry::Webauthn {
        credential_id: "AAAA".to_owned(),
        public_key: text.to_owned(),
        rp_id: "tgp.example".to_owned(),
    }
}

fn signed_by(d: &Deployment, doc: &RosterDoc, by: &[&Person]) -> Vec<Signed> {
    by.iter().map(|person| d.sign(&roster_change(doc.clone()), person)).collect()
}

fn succeed(d: &Deployment, doc: RosterDoc, by: &[&Person]) -> Result<Roster, AuthorityError> {
    let signed = signed_by(d, &doc, by);
    let next = Roster::try_from(doc)?;
    let (next, _) = d.roster.succeed(next, &signed, &d.deployment(), VAULT, NOW, STARTED)?;
    Ok(next)
}

#[test]
fn a_roster_signed_by_the_quorum_of_the_one_before_follows_it() {
    let d = Deployment::new();
    let fresh = Person::new(50, &[Role::Owner], Tenants::All).entry();
    let key = Person::new(51, &[], Tenants::All).entry().keys.remove(0);
    let changes: Vec<(&str, Change)> = vec![
        ("nothing", Box::new(|_| {})),
        ("an owner replaced", Box::new(move |doc| doc.operators[2] = fresh.clone())),
        ("a second key", Box::new(move |doc| doc.operators[0].keys.push(key.clone()))),
        ("a webauthn key beside", Box::new(|doc| doc.operators[0].keys.push(webauthn("AAAA")))),
        (
            "the quorum raised",
            Box::new(|doc| {
                doc.quorum.insert(Op::Roster, 3);
            }),
        ),
        ("the quorum lowered", Box::new(|doc| doc.quorum.clear())),
        ("another issuer", Box::new(|doc| doc.issuer = "https://gw.tgp.example".to_owned())),
        (
            "a person left",
            Box::new(|doc| {
                doc.operators.remove(4);
            }),
        ),
        ("drawn up at the same second", Box::new(|doc| doc.created = NOW - 100_000)),
        ("drawn up by a clock ahead", Box::new(|doc| doc.created = NOW + 900)),
    ];
    for (what, change) in changes {
        let next = succeed(&d, d.next(change), &[&d.owners[0], &d.owners[2]]);
        assert_eq!(next.unwrap_or_else(|error| panic!("{what}: {error}")).version(), 2);
    }
}

#[test]
fn a_roster_that_breaks_a_rule_may_not_follow() {
    let d = Deployment::new();
    let swapped = d.roster.doc().operators[4].keys.clone();
    let own = d.roster.doc().operators[0].keys[0].clone();
    let (others, id) = (swapped.clone(), d.owners[0].id);
    let rows: Vec<(&str, &str, Change)> = vec![
        ("the same version", "succession-refused", Box::new(|doc| doc.version = 1)),
        ("a version left out", "succession-refused", Box::new(|doc| doc.version = 3)),
        (
            "another trust domain",
            "succession-refused",
            Box::new(|doc| doc.trust_domain = "evil.example".parse().unwrap()),
        ),
        ("created before the last", "succession-refused", Box::new(|doc| doc.created = NOW - 100_001)),
        ("created far ahead", "succession-refused", Box::new(|doc| doc.created = NOW + 901)),
        (
            "a key passes to another",
            "succession-refused",
            Box::new(move |doc| {
                doc.operators.remove(4);
                doc.operators[0].keys.extend(swapped.clone());
            }),
        ),
        ("version 0", "roster-invalid", Box::new(|doc| doc.version = 0)),
        ("a key twice", "roster-invalid", Box::new(move |doc| doc.operators[1].keys.push(own.clone()))),
        (
            "a key twice in another's",
            "roster-invalid",
            Box::new(move |doc| doc.operators[1].keys.extend(others.clone())),
        ),
        (
            "a webauthn key twice",
            "roster-invalid",
            Box::new(|doc| {
                doc.operators[0].keys.push(webauthn("AAAA"));
                doc.operators[1].keys.push(webauthn("AAAA"));
            }),
        ),
        ("a webauthn key out of form", "roster-invalid", Box::new(|doc| doc.operators[0].keys.push(webauthn("A=")))),
        ("an id twice", "roster-invalid", Box::new(move |doc| doc.operators[1].id = id)),
        ("a nil id", "roster-invalid", Box::new(|doc| doc.operators[1].id = uuid::Uuid::nil())),
        ("no operator", "roster-invalid", Box::new(|doc| doc.operators.clear())),
        ("no owner", "roster-invalid", Box::new(|doc| doc.operators.retain(|it| !it.has_role(Role::Owner)))),
        (
            "fewer owners than must sign",
            "roster-invalid",
            Box::new(|doc| {
                doc.operators.drain(..2);
            }),
        ),
        (
            "owners of one tenant only",
            "roster-invalid",
            Box::new(|doc| {
                doc.operators.iter_mut().for_each(|it| it.tenants = Tenants::Only(vec![TENANT]));
            }),
        ),
        (
            "owners with keys that cannot sign",
            "roster-invalid",
            Box::new(|doc| {
                doc.operators[0].keys = vec![webauthn("AAAA")];
                doc.operators[1].keys = vec![webauthn("BBBB")];
            }),
        ),
        (
            "a quorum of 0",
            "roster-invalid",
            Box::new(|doc| {
                doc.quorum.insert(Op::Grant, 0);
            }),
        ),
        (
            "a quorum of 17",
            "roster-invalid",
            Box::new(|doc| {
                doc.quorum.insert(Op::Roster, 17);
            }),
        ),
        (
            "a quorum nobody reaches",
            "roster-invalid",
            Box::new(|doc| {
                doc.quorum.insert(Op::CertifyServer, 9);
            }),
        ),
        (
            "a quorum that is reached for agents and for nothing else",
            "roster-invalid",
            Box::new(|doc| {
                doc.operators.retain(|it| !it.roles.contains(&Role::Granter));
                let owners = doc.operators.iter().filter(|it| it.roles.contains(&Role::Owner)).count();
                let inviters = doc.operators.iter().filter(|it| it.roles.contains(&Role::Inviter)).count();
                assert!(inviters > 0, "an inviter may order the revocation of an agent, not of a grant");
                doc.quorum.insert(Op::Revoke, u32::try_from(owners).expect("few") + 1);
            }),
        ),
        ("no key", "roster-invalid", Box::new(|doc| doc.operators[3].keys.clear())),
        ("no role", "roster-invalid", Box::new(|doc| doc.operators[3].roles.clear())),
        ("a role twice", "roster-invalid", Box::new(|doc| doc.operators[3].roles.push(Role::Owner))),
        ("no tenant", "roster-invalid", Box::new(|doc| doc.operators[3].tenants = Tenants::Only(vec![]))),
        ("a tenant twice", "roster-invalid", Box::new(|doc| doc.operators[3].tenants = Tenants::Only(vec![TENANT; 2]))),
        ("issuer not in its one spelling", "roster-invalid", Box::new(|doc| doc.issuer.push('/'))),
        ("created negative", "roster-invalid", Box::new(|doc| doc.created = -1)),
    ];
    for (what, code, change) in rows {
        match succeed(&d, d.next(&change), &[&d.owners[0], &d.owners[1]]) {
            Ok(_) => panic!("accepted: {what}"),
            Err(error) => assert_eq!(error.code(), code, "{what}: {error}"),
        }
        // The vault asks check(), not succeed(), first: it must refuse just the same.
        assert!(d.check(&signed_by(&d, &d.next(&change), &[&d.owners[0], &d.owners[1]])).is_err(), "{what}");
    }
}

#[test]
fn what_one_statement_orders_takes_no_quorum() {
    let d = Deployment::new();
    let plenty = |doc: &mut RosterDoc| {
        let entry = |n, role| Person::new(n, &[role], Tenants::All).entry();
        doc.operators.extend((60..62).map(|n| entry(n, Role::Inviter)));
        doc.operators.extend((62..64).map(|n| entry(n, Role::Granter)));
    };
    for op in Op::ALL {
        let next = d.next(|doc| {
            plenty(doc);
            doc.quorum.insert(op, 2);
        });
        let several = [Op::Roster, Op::Revoke, Op::CertifyServer].contains(&op);
        match Roster::try_from(next) {
            Ok(_) => assert!(several, "{op}"),
            Err(error) => assert!(!several && error.to_string().contains("takes no quorum"), "{op}: {error}"),
        }
    }
}

#[test]
fn a_roster_without_its_quorum_may_not_follow() {
    let d = Deployment::new();
    let [one, two, _] = &d.owners;
    // A new owner does not vote on being one.
    let fresh = Person::new(50, &[Role::Owner], Tenants::All);
    let next = d.next(|doc| {
        doc.operators.push(fresh.entry());
        doc.quorum.clear();
    });
    for (by, code) in [
        (vec![], "statement-missing"),
        (vec![one], "quorum-missing"),
        (vec![one, one], "person-repeated"),
        (vec![one, &fresh], "signer-unknown"),
        (vec![one, &d.tenant_owner], "tenant-refused"),
        (vec![one, &d.auditor], "role-missing"),
    ] {
        assert_eq!(succeed(&d, next.clone(), &by).unwrap_err().code(), code);
    }
    assert!(succeed(&d, next, &[one, two]).is_ok());
}

#[test]
fn what_is_put_in_force_is_exactly_what_was_signed() {
    let d = Deployment::new();
    let [one, two, _] = &d.owners;
    let signed = signed_by(&d, &d.next(|_| {}), &[one, two]);
    let other = Roster::try_from(d.next(|doc| doc.quorum.clear())).unwrap();
    let error = d.roster.succeed(other, &signed, &d.deployment(), VAULT, NOW, STARTED).unwrap_err();
    assert_eq!(error.code(), "succession-refused");
    let next = Roster::try_from(d.next(|_| {})).unwrap();
    let signed = [d.sign(&grant(), &d.granter)];
    let error = d.roster.succeed(next, &signed, &d.deployment(), VAULT, NOW, STARTED).unwrap_err();
    assert_eq!(error.code(), "succession-refused");
}

#[test]
fn a_succession_is_not_repeated_on_the_roster_it_made() {
    let d = Deployment::new();
    let [one, two, _] = &d.owners;
    let doc = d.next(|_| {});
    let signed = signed_by(&d, &doc, &[one, two]);
    let next = succeed(&d, doc.clone(), &[one, two]).unwrap();
    let again = next.succeed(next.clone(), &signed, &d.deployment(), VAULT, NOW, STARTED);
    assert_eq!(again.unwrap_err().code(), "succession-refused");
}

#[test]
fn a_roster_reads_back_from_its_canonical_text_and_in_no_other_spelling() {
    let d = Deployment::new();
    let text = d.roster.to_canonical();
    let again = Roster::parse(&text).unwrap();
    assert_eq!(again, d.roster);
    assert_eq!(again.digest(), d.roster.digest());

    let text = String::from_utf8(text).unwrap();
    let id = d.owners[0].id.to_string();
    for (what, bad) in [
        ("unknown member", text.replacen('{', r#"{"x":1,"#, 1)),
        ("duplicate member", text.replacen('{', r#"{"version":1,"#, 1)),
        ("unknown member of a key", text.replace(r#""kind":"spki""#, r#""kind":"spki","x":1"#)),
        ("unknown kind of key", text.replace(r#""kind":"spki""#, r#""kind":"pgp""#)),
        ("unknown op in quorum", text.replace(r#""roster":2"#, r#""roster":2,"everything":1"#)),
        ("unknown role", text.replace(r#""auditor""#, r#""superuser""#)),
        ("upper-case id", text.replace(&id, &id.to_uppercase())),
        ("float", text.replace(r#""version":1"#, r#""version":1.0"#)),
        ("name", text.replace(&format!(r#""id":"{id}""#), &format!(r#""id":"{id}","name":"Ann""#))),
    ] {
        assert_ne!(bad, text, "{what}");
        assert!(Roster::parse(bad.as_bytes()).is_err(), "accepted: {what}");
    }
}

#[test]
fn a_client_certificate_s_key_names_its_operator() {
    let d = Deployment::new();
    let found = d.roster.operator_with_spki(&d.auditor.secret.public().to_spki_der()).unwrap();
    assert_eq!(found.id, d.auditor.id);
    let stranger = Person::new(60, &[], Tenants::All);
    assert!(d.roster.operator_with_spki(&stranger.secret.public().to_spki_der()).is_none());
    assert!(d.roster.operator_with_spki(b"no key").is_none());
}

#[test]
fn an_unnamed_quorum_is_one() {
    let d = Deployment::new();
    assert_eq!(d.roster.quorum(Op::Grant), 1);
    assert_eq!(d.roster.quorum(Op::Roster), 2);
    let doc = serde_json::to_value(d.roster.doc()).unwrap();
    assert_eq!(doc["quorum"], json!({"roster": 2, "certify-server": 2}));
    assert_eq!(d.roster.doc().quorum, BTreeMap::from([(Op::Roster, 2), (Op::CertifyServer, 2)]));
}
