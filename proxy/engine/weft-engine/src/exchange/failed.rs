//! How a try fails, and what that says about trying again.

use weft_core::reason::{Error, Reason};
use weft_core::retry::{Attempt, Failure};
use weft_http1::Reject;

use super::attempt::Trouble;
use crate::observe::Direction;
use crate::tls::TlsReason;
use crate::worker::Worker;
use crate::world::Cluster;

/// How one try ended without an answer to be forwarded.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) failure: Failure,
    pub(super) error: Error,
    pub(super) attempt: Attempt,
    /// Then all endpoints of the host are out.
    pub(super) host_unreachable: bool,
}

// === impl Failed ===

impl Failed {
    /// There was no connection to deliver anything over.
    pub(super) fn undelivered(error: Error) -> Self {
        Self {
            failure: Failure::Connect,
            error,
            attempt: Attempt::default(),
            host_unreachable: false,
        }
    }

    /// The same, and it is this engine's own doing.
    pub(super) fn local(error: Error) -> Self {
        Self {
            failure: Failure::Local,
            ..Self::undelivered(error)
        }
    }

    /// No response head came, and that is the upstream's doing.
    pub(super) fn of(
        trouble: Trouble,
        attempt: Attempt,
        worker: &Worker,
        cluster: &Cluster,
    ) -> Self {
        let name = &cluster.name;
        let (failure, error) = match trouble {
            Trouble::Upstream(Failure::TryTimeout) => (
                Failure::TryTimeout,
                Error::new(
                    Reason::RequestTimeout,
                    format!("{name} did not answer in time"),
                ),
            ),
            Trouble::Refused(reject) => {
                worker.counters.reject(reject, true);
                (Failure::Reset, refused_response(name, reject))
            }
            Trouble::Tls(reason) => {
                worker.counters.tls(Direction::Outbound, reason);
                let error = Error::new(Reason::TlsFailed, format!("{name}: {}", reason.word()));
                let undelivered = reason == TlsReason::RefusedByPeer && !attempt.reused;
                (
                    if undelivered {
                        Failure::Connect
                    } else {
                        Failure::Reset
                    },
                    error,
                )
            }
            Trouble::Upstream(Failure::GoAway) => (
                Failure::GoAway,
                Error::new(
                    Reason::Draining,
                    format!("{name} takes no more on this connection"),
                ),
            ),
            Trouble::Upstream(Failure::RefusedStream) => (
                Failure::RefusedStream,
                Error::new(Reason::Overloaded, format!("{name} refused the stream")),
            ),
            _ => (
                Failure::Reset,
                Error::new(
                    Reason::Reset,
                    format!("{name} closed the connection before it answered"),
                ),
            ),
        };
        Failed {
            failure,
            error,
            attempt,
            host_unreachable: false,
        }
    }
}

/// An upstream's answer that is not taken.
pub(super) fn refused_response(service: &str, reject: Reject) -> Error {
    Error::new(
        Reason::Reset,
        format!("{service} answered what is refused: {}", reject.text()),
    )
}
