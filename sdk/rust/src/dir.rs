//! What an agent is, in one directory: 0700, its files 0600, refused when they are open to others.
//!
//! | file | holds |
//! |---|---|
//! | `agent.json` | UUID, AAN, gateway; written last: without it nobody is enrolled |
//! | `identity.pem` | identity key, secp256k1, PKCS#8 |
//! | `tls.key` | key of the TLS certificate, P-256, PKCS#8 |
//! | `chain.pem`, `ca.pem` | certificate chain; the CA that the gateway's own comes from |
//! | `master-key` | `tgpmk_…`; absent when it was not to be saved |
//! | `enrolment.json` | only while an enrolment is under way: whose keys these are going to be |

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use k256::SecretKey;
use k256::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, LineEnding};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tgp_request::jwk::IdentitySecret;
use tgp_request::name::Aan;
use uuid::Uuid;
use zeroize::{Zeroize as _, Zeroizing};

use crate::file::{check_private, create_private_dir, replace_private};
use crate::{ClientError, TlsKey};

const AGENT: &str = "agent.json";
const PENDING: &str = "enrolment.json";
const IDENTITY: &str = "identity.pem";
const TLS: &str = "tls.key";
const CHAIN: &str = "chain.pem";
const CA: &str = "ca.pem";
const MASTER_KEY: &str = "master-key";

/// The content of `agent.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentFile {
    /// The format's version: 1.
    pub version: u32,
    pub agent: Uuid,
    pub aan: Aan,
    /// The gateway's origin, which is its issuer too.
    pub gateway: String,
}

/// The content of `enrolment.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PendingFile {
    pub agent: Uuid,
    /// Thumbprint of the enrolment code's public key.
    pub code: String,
}

/// Whether an enrolment begins now or began before this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    Now,
    Before,
}

/// An agent's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentDir(PathBuf);

impl AgentDir {
    /// An enrolled agent's directory, that nobody else may read.
    pub fn open(path: &Path) -> Result<(Self, AgentFile), ClientError> {
        let dir = Self(path.to_owned());
        let text = fs::read(dir.file(AGENT)).map_err(|e| match e.kind() {
            ErrorKind::NotFound if dir.file(PENDING).exists() => {
                ClientError::file(path, "holds an enrolment that was not finished; run it again with the same code")
            }
            ErrorKind::NotFound => ClientError::file(path, "holds no agent"),
            _ => ClientError::file(dir.file(AGENT), e),
        })?;
        check_private(path)?;
        for name in [IDENTITY, TLS, MASTER_KEY] {
            let file = dir.file(name);
            if name != MASTER_KEY || file.exists() {
                check_private(&file)?;
            }
        }
        let file: AgentFile = parse(&dir.file(AGENT), &text)?;
        if file.version != 1 {
            return Err(ClientError::file(
                dir.file(AGENT),
                format!("version {} is unknown to this program", file.version),
            ));
        }
        Ok((dir, file))
    }

    /// A directory to enrol into: empty, or with this very enrolment begun in it by an earlier try.
    pub(crate) fn begin(path: &Path, pending: &PendingFile) -> Result<(Self, Begun), ClientError> {
        create_private_dir(path)?;
        let dir = Self(path.to_owned());
        if let Some(file) = dir.read::<AgentFile>(AGENT)? {
            return Err(ClientError::Occupied { path: path.to_owned(), what: format!("agent {}", file.agent) });
        }
        match dir.read::<PendingFile>(PENDING)? {
            Some(begun) if begun == *pending => Ok((dir, Begun::Before)),
            Some(begun) => {
                let what = format!("an unfinished enrolment of agent {} with another code", begun.agent);
                Err(ClientError::Occupied { path: path.to_owned(), what })
            }
            None => {
                if let Some(name) =
                    [IDENTITY, TLS, CHAIN, CA, MASTER_KEY].into_iter().find(|name| dir.file(name).exists())
                {
                    return Err(ClientError::Occupied { path: dir.file(name), what: "something already".into() });
                }
                dir.write_json(PENDING, pending)?;
                Ok((dir, Begun::Now))
            }
        }
    }

    /// Removes what an enrolment left that was refused at its first try: keys that nobody knows.
    pub(crate) fn abandon(&self) {
        for name in [IDENTITY, TLS, PENDING] {
            let _ = fs::remove_file(self.file(name)); // what stays is noticed by the next enrolment
        }
        let _ = fs::remove_dir(&self.0); // only when it is empty
    }

