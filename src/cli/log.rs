//! Where the two servers log: standard error, for the supervisor to keep.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// Starts logging. `TGP_LOG` chooses what is logged, `info` when it is not set.
pub fn start(format: Format) {
    let filter = EnvFilter::try_from_env("TGP_LOG").unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // Started once per process; a second start in one process (tests) keeps the first.
    let _ = match format {
        Format::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        Format::Json => builder.json().try_init(),
    };
}
