//! The log: one line an event, for people or for machines, written by a thread of its own so that a full pipe stops
//! nobody. What does not fit into that thread's queue is left out, and counted.

use phalanx_config::{Level, LogFormat};
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

/// Lines that may wait to be written.
const LINES_MAX: usize = 8192;

type Format = Box<dyn Layer<Registry> + Send + Sync>;
type SetLevel = Box<dyn Fn(Targets) + Send + Sync>;
type SetFormat = Box<dyn Fn(Format) + Send + Sync>;

/// The running log. Dropping it writes what still waits.
pub(super) struct Logging {
    writer: NonBlocking,
    set_level: SetLevel,
    set_format: SetFormat,
    left_out: ErrorCounter,
    _guard: WorkerGuard,
}

impl Logging {
    /// Starts it, on stderr. There is one log a process: a second one is refused.
    pub(super) fn start(level: Level, format: LogFormat) -> Result<Self, String> {
        let (writer, guard) =
            NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_MAX).finish(std::io::stderr());
        let (format_layer, format_handle) = reload::Layer::new(layer(format, writer.clone()));
        let (level_layer, level_handle) = reload::Layer::new(filter(level));
        tracing_subscriber::registry()
            .with(format_layer)
            .with(level_layer)
            .try_init()
            .map_err(|error| format!("cannot start the log: {error}"))?;
        Ok(Self {
            left_out: writer.error_counter(),
            writer,
            set_level: Box::new(move |level| drop(level_handle.reload(level))),
            set_format: Box::new(move |layer| drop(format_handle.reload(layer))),
            _guard: guard,
        })
    }

    /// Changes the level.
    pub(super) fn set_level(&self, level: Level) {
        (self.set_level)(filter(level));
    }

    /// Changes the format.
    pub(super) fn set_format(&self, format: LogFormat) {
        (self.set_format)(layer(format, self.writer.clone()));
    }

    /// Lines that did not fit.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out.dropped_lines() as u64
    }
}

fn layer(format: LogFormat, writer: NonBlocking) -> Format {
    match format {
        LogFormat::Human => fmt::layer().with_ansi(false).with_target(false).with_writer(writer).boxed(),
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_target(false)
            .with_writer(writer)
            .boxed(),
    }
}

/// The level is for our own lines; libraries speak only when something is wrong.
fn filter(level: Level) -> Targets {
    let level = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("phalanx", level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_quiet() {
        let debug = filter(Level::Debug);
        assert!(debug.would_enable("phalanx_control::runtime::member", &tracing::Level::DEBUG));
        assert!(!debug.would_enable("quinn_proto::connection", &tracing::Level::INFO));
        assert!(debug.would_enable("quinn_proto::connection", &tracing::Level::WARN));
        assert!(!filter(Level::Error).would_enable("quinn_proto::connection", &tracing::Level::WARN));
    }
}
