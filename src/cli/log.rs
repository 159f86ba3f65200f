//! Where the two servers log: standard error, for the supervisor to keep.

use clap::ValueEnum;
use tracing::{Level, Metadata};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, filter, fmt};

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// Starts logging. `TGP_LOG` chooses what is logged, `info` when it is not set.
pub fn start(format: Format) {
    let filter = EnvFilter::try_from_env("TGP_LOG").unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let lines = match format {
        Format::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed(),
        Format::Json => lines.json().boxed(),
    };
    let lines = lines.with_filter(filter::filter_fn(may_be_logged));
    // Started once per process; a second start in one process (tests) keeps the first.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
}

/// Libraries that see headers and frames print them at `debug` and `trace`, whatever they hold: what `TGP_LOG` says of
/// these levels counts for this program's own lines only.
fn may_be_logged(line: &Metadata<'_>) -> bool {
    let ours = line.target().split("::").next().is_some_and(|name| name == "tgp" || name.starts_with("tgp_"));
    ours || *line.level() <= Level::INFO
}