    /// Writes what the gateway gave; the agent exists once this returns.
    pub(crate) fn finish(
        &self,
        file: &AgentFile,
        chain: &str,
        ca: &str,
        master_key: Option<&str>,
    ) -> Result<(), ClientError> {
        self.write_chain(chain)?;
        replace_private(&self.file(CA), ca.as_bytes())?;
        if let Some(text) = master_key {
            replace_private(&self.file(MASTER_KEY), text.as_bytes())?;
        }
        self.write_json(AGENT, file)?;
        fs::remove_file(self.file(PENDING)).map_err(|e| ClientError::file(self.file(PENDING), e))
    }

    /// Puts a renewed chain in the old one's place.
    pub(crate) fn write_chain(&self, chain: &str) -> Result<(), ClientError> {
        replace_private(&self.file(CHAIN), chain.as_bytes())
    }

    pub fn chain(&self) -> Result<String, ClientError> {
        self.text(CHAIN)
    }

    pub fn ca(&self) -> Result<String, ClientError> {
        self.text(CA)
    }

    /// The master key's text, if it was saved.
    pub fn master_key(&self) -> Result<Option<Zeroizing<String>>, ClientError> {
        let path = self.file(MASTER_KEY);
        match fs::read_to_string(&path).map(Zeroizing::new) {
            Ok(text) => Ok(Some(Zeroizing::new(text.trim().to_owned()))),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(ClientError::file(path, e)),
        }
    }

    pub fn identity(&self) -> Result<IdentitySecret, ClientError> {
        let path = self.file(IDENTITY);
        let pem = fs::read_to_string(&path).map(Zeroizing::new).map_err(|e| ClientError::file(&path, e))?;
        let malformed = |_| ClientError::file(&path, "is not a secp256k1 private key in PKCS#8 PEM");
        let key = SecretKey::from_pkcs8_pem(&pem).map_err(malformed)?;
        let mut field = key.to_bytes();
        let scalar: Zeroizing<[u8; 32]> = Zeroizing::new(field.into());
        field.as_mut_slice().zeroize();
        IdentitySecret::from_bytes(&scalar).map_err(|e| ClientError::file(&path, e))
    }

    pub fn tls_key(&self) -> Result<TlsKey, ClientError> {
        let path = self.file(TLS);
        let pem = fs::read_to_string(&path).map(Zeroizing::new).map_err(|e| ClientError::file(&path, e))?;
        TlsKey::from_pem(&pem).map_err(|e| ClientError::file(&path, e))
    }

    /// The two keys: those that an earlier try left, else fresh ones, on disk before this returns.
    pub(crate) fn keys(&self) -> Result<(IdentitySecret, TlsKey), ClientError> {
        if !self.file(IDENTITY).exists() {
            let secret = IdentitySecret::generate();
            let key = SecretKey::from_slice(&*secret.dangerous_to_bytes()).expect("a generated scalar is in range");
            let pem = key.to_pkcs8_pem(LineEnding::LF).expect("a scalar in range encodes");
            replace_private(&self.file(IDENTITY), pem.as_bytes())?;
        }
        if !self.file(TLS).exists() {
            replace_private(&self.file(TLS), TlsKey::generate().expose_pem().as_bytes())?;
        }
        Ok((self.identity()?, self.tls_key()?))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn text(&self, name: &str) -> Result<String, ClientError> {
        fs::read_to_string(self.file(name)).map_err(|e| ClientError::file(self.file(name), e))
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ClientError> {
        match fs::read(self.file(name)) {
            Ok(text) => parse(&self.file(name), &text).map(Some),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(ClientError::file(self.file(name), e)),
        }
    }

    fn write_json(&self, name: &str, content: &impl Serialize) -> Result<(), ClientError> {
        let mut text = serde_json::to_vec_pretty(content).map_err(|e| ClientError::Bug(e.to_string()))?;
        text.push(b'\n');
        replace_private(&self.file(name), &text)
    }
}

fn parse<T: DeserializeOwned>(path: &Path, text: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(text).map_err(|e| ClientError::file(path, e))
}

#[cfg(test)]
#[path = "dir_tests.rs"]
mod tests;
