//! `tgp key list`: every key of the token, with its attributes as the token tells them.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::{OperatorClient, member, rows};
use super::context::OperatorArgs;
use super::output::{Output, Table, count};
use super::{CliError, block_on};

#[derive(Args)]
pub struct Key {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List every key with its attributes, read from the token one at a time
    List {
        /// Only keys whose label begins with this
        #[arg(long, value_name = "LABEL")]
        label: Option<String>,
        #[command(flatten)]
        operator: OperatorArgs,
    },
}

impl Key {
    pub fn run(self, output: &Output) -> Result<(), CliError> {
        let Verb::List { label, operator } = self.verb;
        let keys: Value = block_on(async { OperatorClient::open(&operator).await?.get("/v1/keys").await })?;
        let chosen: Vec<Value> = rows(&keys)
            .iter()
            .filter(|key| label.as_ref().is_none_or(|label| member(key, "label").starts_with(label.as_str())))
            .cloned()
            .collect();
        output.show(&chosen, || text(&chosen))
    }
}

/// One table of the keys, one of what the token says of each: a column for a key would be too wide.
fn text(keys: &[Value]) -> String {
    let mut table = Table::new(&["LABEL", "CLASS", "KIND", "PINNED", "ID", "FINGERPRINT"]);
    for key in keys {
        let pinned = if key["pinned"] == true { "yes" } else { "no" };
        let print: String = member(key, "fingerprint").chars().take(16).collect();
        table.row([
            member(key, "label"),
            member(key, "class"),
            member(key, "kind"),
            pinned.to_owned(),
            member(key, "id"),
            print,
        ]);
    }
    let mut text = format!("{}\n{}; the token says of each\n", table.text(), count(keys.len(), "object"));
    for key in keys {
        text.push_str(&format!(
            "\n{} ({})\n",
            super::output::clean(&member(key, "label")),
            super::output::clean(&member(key, "class"))
        ));
        let mut attributes = Table::new(&["  attribute", "value"]);
        for attribute in rows(&key["attributes"]) {
            let value = attribute["value"].as_str().unwrap_or("absent").to_owned();
            attributes.row([format!("  {}", member(attribute, "name")), value]);
        }
        text.push_str(&attributes.text());
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_absent_attribute_is_not_a_false_one() {
        let keys = [
            json!({ "label": "kek.1", "id": "0a", "class": "secret-key", "kind": "AES-256", "fingerprint": "00ff",
            "pinned": true, "attributes": [{ "name": "CKA_WRAP", "value": "false" }, { "name": "CKA_TRUSTED", "value": null }] }),
        ];
        let text = text(&keys);
        assert!(text.contains("  CKA_WRAP     false\n") && text.contains("  CKA_TRUSTED  absent\n"), "{text}");
        assert!(
            text.starts_with(
                "LABEL  CLASS       KIND     PINNED  ID  FINGERPRINT\nkek.1  secret-key  AES-256  yes     0a  00ff\n"
            ),
            "{text}"
        );
    }
}
