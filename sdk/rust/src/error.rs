//! What can go wrong, sorted by whose turn it is: the caller, the gateway's policy, the network, the
//! server's identity, or a defect.

use std::path::PathBuf;

use serde::Deserialize;
use thiserror::Error;

/// Why something did not work.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The caller's input does not mean anything; the text says what to change.
    #[error("{0}")]
    Input(String),
    /// A file or directory could not be used.
    #[error("{path}: {problem}")]
    File { path: PathBuf, problem: String },
    /// It was not saved, and nobody handed it in.
    #[error("the agent's directory holds no master key")]
    MasterKeyMissing,
    /// Others may read what must be private.
    #[error("{path} is open to other users (mode {mode:04o})")]
    TooOpen { path: PathBuf, mode: u32 },
    /// There is something already, and nothing is overwritten.
    #[error("{path} holds {what}; nothing is overwritten")]
    Occupied { path: PathBuf, what: String },
    /// The gateway refused, and says why.
    #[error("{0}")]
    Refused(Problem),
    /// No connection, or it broke.
    #[error("{what}: {problem}")]
    Transport { what: String, problem: String },
    /// The server is not the one that it should be.
    #[error("the server is not trusted: {0}")]
    Untrusted(String),
    /// The server's answer is not what the protocol says.
    #[error("the gateway's answer makes no sense: {0}")]
    Answer(String),
    /// A defect of ours.
    #[error("a defect of tgp: {0}")]
    Bug(String),
}

impl ClientError {
    pub(crate) fn file(path: impl Into<PathBuf>, problem: impl std::fmt::Display) -> Self {
        Self::File { path: path.into(), problem: problem.to_string() }
    }

    /// The code of the gateway's refusal, if it is one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) => Some(&problem.code),
            _ => None,
        }
    }
}

/// The gateway's refusal: RFC 9457 problem details, or RFC 6749 §5.2 at the token endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The stable code of the protocol; at the token endpoint `tgp_code`, or OAuth's `error`.
    pub code: String,
    /// What to change.
    pub detail: String,
    /// Under which the gateway recorded it.
    pub request_id: Option<String>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.detail.is_empty() {
            write!(f, "{} (status {})", self.code, self.status)
        } else {
            write!(f, "{}: {}", self.code, self.detail)
        }
    }
}

#[derive(Deserialize)]
struct RawProblem {
    #[serde(default)]
    r#type: Option<String>,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    request_id: Option<String>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    error_description: Option<String>,
    #[serde(default)]
    tgp_code: Option<String>,
}

impl Problem {
    /// Reads the body of an answer of the gateway's own endpoints. Never fails: a body that is no
    /// problem document is quoted, shortened.
    pub fn parse(status: u16, body: &[u8]) -> Self {
        let Ok(raw) = serde_json::from_slice::<RawProblem>(body) else {
            let text: String = String::from_utf8_lossy(body).chars().take(200).collect();
            return Self { status, code: format!("status-{status}"), detail: text.trim().to_owned(), request_id: None };
        };
        let code = raw.tgp_code.or(raw.code).or(raw.error).unwrap_or_else(|| format!("status-{status}"));
        let detail = raw.error_description.or(raw.detail).unwrap_or_default();
        Self { status, code, detail, request_id: raw.request_id }
    }

    /// The problem in a reply of the proxy, where it is the gateway's own and not the tool's: its
    /// `type` lies below the issuer's `/problems/`.
    pub fn of_gateway(issuer: &str, status: u16, body: &[u8]) -> Option<Self> {
        let raw: RawProblem = serde_json::from_slice(body).ok()?;
        raw.r#type.as_deref()?.strip_prefix(issuer)?.strip_prefix("/problems/")?;
        Some(Self::parse(status, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_refusal_give_the_protocols_code() {
        let rfc9457 = br#"{"type":"https://gw.tgp.example/problems/agent-frozen","code":"agent-frozen","detail":"ask","request_id":"r1"}"#;
        let problem = Problem::parse(403, rfc9457);
        assert_eq!((problem.code.as_str(), problem.request_id.as_deref()), ("agent-frozen", Some("r1")));
        let oauth = br#"{"error":"invalid_scope","error_description":"no grant","tgp_code":"grant-missing"}"#;
        assert_eq!(Problem::parse(400, oauth).to_string(), "grant-missing: no grant");
        assert_eq!(Problem::parse(500, b"<html>oops").to_string(), "status-500: <html>oops");
    }

    #[test]
    fn a_tools_own_problem_is_not_taken_for_the_gateways() {
        let theirs = br#"{"type":"https://tool.example/problems/agent-frozen","code":"agent-frozen"}"#;
        assert_eq!(Problem::of_gateway("https://gw.tgp.example", 403, theirs), None);
        let longer = br#"{"type":"https://gw.tgp.example.evil/problems/agent-frozen"}"#;
        assert_eq!(Problem::of_gateway("https://gw.tgp.example", 403, longer), None);
    }
}
