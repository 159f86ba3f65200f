//! `tgp tenant prepare`: the data keys that a tenant's records and names are sealed with.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tgp_authority::{NewDek, Operation, Purpose};
use uuid::Uuid;

use super::client::{OperatorClient, member, rows, scoped};
use super::context::ActingArgs;
use super::output::Output;
use super::{CliError, block_on};

/// The tenant that every deployment begins with.
pub const DEFAULT_TENANT: Uuid = Uuid::from_u128(0x00000000_0000_4000_8000_000000000001);

#[derive(Args)]
pub struct Tenant {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make the data keys that a tenant lacks; safe to repeat
    Prepare {
        #[command(flatten)]
        acting: ActingArgs,
    },
}

impl Tenant {
    pub fn run(self, output: &Output) -> Result<(), CliError> {
        let Verb::Prepare { acting } = self.verb;
        block_on(async {
            let tenant = acting.tenant;
            let client = OperatorClient::open(&acting.operator).await?;
            let present: Value = client.get(&scoped("/v1/deks", tenant)).await?;
            let mut made = Vec::new();
            for (purpose, name) in [(Purpose::Record, "record"), (Purpose::Metadata, "metadata")] {
                if has(&present, tenant, name) {
                    continue;
                }
                let statement = client.sign(&Operation::NewDek(NewDek { tenant, purpose }))?;
                let dek: Value = client.post("/v1/deks", &json!({ "statement": statement })).await?;
                made.push(json!({ "purpose": name, "id": dek["id"] }));
            }
            output.show(&json!({ "tenant": tenant, "made": made }), || match made.as_slice() {
                [] => format!("tenant {tenant} has its data keys already\n"),
                made => {
                    let purposes: Vec<_> = made.iter().map(|dek| member(dek, "purpose")).collect();
                    format!("made data keys for tenant {tenant}: {}\nnext: tgp tool add SLUG --upstream URL --action NAME='METHOD /path'\n", purposes.join(", "))
                }
            })
        })
    }
}

fn has(deks: &Value, tenant: Uuid, purpose: &str) -> bool {
    let tenant = tenant.to_string();
    rows(deks).iter().any(|dek| dek["tenant"] == tenant.as_str() && dek["purpose"] == purpose)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_counts_only_for_its_tenant_and_purpose() {
        let deks = json!([{ "id": 1, "tenant": DEFAULT_TENANT, "purpose": "record" }]);
        assert!(has(&deks, DEFAULT_TENANT, "record"));
        assert!(!has(&deks, DEFAULT_TENANT, "metadata"));
        assert!(!has(&deks, Uuid::nil(), "record"));
        assert!(has(&json!({ "deks": deks }), DEFAULT_TENANT, "record"));
    }
}
