//! An operator's own directory: key, certificate, and which deployment they are for. 0700, files 0600.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use tgp_authority::OperatorSecret;
use tgp_client::{check_private, create_private_dir, replace_private, write_private};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::CliError;
use super::tenant::DEFAULT_TENANT;

const KEY: &str = "operator.key";
const PUBLIC: &str = "operator.pub";
const CERTIFICATE: &str = "operator.crt";
const DEPLOYMENT: &str = "operator.json";

/// Which operator acts.
#[derive(Args, Default)]
pub struct OperatorArgs {
    /// The operator's directory [default: $TGP_OPERATOR, else ~/.config/tgp/operator]
    #[arg(long = "operator", value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Which operator acts, and in which tenant.
#[derive(Args)]
pub struct ActingArgs {
    #[command(flatten)]
    pub operator: OperatorArgs,
    /// The tenant
    #[arg(long, value_name = "UUID", default_value_t = DEFAULT_TENANT, hide_default_value = true)]
    pub tenant: Uuid,
}

impl OperatorArgs {
    pub fn dir(&self) -> Result<OperatorDir, CliError> {
        let env = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let config = || env("XDG_CONFIG_HOME").or_else(|| env("HOME").map(|home| home.join(".config")));
        let path =
            self.dir.clone().or_else(|| env("TGP_OPERATOR")).or_else(|| config().map(|dir| dir.join("tgp/operator")));
        path.map(OperatorDir)
            .ok_or_else(|| CliError::usage("which operator?").hint("name a directory with --operator or $TGP_OPERATOR"))
    }
}

/// The content of `operator.json`: all public.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Deployment {
    /// The operator listener.
    pub url: String,
    /// Who this operator is in the roster.
    pub id: Uuid,
    /// SHA-256 of the first roster: names the deployment in statements.
    pub deployment: String,
    pub vault: String,
    pub issuer: String,
    pub trust_domain: String,
    /// The CA's certificate, PEM.
    pub ca: String,
}

/// The directory.
#[derive(Clone, Debug)]
pub struct OperatorDir(pub PathBuf);

impl OperatorDir {
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes a key pair; refuses where there is one.
    pub fn keygen(&self) -> Result<(OperatorSecret, PathBuf), CliError> {
        create_private_dir(&self.0)?;
        let secret = OperatorSecret::generate();
        write_private(&self.0.join(KEY), secret.dangerous_to_pem().as_bytes())?;
        let public = self.0.join(PUBLIC);
        // Public, to be copied and handed over.
        fs::write(&public, secret.public().to_pem())
            .map_err(|e| CliError::failed(format!("{}: {e}", public.display())))?;
        Ok((secret, public))
    }

    /// The private key, if nobody else can read it.
    pub fn secret(&self) -> Result<OperatorSecret, CliError> {
        let path = self.0.join(KEY);
        let pem = fs::read_to_string(&path).map(Zeroizing::new).map_err(|e| match e.kind() {
            ErrorKind::NotFound => CliError::failed(format!("there is no operator's key in {}", self.0.display()))
                .hint("`tgp operator keygen` makes one; --operator or $TGP_OPERATOR names another directory"),
            _ => CliError::failed(format!("{}: {e}", path.display())),
        })?;
        check_private(&self.0)?;
        check_private(&path)?;
        OperatorSecret::from_pem(&pem).map_err(|e| CliError::failed(format!("{}: {e}", path.display())))
    }

    pub fn deployment(&self) -> Result<Deployment, CliError> {
        let path = self.0.join(DEPLOYMENT);
        let text = fs::read(&path).map_err(|e| match e.kind() {
            ErrorKind::NotFound => CliError::failed(format!("{} is not connected to a deployment", self.0.display()))
                .hint("`tgp operator connect --url https://HOST:8444 --pin PIN`, with the pin that `tgp init` printed"),
            _ => CliError::failed(format!("{}: {e}", path.display())),
        })?;
        serde_json::from_slice(&text).map_err(|e| CliError::failed(format!("{}: {e}", path.display())))
    }

    pub fn write_deployment(&self, deployment: &Deployment) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(deployment).map_err(|e| CliError::failed(e.to_string()))?;
        Ok(replace_private(&self.0.join(DEPLOYMENT), format!("{text}\n").as_bytes())?)
    }

    /// The certificate chain, if there is one.
    pub fn certificate(&self) -> Result<Option<String>, CliError> {
        let path = self.0.join(CERTIFICATE);
        match fs::read_to_string(&path) {
            Ok(pem) => Ok(Some(pem)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(CliError::failed(format!("{}: {e}", path.display()))),
        }
    }

    pub fn write_certificate(&self, chain: &str) -> Result<(), CliError> {
        Ok(replace_private(&self.0.join(CERTIFICATE), chain.as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn an_operators_key_is_made_once_and_read_by_nobody_else() {
        let root = tempfile::tempdir().unwrap();
        let dir = OperatorDir(root.path().join("operator"));
        let (secret, public) = dir.keygen().unwrap();
        let read = tgp_authority::OperatorKey::from_pem(&fs::read_to_string(public).unwrap()).unwrap();
        assert_eq!(read, secret.public());
        assert_eq!(dir.secret().unwrap().public(), secret.public());
        assert!(dir.keygen().is_err(), "a second key would take the first one's place");
        fs::set_permissions(dir.path().join(KEY), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(dir.secret().is_err());
        fs::set_permissions(dir.path().join(KEY), fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(dir.secret().is_err());
    }
}
