//! One try: reach an instance, send, hear the head of its answer.

use weft_core::reason::{Error, Reason};
use weft_core::retry::Attempt;

use super::prepare::speaks_http2;
use super::{Tries, Where};
use crate::exchange::attempt::{Patience, Trouble, attempt};
use crate::exchange::failed::Failed;
use crate::exchange::reach::{Goal, reach};
use crate::exchange::respond::{Answered, respond};
use crate::exchange::{CLIENT_LEFT, End, Refused, answer};
use crate::h1::{Answer, Connection, Fate, Scratch};
use crate::relay::RelayError;
use crate::upstream::Upstream;

impl Tries<'_> {
    /// One try; `Ok` where the exchange is over by it.
    pub(super) async fn once(
        &mut self,
        connection: &mut Connection,
        scratch: &mut Scratch,
        place: Where,
        fresh: bool,
    ) -> Result<End, Failed> {
        let cluster = &self.plan.cluster;
        let member = &cluster.members.list()[place.member()];
        let _active = member.state.begin();
        scratch.trail.tried(place.member());
        let began = connection.now;
        let remaining = self.remaining(began);
        let method = scratch.request.method_text();
        let head = self
            .plan
            .rule
            .retry
            .try_timeout(method, self.retries, remaining);
        let goal = Goal {
            worker: self.worker,
            plan: self.plan,
            member,
            place: place.member(),
            http2: speaks_http2(connection, self.plan),
        };
        let mut upstream = match reach(goal, fresh, head, began).await {
            Ok(upstream) => upstream,
            Err(failed) => {
                connection.tick();
                self.report(connection, place, Err(&failed), began, head);
                return Err(failed);
            }
        };
        if !matches!(&upstream, Upstream::H1(upstream) if upstream.reused) {
            // That took time.
            connection.tick();
        }
        self.start(connection, &mut upstream, scratch, head)?;
        let patience = Patience {
            head,
            stream: cluster.traffic.stream_idle,
            until: self.deadline,
        };
        let outcome = attempt(
            connection,
            &mut upstream,
            scratch,
            &mut self.upload,
            patience,
        )
        .await;
        let tried = Attempt {
            sent: true,
            seen: false,
            reused: upstream.is_reused(),
            replayable: scratch.replay.kept().is_some(),
        };
        match outcome {
            Ok(()) => {
                scratch.trail.head = Some(connection.tick());
                self.judge_head(connection, scratch, tried, place, began, head)?;
            }
            Err(Trouble::Downstream(error)) => {
                return Ok(Box::pin(self.downstream(connection, scratch, error)).await);
            }
            Err(trouble) => {
                let failed = Failed::of(trouble, tried, self.worker, &self.plan.cluster);
                connection.tick();
                self.report(connection, place, Err(&failed), began, head);
                return Err(failed);
            }
        }
        let peer = self.peers_reason(scratch);
        let answered = Answered {
            worker: self.worker,
            plan: self.plan,
            peer,
        };
        Ok(respond(connection, upstream, scratch, &mut self.upload, answered).await)
    }

    /// The client sent what is refused, or has left.
    async fn downstream(
        &self,
        connection: &mut Connection,
        scratch: &mut Scratch,
        error: RelayError,
    ) -> End {
        let error = match error {
            RelayError::Refused(reject) => {
                self.worker.counters.reject(reject, false);
                Refused::Codec(reject).error()
            }
            RelayError::TooLarge => Error::new(
                Reason::TooLarge,
                format!("a body may have {} bytes here", self.plan.max_body),
            ),
            RelayError::Source | RelayError::Sink(_) => {
                return End {
                    code: CLIENT_LEFT,
                    reason: None,
                    fate: Fate::Abort,
                };
            }
        };
        answer(connection, self.worker, scratch, &Answer::from(&error)).await
    }
}
