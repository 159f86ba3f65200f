//! `tgp tool credential`: what a tool's upstream wants, handed to the vault once; and how tools show what they have.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};
use tgp_authority::{
    ClientAuth, Credential, OAuth2, OAuth2Grant, Operation, Placement, salted_secret_sha256, valid_origin,
};
use tgp_client::random;
use tgp_request::name::Slug;
use zeroize::Zeroizing;

use super::client::{OperatorClient, base64url, date, joined, member, rows, uuid};
use super::context::ActingArgs;
use super::output::{Output, Table, facts};
use super::tool::resource;
use super::{CliError, input};
use crate::proxy::client_certificate::ClientCertificate;
use crate::proxy::sigv4::AccessKey;

#[derive(Args)]
pub struct SetCredential {
    slug: Slug,
    /// Its name, where the tool has several: a grant says which one is used under it
    #[arg(long)]
    name: Option<Slug>,
    #[command(flatten)]
    kind: KindArgs,
    /// The file that holds the secret, `-` for standard input; asked for when not given
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    #[command(flatten)]
    oauth2: OAuth2Args,
    /// Where it may be sent [default: the tool's upstream]; may be repeated
    #[arg(long = "origin", value_name = "ORIGIN")]
    origins: Vec<String>,
    #[command(flatten)]
    acting: ActingArgs,
}

