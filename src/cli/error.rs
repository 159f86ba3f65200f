//! What people read when something did not work: what happened, and on a line of its own what to do.

use std::process::ExitCode;

use serde_json::json;
use tgp_authority::AuthorityError;
use tgp_client::{ClientError, Problem};

use crate::config::ConfigError;
use crate::dev::DevError;
use crate::store::StoreError;

/// Exit status of a vault whose PIN the token refuses. Tokens lock themselves after a few wrong ones, so whoever starts
/// processes must not start this one again by itself (`RestartPreventExitStatus=` in its unit).
const PIN_REFUSED: u8 = 77;

/// A verb that failed. Exit status 1: it did not work or was refused; 2: it was not asked properly; 77: see there.
#[derive(Debug)]
pub struct CliError {
    message: String,
    hint: Option<String>,
    code: Option<String>,
    status: u8,
}

impl CliError {
    /// Something that did not work.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, code: None, status: 1 }
    }

    /// Arguments or input that mean nothing.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { status: 2, ..Self::failed(message) }
    }

    /// The token refuses the PIN.
    pub(super) fn pin_refused(self) -> Self {
        Self { status: PIN_REFUSED, ..self }
    }

    /// A library's text, whose last line may be the hint.
    pub(super) fn of_text(text: &str) -> Self {
        let last = text
            .rsplit_once('\n')
            .and_then(|(message, last)| Some((message, last.trim_start().strip_prefix("hint: ")?)));
        match last {
            Some((message, hint)) => Self::failed(message).hint(hint),
            None => Self::failed(text),
        }
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Prints it to standard error.
    pub(super) fn show(&self, as_json: bool) -> ExitCode {
        if as_json {
            let Self { message, hint, code, status: _ } = self;
            eprintln!("{}", json!({ "error": { "code": code, "message": message, "hint": hint } }));
        } else {
            eprintln!("{}", self.text());
        }
        ExitCode::from(self.status)
    }

    fn text(&self) -> String {
        let message = super::output::clean_lines(&self.message);
        match &self.hint {
            None => format!("error: {message}"),
            Some(hint) => format!("error: {message}\nhint: {hint}"),
        }
    }
}

/// Clap's own messages, in our form; help and version are no errors.
pub(super) fn show_usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    match error.kind() {
        DisplayHelp | DisplayVersion => match super::output::write(error.to_string().as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        DisplayHelpOnMissingArgumentOrSubcommand => {
            eprint!("{error}");
            ExitCode::from(2)
        }
        _ => {
            eprintln!("{}", usage_text(error));
            ExitCode::from(2)
        }
    }
}

/// `error: …` as clap says it, its tips and usage folded into one hint.
pub(super) fn usage_text(error: &clap::Error) -> String {
    let text = error.to_string();
    let mut parts = text.trim_end().split("\n\n");
    let what = parts.next().unwrap_or_default().to_owned();
    let mut hints = Vec::new();
    for part in parts {
        for line in part.lines().map(str::trim).filter(|line| !line.is_empty()) {
            match line.strip_prefix("tip: ").or(line.strip_prefix("Usage: ")) {
                Some(hint) => hints.push(hint.to_owned()),
                None if line.starts_with("For more information") => {}
                None => hints.push(line.to_owned()),
            }
        }
    }
    if hints.is_empty() { what } else { format!("{what}\nhint: {}", hints.join("\n      ")) }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        let text = error.to_string();
        match error {
            ClientError::Refused(problem) => problem.into(),
            ClientError::Input(_) => Self::usage(text),
            ClientError::MasterKeyMissing => {
                Self::usage(text).hint("hand it in with --master-key-file FILE, `-` for standard input")
            }
            ClientError::TooOpen { path, .. } => {
                Self::failed(text).hint(format!("chmod go= {0}; and if others could read a key in it, make a new one", path.display()))
            }
            ClientError::Occupied { .. } => Self::failed(text).hint("choose another path, or remove what is there yourself"),
            ClientError::Untrusted(_) => {
                Self::failed(text).hint("is this the right gateway? its CA is the one that you enrolled or connected with, or it is someone else")
            }
            ClientError::Transport { .. } if text.contains("CertificateExpired") => {
                Self::failed(text).hint("the certificate lapsed while nothing renewed it")
            }
            ClientError::Transport { .. } if text.contains("refused") => Self::failed(text).hint("is the gateway running, and is this its port?"),
            _ => Self::failed(text),
        }
    }
}

impl From<Problem> for CliError {
    fn from(problem: Problem) -> Self {
        let hint = hint_for(&problem.code);
        Self { message: problem.to_string(), hint: hint.map(str::to_owned), code: Some(problem.code), status: 1 }
    }
}

/// What to do about a refusal that its own detail may not say.
fn hint_for(code: &str) -> Option<&'static str> {
    Some(match code {
        "agent-frozen" => "an operator ends it with `tgp agent unfreeze`",
        "grant-missing" | "invalid_scope" => "an operator grants it with `tgp grant add AGENT TOOL --action ACTION`",
        "scope-insufficient" => {
            "a token covers the action that it was taken for; `tgp grant add` widens what the agent may do"
        }
        "code-used" | "code-expired" => "an operator makes a new one with `tgp agent create`",
        "code-invalid" => "check that --url is exactly the gateway's issuer, and that the code is whole",
        "signature-expired" => "compare this machine's clock with the gateway's",
        "role-insufficient" => "`tgp roster show` lists who holds which role",
        "vault-unavailable" => "the gateway's /health/ready says what is wrong with its vault",
        "store-unavailable" => "the gateway's /health/ready says what is wrong with its database",
        "tool-unknown" => "an operator adds it with `tgp tool add`, and lets the agent use it with `tgp grant add`",
        "rate-limited" | "limit-exceeded" => "slow down, and try again later",
        _ => return None,
    })
}

impl From<AuthorityError> for CliError {
    fn from(error: AuthorityError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        let text = error.to_string();
        match error {
            ConfigError::Read { .. } => Self::usage(text).hint("name the configuration with --config FILE"),
            _ => Self::usage(text),
        }
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<DevError> for CliError {
    fn from(error: DevError) -> Self {
        Self::of_text(&error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_stands_on_its_own_line() {
        let problem = Problem {
            status: 403,
            code: "agent-frozen".into(),
            detail: "this agent is frozen".into(),
            request_id: None,
        };
        let text = CliError::from(problem).text();
        assert_eq!(
            text,
            "error: agent-frozen: this agent is frozen\nhint: an operator ends it with `tgp agent unfreeze`"
        );
    }

    #[test]
    fn a_message_from_elsewhere_cannot_drive_the_terminal() {
        let error = CliError::failed("it said \u{1b}[2J\rok");
        assert_eq!(error.text(), "error: it said \u{fffd}[2J\u{fffd}ok");
    }

    #[test]
    fn a_hint_of_the_development_stack_is_a_hint_here() {
        let error = CliError::from(DevError::Port { port: 8443 });
        assert!(error.text().starts_with("error: port 8443 is in use\nhint: "), "{}", error.text());
    }
}
