//! How much a peer may send before it is refused.

/// Bounds on what one message may occupy, body aside. All in bytes unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A whole head: first line, fields and the empty line.
    pub head: usize,
    /// Fields in a head, and again in trailers: a count, at most [`Limits::MAX_FIELDS`].
    pub fields: usize,
    /// The request target.
    pub target: usize,
    /// One chunk extension, behind its `;`.
    pub chunk_extension: usize,
    /// One trailer line.
    pub trailer_line: usize,
    /// All trailers together, with the empty line after them.
    pub trailers: usize,
    /// Informational responses before the final one: a count.
    pub informational: usize,
}

// === impl Limits ===

impl Limits {
    /// What a client may send.
    pub const REQUEST: Self = Self {
        head: 16 * 1024,
        fields: 100,
        target: 8_000,
        chunk_extension: 256,
        trailer_line: 4 * 1024,
        trailers: 16 * 1024,
        informational: 16,
    };

    /// What a peer engine may send: what its client may, and the fields that engine adds.
    pub const MESH: Self = Self {
        head: 24 * 1024,
        fields: Self::MAX_FIELDS,
        ..Self::REQUEST
    };

    /// What an upstream may send.
    pub const RESPONSE: Self = Self {
        head: 64 * 1024,
        ..Self::REQUEST
    };

    /// More fields than this are refused whatever [`Limits::fields`] says.
    pub const MAX_FIELDS: usize = 128;

    pub(crate) fn most_fields(&self) -> usize {
        self.fields.min(Self::MAX_FIELDS)
    }
}
