//! The data plane of Weft: it forwards what its snapshot says, and has no opinion of its own.
//!
//! Threads: one for control ([`control`]), and workers ([`worker`]) that share nothing but atomics. A request comes in over
//! [`h1`] or [`h2`], is decided and tried by [`exchange`] from the [`world`], and goes out over [`upstream`], its bodies moved by
//! [`relay`]; [`tls`] says who is who, [`observe`] counts and [`watch`] tells. Bytes that are no requests go
//! through [`tcp`].

mod bounds;
mod config;
mod control;
mod eval;
mod exchange;
mod fold;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod h1;
mod h2;
mod io;
mod log;
mod observe;
mod relay;
mod tcp;
mod tls;
mod upstream;
mod watch;
mod worker;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::Config;

const USAGE: &str = "usage: weft-engine --config FILE [--replace] | eval | --version
  --replace  take over from the engine that runs with this configuration, without losing a connection; start where none does
  eval       read snapshots and questions as JSON lines, and say what would be decided and why";

/// Something in the command line or the configuration is wrong.
const EXIT_USAGE: u8 = 2;

/// The program: reads the command line and runs until it is told to end.
#[must_use]
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (first, second) = (arguments.next(), arguments.next());
    let rest: Vec<_> = arguments.collect();
    let replace = rest == ["--replace"];
    match (first.as_ref().and_then(|word| word.to_str()), second) {
        (Some("--version"), None) => {
            println!("weft-engine {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        (Some("--config"), Some(path)) if rest.is_empty() || replace => {
            start(PathBuf::from(path), replace)
        }
        (Some("eval"), None) => evaluate(),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn evaluate() -> ExitCode {
    match eval::run(std::io::stdin().lock(), std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weft-engine: eval: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(path: PathBuf, replace: bool) -> ExitCode {
    let config = match Config::load(&path) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("weft-engine: {error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    log::start(&config.log);
    match control::run(
        &config,
        control::Command {
            config: path,
            replace,
        },
    ) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the engine ends");
            ExitCode::FAILURE
        }
    }
}
