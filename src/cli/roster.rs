//! `tgp roster`: show it, propose the next one, sign a proposal, put it in force.
//!
//! A proposal is a file with the whole next roster and the statements of those who signed it so far; it
//! goes from owner to owner until as many have signed as the roster in force demands.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tgp_authority::{
    Op, Operation, Operator, OperatorKeyEntry, Role, Roster as Checked, RosterChange, RosterDoc, Signed, Tenants,
};
use tgp_client::{replace_private, unix_now};
use uuid::Uuid;

use super::client::OperatorClient;
use super::context::OperatorArgs;
use super::output::{Output, Table, facts};
use super::{CliError, block_on, init, input, time};

#[derive(Args)]
pub struct Roster {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Show the roster in force
    Show {
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Draw up the next roster and sign it
    Propose(Propose),
    /// Add one's signature to a proposal
    Sign {
        /// The proposal
        file: PathBuf,
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Put a proposal in force that enough have signed
    Apply {
        /// The proposal
        file: PathBuf,
        #[command(flatten)]
        operator: OperatorArgs,
    },
}

#[derive(Args)]
struct Propose {
    /// The public key of a person to add; with --role
    #[arg(long, value_name = "FILE", requires = "roles")]
    add: Option<PathBuf>,
    /// A role of the person to add; may be repeated
    #[arg(long = "role", value_enum, requires = "add")]
    roles: Vec<RoleName>,
    /// Where that person's roles hold [default: everywhere]; may be repeated
    #[arg(long = "tenant", value_name = "UUID", requires = "add")]
    tenants: Vec<Uuid>,
    /// The UUID of a person to remove; may be repeated
    #[arg(long, value_name = "UUID")]
    remove: Vec<Uuid>,
    /// How many must sign: OPERATION=COUNT; may be repeated
    #[arg(long, value_name = "OP=N")]
    quorum: Vec<Quorum>,
    /// Where to write the proposal
    #[arg(long, value_name = "FILE", required_unless_present = "apply")]
    out: Option<PathBuf>,
    /// Put it in force at once, where one signature is enough
    #[arg(long, conflicts_with = "out")]
    apply: bool,
    #[command(flatten)]
    operator: OperatorArgs,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum RoleName {
    Owner,
    Inviter,
    Granter,
    AgentOwner,
    Auditor,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Owner => Self::Owner,
            RoleName::Inviter => Self::Inviter,
            RoleName::Granter => Self::Granter,
            RoleName::AgentOwner => Self::AgentOwner,
            RoleName::Auditor => Self::Auditor,
        }
    }
}

/// `roster=2`
#[derive(Clone, Copy)]
struct Quorum(Op, u32);

impl FromStr for Quorum {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (op, count) = text.split_once('=').ok_or("it reads OPERATION=COUNT, for example roster=2")?;
        let op: Op = op.parse().map_err(|_| format!("operations are {}", Op::ALL.map(Op::as_str).join(", ")))?;
        Ok(Self(op, count.parse().map_err(|_| "the count is a number".to_owned())?))
    }
}

/// A proposal's file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Proposal {
    roster: RosterDoc,
    statements: Vec<Signed>,
}

impl Roster {
    pub fn run(self, output: &Output) -> Result<(), CliError> {
        block_on(async {
            match self.verb {
                Verb::Show { operator } => {
                    let client = OperatorClient::open(&operator).await?;
                    let doc = client.about().await?.roster;
                    output.show(&doc, || text(&doc, client.deployment.id))
                }
                Verb::Propose(verb) => verb.run(output).await,
                Verb::Sign { file, operator } => {
                    let client = OperatorClient::open(&operator).await?;
                    let mut proposal: Proposal = read(&file)?;
                    proposal.sign(&client)?;
                    proposal.write(&file)?;
                    let in_force = client.about().await?.roster;
                    output.show(&proposal, || proposal.progress(&in_force, &file))
                }
                Verb::Apply { file, operator } => {
                    let client = OperatorClient::open(&operator).await?;
                    read(&file)?.apply(&client, output).await
                }
            }
        })
    }
}

