//! A request's fields as rules see them.

use std::borrow::Cow;

use weft_core::route;

/// Looks fields up for rules.
pub(crate) struct Seen<'a>(pub(crate) &'a weft_http1::Fields);

impl route::Fields for Seen<'_> {
    fn field(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.0.joined(name.as_bytes())
    }
}
