//! What a client asked.

use super::Version;
use crate::field::{FieldId, Span};
use crate::fields::Fields;
use crate::framing::Framing;
use crate::method::Method;
use crate::reject::Reject;

/// The head of a request: valid by every rule of this crate, since only the decoder fills it.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    pub(crate) fields: Fields,
    pub(crate) method: Method,
    pub(crate) name: Span,
    pub(crate) received: Span,
    pub(crate) target: Span,
    /// Length of the path within the target.
    pub(crate) path: u32,
    pub(crate) authority: Span,
    pub(crate) version: Version,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    pub(crate) expects_continue: bool,
    pub(crate) upgrade: bool,
}

// === impl RequestHead ===

impl RequestHead {
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

    /// The method, where it is one that matters to a proxy.
    #[inline]
    #[must_use]
    pub const fn method(&self) -> Method {
        self.method
    }

    /// The method's name.
    #[must_use]
    pub fn method_name(&self) -> &[u8] {
        self.name.get(&self.fields.raw)
    }

    /// The same as text.
    #[inline]
    #[must_use]
    pub fn method_text(&self) -> &str {
        self.method
            .text()
            .or_else(|| std::str::from_utf8(self.method_name()).ok())
            .unwrap_or_default()
    }

    /// The target to forward, in origin form: path and query, or `*`. An absolute form was taken apart.
    #[inline]
    #[must_use]
    pub fn target(&self) -> &[u8] {
        self.target.get(&self.fields.raw)
    }

    /// The target exactly as it was received.
    #[must_use]
    pub fn received_target(&self) -> &[u8] {
        self.received.get(&self.fields.raw)
    }

    /// The path, undecoded, without its query; `*` for the server as a whole.
    #[inline]
    #[must_use]
    pub fn path(&self) -> &[u8] {
        &self.target()[..self.path as usize]
    }

    /// What stands behind the first `?`, if there is one.
    #[must_use]
    pub fn query(&self) -> Option<&[u8]> {
        self.target().get(self.path as usize + 1..)
    }

    /// Replaces the target to forward, for a rewrite or a normalised path; `received_target` stays.
    ///
    /// # Errors
    /// [`Reject::BadTarget`] if it is not `*` and not a path with an optional query in the bytes of RFC 3986.
    pub fn set_target(&mut self, target: &[u8]) -> Result<(), Reject> {
        self.path = crate::start_line::origin(target)?;
        self.target = self.fields.append(target);
        Ok(())
    }

    /// Whom it is for, `host` or `host:port`: the absolute form's authority, else Host. Empty only where HTTP/1.0 has none.
    #[inline]
    #[must_use]
    pub fn authority(&self) -> &[u8] {
        self.authority.get(&self.fields.raw)
    }

    /// [`RequestHead::authority`] without its port; an IPv6 address keeps its brackets.
    #[must_use]
    pub fn host(&self) -> &[u8] {
        crate::start_line::host(self.authority())
    }

    /// The version the client speaks.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Where the body ends; never [`Framing::UntilClose`].
    #[inline]
    #[must_use]
    pub const fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether the client wants to go on using the connection.
    #[must_use]
    pub const fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Whether the client waits for a 100 before it sends its body.
    #[must_use]
    pub const fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    /// The protocol the client offers to change to: Upgrade, where Connection names it.
    #[must_use]
    pub fn upgrade(&self) -> Option<&[u8]> {
        if self.upgrade {
            self.fields.get(FieldId::Upgrade)
        } else {
            None
        }
    }

    /// Whether this asks for a WebSocket: a GET without body that offers nothing else (RFC 6455 §4.1).
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        self.method == Method::Get
            && self.framing == Framing::None
            && self
                .upgrade()
                .is_some_and(|to| to.eq_ignore_ascii_case(b"websocket"))
    }

    /// Whether the client understands trailers (`TE: trailers`), as gRPC requires to be passed on.
    #[must_use]
    pub fn accepts_trailers(&self) -> bool {
        self.fields
            .all(FieldId::Te)
            .flat_map(|value| value.split(|&b| b == b','))
            .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
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
