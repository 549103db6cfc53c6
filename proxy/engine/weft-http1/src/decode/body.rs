//! Bodies: which bytes of the input belong to one, and where it ends.

use super::Step;
use crate::block;
use crate::chunked::{Chunked, Piece};
use crate::fields::Fields;
use crate::framing::Framing;
use crate::limits::Limits;
use crate::scan::Scan;

/// How far a body was read.
#[derive(Debug)]
pub(super) enum Body {
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    TrailerLines(Scan),
    /// Trailers were told, or there are none: only the end is left.
    Done,
}

// === impl Body ===

impl Body {
    pub(super) fn new(framing: Framing) -> Self {
        match framing {
            Framing::None | Framing::Length(0) => Self::Done,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunked::new()),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Whether nothing but [`Step::End`] is left.
    pub(super) const fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// How the message stands if no more input comes.
    pub(super) const fn is_until_close(&self) -> bool {
        matches!(self, Self::UntilClose)
    }

    pub(super) fn feed(
        &mut self,
        input: &[u8],
        limits: &Limits,
        trailers: &mut Fields,
    ) -> (usize, Step) {
        match self {
            Self::Done => (0, Step::End),
            _ if input.is_empty() => (0, Step::Need),
            Self::UntilClose => (input.len(), Step::Data(0..input.len())),
            Self::Length(left) => {
                let taken =
                    usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= taken as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
                (taken, Step::Data(0..taken))
            }
            Self::Chunked(chunked) => match chunked.feed(input, limits) {
                (taken, Piece::Need) => (taken, Step::Need),
                (taken, Piece::Data(range)) => (taken, Step::Data(range)),
                (taken, Piece::Bad(reject)) => (taken, Step::Bad(reject)),
                (taken, Piece::Last) => {
                    trailers.clear();
                    *self = Self::TrailerLines(Scan::trailers());
                    let (more, step) = self.trailer_lines(&input[taken..], limits, trailers);
                    (taken + more, step)
                }
            },
            Self::TrailerLines(_) => self.trailer_lines(input, limits, trailers),
        }
    }

    fn trailer_lines(
        &mut self,
        input: &[u8],
        limits: &Limits,
        trailers: &mut Fields,
    ) -> (usize, Step) {
        let Self::TrailerLines(scan) = self else {
            return (0, Step::Need);
        };
        match scan.take(input, &mut trailers.raw, limits) {
            Err(reject) => (0, Step::Bad(reject)),
            Ok((taken, false)) => (taken, Step::Need),
            Ok((taken, true)) => match block::trailers(trailers) {
                Err(reject) => (taken, Step::Bad(reject)),
                Ok(()) => {
                    *self = Self::Done;
                    if trailers.is_empty() {
                        (taken, Step::End)
                    } else {
                        (taken, Step::Trailers)
                    }
                }
            },
        }
    }
}
