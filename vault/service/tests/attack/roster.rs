//! Attacks on `set_roster`.

use tgp_authority::{NewDek as DekOrder, Op, Operation, Purpose, Role, RosterChange, RosterDoc, Tenants};
use tgp_vault_client::wire::{NewDek, RefusalCode, SetRoster};

use crate::actors::Person;
use crate::deployment::{Deployment, TENANT, refused};

fn change(roster: RosterDoc) -> Operation {
    Operation::Roster(RosterChange { roster })
}

#[test]
fn a_roster_follows_only_as_its_successor() {
    let at = Deployment::start();
    let attacker = Person::new();
    let next = |change: &dyn Fn(&mut RosterDoc)| {
        let mut next = at.roster.clone();
        next.version = 2;
        change(&mut next);
        next
    };
    let entry = |tenants| attacker.entry(vec![Role::Owner], tenants);
    let cases = [
        ("the same version", next(&|r| r.version = 1)),
        ("a version skipped", next(&|r| r.version = 3)),
        ("another trust domain", next(&|r| r.trust_domain = "evil.example".parse().unwrap())),
        ("nobody in it", next(&|r| r.operators.clear())),
        ("no owner in it", next(&|r| r.operators.retain(|o| !o.has_role(Role::Owner)))),
        (
            "a quorum that nobody reaches",
            next(&|r| {
                r.quorum.insert(Op::Roster, 5);
            }),
        ),
        (
            "a key that changes hands",
            next(&|r| {
                r.operators[1].keys = r.operators[0].keys.clone();
                r.operators.remove(0);
                r.operators.push(entry(Tenants::All));
            }),
        ),
    ];
    for (what, roster) in cases {
        let statements = vec![at.owner.order(&at, &change(roster))];
        let code = refused(what, at.call(SetRoster { statements }));
        assert_eq!(code, RefusalCode::StatementInvalid, "{what}");
    }
    // The attacker puts himself in, and signs it himself.
    let own = next(&|r| r.operators.push(entry(Tenants::All)));
    for person in [&attacker, &at.inviter, &at.outsider] {
        let statements = vec![person.order(&at, &change(own.clone()))];
        let code = refused("self-made", at.call(SetRoster { statements }));
        assert_eq!(code, RefusalCode::StatementInvalid);
    }
    assert_eq!(at.about().roster_version, 1);
}

#[test]
fn a_removed_operator_orders_nothing_more_and_an_old_roster_does_not_come_back() {
    let mut at = Deployment::start();
    let second = Person::new();
    let mut next = at.roster.clone();
    next.version = 2;
    next.operators[0] = second.entry(vec![Role::Owner], Tenants::All);
    let install = at.owner.order(&at, &change(next));
    assert_eq!(at.call(SetRoster { statements: vec![install.clone()] }).unwrap(), 2);

    let dek = Operation::NewDek(DekOrder { tenant: TENANT, purpose: Purpose::Record });
    for _ in 0..2 {
        let statement = at.owner.order(&at, &dek);
        let code = refused("removed", at.call(NewDek { statement }));
        assert_eq!(code, RefusalCode::StatementInvalid);
        let back = at.owner.order(&at, &change(at.roster.clone()));
        let code = refused("old roster", at.call(SetRoster { statements: vec![back] }));
        assert_eq!(code, RefusalCode::StatementInvalid);
        let code = refused("replay", at.call(SetRoster { statements: vec![install.clone()] }));
        assert_eq!(code, RefusalCode::StatementInvalid);
        at.call(NewDek { statement: second.order(&at, &dek) }).unwrap();
        at.restart_later(0);
    }
}

#[test]
fn a_quorum_counts_persons() {
    let at = Deployment::start();
    let second = Person::new();
    let mut next = at.roster.clone();
    next.version = 2;
    next.operators.push(second.entry(vec![Role::Owner], Tenants::All));
    next.quorum.insert(Op::Roster, 2);
    let statements = vec![at.owner.order(&at, &change(next.clone()))];
    at.call(SetRoster { statements }).unwrap();

    let mut third = next.clone();
    third.version = 3;
    let order = change(third.clone());
    let mut other = third;
    other.created += 1;
    let one = at.owner.order(&at, &order);
    let cases = [
        ("one person", vec![one.clone()], RefusalCode::QuorumMissing),
        ("one person twice", vec![one.clone(), at.owner.order(&at, &order)], RefusalCode::StatementInvalid),
        ("one statement twice", vec![one.clone(), one.clone()], RefusalCode::StatementInvalid),
        ("two that differ", vec![one.clone(), second.order(&at, &change(other))], RefusalCode::StatementInvalid),
        ("a second without the role", vec![one.clone(), at.inviter.order(&at, &order)], RefusalCode::StatementInvalid),
    ];
    for (what, statements, expected) in cases {
        assert_eq!(refused(what, at.call(SetRoster { statements })), expected, "{what}");
    }
    let statements = vec![one, second.order(&at, &order)];
    assert_eq!(at.call(SetRoster { statements }).unwrap(), 3);
}
