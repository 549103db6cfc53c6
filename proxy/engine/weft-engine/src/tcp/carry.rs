//! The life of a connection through which bytes flow.

use weft_core::reason::Reason;

use crate::io::{Bounds, Deadline, Ended, Input, Side, Stream, Tunnel};
use crate::observe::Meter;
use crate::worker::Worker;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carried {
    /// Both sides had nothing more to say.
    Done,
    /// It never began.
    Refused(Reason),
    /// One side broke, and the other was reset.
    Broken,
    /// Nothing moved for too long.
    Idle,
    /// Its certificates end.
    Expired,
    /// Its caller, or the instance, is not believed or not allowed any more.
    Revoked,
}

/// Carries bytes for as long as `may` says so whenever rules or trust have changed. `early` was read from `down` before.
pub(super) async fn carry(
    mut down: Stream,
    mut early: Input,
    mut up: Stream,
    bounds: Bounds,
    worker: &Worker,
    meter: &Meter,
    mut may: impl FnMut(&Stream) -> bool,
) -> Carried {
    let mut back = Input::default();
    let mut deadline = Deadline::never();
    let mut tunnel = Tunnel::default();
    let carried = loop {
        if !may(&up) {
            break Carried::Revoked;
        }
        let (there, other) = (
            Side {
                stream: &mut down,
                input: &mut early,
            },
            Side {
                stream: &mut up,
                input: &mut back,
            },
        );
        let moved = |sent, received| meter.add(sent, received);
        tokio::select! {
            ended = tunnel.run(there, other, &mut deadline, bounds, moved) => break ended.into(),
            () = worker.rejudge.notified() => {}
        }
    };
    if carried != Carried::Done {
        down.reset();
        up.reset();
    }
    carried
}

// === impl Carried ===

impl Carried {
    /// The word in metrics.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused(_) => "refused",
            Self::Broken => "broken",
            Self::Idle => "idle",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }

    /// Why it never began.
    pub(super) const fn reason(self) -> Option<Reason> {
        match self {
            Self::Refused(reason) => Some(reason),
            _ => None,
        }
    }
}

impl From<Ended> for Carried {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Whole => Self::Done,
            Ended::Broken(error) => {
                tracing::debug!(%error, "a connection broke");
                Self::Broken
            }
            Ended::Idle => Self::Idle,
            Ended::Expired => Self::Expired,
        }
    }
}