impl Propose {
    async fn run(self, output: &Output) -> Result<(), CliError> {
        let client = OperatorClient::open(&self.operator).await?;
        let in_force = client.about().await?.roster;
        let added = match &self.add {
            None => None,
            Some(path) => {
                let mut roles: Vec<Role> = self.roles.iter().copied().map(Role::from).collect();
                roles.sort();
                roles.dedup();
                let tenants = if self.tenants.is_empty() { Tenants::All } else { Tenants::Only(self.tenants.clone()) };
                let keys = vec![OperatorKeyEntry::Spki { spki: init::public_key(path)? }];
                Some(Operator { id: Uuid::new_v4(), keys, roles, tenants })
            }
        };
        let roster = next(&in_force, added, &self.remove, &self.quorum, unix_now())?;
        let mut proposal = Proposal { roster, statements: Vec::new() };
        proposal.sign(&client)?;
        match &self.out {
            None => proposal.apply(&client, output).await,
            Some(path) => {
                proposal.write(path)?;
                output.show(&proposal, || proposal.progress(&in_force, path))
            }
        }
    }
}

/// The roster that follows, valid by itself; whether it may follow is for the vault.
fn next(
    in_force: &RosterDoc,
    added: Option<Operator>,
    removed: &[Uuid],
    quorum: &[Quorum],
    now: i64,
) -> Result<RosterDoc, CliError> {
    let mut roster = in_force.clone();
    if let Some(id) = removed.iter().find(|id| !roster.operators.iter().any(|operator| operator.id == **id)) {
        return Err(CliError::usage(format!("the roster holds no operator {id}")).hint("`tgp roster show` lists them"));
    }
    roster.version += 1;
    roster.created = now.max(in_force.created);
    roster.operators.retain(|operator| !removed.contains(&operator.id));
    roster.operators.extend(added);
    roster.quorum.extend(quorum.iter().map(|Quorum(op, count)| (*op, *count)));
    if roster.operators == in_force.operators && roster.quorum == in_force.quorum {
        return Err(CliError::usage("the proposal changes nothing").hint("say what with --add, --remove or --quorum"));
    }
    Checked::try_from(roster.clone())?;
    Ok(roster)
}

impl Proposal {
    fn sign(&mut self, client: &OperatorClient) -> Result<(), CliError> {
        let me = client.deployment.id;
        self.statements.retain(|signed| signed.statement.signer != me); // an older one may have lapsed
        self.statements.push(client.sign(&Operation::Roster(RosterChange { roster: self.roster.clone() }))?);
        Ok(())
    }

    fn write(&self, path: &std::path::Path) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(self).map_err(|e| CliError::failed(e.to_string()))?;
        Ok(replace_private(path, format!("{text}\n").as_bytes())?)
    }

    async fn apply(self, client: &OperatorClient, output: &Output) -> Result<(), CliError> {
        let version = self.roster.version;
        let reply: Value = client.post("/v1/roster", &self).await?;
        output.show(&reply, || format!("roster version {version} is in force\n"))
    }

    fn progress(&self, in_force: &RosterDoc, path: &std::path::Path) -> String {
        let needed = in_force.quorum.get(&Op::Roster).copied().unwrap_or(1) as usize;
        let signed = self.statements.len();
        let file = path.display();
        let next = if signed >= needed {
            format!("tgp roster apply {file}")
        } else {
            format!("tgp roster sign {file}, by another owner")
        };
        format!(
            "roster version {} is signed by {signed} of {needed}; a signature is good for ten minutes\n\n{}\nnext: {next}\n",
            self.roster.version,
            operators(&self.roster, None),
        )
    }
}

fn read(path: &std::path::Path) -> Result<Proposal, CliError> {
    serde_json::from_str(&input::text(path)?)
        .map_err(|e| CliError::usage(format!("{} is not a proposal: {e}", path.display())))
}

