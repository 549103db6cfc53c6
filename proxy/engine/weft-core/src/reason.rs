//! Why the engine answered by itself: the one list of words, each with its status.

use std::borrow::Cow;
use std::fmt;

/// A word of `x-weft-reason`; the same stands in metrics and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// No rule, listener or service for this request.
    NoRoute,
    /// Nobody to send it to.
    NoEndpoint,
    /// No connection came about.
    ConnectFailed,
    /// No connection in time.
    ConnectTimeout,
    /// No response head in time.
    RequestTimeout,
    /// The connection ended before a response head.
    Reset,
    /// Tried again as often as allowed, and it failed again.
    RetryExhausted,
    /// Refused for load.
    Overloaded,
    /// Refused by a Limit.
    Limited,
    /// Refused by Access.
    Denied,
    /// Plain text where TLS is required.
    TlsRequired,
    /// A handshake failed.
    TlsFailed,
    /// Bytes that are no acceptable message.
    BadRequest,
    /// Over a bound on size.
    TooLarge,
    /// Accepts no more.
    Draining,
    /// A fault of the engine.
    Internal,
}

/// Whose doing a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The caller's.
    Downstream,
    /// The called service's, or of the way to it.
    Upstream,
    /// This engine's, or what it was told to do.
    Local,
}

/// Whether trying again may help, as far as the failure itself tells; [`crate::retry`] decides with the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Help {
    /// It would fail again.
    None,
    /// Nothing was delivered: any method may be tried again.
    Undelivered,
    /// Something may have happened: only what may be repeated.
    Idempotent,
}

/// The one error type: a request that the engine answers itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The word.
    pub reason: Reason,
    /// Whose doing it is.
    pub source: Source,
    /// Whether trying again may help.
    pub help: Help,
    /// What is answered; the reason's own unless the codec knows a better one.
    pub status: u16,
    /// One line for the log and the answer's body.
    pub detail: Cow<'static, str>,
}

/// Every reason, in the order of the design's list.
pub const ALL: [Reason; 16] = [
    Reason::NoRoute,
    Reason::NoEndpoint,
    Reason::ConnectFailed,
    Reason::ConnectTimeout,
    Reason::RequestTimeout,
    Reason::Reset,
    Reason::RetryExhausted,
    Reason::Overloaded,
    Reason::Limited,
    Reason::Denied,
    Reason::TlsRequired,
    Reason::TlsFailed,
    Reason::BadRequest,
    Reason::TooLarge,
    Reason::Draining,
    Reason::Internal,
];

// === impl Reason ===

impl Reason {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::NoRoute => "no_route",
            Reason::NoEndpoint => "no_endpoint",
            Reason::ConnectFailed => "connect_failed",
            Reason::ConnectTimeout => "connect_timeout",
            Reason::RequestTimeout => "request_timeout",
            Reason::Reset => "reset",
            Reason::RetryExhausted => "retry_exhausted",
            Reason::Overloaded => "overloaded",
            Reason::Limited => "limited",
            Reason::Denied => "denied",
            Reason::TlsRequired => "tls_required",
            Reason::TlsFailed => "tls_failed",
            Reason::BadRequest => "bad_request",
            Reason::TooLarge => "too_large",
            Reason::Draining => "draining",
            Reason::Internal => "internal",
        }
    }

    /// The reason of that word: to read what a peer engine says. Only an authenticated peer's word counts.
    pub fn parse(word: &[u8]) -> Option<Reason> {
        ALL.into_iter()
            .find(|reason| reason.as_str().as_bytes() == word)
    }

    /// The status answered with it.
    pub const fn status(self) -> u16 {
        match self {
            Reason::BadRequest => 400,
            Reason::Denied | Reason::TlsRequired => 403,
            Reason::NoRoute => 404,
            Reason::TooLarge => 413,
            Reason::Limited => 429,
            Reason::Internal => 500,
            Reason::Reset | Reason::RetryExhausted | Reason::TlsFailed => 502,
            Reason::NoEndpoint | Reason::ConnectFailed | Reason::Overloaded | Reason::Draining => {
                503
            }
            Reason::ConnectTimeout | Reason::RequestTimeout => 504,
        }
    }

    /// Whose doing it usually is.
    pub const fn source(self) -> Source {
        match self {
            Reason::BadRequest | Reason::TooLarge | Reason::TlsRequired => Source::Downstream,
            Reason::ConnectFailed
            | Reason::ConnectTimeout
            | Reason::RequestTimeout
            | Reason::Reset
            | Reason::RetryExhausted
            | Reason::TlsFailed => Source::Upstream,
            Reason::NoRoute
            | Reason::NoEndpoint
            | Reason::Overloaded
            | Reason::Limited
            | Reason::Denied
            | Reason::Draining
            | Reason::Internal => Source::Local,
        }
    }

    /// Whether trying again may help.
    pub const fn help(self) -> Help {
        match self {
            Reason::ConnectFailed | Reason::ConnectTimeout | Reason::TlsFailed => Help::Undelivered,
            Reason::Reset | Reason::RequestTimeout => Help::Idempotent,
            _ => Help::None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Error ===

impl Error {
    /// An error with what is usual for its reason.
    pub fn new(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Error {
        Error {
            reason,
            source: reason.source(),
            help: reason.help(),
            status: reason.status(),
            detail: detail.into(),
        }
    }

    /// The same, answered with another status (the codec's 405, 414, 417, 431, 501).
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Error {
        self.status = status;
        self
    }

    /// The same, by somebody else's doing.
    #[must_use]
    pub fn from_source(mut self, source: Source) -> Error {
        self.source = source;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.detail)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_and_stands_once() {
        for reason in ALL {
            assert_eq!(Reason::parse(reason.as_str().as_bytes()), Some(reason));
        }
        assert_eq!(
            ALL.iter()
                .map(|reason| reason.as_str())
                .collect::<std::collections::HashSet<_>>()
                .len(),
            16
        );
        assert_eq!(Reason::parse(b"No_route"), None);
    }

    #[test]
    fn only_an_upstreams_failure_can_be_helped_by_trying_again() {
        for reason in ALL.into_iter().filter(|reason| reason.help() != Help::None) {
            assert_eq!(reason.source(), Source::Upstream, "{reason}");
        }
    }
}
