//! Where the two servers log: standard error, for the supervisor to keep. One event is one line, whatever is in it.

use std::io;

use clap::ValueEnum;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, filter, fmt};

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// Starts logging. `TGP_LOG` chooses what is logged, `info` when it is not set.
pub fn start(format: Format) {
    let filter = EnvFilter::try_from_env("TGP_LOG").unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    // Started once per process; a second start in one process (tests) keeps the first.
    let _ = tracing::subscriber::set_global_default(subscriber(format, filter, io::stderr));
}

fn subscriber<W>(format: Format, filter: EnvFilter, to: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer::<Registry>().with_writer(OneLine(to)).with_target(false);
    let lines = match format {
        // No colours: then every control character is somebody's value, and none reaches a terminal.
        Format::Text => lines.with_ansi(false).boxed(),
        Format::Json => lines.json().boxed(),
    };
    Box::new(Registry::default().with(lines.with_filter(filter::filter_fn(may_be_logged))).with(filter))
}

/// Libraries that see headers and frames print them at `debug` and `trace`, whatever they hold: what `TGP_LOG` says of
/// these levels counts for this program's own lines only.
fn may_be_logged(line: &Metadata<'_>) -> bool {
    let ours = line.target().split("::").next().is_some_and(|name| name == "tgp" || name.starts_with("tgp_"));
    ours || *line.level() <= Level::INFO
}

/// The formatter writes an event at once, and its text form leaves control characters in values as they are: what a
/// caller put into a value must neither look like a line of ours nor drive a terminal.
struct OneLine<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for OneLine<W> {
    type Writer = OneLine<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLine(self.0.make_writer())
    }
}

impl<W: io::Write> io::Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let (line, end) = event.strip_suffix(b"\n").map_or((event, &b""[..]), |line| (line, &b"\n"[..]));
        if !line.iter().any(u8::is_ascii_control) {
            self.0.write_all(event)?;
        } else {
            let mut escaped = Vec::with_capacity(event.len() + 8);
            for byte in line {
                match byte {
                    b'\n' => escaped.extend(b"\\n"),
                    control if control.is_ascii_control() => write!(escaped, "\\x{control:02x}")?,
                    other => escaped.push(*other),
                }
            }
            escaped.extend(end);
            self.0.write_all(&escaped)?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_in_utc_whatever_a_caller_put_into_it() {
        for format in [Format::Text, Format::Json] {
            let kept = Kept::default();
            let writer = kept.clone();
            let logging = subscriber(format, EnvFilter::new("info"), move || writer.clone());
            let detail = "no\r\n2026-11-25T00:00:00Z  INFO granted\u{1b}[2J";
            tracing::subscriber::with_default(logging, || tracing::info!(%detail, %detail, "refused {detail}"));
            let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
            assert_eq!(text.lines().count(), 1, "{text:?}");
            assert!(text.ends_with('\n') && !text.contains('\r') && !text.contains('\u{1b}'), "{text:?}");
            let time = text.trim_start_matches("{\"timestamp\":\"").split(['"', ' ']).next().unwrap();
            assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
        }
    }
}
