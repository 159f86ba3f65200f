//! A signed operator statement as it travels.

use serde::{Deserialize, Serialize};

/// The JSON text of a signed statement. Its parameters are free JSON, which postcard cannot carry
/// otherwise; the vault parses and checks it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementText(pub String);

impl StatementText {
    /// The statement as JSON text.
    pub fn of(signed: &impl Serialize) -> Self {
        // A signed statement is a struct of strings and one JSON value: it always serialises.
        StatementText(serde_json::to_string(signed).expect("a signed statement serialises"))
    }
}