#[derive(Args)]
#[command(group(ArgGroup::new("kind").required(true).multiple(false)))]
struct KindArgs {
    /// Nothing: the upstream wants no credential
    #[arg(long, group = "kind")]
    none: bool,
    /// As `Authorization: Bearer SECRET`
    #[arg(long, group = "kind")]
    bearer: bool,
    /// As a header field of this name
    #[arg(long, value_name = "NAME", group = "kind")]
    header: Option<String>,
    /// As a parameter of the query of this name
    #[arg(long, value_name = "NAME", group = "kind")]
    query: Option<String>,
    /// As `Authorization: Basic`, the secret being user:password
    #[arg(long, group = "kind")]
    basic: bool,
    /// Sign with AWS Signature Version 4, the secret being ACCESS-KEY-ID:SECRET-ACCESS-KEY[:SESSION-TOKEN]
    #[arg(long, value_name = "REGION/SERVICE", group = "kind")]
    aws_sigv4: Option<String>,
    /// As the connection's TLS client certificate, the secret being its chain and its key, PEM
    #[arg(long, group = "kind")]
    client_certificate: bool,
    /// As an access token that is fetched, the secret being the client's
    #[arg(long, value_name = "GRANT", group = "kind", requires = "token_endpoint", requires = "client_id")]
    oauth2: Option<GrantArg>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum GrantArg {
    ClientCredentials,
    RefreshToken,
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum AuthArg {
    ClientSecretBasic,
    ClientSecretPost,
    None,
}

#[derive(Args)]
#[command(next_help_heading = "With --oauth2")]
struct OAuth2Args {
    /// Where the token is fetched; the client's secret goes there and nowhere else
    #[arg(long, value_name = "URL", requires = "oauth2")]
    token_endpoint: Option<String>,
    /// The client's id
    #[arg(long, value_name = "ID", requires = "oauth2")]
    client_id: Option<String>,
    /// How the client authenticates to the token endpoint
    #[arg(long, value_name = "METHOD", requires = "oauth2", default_value = "client_secret_basic")]
    client_auth: AuthArg,
    /// What is asked for, with a space between each
    #[arg(long, value_name = "SCOPES", requires = "oauth2")]
    scope: Option<String>,
    /// The file that holds the refresh token; asked for when not given
    #[arg(long, value_name = "FILE", requires = "oauth2")]
    refresh_token_file: Option<PathBuf>,
}

impl SetCredential {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let placement = self.placement()?;
        let secret = self.secret(&placement)?;
        let client = OperatorClient::open(&self.acting.operator).await?;
        let Self { slug, name, origins, .. } = self;
        let tool: Value = client.get(&format!("/v1/tools/{slug}")).await?;
        let origins = if origins.is_empty() { vec![origin_of(&member(&tool, "upstream"))?] } else { origins };
        let version = version(&tool, name.as_ref()) + 1;
        let salt = random::<16>()?;
        let order = Credential {
            tenant: uuid(&tool, "tenant")?,
            tool: slug.clone(),
            name: name.clone(),
            // Not the gateway's word for it: where agents call is fixed by issuer and slug.
            resource: resource(&client, &slug),
            version,
            origins: origins.clone(),
            placement: placement.clone(),
            secret_sha256: salted_secret_sha256(&salt, secret.as_bytes()),
        };
        let order = Operation::Credential(order);
        order.within_bounds().map_err(|e| CliError::usage(e.to_string()))?;
        let statement = client.sign(&order)?;
        let body = Handover { statement: &statement, salt: base64url(&salt), secret: &secret };
        let _: Value = client.put(&format!("/v1/tools/{slug}/credential"), &body).await?;
        let shown =
            json!({ "tool": slug, "name": name, "version": version, "origins": origins, "placement": placement });
        output.show(&shown, || {
            let name = name.as_ref().map(ToString::to_string).unwrap_or_default();
            format!(
                "sealed the credential of {slug}; nobody can read it back\n{}",
                facts(&[
                    ("name", name),
                    ("sent as", placement.to_string()),
                    ("sent to", origins.join(" ")),
                    ("version", version.to_string()),
                ])
            )
        })
    }

    fn placement(&self) -> Result<Placement, CliError> {
        let KindArgs { none, bearer, header, query, basic, aws_sigv4, client_certificate, oauth2 } = &self.kind;
        let placement = match (header, query, aws_sigv4, oauth2) {
            (Some(name), ..) => Placement::header(name),
            (_, Some(name), ..) => Placement::query(name),
            (_, _, Some(names), _) => {
                let (region, service) = names.split_once('/').unwrap_or((names.as_str(), ""));
                Placement::aws_sigv4(region, service)
            }
            (_, _, _, Some(grant)) => return self.oauth2(*grant),
            _ if *none => Ok(Placement::None),
            _ if *basic => Ok(Placement::Basic),
            _ if *client_certificate => Ok(Placement::ClientCertificate),
            _ => {
                debug_assert!(*bearer, "one of the group is required");
                Ok(Placement::Bearer)
            }
        };
        placement.map_err(|e| CliError::usage(e.to_string()))
    }

    fn oauth2(&self, grant: GrantArg) -> Result<Placement, CliError> {
        let OAuth2Args { token_endpoint, client_id, client_auth, scope, refresh_token_file } = &self.oauth2;
        if grant == GrantArg::ClientCredentials && refresh_token_file.is_some() {
            return Err(CliError::usage("a client's own token is fetched without a refresh token"));
        }
        let oauth2 = OAuth2 {
            grant: match grant {
                GrantArg::ClientCredentials => OAuth2Grant::ClientCredentials,
                GrantArg::RefreshToken => OAuth2Grant::RefreshToken,
            },
            token_endpoint: token_endpoint.clone().unwrap_or_default(),
            client_id: client_id.clone().unwrap_or_default(),
            client_auth: match client_auth {
                AuthArg::ClientSecretBasic => ClientAuth::ClientSecretBasic,
                AuthArg::ClientSecretPost => ClientAuth::ClientSecretPost,
                AuthArg::None => ClientAuth::None,
            },
            scope: scope.clone(),
        };
        oauth2.within_bounds().map_err(|e| CliError::usage(e.to_string()))?;
        Ok(Placement::OAuth2(oauth2))
    }

    /// Read from files or typed, in the form that the placement wants.
    fn secret(&self, placement: &Placement) -> Result<Zeroizing<String>, CliError> {
        let file = self.secret_file.as_deref();
        let read = |what: &str| input::secret(file, &format!("the {what} of {}", self.slug));
        let refused = |why: &str| Err(CliError::usage(why));
        match placement {
            Placement::None if file.is_some() => refused("with --none there is no secret"),
            Placement::None => Ok(Zeroizing::default()),
            Placement::Basic => {
                let pair = read("user and password")?;
                if pair.contains(':') { Ok(pair) } else { refused("the secret of --basic reads user:password") }
            }
            Placement::AwsSigV4 { .. } => {
                let key = read("access key")?;
                match AccessKey::parse(&key) {
                    Some(_) => Ok(key),
                    None => refused("an access key reads ACCESS-KEY-ID:SECRET-ACCESS-KEY or …:SESSION-TOKEN"),
                }
            }
            Placement::ClientCertificate => {
                let pem = read("certificate and key")?;
                ClientCertificate::parse(pem.as_bytes()).map_err(|e| CliError::usage(e.to_string()))?;
                Ok(pem)
            }
            Placement::OAuth2(oauth2) => {
                let client = match oauth2.client_auth {
                    ClientAuth::None if file.is_some() => {
                        return refused("a client that authenticates by none has no secret");
                    }
                    ClientAuth::None => Zeroizing::default(),
                    _ => read("client secret")?,
                };
                let mut secret = Zeroizing::new(String::with_capacity(client.len() + 64 * 1024));
                secret.push_str(&client);
                if oauth2.grant == OAuth2Grant::RefreshToken {
                    let file = self.oauth2.refresh_token_file.as_deref();
                    secret.push('\n');
                    secret.push_str(&input::secret(file, &format!("the refresh token of {}", self.slug))?);
                }
                let one_line = |part: &str| part.bytes().all(|octet| (0x20..=0x7e).contains(&octet));
                if secret.splitn(2, '\n').all(one_line) {
                    Ok(secret)
                } else {
                    refused("client secret and refresh token are each one line of visible characters")
                }
            }
            _ => read("secret"),
        }
    }
}

/// The body that carries the secret, once, to the vault.
#[derive(Serialize)]
struct Handover<'a> {
    statement: &'a tgp_authority::Signed,
    salt: String,
    secret: &'a str,
}

