//! `tgp operator`: a person's key, whom it speaks to, its certificate; and the server's certificate.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};
use tgp_authority::{CertifyServer, Operation, OperatorSecret, RosterDoc};
use tgp_client::{ClientError, Leaf, Origin, Pin, Trust, spki_sha256_of_pem};

use super::client::{About, OperatorClient, about, certify};
use super::context::{Deployment, OperatorArgs, OperatorDir};
use super::output::{Output, facts};
use super::{CliError, block_on, input, roster, time};

#[derive(Args)]
pub struct Operator {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make an operator's key pair, on the operator's own machine
    Keygen {
        /// Where [default: $TGP_OPERATOR, else ~/.config/tgp/operator]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Connect the key to a deployment whose roster holds it
    Connect(Connect),
    /// Get a fresh certificate for the operator's key (others do so by themselves when it is due)
    Certify {
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// List the operators of the roster in force
    List {
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Have the vault issue the gateway's server certificate anew
    CertifyServer {
        /// DNS name or address; may be repeated
        #[arg(long = "name", value_name = "NAME", required = true)]
        names: Vec<String>,
        #[command(flatten)]
        operator: OperatorArgs,
    },
}

#[derive(Args)]
struct Connect {
    /// The operator listener, https://host:8444
    #[arg(long, value_name = "URL")]
    url: String,
    /// What `tgp init` printed as the pin: SHA-256 of the CA's key
    #[arg(long, value_name = "PIN", required_unless_present = "deployment_file")]
    pin: Option<String>,
    /// The deployment.json that `tgp init` wrote, instead of the pin
    #[arg(long, value_name = "FILE", conflicts_with = "pin")]
    deployment_file: Option<PathBuf>,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// The part of `deployment.json` that is needed.
#[derive(Deserialize)]
struct DeploymentFile {
    deployment: String,
    pin: String,
}

impl Operator {
    pub fn run(self, output: &Output) -> Result<(), CliError> {
        match self.verb {
            Verb::Keygen { dir } => keygen(dir, output),
            Verb::Connect(verb) => block_on(verb.run(output)),
            Verb::Certify { operator } => block_on(renew(&operator, output)),
            Verb::List { operator } => block_on(async {
                let client = OperatorClient::open(&operator).await?;
                let doc = client.about().await?.roster;
                output.show(&doc.operators, || roster::operators(&doc, Some(client.deployment.id)))
            }),
            Verb::CertifyServer { names, operator } => block_on(async {
                let client = OperatorClient::open(&operator).await?;
                let statement = client.sign(&Operation::CertifyServer(CertifyServer { names: names.clone() }))?;
                let reply: Value =
                    client.post("/v1/server/certificates", &json!({ "statements": [statement] })).await?;
                output.show(&reply, || format!("the server's certificate now names {}\n", names.join(" ")))
            }),
        }
    }
}

fn keygen(dir: Option<PathBuf>, output: &Output) -> Result<(), CliError> {
    let dir = match dir {
        Some(dir) => OperatorDir(dir),
        None => OperatorArgs::default().dir()?,
    };
    let (secret, public) = dir.keygen()?;
    let public_pem = secret.public().to_pem();
    output.show(&json!({ "dir": dir.path(), "public_key": public_pem }), || {
        format!(
            "made an operator's key\n{}\nnext\n  tgp init --owner {public}    for the first owner\n  \
             tgp roster propose --add {public} --role ROLE    by an owner, for everyone else\n",
            facts(&[
                ("private", format!("{}, which never leaves this machine", dir.path().join("operator.key").display())),
                ("public", format!("{}, to hand over", public.display())),
            ]),
            public = public.display(),
        )
    })
}

impl Connect {
    async fn run(self, output: &Output) -> Result<(), CliError> {
        let dir = self.operator.dir()?;
        let secret = dir.secret()?;
        let url = Origin::parse(&self.url)?;
        let (pin, expected) = match (&self.pin, &self.deployment_file) {
            (Some(pin), _) => (pin.clone(), None),
            (None, Some(path)) => {
                let file: DeploymentFile = serde_json::from_str(&input::text(path)?)
                    .map_err(|e| CliError::usage(format!("{}: {e}", path.display())))?;
                (file.pin, Some(file.deployment))
            }
            (None, None) => return Err(CliError::usage("--pin or --deployment-file is missing")),
        };
        let pin = parse_pin(&pin)?;
        let about = about(&url, &Trust::Pinned(pin)).await?;
        if expected.is_some_and(|expected| expected != about.deployment) {
            return Err(CliError::failed("the gateway is of another deployment"));
        }
        let deployment = deployment(&url, about, pin, &secret)?;
        let chain = certify(&dir, &secret, &deployment).await?;
        dir.write_deployment(&deployment)?;
        let until = Leaf::of_chain(&chain)?.not_after;
        output.show(&deployment, || {
            format!(
                "connected\n{}\nnext: tgp tenant prepare\n",
                facts(&[
                    ("operator", deployment.id.to_string()),
                    ("deployment", deployment.deployment.clone()),
                    ("issuer", deployment.issuer.clone()),
                    ("certificate", format!("until {}, renewed by itself", time::text(until))),
                ])
            )
        })
    }
}

fn deployment(url: &Origin, about: About, pin: Pin, secret: &OperatorSecret) -> Result<Deployment, CliError> {
    let About { deployment, vault, issuer, trust_domain, roster, ca_pem } = about;
    if Pin(spki_sha256_of_pem(&ca_pem)?) != pin {
        return Err(ClientError::Untrusted("its CA is not the one that the pin names".into()).into());
    }
    let id = find(&roster, secret)?;
    Ok(Deployment { url: url.to_string(), id, deployment, vault, issuer, trust_domain, ca: ca_pem })
}

fn find(roster: &RosterDoc, secret: &OperatorSecret) -> Result<uuid::Uuid, CliError> {
    let key = secret.public();
    let found = roster.operators.iter().find(|operator| operator.has_key(&key));
    found.map(|operator| operator.id).ok_or_else(|| {
        CliError::failed(format!("roster version {} does not hold this operator's key", roster.version))
            .hint("an owner puts it there with `tgp roster propose --add operator.pub --role ROLE`")
    })
}

fn parse_pin(text: &str) -> Result<Pin, CliError> {
    let octets = URL_SAFE_NO_PAD.decode(text.trim()).ok().and_then(|octets| <[u8; 32]>::try_from(octets).ok());
    octets.map(Pin).ok_or_else(|| {
        CliError::usage("the pin is 43 characters of base64url")
            .hint("`tgp init` printed it, and wrote it to deployment.json")
    })
}

async fn renew(operator: &OperatorArgs, output: &Output) -> Result<(), CliError> {
    let dir = operator.dir()?;
    let (secret, deployment) = (dir.secret()?, dir.deployment()?);
    let chain = certify(&dir, &secret, &deployment).await?;
    let until = Leaf::of_chain(&chain)?.not_after;
    output.show(&json!({ "operator": deployment.id, "not_after": until }), || {
        format!("certified operator {} until {}\n", deployment.id, time::text(until))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_32_bytes_in_one_spelling() {
        let text = URL_SAFE_NO_PAD.encode([7; 32]);
        assert_eq!(parse_pin(&format!("{text}\n")).unwrap(), Pin([7; 32]));
        for bad in ["", "abc", &text[1..], &format!("{text}A")] {
            assert!(parse_pin(bad).is_err(), "{bad}");
        }
    }
}
