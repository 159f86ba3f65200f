//! The document as a tree: JSON, or YAML within a budget.

use serde_json::Value;

/// Larger than any that is known.
pub const LONGEST_DOCUMENT: usize = 16 * 1024 * 1024;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    #[error("the document is longer than {LONGEST_DOCUMENT} bytes")]
    TooLong,
    #[error("the document is not text in UTF-8")]
    NotText,
    #[error("the document is neither JSON nor YAML that can be read: {0}")]
    Syntax(String),
    #[error("the document is Swagger {0}; convert it to OpenAPI 3 first")]
    Swagger(String),
    #[error("the document says openapi: {0}; 3.0 and 3.1 can be read")]
    Version(String),
    #[error("no operation of the document can be an action{}", .0.as_ref().map(|why| format!(" ({why})")).unwrap_or_default())]
    NoOperations(Option<String>),
}

pub(super) fn read(text: &[u8]) -> Result<Value, DocumentError> {
    if text.len() > LONGEST_DOCUMENT {
        return Err(DocumentError::TooLong);
    }
    let text = std::str::from_utf8(text).map_err(|_| DocumentError::NotText)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let root = if text.trim_start().starts_with('{') { json(text) } else { yaml(text) }?;
    if crate::manifest::holds_nul(&root) {
        return Err(DocumentError::Syntax("it holds a NUL".to_owned()));
    }
    let said = |member: &str| match &root[member] {
        Value::String(text) => Some(super::clean(text, 20, false)),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    match said("openapi") {
        Some(version) if ["3.0", "3.1"].iter().any(|known| is_of(&version, known)) => Ok(root),
        Some(version) => Err(DocumentError::Version(version)),
        None => {
            Err(said("swagger").map_or_else(|| DocumentError::Version("nothing".to_owned()), DocumentError::Swagger))
        }
    }
}

/// `3.0.3` is of `3.0`, and `3.01` is not.
fn is_of(version: &str, known: &str) -> bool {
    version.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn json(text: &str) -> Result<Value, DocumentError> {
    // serde_json's own bound on depth holds.
    serde_json::from_str(text)
        .map_err(|error| DocumentError::Syntax(format!("line {}, column {}", error.line(), error.column())))
}

fn yaml(text: &str) -> Result<Value, DocumentError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 100,
            max_documents: 1,
            max_events: 4_000_000,
            max_nodes: 2_000_000,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_merge_keys: 100,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 200_000, max_replay_stack_depth: 8 },
        // YAML 1.2: `yes` and `no` are text.
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| DocumentError::Syntax(super::clean(&error.to_string(), 200, false)))
}