/// A tool's credentials in a few words.
pub fn brief(tool: &Value) -> String {
    let each = rows(&tool["credentials"]).iter().map(|credential| {
        let (name, kind) = (member(credential, "name"), member(credential, "kind"));
        if name.is_empty() { kind } else { format!("{name}:{kind}") }
    });
    let all: Vec<String> = each.collect();
    if all.is_empty() { "none yet".to_owned() } else { all.join(" ") }
}

/// A tool's credentials with their kind and age; of the secrets there is nothing to show.
pub fn table(tool: &Value) -> String {
    let mut table = Table::new(&["CREDENTIAL", "SENT AS", "SENT TO", "VERSION", "SET"]);
    for credential in rows(&tool["credentials"]) {
        let placement = serde_json::from_value::<Placement>(credential["placement"].clone());
        table.row([
            Some(member(credential, "name")).filter(|name| !name.is_empty()).unwrap_or_else(|| "(unnamed)".to_owned()),
            placement.map_or_else(|_| member(credential, "kind"), |placement| placement.to_string()),
            joined(credential, "origins"),
            credential["version"].to_string(),
            date(credential, "created"),
        ]);
    }
    if table.is_empty() { "no credential yet\n".to_owned() } else { table.text() }
}

/// The version of the credential that a tool has under this name; 0 for none.
fn version(tool: &Value, name: Option<&Slug>) -> u32 {
    let name = name.map_or("", |name| name.as_str());
    let found = rows(&tool["credentials"]).iter().find(|credential| member(credential, "name") == name);
    found.and_then(|credential| u32::try_from(credential["version"].as_u64()?).ok()).unwrap_or(0)
}

/// Scheme, host and port of an upstream's URL.
fn origin_of(upstream: &str) -> Result<String, CliError> {
    let after = upstream.find("://").map(|at| at + 3).unwrap_or(0);
    let end = upstream[after..].find(['/', '?', '#']).map_or(upstream.len(), |at| after + at);
    let origin = &upstream[..end];
    let plain = match origin.strip_prefix("https://") {
        Some(_) => origin.strip_suffix(":443").unwrap_or(origin),
        None => origin.strip_suffix(":80").unwrap_or(origin),
    };
    if !valid_origin(plain) {
        return Err(CliError::failed(format!("{upstream:?} has no plain origin"))
            .hint("name one with --origin https://host[:port]"));
    }
    Ok(plain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_goes_by_default_to_the_upstreams_origin_alone() {
        assert_eq!(origin_of("http://127.0.0.1:8480").unwrap(), "http://127.0.0.1:8480");
        assert_eq!(origin_of("https://api.example:443/v1?x=/").unwrap(), "https://api.example");
        assert_eq!(origin_of("http://[::1]:8080/v1").unwrap(), "http://[::1]:8080");
        assert_eq!(origin_of("http://api.example:80").unwrap(), "http://api.example");
        for bad in ["", "api.example", "https://user@api.example", "ftp://api.example"] {
            assert!(origin_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_version_is_counted_for_each_name_from_nothing() {
        let tool = json!({ "credentials": [{ "name": "", "version": 3 }, { "name": "bob", "version": 7 }] });
        let name = |text: &str| text.parse::<Slug>().unwrap();
        assert_eq!(version(&json!({ "credentials": [] }), None), 0);
        assert_eq!(version(&tool, None), 3);
        assert_eq!(version(&tool, Some(&name("bob"))), 7);
        assert_eq!(version(&tool, Some(&name("alice"))), 0);
    }

    #[test]
    fn a_tool_shows_kind_and_age_of_each_credential() {
        let tool = json!({ "credentials": [
            { "name": "", "kind": "bearer", "version": 1, "created": 1_795_000_000, "placement": { "kind": "bearer" },
              "origins": ["https://a.example"] },
            { "name": "bob", "kind": "aws-sigv4", "version": 2, "created": 1_795_000_000,
              "placement": { "kind": "aws-sigv4", "region": "eu-central-1", "service": "s3" }, "origins": [] },
        ] });
        assert_eq!(brief(&tool), "bearer bob:aws-sigv4");
        let text = table(&tool);
        assert!(text.contains("aws-sigv4 eu-central-1 s3") && text.contains("(unnamed)"), "{text}");
        assert_eq!(brief(&json!({ "credentials": [] })), "none yet");
    }
}
