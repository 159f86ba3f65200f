//! JSON objects, and nothing else for one: serde's derived structs take a sequence of their members' values as well, which
//! no other reader of the same text would.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// A `T` that was written as an object.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members))
            }
        }

        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}

/// For `#[serde(deserialize_with)]`: a list of what was written as objects.
pub fn objects<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Vec::<Object<T>>::deserialize(deserializer).map(|list| list.into_iter().map(|Object(value)| value).collect())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Pair {
        #[serde(rename = "a")]
        _a: u8,
        #[serde(rename = "b")]
        _b: u8,
    }

    #[test]
    fn a_sequence_is_no_object() {
        assert!(serde_json::from_str::<Pair>("[1,2]").is_ok(), "what is guarded against");
        assert!(serde_json::from_str::<Object<Pair>>("[1,2]").is_err());
        assert!(serde_json::from_str::<Object<Pair>>(r#"{"a":1,"b":2}"#).is_ok());
        assert!(serde_json::from_str::<Object<Pair>>(r#"{"a":1,"a":1,"b":2}"#).is_err());
    }
}
