//! The fields of a head or of trailers, owned together with the bytes they lie in.

use std::borrow::Cow;
use std::ops::Range;

use crate::field::{Entry, Field, FieldId, Span};

/// Fields in the order they were received, in a buffer that is reused from message to message.
#[derive(Clone, Default)]
pub struct Fields {
    pub(crate) raw: Vec<u8>,
    pub(crate) list: Vec<Entry>,
    /// A bit per [`FieldId`] that is there.
    pub(crate) seen: u64,
}

/// Whether these bytes are a field name: a token (RFC 9110 §5.6.2).
#[must_use]
pub fn is_name(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| is_token(b))
}

/// Whether these bytes may stand in a field value: no control byte but the tab, no white space at either end.
#[must_use]
pub fn is_value(bytes: &[u8]) -> bool {
    let trimmed = bytes.trim_ascii().len() == bytes.len();
    trimmed
        && bytes
            .iter()
            .all(|&b| b == b'\t' || (b >= b' ' && b != 0x7f))
}

#[inline]
pub(crate) const fn is_token(byte: u8) -> bool {
    matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
        || byte.is_ascii_alphanumeric()
}

// === impl Fields ===

impl Fields {
    /// No fields, no buffer.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            raw: Vec::new(),
            list: Vec::new(),
            seen: 0,
        }
    }

    /// Forgets everything but its capacity.
    pub fn clear(&mut self) {
        self.raw.clear();
        self.list.clear();
        self.seen = 0;
    }

    /// How many there are, dropped ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Every field as it was received.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> + Clone {
        self.list.iter().map(|entry| self.view(entry))
    }

    /// The fields that go on: what is not dropped, Host aside, which every head that is written states itself.
    pub fn forwarded(&self) -> impl Iterator<Item = Field<'_>> + Clone {
        self.list
            .iter()
            .filter(|entry| entry.goes_on())
            .map(|entry| self.view(entry))
    }

    /// Whether a known field is there.
    #[inline]
    #[must_use]
    pub const fn has(&self, id: FieldId) -> bool {
        self.seen & id.bit() != 0
    }

    /// The value of the first line of a known field.
    #[inline]
    #[must_use]
    pub fn get(&self, id: FieldId) -> Option<&[u8]> {
        let at = self.position(id)?;
        Some(self.list[at].value.get(&self.raw))
    }

    /// The values of all lines of a known field.
    pub fn all(&self, id: FieldId) -> impl Iterator<Item = &[u8]> + Clone {
        let lines = if self.has(id) { &self.list[..] } else { &[] };
        lines
            .iter()
            .filter(move |entry| entry.id == id)
            .map(|entry| entry.value.get(&self.raw))
    }

    /// The value of a field by its name, in any case; several lines are joined with `, ` as RFC 9110 §5.3 says, so that a
    /// rule that looks at a field sees all of it.
    #[must_use]
    pub fn joined(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        let mut lines = self
            .list
            .iter()
            .filter(|entry| entry.name.get(&self.raw).eq_ignore_ascii_case(name))
            .map(|entry| entry.value.get(&self.raw));
        let mut value = Cow::Borrowed(lines.next()?);
        for line in lines {
            let value = value.to_mut();
            value.extend_from_slice(b", ");
            value.extend_from_slice(line);
        }
        Some(value)
    }

    /// Keeps every line of a known field from being forwarded. [`Fields::get`] still finds it.
    pub fn drop_id(&mut self, id: FieldId) {
        if self.has(id) {
            for entry in self.list.iter_mut().filter(|entry| entry.id == id) {
                entry.dropped = true;
            }
        }
    }

    /// Keeps every line of a field from being forwarded, by its name in any case.
    pub fn drop_name(&mut self, name: &[u8]) {
        for entry in &mut self.list {
            if entry.name.get(&self.raw).eq_ignore_ascii_case(name) {
                entry.dropped = true;
            }
        }
    }

    /// Adds a field after the others. The caller vouches for [`is_name`] and [`is_value`].
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        debug_assert!(is_name(name) && is_value(value));
        let id = FieldId::from_name(name);
        let name = self.append(name);
        let value = self.append(value);
        self.seen |= id.bit();
        self.list.push(Entry {
            name,
            value,
            id,
            dropped: id.is_hop_by_hop(),
        });
    }

    /// Where the first line of a known field is.
    #[inline]
    pub(crate) fn position(&self, id: FieldId) -> Option<usize> {
        if !self.has(id) {
            return None;
        }
        self.list.iter().position(|entry| entry.id == id)
    }

    /// Puts bytes behind what is there, and says where.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Span {
        let start = self.raw.len();
        self.raw.extend_from_slice(bytes);
        Span::at(start, self.raw.len())
    }

    /// Where a field lies with its line around it, if that is byte for byte `name: value CRLF`.
    #[inline]
    pub(crate) fn written(&self, entry: &Entry) -> Option<Range<usize>> {
        let (name, value) = (entry.name.end as usize, entry.value);
        let (start, end) = (value.start as usize, value.end as usize + 2);
        let is_written = start == name + 2
            && self.raw[name..start] == *b": "
            && self.raw.get(end - 2..end) == Some(b"\r\n");
        is_written.then_some(entry.name.start as usize..end)
    }

    fn view(&self, entry: &Entry) -> Field<'_> {
        Field {
            id: entry.id,
            name: entry.name.get(&self.raw),
            value: entry.value.get(&self.raw),
            dropped: entry.dropped,
        }
    }
}

impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|field| {
                (
                    String::from_utf8_lossy(field.name),
                    String::from_utf8_lossy(field.value),
                )
            }))
            .finish()
    }
}
