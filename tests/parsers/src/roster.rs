//! The roster of operators.

use tgp_authority::{Op, Role, Roster};

pub fn check(data: &[u8]) -> bool {
    let Ok(roster) = Roster::parse(data) else { return false };
    let text = roster.to_canonical();
    let again = Roster::parse(&text).expect("its canonical text is a roster");
    assert_eq!(again, roster);
    assert_eq!((again.digest(), again.to_canonical()), (roster.digest(), text));
    assert_eq!(Roster::try_from(roster.doc().clone()).expect("what was read is valid"), roster);

    let operators = &roster.doc().operators;
    assert!(roster.version() >= 1 && (1..=256).contains(&operators.len()));
    for operator in operators {
        assert_eq!(roster.operator(operator.id), Some(operator), "one person has one id");
        for key in operator.signing_keys() {
            assert_eq!(roster.operator_with_spki(&key.to_spki_der()), Some(operator), "one key is one person's");
        }
    }
    // Whoever is in force can be followed: enough owners can sign the next roster.
    let owners = operators.iter().filter(|it| it.has_role(Role::Owner) && it.acts_in(None));
    let able = owners.filter(|it| it.signing_keys().next().is_some()).count();
    assert!(able >= roster.quorum(Op::Roster) as usize);
    assert!(Op::ALL.into_iter().all(|op| (1..=16).contains(&roster.quorum(op))));
    true
}
