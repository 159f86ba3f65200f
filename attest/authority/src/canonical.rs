//! The one form of JSON that is signed: RFC 8785 over a narrow subset.
//!
//! Integers only, of at most 2^53−1 (RFC 8785 §3.2.2.3 writes numbers as IEEE 754 doubles, and above
//! that two different texts could be one number); no duplicate member (RFC 8785 §3.1 builds on I-JSON,
//! RFC 7493 §2.3); bounded depth. What is outside is refused, never repaired.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::AuthorityError;

/// The largest integer that is signed: 2^53 − 1 (RFC 7493 §2.2).
pub const MAX_INTEGER: i64 = (1 << 53) - 1;

const MAX_DEPTH: usize = 16;

/// Parse JSON text of at most `max_bytes` into a value that has a canonical form.
///
/// # Errors
/// Floats, exponents, `-0`, integers beyond ±[`MAX_INTEGER`], duplicate members, depth over 16,
/// anything after the value, anything that is not JSON in UTF-8.
pub fn parse_strict(text: &[u8], max_bytes: usize) -> Result<Value, AuthorityError> {
    if text.len() > max_bytes {
        return Err(AuthorityError::malformed("json", format!("longer than {max_bytes} bytes")));
    }
    let mut parser = serde_json::Deserializer::from_slice(text);
    let value = Strict { depth: 0 }
        .deserialize(&mut parser)
        .and_then(|value| parser.end().map(|()| value))
        .map_err(|error| AuthorityError::malformed("json", error))?;
    Ok(value)
}

/// The RFC 8785 bytes of `value`.
///
/// # Errors
/// A value outside the subset that [`parse_strict`] accepts.
pub fn canonical(value: &Value) -> Result<Vec<u8>, AuthorityError> {
    admissible(value, 0)?;
    serde_json_canonicalizer::to_vec(value).map_err(|error| AuthorityError::malformed("json", error))
}

fn admissible(value: &Value, depth: usize) -> Result<(), AuthorityError> {
    if depth > MAX_DEPTH {
        return Err(AuthorityError::malformed("json", TOO_DEEP));
    }
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
        Value::Number(number) => match number.as_i64() {
            Some(integer) if (-MAX_INTEGER..=MAX_INTEGER).contains(&integer) => Ok(()),
            _ => Err(AuthorityError::malformed("json", NOT_AN_INTEGER)),
        },
        Value::Array(items) => items.iter().try_for_each(|item| admissible(item, depth + 1)),
        Value::Object(members) => members.values().try_for_each(|item| admissible(item, depth + 1)),
    }
}

const TOO_DEEP: &str = "nested too deeply";
const NOT_AN_INTEGER: &str = "numbers must be integers of at most 2^53-1";

/// Builds a [`Value`] and refuses what `serde_json`'s own deserializer would quietly repair.
pub(crate) struct Strict {
    depth: usize,
}

impl Strict {
    /// A strict value at the top of its own nesting.
    pub(crate) fn top() -> Self {
        Self { depth: 0 }
    }

    fn deeper<E: de::Error>(&self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH { Err(E::custom(TOO_DEEP)) } else { Ok(Self { depth: self.depth + 1 }) }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON with integers only and no duplicate member")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        if (-MAX_INTEGER..=MAX_INTEGER).contains(&value) {
            Ok(Value::Number(Number::from(value)))
        } else {
            Err(E::custom(NOT_AN_INTEGER))
        }
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => Err(E::custom(NOT_AN_INTEGER)),
        }
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Value, E> {
        Err(E::custom(NOT_AN_INTEGER))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self.deeper()?)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(de::Error::custom(format_args!("duplicate member {name:?}")));
            }
            let value = members.next_value_seed(self.deeper()?)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Value, AuthorityError> {
        parse_strict(text.as_bytes(), 4096)
    }

    #[test]
    fn what_has_no_single_canonical_form_is_refused() {
        for text in [
            "1.0",
            "1e3",
            "-0",
            "0.1",
            "9007199254740992",
            "-9007199254740992",
            "18446744073709551615",
            "123456789012345678901234567890",
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"[{"b":{"c":1,"c":2}}]"#,
            "1 2",
            "{} {}",
            "",
            "nul",
            r#""\ud800""#,
            "[1,]",
            "01",
            "\u{feff}1",
        ] {
            assert!(parse(text).is_err(), "accepted: {text}");
        }
        assert!(parse_strict(b"\"\xff\"", 64).is_err());
        assert!(parse_strict(b"12345", 4).is_err());
    }

    #[test]
    fn the_largest_safe_integers_are_accepted() {
        for text in ["9007199254740991", "-9007199254740991", "0"] {
            assert_eq!(canonical(&parse(text).unwrap()).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn depth_is_bounded_on_both_ways() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(canonical(&parse(&nested(MAX_DEPTH)).unwrap()).is_ok());
        assert!(parse(&nested(MAX_DEPTH + 1)).is_err());
        let built = (0..=MAX_DEPTH).fold(Value::from(1), |inner, _| Value::Array(vec![inner]));
        assert!(canonical(&built).is_err());
    }

    #[test]
    fn a_value_built_in_code_is_held_to_the_same_subset() {
        for value in [Value::from(0.5), Value::from(1.0), Value::from(u64::MAX), Value::from(MAX_INTEGER + 1)] {
            assert!(canonical(&value).is_err(), "accepted: {value}");
        }
    }

    #[test]
    fn members_are_sorted_by_utf16_code_units() {
        // RFC 8785 §3.2.3: the order that its example prints.
        let text = r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#;
        let sorted = String::from_utf8(canonical(&parse(text).unwrap()).unwrap()).unwrap();
        let order = ["Carriage", "One", "Control", "Latin", "Euro", "Emoji", "Hebrew"];
        let places: Vec<_> = order.iter().map(|word| sorted.find(word).unwrap()).collect();
        assert!(places.is_sorted(), "{sorted}");
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-MAX_INTEGER..=MAX_INTEGER).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn canonical_text_parses_back_to_the_same_value_and_the_same_text(value in any_value()) {
            let text = canonical(&value).unwrap();
            let again = parse_strict(&text, usize::MAX).unwrap();
            prop_assert_eq!(&again, &value);
            prop_assert_eq!(canonical(&again).unwrap(), text);
        }

        #[test]
        fn whitespace_and_escapes_do_not_change_the_canonical_form(value in any_value()) {
            let pretty = serde_json::to_vec_pretty(&value).unwrap();
            let parsed = parse_strict(&pretty, usize::MAX).unwrap();
            prop_assert_eq!(canonical(&parsed).unwrap(), canonical(&value).unwrap());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            if let Ok(value) = parse_strict(&bytes, 256) {
                prop_assert!(canonical(&value).is_ok());
            }
        }
    }
}
