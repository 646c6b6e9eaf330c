//! Starts logging: the line a request through `access`, everything else through `tracing_subscriber`'s own formats.
//!
//! All of it goes to standard error, written by one thread: text on a terminal, JSON otherwise. A log that cannot be
//! written (a full disk, a pipe that is closed or that nobody reads) never stops a request.

use std::io::{self, IsTerminal as _, Write as _};

use tracing::{Level, Metadata, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer as _,
    filter::{FilterExt as _, Targets, filter_fn},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use super::{
    access::{self, ACCESS, Lines, Writer},
    scrub::Scrubbed,
    show::Blocks,
};
use crate::config::{Log, LogFormat};

/// Crates that print what they handle, each with the most that it may say, whatever the filter asks for.
/// `aws-sigv4` prints `x-api-key` in clear at TRACE; `aws-config` prints `credential_process`'s standard error.
const CAPS: &[(&str, LevelFilter)] = &[
    ("aws_config", LevelFilter::OFF),
    ("aws_sigv4", LevelFilter::OFF),
    ("aws_", LevelFilter::WARN),
    ("h2", LevelFilter::INFO),
    ("hyper", LevelFilter::INFO),
    ("rustls", LevelFilter::INFO),
    ("tokio_rustls", LevelFilter::INFO),
];

fn is_below_cap(metadata: &Metadata<'_>) -> bool {
    let cap = CAPS.iter().find(|(target, _)| metadata.target().starts_with(target));
    cap.is_none_or(|(_, most)| metadata.level() <= most)
}

/// Keeps logging alive; [`Logging::finish`] writes what is still held back.
pub struct Logging {
    writer: Writer,
    blocks: Blocks,
    terminal: Option<Terminal>,
}

/// Somebody is watching, and reads text.
pub struct Terminal {
    lines: Lines,
    colour: bool,
}

impl Terminal {
    /// Whether it may be coloured.
    #[must_use]
    pub const fn colour(&self) -> bool {
        self.colour
    }

    /// Shows whole lines, in order with this thread's lines of log; secrets in use are hidden in them as well.
    pub fn say(&self, text: &str) {
        // What is written there goes into a buffer, which takes everything.
        let _ = Scrubbed(self.lines.clone()).write_all(text.as_bytes());
    }
}

impl Logging {
    /// Where `--show` and `--log-failed` write: between the other lines, in their form.
    #[must_use]
    pub fn blocks(&self) -> Blocks {
        self.blocks.clone()
    }

    /// Whoever watches, if there is anybody, and lines of log such as those of the start are wanted.
    #[must_use]
    pub const fn terminal(&self) -> Option<&Terminal> {
        self.terminal.as_ref()
    }

    /// Writes what is still held back. Each worker has flushed its own lines before it ended.
    pub fn finish(self) {
        self.writer.finish();
    }
}

/// The filter is not one.
#[derive(Debug, thiserror::Error)]
#[error("log.filter: {0}")]
pub struct BadFilter(#[from] tracing_subscriber::filter::ParseError);

/// Installs the subscriber of the process.
///
/// # Errors
/// [`BadFilter`] when `settings.filter` cannot be parsed.
pub fn start(settings: &Log) -> Result<Logging, BadFilter> {
    let terminal = io::stderr().is_terminal();
    let format = settings.format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let filter: Targets = settings.filter.parse()?;
    let writer = Writer::start();

    // Whether requests are logged, and which, is decided here once, not for each of them.
    let levels = [Level::INFO, Level::WARN, Level::ERROR];
    let least = levels.into_iter().find(|level| settings.access && filter.would_enable(ACCESS, level));
    if let Some(least) = least {
        access::start(&writer, least, format, terminal, colour);
    }

    let lines = writer.lines();
    let diagnostics =
        tracing_subscriber::fmt::layer().with_writer(move || Scrubbed(lines.clone())).with_ansi(colour);
    let diagnostics = match format {
        LogFormat::Text => diagnostics.with_target(false).compact().boxed(),
        LogFormat::Json => {
            diagnostics.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
    };
    let watched =
        terminal && format == LogFormat::Text && filter.would_enable("countersign::cli", &Level::INFO);
    let terminal = watched.then(|| Terminal { lines: writer.lines(), colour });
    let allowed = filter_fn(is_below_cap);
    let diagnostics = diagnostics.with_filter(allowed.and(filter));

    tracing_subscriber::registry().with(diagnostics).init();
    let blocks = Blocks::new(writer.lines(), format, colour);
    Ok(Logging { writer, blocks, terminal })
}

#[cfg(test)]
mod tests {
    use super::CAPS;
    use tracing::level_filters::LevelFilter;

    #[test]
    fn the_crates_that_print_secrets_are_capped_below_trace() {
        let cap =
            |target: &str| CAPS.iter().find(|(name, _)| target.starts_with(name)).map(|(_, most)| *most);
        for target in ["aws_sigv4::http_request::sign", "aws_config::credential_process"] {
            assert_eq!(cap(target), Some(LevelFilter::OFF), "{target}");
        }
        for target in ["aws_smithy_runtime::client::orchestrator", "aws_sdk_sts", "h2::codec", "hyper::proto"]
        {
            assert!(cap(target).is_some_and(|most| most < LevelFilter::DEBUG), "{target}");
        }
        assert_eq!(cap("countersign::server"), None);
    }
}
