//! `tgp dev` and `tgp demo`: the whole stack on one machine, for trying it out. Not for production: token, database
//! and the first owner's key lie in one directory, and the token is software.

mod demo;
mod layout;
mod options;
mod postgres;
mod process;
mod sample_tool;
mod stack;

use std::path::{Path, PathBuf};

use thiserror::Error;

pub use demo::{DemoOptions, demo};
pub use layout::Layout;
pub use options::{Part, Ports, StackOptions};
pub use process::Process;
pub use sample_tool::{SampleTool, Seen};
pub use stack::Stack;

/// What `tgp dev` is asked for.
pub struct DevOptions {
    /// Where everything is kept; `Layout::default_root()` when none.
    pub data: Option<PathBuf>,
    pub ports: Ports,
}

/// Why the development stack does not run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DevError {
    #[error("{what} is not installed\nhint: apt-get install {package}, or `make run`, which does it")]
    Missing { what: &'static str, package: &'static str },
    #[error("{path}: {error}")]
    File { path: PathBuf, error: std::io::Error },
    #[error("{name} does not start: {error}")]
    Start { name: &'static str, error: std::io::Error },
    #[error("{name} failed: {said}")]
    Failed { name: &'static str, said: String },
    #[error("{name} ended by itself; the end of {log}:\n{tail}")]
    Ended { name: &'static str, log: PathBuf, tail: String },
    #[error("{name} was not ready within a minute; the end of {log}:\n{tail}")]
    Slow { name: &'static str, log: PathBuf, tail: String },
    #[error("port {port} is in use\nhint: another `tgp dev`? stop it, or choose other ports with --ports")]
    Port { port: u16 },
    #[error("{step}: {problem}")]
    Demo { step: &'static str, problem: String },
}

impl DevError {
    fn file(path: &Path, error: std::io::Error) -> Self {
        Self::File { path: path.to_owned(), error }
    }

    fn start(name: &'static str, error: std::io::Error) -> Self {
        Self::Start { name, error }
    }
}

/// Starts the stack, tells what is where, and runs until Ctrl-C.
pub fn run(options: DevOptions) -> Result<(), DevError> {
    let root = options.data.unwrap_or_else(Layout::default_root);
    let fresh = !root.join("tgp.toml").exists();
    println!("tgp dev: NOT FOR PRODUCTION. The token is software and the owner's key lies beside it.");
    println!("starting PostgreSQL, token, vault, gateway and a sample tool in {}", root.display());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|e| DevError::start("runtime", e))?;
    let mut stack = Stack::start(StackOptions::new(root).ports(options.ports), &runtime)?;
    stack.prepare_sample_tool()?;
    print!("{}", stack.welcome(fresh));
    runtime.block_on(stack.run_until_interrupted())?;
    println!("\nstopping");
    stack.stop();
    Ok(())
}
