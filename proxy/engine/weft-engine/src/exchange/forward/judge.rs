//! What a try's end means: for the request, and for the instance that was tried.

use std::time::Duration;

use tokio::time::Instant;
use weft_core::balance::Seen;
use weft_core::outlier::Outcome;
use weft_core::reason::{Error, Reason};
use weft_core::retry::{Attempt, Failure, Stop, Verdict, retry_after};
use weft_http1::FieldId;

use super::{Tries, Where};
use crate::exchange::decide::Way;
use crate::exchange::failed::Failed;
use crate::h1::{Connection, Scratch};
use crate::observe::Retried;

impl Tries<'_> {
    /// Whether the answer is to be forwarded; reports it either way.
    pub(super) fn judge_head(
        &mut self,
        connection: &Connection,
        scratch: &Scratch,
        tried: Attempt,
        place: Where,
        began: Instant,
        head: Duration,
    ) -> Result<(), Failed> {
        let status = scratch.response.status();
        let peer = self.peers_reason(scratch);
        let failure = match (peer, grpc_status(scratch)) {
            (Some(reason), _) => Failure::Peer(reason),
            (None, Some(code)) => Failure::Grpc(code),
            (None, None) => Failure::Status(status),
        };
        let failed = || Failed {
            failure,
            error: Error::new(
                peer.unwrap_or(Reason::RetryExhausted),
                match failure {
                    Failure::Grpc(code) => format!("answered with gRPC status {code}"),
                    _ => format!("answered with status {status}"),
                },
            ),
            attempt: tried,
            host_unreachable: false,
        };
        if failure.counts() || failure.is_load() {
            self.report(connection, place, Err(&failed()), began, head);
        } else {
            self.report(connection, place, Ok(()), began, head);
        }
        let method = scratch.request.method_text();
        // An answer that cannot be tried again is better than none.
        match self
            .plan
            .rule
            .retry
            .judge(method, tried, failure, self.retries)
        {
            // gRPC tells a failure in an answer that HTTP takes for a success.
            Verdict::Again
                if (status >= 400 || !matches!(failure, Failure::Status(_)))
                    && self.grant(connection.now, asked_to_wait(scratch)) =>
            {
                Err(failed())
            }
            Verdict::Stop(Stop::NotReplayable) => {
                self.plan.cluster.shared.retried(Retried::BodyGone);
                Ok(())
            }
            // Whoever is told so knows more than by `retry_exhausted`: that nothing was delivered, and why.
            Verdict::Stop(Stop::Exhausted) if failure.is_load() => Ok(()),
            Verdict::Stop(Stop::Exhausted) if self.retries > 0 && peer.is_some() => Err(failed()),
            _ => Ok(()),
        }
    }

    /// What a peer engine says for itself. The application behind it cannot: its engine takes the field off. Nobody else is one.
    pub(super) fn peers_reason(&self, scratch: &Scratch) -> Option<Reason> {
        match self.plan.way {
            Way::Mesh { .. } => Reason::parse(scratch.response.get(FieldId::XWeftReason)?),
            Way::Outside { .. } | Way::Here { .. } => None,
        }
    }

    pub(super) fn report(
        &self,
        connection: &Connection,
        place: Where,
        ended: Result<(), &Failed>,
        began: Instant,
        patience: Duration,
    ) {
        let Where::Picked(pick) = place else { return };
        let now = connection.now;
        let (seen, outcome) = match ended {
            Ok(()) => (Seen::Answer(now - began), Outcome::Success),
            Err(failed) if failed.host_unreachable => {
                (Seen::Failure(patience), Outcome::HostUnreachable)
            }
            Err(failed) if failed.failure.is_load() => {
                let seen = Seen::Failure(patience);
                return self
                    .worker
                    .observe(&self.plan.cluster, pick.member, seen, now);
            }
            Err(failed) if !failed.failure.counts() => return,
            Err(_) => (Seen::Failure(patience), Outcome::Failure),
        };
        self.worker
            .observe(&self.plan.cluster, pick.member, seen, now);
        self.worker.report(&self.plan.cluster, pick, outcome, now);
    }
}

/// The code that an answer of gRPC says in its head, which is all of it; none where that is no failure.
fn grpc_status(scratch: &Scratch) -> Option<u8> {
    let text = scratch.response.get(FieldId::GrpcStatus)?;
    let code = std::str::from_utf8(text).ok()?.parse().ok()?;
    (scratch.response.status() == 200 && code != 0).then_some(code)
}

/// How long an answer asks to be left alone.
fn asked_to_wait(scratch: &Scratch) -> Option<Duration> {
    let head = &scratch.response;
    retry_after(head.get(FieldId::RetryAfter)?, head.get(FieldId::Date))
}
