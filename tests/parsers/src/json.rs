//! The one form of JSON that operators sign (RFC 8785).

use serde_json::Value;
use tgp_authority::{canonical, parse_strict};

pub fn check(data: &[u8]) -> bool {
    let Ok(value) = parse_strict(data, 64 * 1024) else { return false };
    let text = canonical(&value).expect("what is read strictly has a canonical form");
    let again = parse_strict(&text, usize::MAX).expect("and that form is read");
    assert_eq!(again, value);
    assert_eq!(canonical(&again).expect("as before"), text, "it is its own canonical form");
    assert_eq!(serde_json::from_slice::<Value>(data).expect("strict is narrower"), value);
    assert!(parse_strict(&[&text[..], b" 1"].concat(), usize::MAX).is_err(), "nothing stands behind a value");
    // Integers only: the text that every implementation of RFC 8785 writes is ours.
    assert_eq!(serde_json::to_vec(&sorted(value)).unwrap().len(), text.len());
    true
}

/// Length does not depend on the order of members; this only rebuilds the value by itself.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(members.into_iter().rev().map(|(k, v)| (k, sorted(v))).collect()),
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}
