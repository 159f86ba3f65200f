//! What an action takes: parameters and bodies, each with its JSON Schema. It is told to agents, not enforced: the tool judges
//! its own input.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::LARGEST_REQUEST;
use crate::json::objects;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestSchema {
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "objects")]
    pub parameters: Vec<Parameter>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BodySchema>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    pub name: String,
    #[serde(rename = "in")]
    pub place: Place,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub schema: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Place {
    Path,
    Query,
    Header,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BodySchema {
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// By content type.
    pub content: BTreeMap<String, Value>,
}

impl RequestSchema {
    pub fn is_empty(&self) -> bool {
        self.parameters.is_empty() && self.body.is_none()
    }

    /// Its length as JSON.
    pub fn size(&self) -> usize {
        serde_json::to_vec(self).map_or(usize::MAX, |text| text.len())
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.size() > LARGEST_REQUEST {
            return Err(format!("at most {LARGEST_REQUEST} bytes as JSON"));
        }
        if holds_nul(&serde_json::to_value(self).map_err(|error| error.to_string())?) {
            return Err("it holds a NUL".to_owned());
        }
        Ok(())
    }
}

/// A NUL somewhere in it: the one character that PostgreSQL's JSON does not have.
pub(crate) fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
