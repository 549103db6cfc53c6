//! How a try begins on the wire.

use std::time::Duration;

use bytes::Bytes;
use weft_core::reason::{Error, Reason};
use weft_core::retry::{Attempt, Failure};
use weft_http1::{Fields, Framing, encode};

use super::Tries;
use crate::exchange::failed::Failed;
use crate::exchange::request::{Left, encode_try, frame_try};
use crate::h1::{Connection, Scratch, Wire};
use crate::upstream::Upstream;

static NO_TRAILERS: Fields = Fields::new();

impl Tries<'_> {
    /// Puts the request's head on its way, and what is kept of the body where this is not the first try.
    pub(super) fn start(
        &mut self,
        connection: &mut Connection,
        upstream: &mut Upstream,
        scratch: &mut Scratch,
        patience: Duration,
    ) -> Result<(), Failed> {
        let left = Left {
            head: patience,
            call: self.left(connection.now),
        };
        let relay = &mut self.upload.relay;
        match upstream {
            Upstream::H1(_) => {
                let trailers = || match relay.had_trailers() {
                    true => connection.wire.trailers(),
                    false => &NO_TRAILERS,
                };
                let ended = relay.is_decoded().then(trailers);
                encode_try(scratch, self.plan, left, ended);
            }
            Upstream::H2(sender) => {
                scratch.up.clear();
                let request = frame_try(scratch, self.plan, left).ok_or_else(|| {
                    let error = Error::new(Reason::BadRequest, "HTTP/2 cannot say this request");
                    Failed {
                        failure: Failure::Status(error.status),
                        ..Failed::undelivered(error)
                    }
                })?;
                let kept = scratch.replay.kept().unwrap_or_default();
                let ended = scratch.request.framing() == Framing::None;
                let reused = sender.reused;
                sender
                    .start(request, ended, Bytes::copy_from_slice(kept))
                    .map_err(|failure| Failed {
                        failure,
                        attempt: Attempt {
                            reused,
                            sent: true,
                            replayable: scratch.replay.kept().is_some(),
                            ..Attempt::default()
                        },
                        ..Failed::undelivered(Error::new(
                            Reason::Draining,
                            format!(
                                "{} takes no more on this connection",
                                self.plan.cluster.name
                            ),
                        ))
                    })?;
                if self.retries == 0 && scratch.request.expects_continue() {
                    invite(connection, scratch);
                }
            }
        }
        relay.restart();
        Ok(())
    }
}

/// Has a client send its body: in HTTP/2 nobody upstream says so for certain.
fn invite(connection: &mut Connection, scratch: &mut Scratch) {
    match &mut connection.wire {
        Wire::H2(call) => call.informational(100, std::iter::empty()),
        Wire::H1(_) => {
            let out = &mut scratch.down.staged;
            encode::status_line(out, 100, encode::reason(100));
            encode::end(out);
        }
    }
}
