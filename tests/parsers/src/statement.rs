//! Operators' statements: signed ones as they arrive, or statements on a line each that are signed here by the operators
//! whom they name, since a fuzzer cannot forge what stands before quorum, roles and bounds.

use tgp_authority::{DOMAIN_PREFIX, Operation, Roster, Signed, Statement, canonical, parse_strict};
use uuid::Uuid;

use crate::vectors::{OPERATORS, ROSTER, STATEMENTS};

pub fn check(data: &[u8]) -> bool {
    if let Ok(signed) = Signed::parse(data) {
        spelled(&signed);
        return check_all(&[signed]);
    }
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let signed: Option<Vec<Signed>> = text.lines().map(sign).collect();
    match signed {
        Some(signed) if !signed.is_empty() => check_all(&signed),
        _ => false,
    }
}

/// Signed with the key of the operator who is named, in the one spelling that it has.
fn sign(line: &str) -> Option<Signed> {
    let statement: Statement = serde_json::from_str(line).ok()?;
    let signer = statement.signer.to_string();
    let (_, secret) = OPERATORS.iter().find(|(id, _)| *id == signer).unwrap_or(&OPERATORS[0]);
    let signed = statement.sign(secret).ok()?;
    let text = serde_json::to_vec(&signed).expect("it was read from JSON");
    let read = Signed::parse(&text).ok()?;
    assert_eq!(read, signed);
    spelled(&read);
    Some(read)
}

fn spelled(signed: &Signed) {
    let text = serde_json::to_vec(signed).unwrap();
    assert_eq!(&Signed::parse(&text).expect("what was written reads back"), signed);
    let bytes = signed.statement.signing_bytes().expect("what was read has a canonical form");
    let json = bytes.strip_prefix(DOMAIN_PREFIX).expect("the domain stands first");
    assert_eq!(canonical(&parse_strict(json, usize::MAX).expect("canonical")).expect("canonical"), json);
    // The vault keeps it in a format that does not describe itself.
    let stored = postcard::to_stdvec(signed).unwrap();
    assert_eq!(&postcard::from_bytes::<Signed>(&stored).expect("what was stored reads back"), signed);
}

fn check_all(signed: &[Signed]) -> bool {
    let text = |member: &str| STATEMENTS[member].as_str().unwrap();
    let number = |member: &str| STATEMENTS[member].as_i64().unwrap();
    let roster: &Roster = &ROSTER;
    let judge = || roster.check(signed, text("deployment"), text("vault"), number("now"), number("started"));
    let Ok(authorised) = judge() else { return false };
    let operation = authorised.operation();
    let first = &signed[0].statement;
    assert_eq!(&Operation::parse(&first.op, &first.params).expect("it was authorised"), operation);
    assert_eq!(operation.params(), first.params);
    operation.within_bounds().expect("it was authorised");
    let signers = authorised.signers();
    assert!(signers.len() >= roster.quorum(operation.op()) as usize && signers.len() == signed.len());
    assert!((1..signers.len()).all(|at| !signers[..at].contains(&signers[at])), "each person once");
    for (one, signer) in signed.iter().zip(signers) {
        let operator = roster.operator(*signer).expect("who signs is in the roster");
        assert_eq!((one.statement.signer, &one.statement.params), (*signer, &first.params));
        assert!(operator.acts_in(operation.tenant()) || is_own(operation, *signer), "in a tenant of theirs");
        assert!(number("now") < one.statement.not_after);
    }
    assert_eq!(judge().expect("as before").digest(), authorised.digest());
    assert_eq!(authorised.nonces().len(), signed.len());
    true
}

fn is_own(operation: &Operation, signer: Uuid) -> bool {
    matches!(operation, Operation::CertifyOperator(order) if order.operator == signer)
}
