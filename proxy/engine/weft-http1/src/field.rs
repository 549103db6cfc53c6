//! One field line, and the names that mean something to a proxy.

use crate::fields::is_name;
use crate::name::identify;

/// A position in the bytes of a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// One field as it lies in [`crate::Fields`]: who it is was decided once, so that nobody compares names again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: Span,
    pub(crate) value: Span,
    pub(crate) id: FieldId,
    pub(crate) dropped: bool,
}

/// One field line, as a reader of a head sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Which of the known names it is.
    pub id: FieldId,
    /// The name as it was received, in its own case.
    pub name: &'a [u8],
    /// The value without white space around it.
    pub value: &'a [u8],
    /// Whether it ends here: hop-by-hop, named by Connection, with `_` in its name, or dropped by the engine.
    pub dropped: bool,
}

macro_rules! field_ids {
    ($($(#[$doc:meta])* $id:ident = $name:literal,)*) => {
        /// A field name that some part of the engine asks for; every other one is [`FieldId::Other`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum FieldId {
            $(#[doc = concat!("`", $name, "`")] $(#[$doc])* $id,)*
            /// Any other `x-weft-…` name: the mesh's own, never an application's to set.
            Weft,
            /// Any other `x-forwarded-…` name.
            Forwarding,
            /// A name nobody asks for by number.
            Other,
        }

        /// The names known letter by letter, in lower case.
        pub(crate) const NAMED: &[(FieldId, &str)] = &[$((FieldId::$id, $name),)*];
    };
}

field_ids! {
    Host = "host",
    Connection = "connection",
    ContentLength = "content-length",
    TransferEncoding = "transfer-encoding",
    KeepAlive = "keep-alive",
    ProxyConnection = "proxy-connection",
    Te = "te",
    Trailer = "trailer",
    Upgrade = "upgrade",
    Http2Settings = "http2-settings",
    Expect = "expect",
    XRequestId = "x-request-id",
    Traceparent = "traceparent",
    Tracestate = "tracestate",
    Via = "via",
    XWeftCaller = "x-weft-caller",
    XWeftReason = "x-weft-reason",
    XWeftMirror = "x-weft-mirror",
    XForwardedFor = "x-forwarded-for",
    XForwardedProto = "x-forwarded-proto",
    XForwardedHost = "x-forwarded-host",
    XRealIp = "x-real-ip",
    Forwarded = "forwarded",
    UserAgent = "user-agent",
    Accept = "accept",
    Authorization = "authorization",
    Cookie = "cookie",
    SetCookie = "set-cookie",
    Date = "date",
    Server = "server",
    ContentType = "content-type",
    ContentEncoding = "content-encoding",
    CacheControl = "cache-control",
    Location = "location",
    RetryAfter = "retry-after",
    Origin = "origin",
    GrpcStatus = "grpc-status",
    GrpcMessage = "grpc-message",
    GrpcTimeout = "grpc-timeout",
}

// === impl Span ===

impl Span {
    /// The bytes of `part`, which lies within `whole`.
    #[inline]
    pub(crate) fn of(whole: &[u8], part: &[u8]) -> Self {
        let start = part.as_ptr() as usize - whole.as_ptr() as usize;
        Self::at(start, start + part.len())
    }

    /// From `start` to before `end`. Heads are far smaller than 4 GiB.
    #[inline]
    pub(crate) fn at(start: usize, end: usize) -> Self {
        Self {
            start: start as u32,
            end: end as u32,
        }
    }

    #[inline]
    pub(crate) fn get(self, whole: &[u8]) -> &[u8] {
        &whole[self.start as usize..self.end as usize]
    }
}

// === impl Entry ===

impl Entry {
    /// Whether it is forwarded. Host never is: every head that is written states its own.
    #[inline]
    pub(crate) fn goes_on(&self) -> bool {
        !self.dropped && self.id != FieldId::Host
    }
}

// === impl FieldId ===

impl FieldId {
    /// The field of that name, in any case.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Self {
        if is_name(name) {
            identify(name)
        } else {
            Self::Other
        }
    }

    /// Belongs to one connection, or to how its bytes are framed: never forwarded (RFC 9110 §7.6.1).
    #[inline]
    #[must_use]
    pub const fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::ContentLength
                | Self::TransferEncoding
                | Self::KeepAlive
                | Self::ProxyConnection
                | Self::Te
                | Self::Upgrade
                | Self::Http2Settings
        )
    }

    /// Says who is calling or where to: a peer may not have it dropped by naming it in Connection, nor send it as a trailer.
    #[inline]
    #[must_use]
    pub const fn is_protected(self) -> bool {
        matches!(
            self,
            Self::Host
                | Self::ContentLength
                | Self::TransferEncoding
                | Self::XWeftCaller
                | Self::XWeftReason
                | Self::XWeftMirror
                | Self::Weft
                | Self::XForwardedFor
                | Self::XForwardedProto
                | Self::XForwardedHost
                | Self::XRealIp
                | Self::Forwarding
                | Self::Forwarded
        )
    }

    /// Whether names of this id are not known letter by letter.
    #[inline]
    pub(crate) const fn is_open(self) -> bool {
        matches!(self, Self::Weft | Self::Forwarding | Self::Other)
    }

    /// Would change, after the body, how the message was framed, where it went, or who sent it (RFC 9110 §6.5.1).
    pub(crate) const fn is_refused_as_trailer(self) -> bool {
        self.is_protected()
            || self.is_hop_by_hop()
            || matches!(
                self,
                Self::Trailer
                    | Self::Expect
                    | Self::Authorization
                    | Self::Cookie
                    | Self::SetCookie
                    | Self::ContentEncoding
                    | Self::ContentType
            )
    }

    #[inline]
    pub(crate) const fn bit(self) -> u64 {
        1 << self as u8
    }
}
