//! The evaluator: what this engine would decide about a request, and why, without a socket or a clock.
//!
//! `weft-engine eval` reads JSON lines and writes one for each question. A line with `sections` is a snapshot, from then on the
//! one that is asked; any other line is a question. The world is built, and the decision made, by the functions that forward;
//! the trace beside it only says which rules were looked at. A line that cannot be read is answered with `error` and costs
//! nothing else.

mod answer;
mod question;
mod stage;
mod trace;

use std::io::{self, BufRead, Write};

use serde_json::{Value, json};

use self::question::Line;
use self::stage::Stage;

/// Answers every line of `input`; fails only where reading or writing does.
pub(crate) fn run(input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    let mut stage = Stage::default();
    for line in input.lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        if let Some(said) = one(&mut stage, &line) {
            serde_json::to_writer(&mut output, &said)?;
            output.write_all(b"\n")?;
            output.flush()?;
        }
    }
    Ok(())
}

/// What a line is answered with; a good snapshot with nothing.
fn one(stage: &mut Stage, line: &str) -> Option<Value> {
    let error = |error: String| Some(json!({ "error": error }));
    match Line::parse(line) {
        Ok(Line::Snapshot { sections }) => stage.set(&sections).err().and_then(error),
        Ok(Line::Question(question)) => match stage.ask(&question) {
            Ok(answer) => Some(answer),
            Err(why) => error(why),
        },
        Err(why) => error(why),
    }
}

#[cfg(test)]
mod tests;
