//! Bytes taken apart into a message, where it is cut, and what else there is to choose.

/// One input: its first byte says how many cuts follow (three bits) and chooses among the variants of a check.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    /// Five bits to choose by.
    pub(crate) options: u8,
    cuts: &'a [u8],
    /// What is read.
    pub(crate) message: &'a [u8],
}

/// Longer ones are not read byte by byte: that takes too long, and finds nothing that a shorter one does not.
const SHORT: usize = 2_000;

// === impl Input ===

impl<'a> Input<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        let (&first, rest) = data.split_first().unwrap_or((&0, data));
        let (cuts, message) = rest.split_at(usize::from(first & 7).min(rest.len()));
        Self {
            options: first >> 3,
            cuts,
            message,
        }
    }

    /// The same cuts and options with a message that was made of this one.
    pub(crate) fn around<'b>(&self, message: &'b [u8]) -> Input<'b>
    where
        'a: 'b,
    {
        Input { message, ..*self }
    }

    /// The message cut where the input says: short pieces first, the rest in one.
    pub(crate) fn pieces(&self) -> Vec<&'a [u8]> {
        let mut rest = self.message;
        let mut pieces = Vec::new();
        for cut in self.cuts {
            let (piece, after) = rest.split_at(usize::from(*cut).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces.push(rest);
        pieces
    }

    /// Byte by byte, if that is not too long.
    pub(crate) fn bytes(&self) -> Option<impl Iterator<Item = &'a [u8]>> {
        (self.message.len() <= SHORT).then(|| self.message.chunks(1))
    }
}
