//! One line per event on stderr: a static phrase and fields.

use tracing::Level;
use tracing_subscriber::fmt::time::SystemTime;

use crate::config::{Log, LogFormat, LogLevel};

/// Sends every event of this process to stderr.
pub(crate) fn start(log: &Log) {
    let level = match log.level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warning => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
    };
    let lines = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_timer(SystemTime)
        .with_target(false);
    match log.format {
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .init(),
        LogFormat::Text => lines.init(),
    }
}
