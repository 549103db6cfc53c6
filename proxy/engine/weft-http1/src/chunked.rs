//! The chunked coding (RFC 9112 §7.1), one byte of framing at a time, so that no cut matters.

use std::ops::Range;

use crate::limits::Limits;
use crate::reject::Reject;

/// Fifteen digits fit a `u64` with room to spare.
const LONGEST_SIZE: u8 = 15;

/// What was found in a chunked body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Need,
    Data(Range<usize>),
    /// The last chunk's line; trailers or an empty line follow.
    Last,
    Bad(Reject),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
}

/// How far a chunked body was read.
#[derive(Debug)]
pub(crate) struct Chunked {
    at: At,
    /// Of the chunk: its size, then what is left of it.
    left: u64,
    digits: u8,
    /// Bytes of the extension, and whether one of them is more than a blank.
    extension: usize,
    extension_says: bool,
}

// === impl Chunked ===

impl Chunked {
    pub(crate) const fn new() -> Self {
        Self {
            at: At::Size,
            left: 0,
            digits: 0,
            extension: 0,
            extension_says: false,
        }
    }

    pub(crate) fn feed(&mut self, input: &[u8], limits: &Limits) -> (usize, Piece) {
        let mut taken = 0;
        while let Some(&byte) = input.get(taken) {
            if self.at == At::Data {
                let rest = input.len() - taken;
                let length = usize::try_from(self.left).map_or(rest, |left| left.min(rest));
                self.left -= length as u64;
                if self.left == 0 {
                    self.at = At::DataCr;
                }
                return (taken + length, Piece::Data(taken..taken + length));
            }
            taken += 1;
            match self.framing(byte, limits) {
                Ok(false) => {}
                Ok(true) => return (taken, Piece::Last),
                Err(reject) => return (taken, Piece::Bad(reject)),
            }
        }
        (taken, Piece::Need)
    }

    /// Judges one byte around the data; says whether it ended the last chunk's line.
    fn framing(&mut self, byte: u8, limits: &Limits) -> Result<bool, Reject> {
        match (self.at, byte) {
            (At::Size, b'\r') if self.digits > 0 => self.at = At::SizeLf,
            (At::Size, b';') if self.digits > 0 => self.at = At::Extension,
            (At::Size, b'\n') if self.digits > 0 => return Err(Reject::BadChunkEnd),
            (At::Size, _) => self.digit(byte)?,
            (At::Extension, b'\r') if self.extension_says => self.at = At::SizeLf,
            (At::Extension, _) => self.extend(byte, limits.chunk_extension)?,
            (At::SizeLf, b'\n') if self.left == 0 => return Ok(true),
            (At::SizeLf, b'\n') => self.at = At::Data,
            (At::DataCr, b'\r') => self.at = At::DataLf,
            (At::DataLf, b'\n') => *self = Self::new(),
            (At::SizeLf | At::Data | At::DataCr | At::DataLf, _) => {
                return Err(Reject::BadChunkEnd);
            }
        }
        Ok(false)
    }

    fn digit(&mut self, byte: u8) -> Result<(), Reject> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ => return Err(Reject::BadChunkSize),
        };
        if self.digits == LONGEST_SIZE {
            return Err(Reject::BadChunkSize);
        }
        self.digits += 1;
        self.left = self.left << 4 | u64::from(digit);
        Ok(())
    }

    fn extend(&mut self, byte: u8, limit: usize) -> Result<(), Reject> {
        if !(b' '..=b'~').contains(&byte) || self.extension == limit {
            return Err(Reject::BadChunkExtension);
        }
        self.extension += 1;
        self.extension_says |= byte != b' ' && byte != b';';
        Ok(())
    }
}
