//! The command line. One module for each group of verbs; each parses its arguments, does one thing
//! through a client or a library, and shows the result to people or, with `--json`, to programs.
//!
//! Only `init`, `migrate`, `serve`, `vault`, `dev` and `demo` act on this machine. All else speaks to a
//! gateway, as an operator or as an agent. Secrets come from files, standard input or a prompt, never
//! from an argument or the environment.

mod agent;
mod audit;
mod call;
mod catalogue;
mod client;
mod context;
mod credential;
mod dev;
mod enrol;
mod error;
mod fetch;
mod grant;
mod init;
mod input;
mod key;
mod log;
mod manifest;
mod migrate;
mod operator;
mod output;
mod probe;
mod roster;
mod serve;
mod tenant;
mod time;
mod token;
mod tool;
mod tool_key;
mod vault;

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub use error::CliError;
use output::Output;
pub(crate) use tool::action;

/// Tool Gateway Protocol: agents reach tools through a gateway that checks every call and keeps the
/// tools' credentials from them.
#[derive(Parser)]
#[command(name = "tgp", version, max_term_width = 100, disable_help_subcommand = true, subcommand_required = true)]
struct Cli {
    /// Print JSON, for programs
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the whole stack on this machine, to try it out (not for production)
    Dev(dev::Dev),
    /// Show the whole flow and its refusals in a temporary directory
    Demo(dev::Demo),
    /// Make the token's keys, the first roster and the server's certificate
    Init(init::Init),
    /// Keys and certificates of the people who administer
    Operator(operator::Operator),
    /// Who may order what, and how many must agree
    Roster(roster::Roster),
    /// Prepare a tenant's data keys
    Tenant(tenant::Tenant),
    /// Bring the database to this program's schema
    Migrate(migrate::Migrate),
    /// Run the gateway
    Serve(serve::Serve),
    /// Run the vault, the only process that logs in to the token
    Vault(vault::Vault),
    /// Invite, list, freeze and retire agents
    Agent(agent::Agent),
    /// Become an agent, with the code that an operator handed over
    Enrol(enrol::Enrol),
    /// Add tools, say what they do, hand in their credentials; search them
    Tool(tool::Tool),
    /// Let an agent take actions at a tool
    Grant(grant::Grant),
    /// As an agent: take an access token
    Token(token::Token),
    /// As an agent: call a tool, signed
    Call(call::Call),
    /// Try what the sandbox of a server forbids
    #[command(hide = true)]
    SandboxProbe(probe::Probe),
    /// The keys in the token
    Key(key::Key),
    /// What was decided, and how it ended
    Audit(audit::Audit),
}

/// Runs `tgp` with this process's arguments.
pub fn main() -> ExitCode {
    run(std::env::args_os())
}

fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = match Cli::command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => return error::show_usage(&error),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return error::show_usage(&error),
    };
    let output = Output::new(cli.json);
    match cli.verb.run(&output) {
        Ok(code) => code,
        Err(error) => error.show(cli.json),
    }
}

impl Verb {
    fn run(self, output: &Output) -> Result<ExitCode, CliError> {
        let done = |()| ExitCode::SUCCESS;
        match self {
            Self::Dev(verb) => verb.run().map(done),
            Self::Demo(verb) => verb.run().map(done),
            Self::Init(verb) => verb.run(output).map(done),
            Self::Operator(verb) => verb.run(output).map(done),
            Self::Roster(verb) => verb.run(output).map(done),
            Self::Tenant(verb) => verb.run(output).map(done),
            Self::Migrate(verb) => verb.run(output).map(done),
            Self::Serve(verb) => verb.run().map(done),
            Self::Vault(verb) => verb.run().map(done),
            Self::Agent(verb) => verb.run(output).map(done),
            Self::Enrol(verb) => verb.run(output).map(done),
            Self::Tool(verb) => verb.run(output).map(done),
            Self::Grant(verb) => verb.run(output).map(done),
            Self::Token(verb) => verb.run(output).map(done),
            Self::Call(verb) => verb.run(output),
            Self::SandboxProbe(verb) => verb.run().map(done),
            Self::Key(verb) => verb.run(output).map(done),
            Self::Audit(verb) => verb.run(output).map(done),
        }
    }
}

/// Runs one client's work to its end.
fn block_on<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| CliError::failed(format!("cannot start: {e}")))?.block_on(work)
}

#[cfg(test)]
mod tests;
