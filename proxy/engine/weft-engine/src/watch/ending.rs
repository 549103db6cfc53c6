//! How a connection through which bytes flow stands: of a `tcp` service, or a WebSocket.

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It goes on: told to whoever taps.
    Open,
    /// Both sides had nothing more to say.
    Done,
    /// It never began.
    Refused,
    /// One side broke.
    Broken,
    /// Nothing moved for too long.
    Idle,
    /// Its certificates end.
    Expired,
    /// Its caller, or the instance, is not believed or not allowed any more.
    Revoked,
}

// === impl Ending ===

impl Ending {
    /// The word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Broken => "broken",
            Self::Idle => "idle",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}
