//! The engine's own file: where it keeps its state, where its agent reaches it, how it logs. Everything else comes over the socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::bounds::Bounds;
use crate::watch;

/// What `--config` says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The snapshot on disk; made with mode 0700.
    pub(crate) state_dir: PathBuf,
    /// The agent's door; made with mode 0600.
    pub(crate) socket: PathBuf,
    /// Threads that forward; `None`: as many as there are cores, four at most.
    #[serde(default)]
    pub(crate) workers: Option<usize>,
    /// How long open requests, tunnels and downloads may go on after a signal to end, or after a successor took over.
    #[serde(default = "default_drain")]
    pub(crate) drain_seconds: u64,
    /// Metrics and readiness.
    pub(crate) admin: Admin,
    /// How it logs.
    #[serde(default)]
    pub(crate) log: Log,
    /// What a peer may use up.
    #[serde(default)]
    pub(crate) bounds: Bounds,
    /// Which requests it writes down.
    #[serde(default)]
    pub(crate) access_log: watch::Log,
    /// Where it sends spans.
    #[serde(default)]
    pub(crate) traces: watch::Traces,
}

/// `[admin]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Admin {
    /// Answers `GET /metrics` and `GET /ready`.
    pub(crate) listen: SocketAddr,
}

/// `[log]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// For machines or for people.
    pub(crate) format: LogFormat,
    /// The least that is written.
    pub(crate) level: LogLevel,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For a terminal.
    Text,
}

/// The least that is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogLevel {
    /// Someone must act.
    Error,
    /// Degraded and serving.
    Warning,
    /// Lifecycle and revisions.
    #[default]
    Info,
    /// Decisions.
    Debug,
}

/// A file that cannot be used.
#[derive(Debug)]
pub(crate) struct InvalidConfig {
    path: PathBuf,
    what: String,
}

fn default_drain() -> u64 {
    30
}

/// More threads than this help nobody.
const MOST_WORKERS: usize = 256;

// === impl Config ===

impl Config {
    /// Reads the file; every key must be known.
    pub(crate) fn load(path: &Path) -> Result<Self, InvalidConfig> {
        let invalid = |what: String| InvalidConfig {
            path: path.to_owned(),
            what,
        };
        let text = std::fs::read_to_string(path).map_err(|error| invalid(error.to_string()))?;
        Self::parse(&text).map_err(invalid)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let config: Self =
            toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        match config.workers {
            Some(0) => Err("workers = 0: expected at least 1".to_owned()),
            Some(n) if n > MOST_WORKERS => {
                Err(format!("workers = {n}: expected at most {MOST_WORKERS}"))
            }
            _ => {
                config.bounds.check()?;
                config.access_log.check()?;
                config.traces.check()?;
                Ok(config)
            }
        }
    }

    /// How long a drain lasts at most.
    pub(crate) fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }

    /// How many workers to run.
    pub(crate) fn worker_count(&self) -> usize {
        self.workers.unwrap_or_else(|| {
            std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4))
        })
    }
}

// === impl InvalidConfig ===

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}

impl std::error::Error for InvalidConfig {}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "state_dir = \"/s\"\nsocket = \"/e.sock\"\n[admin]\nlisten = \"127.0.0.1:7503\"\n";

    #[test]
    fn what_is_left_out_has_defaults() {
        let config = Config::parse(GOOD).expect("a complete file");
        assert!((1..=4).contains(&config.worker_count()));
        assert_eq!(
            (config.log.format, config.log.level),
            (LogFormat::Json, LogLevel::Info)
        );
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = Config::parse(&format!("wrokers = 2\n{GOOD}")).expect_err("an unknown key");
        assert!(error.contains("wrokers"), "{error}");
        let error = Config::parse(&format!("{GOOD}port = 1\n")).expect_err("an unknown key");
        assert!(error.contains("port"), "{error}");
    }

    #[test]
    fn a_bound_out_of_its_range_is_refused_with_the_range() {
        let text = format!("{GOOD}[bounds]\nheader_count = 0\n");
        let error = Config::parse(&text).expect_err("no fields at all");
        assert_eq!(error, "bounds.header_count = 0: expected 8 to 100");
        let text = format!("{GOOD}[bounds.http2]\nstream_window = \"wide\"\n");
        let error = Config::parse(&text).expect_err("no size");
        assert!(
            error.contains("stream_window") && error.contains("16KiB"),
            "{error}"
        );
    }

    #[test]
    fn no_workers_at_all_are_refused() {
        assert!(Config::parse(&format!("workers = 0\n{GOOD}")).is_err());
    }
}
