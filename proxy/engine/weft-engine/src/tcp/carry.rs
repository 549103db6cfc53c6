//! The life of a connection through which bytes flow.

use std::io;

use weft_core::reason::Reason;

use super::story::revoked;
use crate::io::{Bounds, Deadline, Ended, Input, Side, Stream, Tunnel, Whose};
use crate::observe::{Direction, Meter};
use crate::watch::Ending;
use crate::worker::Worker;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carried {
    /// Both sides had nothing more to say.
    Done,
    /// It never began.
    Refused(Reason),
    /// One side broke, and the other was reset.
    Broken(Whose, io::ErrorKind),
    /// Nothing moved for too long.
    Idle,
    /// Its certificates end.
    Expired,
    /// Its caller, or the instance, is not believed or not allowed any more.
    Revoked,
}

/// Carries bytes for as long as `may` says so whenever rules or trust have changed; how many went there and came back.
/// `early` was read from `down` before.
pub(super) async fn carry(
    mut down: Stream,
    mut early: Input,
    mut up: Stream,
    bounds: Bounds,
    worker: &Worker,
    meter: &Meter,
    mut may: impl FnMut(&Stream) -> bool,
) -> (Carried, (u64, u64)) {
    let mut total = (0, 0);
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
        let moved = |sent, received| {
            total = (total.0 + sent, total.1 + received);
            meter.add(sent, received);
        };
        tokio::select! {
            ended = tunnel.run(there, other, &mut deadline, bounds, moved) => break ended.into(),
            () = worker.rejudge.notified() => {}
        }
    };
    if carried != Carried::Done {
        down.reset();
        up.reset();
    }
    (carried, total)
}

// === impl Carried ===

impl Carried {
    /// How that is told.
    pub(super) const fn ending(self) -> Ending {
        match self {
            Self::Done => Ending::Done,
            Self::Refused(_) => Ending::Refused,
            Self::Broken(..) => Ending::Broken,
            Self::Idle => Ending::Idle,
            Self::Expired => Ending::Expired,
            Self::Revoked => Ending::Revoked,
        }
    }

    /// Why it failed, if it did; a client that breaks off is no failure.
    pub(super) const fn reason(self, direction: Direction) -> Option<Reason> {
        match self {
            Self::Refused(reason) => Some(reason),
            Self::Broken(Whose::Up, _) => Some(Reason::Reset),
            Self::Revoked => Some(revoked(direction)),
            Self::Broken(Whose::Down, _) | Self::Done | Self::Idle | Self::Expired => None,
        }
    }
}

impl From<Ended> for Carried {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Whole => Self::Done,
            Ended::Broken(whose, error) => {
                tracing::debug!(?whose, %error, "a connection broke");
                Self::Broken(whose, error.kind())
            }
            Ended::Idle => Self::Idle,
            Ended::Expired => Self::Expired,
        }
    }
}