fn text(doc: &RosterDoc, me: Uuid) -> String {
    let quorum: Vec<_> =
        Op::ALL.iter().map(|op| format!("{op}={}", doc.quorum.get(op).copied().unwrap_or(1))).collect();
    format!(
        "roster version {}\n{}\n{}",
        doc.version,
        facts(&[
            ("trust domain", doc.trust_domain.to_string()),
            ("issuer", doc.issuer.clone()),
            ("drawn up", time::text(doc.created)),
            ("must sign", quorum.join(" ")),
        ]),
        operators(doc, Some(me))
    )
}

/// The operators in a table; `me` is marked.
pub fn operators(doc: &RosterDoc, me: Option<Uuid>) -> String {
    let mut table = Table::new(&["OPERATOR", "ROLES", "TENANTS", "KEYS", ""]);
    for operator in &doc.operators {
        let roles: Vec<_> = operator.roles.iter().map(|role| role_text(*role)).collect();
        let tenants = match &operator.tenants {
            Tenants::All => "all".to_owned(),
            Tenants::Only(tenants) => tenants.iter().map(Uuid::to_string).collect::<Vec<_>>().join(" "),
        };
        let mark = if me == Some(operator.id) { "you" } else { "" };
        table.row([
            operator.id.to_string(),
            roles.join(" "),
            tenants,
            operator.keys.len().to_string(),
            mark.to_owned(),
        ]);
    }
    table.text()
}

fn role_text(role: Role) -> String {
    serde_json::to_value(role).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tgp_authority::OperatorSecret;

    use super::*;

    fn person(id: u128, roles: &[Role]) -> Operator {
        let keys = vec![OperatorKeyEntry::Spki { spki: OperatorSecret::generate().public() }];
        Operator { id: Uuid::from_u128(id), keys, roles: roles.to_vec(), tenants: Tenants::All }
    }

    fn first() -> RosterDoc {
        RosterDoc {
            version: 1,
            trust_domain: "tgp.example".parse().unwrap(),
            issuer: "https://gw.tgp.example".into(),
            created: 100,
            operators: vec![person(1, &[Role::Owner, Role::Inviter, Role::Granter])],
            quorum: Default::default(),
        }
    }

    #[test]
    fn the_next_roster_is_one_version_on_and_valid() {
        let roster = next(&first(), Some(person(2, &[Role::Owner])), &[], &["roster=2".parse().unwrap()], 200).unwrap();
        assert_eq!((roster.version, roster.created, roster.operators.len()), (2, 200, 2));
        assert_eq!(roster.quorum[&Op::Roster], 2);
        let without_first = next(&roster, None, &[Uuid::from_u128(1)], &["roster=1".parse().unwrap()], 50).unwrap();
        assert_eq!((without_first.operators.len(), without_first.created), (1, 200));
    }

    #[test]
    fn a_roster_that_would_lock_every_door_is_not_proposed() {
        assert!(next(&first(), None, &[Uuid::from_u128(1)], &[], 200).is_err());
        assert!(next(&first(), None, &[], &["roster=2".parse().unwrap()], 200).is_err());
        assert!(next(&first(), None, &[], &[], 200).is_err(), "it changes nothing");
        assert!(next(&first(), None, &[Uuid::from_u128(9)], &[], 200).is_err());
    }

    #[test]
    fn operators_read_as_a_table() {
        let text = operators(&first(), Some(Uuid::from_u128(1)));
        assert_eq!(
            text,
            "OPERATOR                              ROLES                  TENANTS  KEYS\n\
             00000000-0000-0000-0000-000000000001  owner inviter granter  all      1     you\n"
        );
    }

    #[test]
    fn a_quorum_names_an_operation() {
        assert!(matches!("certify-server=2".parse(), Ok(Quorum(Op::CertifyServer, 2))));
        for bad in ["roster", "roster=x", "everything=2"] {
            assert!(bad.parse::<Quorum>().is_err(), "{bad}");
        }
    }
}
