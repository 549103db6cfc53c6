//! Finding the end of a block of lines that arrives in pieces, looking at every byte once.
//!
//! What is refused here depends only on the bytes from the start of the block up to the one that gives it away, never on how
//! they were cut into reads.

use memchr::memchr;

use crate::limits::Limits;
use crate::reject::Reject;
use crate::start_line;

/// A method and its space stand within so many bytes, or this is not HTTP.
const METHOD_WITHIN: usize = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Request,
    Response,
    Trailers,
}

/// How far a block was scanned. The bytes themselves are kept by the caller.
#[derive(Debug)]
pub(crate) struct Scan {
    block: Block,
    /// Bytes looked at.
    at: usize,
    /// Where the current line starts.
    line: usize,
    /// Lines ended so far.
    lines: usize,
    /// The first line so far was long enough to judge its target's length, which is fine.
    target_fits: bool,
}

// === impl Scan ===

impl Scan {
    pub(crate) const fn request() -> Self {
        Self::new(Block::Request)
    }

    pub(crate) const fn response() -> Self {
        Self::new(Block::Response)
    }

    pub(crate) const fn trailers() -> Self {
        Self::new(Block::Trailers)
    }

    const fn new(block: Block) -> Self {
        Self {
            block,
            at: 0,
            line: 0,
            lines: 0,
            target_fits: false,
        }
    }

    /// Moves input into `raw` up to the end of the block. Returns how much was taken, and whether the block is complete.
    pub(crate) fn take(
        &mut self,
        input: &[u8],
        raw: &mut Vec<u8>,
        limits: &Limits,
    ) -> Result<(usize, bool), Reject> {
        let limit = match self.block {
            Block::Trailers => limits.trailers,
            _ => limits.head,
        };
        let before = raw.len();
        let room = limit.saturating_sub(before);
        raw.extend_from_slice(&input[..room.min(input.len())]);
        while let Some(found) = memchr(b'\n', &raw[self.at..]) {
            let end = self.at + found;
            self.end_line(&raw[self.line..end], limits)?;
            self.at = end + 1;
            if self.is_last(&raw[self.line..end]) {
                raw.truncate(self.at);
                return Ok((self.at - before, true));
            }
            self.line = self.at;
        }
        self.at = raw.len();
        self.open_line(&raw[self.line..], limits)?;
        if raw.len() >= limit {
            return Err(match self.block {
                Block::Trailers => Reject::TrailerTooLarge,
                _ => Reject::HeadTooLarge,
            });
        }
        Ok((input.len(), false))
    }

    fn is_last(&self, line: &[u8]) -> bool {
        line == b"\r" && (self.block == Block::Trailers || self.lines > 1)
    }

    /// Judges a line that is complete, LF excluded.
    fn end_line(&mut self, line: &[u8], limits: &Limits) -> Result<(), Reject> {
        let first = self.lines == 0 && self.block != Block::Trailers;
        if first {
            if line.is_empty() {
                return Err(Reject::LeadingEmptyLine);
            }
            self.open_line(line, limits)?;
        }
        let Some(text) = line.strip_suffix(b"\r") else {
            return Err(Reject::BareLf);
        };
        self.lines += 1;
        if first {
            return match self.block {
                Block::Request => start_line::request_line(text, limits.target),
                _ => start_line::status_line(text).map(drop),
            };
        }
        if self.block == Block::Trailers && text.len() > limits.trailer_line {
            return Err(Reject::TrailerTooLarge);
        }
        let fields = self.lines - usize::from(self.block != Block::Trailers);
        if !text.is_empty() && fields > limits.most_fields() {
            return Err(Reject::TooManyFields);
        }
        Ok(())
    }

    /// Judges a line of which there may be more to come.
    fn open_line(&mut self, line: &[u8], limits: &Limits) -> Result<(), Reject> {
        if self.block == Block::Trailers {
            // Room for the CR, which is not counted.
            return if line.len() > limits.trailer_line + 1 {
                Err(Reject::TrailerTooLarge)
            } else {
                Ok(())
            };
        }
        if self.lines > 0 {
            return Ok(());
        }
        if line.first() == Some(&b'\r') {
            return Err(Reject::LeadingEmptyLine);
        }
        if self.block == Block::Response {
            return Ok(());
        }
        let start = &line[..line.len().min(METHOD_WITHIN)];
        let Some(space) = memchr(b' ', start) else {
            return if start.len() == METHOD_WITHIN {
                Err(Reject::NoMethod)
            } else {
                Ok(())
            };
        };
        start_line::method(&line[..space])?;
        let target = &line[space + 1..];
        if !self.target_fits && target.len() > limits.target {
            if memchr(b' ', &target[..=limits.target]).is_none() {
                return Err(Reject::TargetTooLong);
            }
            self.target_fits = true;
        }
        Ok(())
    }
}
