//! What an upstream answered.

use super::Version;
use crate::field::{FieldId, Span};
use crate::fields::Fields;
use crate::framing::Framing;

/// The head of a response: valid by every rule of this crate, since only the decoder fills it.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    pub(crate) fields: Fields,
    pub(crate) status: u16,
    pub(crate) reason: Span,
    pub(crate) version: Version,
    pub(crate) framing: Framing,
    pub(crate) announced: Framing,
    pub(crate) keep_alive: bool,
    /// Whether the connection's own fields let it go on, whatever the framing.
    pub(crate) persists: bool,
}

// === impl ResponseHead ===

impl ResponseHead {
    /// An empty head without a buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything but its capacity. The decoder does it before it fills a head.
    pub fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = Self {
            fields,
            ..Self::default()
        };
    }

    /// The status, 100 to 599.
    #[inline]
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// Whether another head follows: 1xx, except 101, which is final.
    #[inline]
    #[must_use]
    pub const fn is_informational(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// The reason phrase; may be empty.
    #[must_use]
    pub fn reason(&self) -> &[u8] {
        self.reason.get(&self.fields.raw)
    }

    /// The version the upstream speaks.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Where the body that follows ends.
    #[inline]
    #[must_use]
    pub const fn framing(&self) -> Framing {
        self.framing
    }

    /// What the forwarded head should say about its body: as [`ResponseHead::framing`], but an answer to HEAD and a 304 may
    /// tell the length of a body they do not have.
    #[must_use]
    pub const fn announced(&self) -> Framing {
        self.announced
    }

    /// Whether the upstream lets the connection be used again.
    #[must_use]
    pub const fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Its fields.
    #[inline]
    #[must_use]
    pub const fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Its fields, to edit what is forwarded.
    pub const fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }

    /// Shorthand for [`Fields::get`].
    #[inline]
    #[must_use]
    pub fn get(&self, id: FieldId) -> Option<&[u8]> {
        self.fields.get(id)
    }
}
