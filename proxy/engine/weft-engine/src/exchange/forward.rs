//! The tries of one request.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use weft_core::balance::{Pick, Seen};
use weft_core::outlier::Outcome;
use weft_core::reason::{Error, Reason};
use weft_core::retry::{Attempt, Failure, Stop, Verdict};
use weft_http1::{FieldId, Fields, Framing, encode};
use weft_model::section::Protocol;

use super::attempt::{Patience, Trouble, Upload, attempt};
use super::decide::{Forward, Way};
use super::failed::Failed;
use super::reach::{Goal, reach};
use super::request::{Public, encode_try, frame_try, prepare};
use super::respond::{Answered, respond};
use super::{CLIENT_LEFT, End, Refused, answer};
use crate::h1::{Answer, Connection, Fate, Scratch, Wire};
use crate::observe::{Direction, Event};
use crate::relay::{Relay, RelayError};
use crate::upstream::Upstream;
use crate::worker::Worker;
use crate::world::Place;

/// Where one try goes.
#[derive(Clone, Copy, Debug)]
enum Where {
    /// The balancer's choice.
    Picked(Pick),
    /// The one that was asked for.
    Here(usize),
}

static NO_TRAILERS: Fields = Fields::new();

/// Tries until there is an answer to forward, or none is to be had.
pub(super) async fn forward(
    connection: &mut Connection,
    worker: &Worker,
    scratch: &mut Scratch,
    plan: Forward,
    started: Instant,
) -> End {
    let Some(_permit) = plan.cluster.capacity.requests.acquire() else {
        let error = Error::new(
            Reason::Overloaded,
            format!("{} has no room for another request", plan.cluster.name),
        );
        return answer(connection, worker, scratch, &Answer::from(&error)).await;
    };
    let _deposit = plan.cluster.budget.deposit();
    prepare_request(connection, worker, scratch, &plan);
    let mut upload = Upload {
        relay: Relay::new(scratch.request.framing(), plan.max_body),
        done: None,
    };
    if scratch.request.framing() == Framing::None {
        upload.done = Some(started);
    }
    Tries {
        worker,
        plan: &plan,
        upload,
        failed: Vec::new(),
        retries: 0,
        withdrawal: None,
    }
    .run(connection, scratch)
    .await
}

fn prepare_request(
    connection: &Connection,
    worker: &Worker,
    scratch: &mut Scratch,
    plan: &Forward,
) {
    let world = worker.world();
    let public = match (
        connection.direction,
        world.places.get(&connection.address).map(|place| &**place),
    ) {
        (Direction::Gateway, Some(Place::Gateway { gateway, .. })) => Some(Public {
            gateway,
            scheme: if connection.secure { "https" } else { "http" },
            ip: connection.ip,
        }),
        _ => None,
    };
    prepare(
        scratch,
        connection,
        public.as_ref(),
        &mut *worker.rng.borrow_mut(),
    );
    // A connection that many share may end at any moment, whatever the rule says about trying again.
    let needs = plan.rule.retry.may_need_body() || speaks_http2(connection, plan);
    let keeps = scratch.request.framing() != Framing::None && needs;
    scratch
        .replay
        .start(keeps.then(|| std::rc::Rc::clone(&worker.replay)));
}

/// Whether a request goes on in HTTP/2: what its service speaks, between engines also what its client does.
fn speaks_http2(connection: &Connection, plan: &Forward) -> bool {
    match plan.cluster.protocol {
        Protocol::Http2 | Protocol::Grpc => true,
        Protocol::Http | Protocol::Tcp => {
            matches!(plan.way, Way::Mesh { .. }) && connection.wire.is_http2()
        }
    }
}

/// The state of a request over its tries.
struct Tries<'a> {
    worker: &'a Worker,
    plan: &'a Forward,
    upload: Upload,
    failed: Vec<usize>,
    retries: u32,
    withdrawal: Option<weft_core::budget::Withdrawal>,
}

// === impl Tries ===

impl Tries<'_> {
    async fn run(mut self, connection: &mut Connection, scratch: &mut Scratch) -> End {
        let mut fresh = false;
        loop {
            let place = match self.place() {
                Ok(place) => place,
                Err(error) => return self.give_up(connection, scratch, error).await,
            };
            let ended = self.once(connection, scratch, place, fresh).await;
            let failed = match ended {
                Ok(end) => return end,
                Err(failed) => failed,
            };
            let method = std::str::from_utf8(scratch.request.method_name()).unwrap_or_default();
            match self
                .plan
                .rule
                .retry
                .judge(method, failed.attempt, failed.failure, self.retries)
            {
                Verdict::AgainFree => fresh = true,
                Verdict::Again => {
                    if !self.again(&failed, place).await {
                        return self.give_up(connection, scratch, failed.error).await;
                    }
                    fresh = false;
                }
                Verdict::Stop(Stop::Exhausted) if self.retries > 0 => {
                    let detail = format!(
                        "tried {} times; the last time: {}",
                        self.retries + 1,
                        failed.error
                    );
                    return self
                        .give_up(
                            connection,
                            scratch,
                            Error::new(Reason::RetryExhausted, detail),
                        )
                        .await;
                }
                Verdict::Stop(_) => return self.give_up(connection, scratch, failed.error).await,
            }
        }
    }

    /// Takes from the budget and pauses; `false`: there is no budget or no time left.
    async fn again(&mut self, failed: &Failed, place: Where) -> bool {
        self.withdrawal = None;
        self.withdrawal = self.plan.cluster.budget.withdraw();
        if self.withdrawal.is_none() {
            self.worker.counters.event(Event::RetryOverBudget);
            return false;
        }
        self.worker.counters.event(Event::Retry);
        self.retries += 1;
        if let Where::Picked(pick) = place {
            self.failed.push(pick.member);
        }
        let pause = self
            .plan
            .rule
            .retry
            .backoff(self.retries, &mut *self.worker.rng.borrow_mut());
        if pause >= self.remaining() {
            return false;
        }
        tracing::debug!(service = %self.plan.cluster.name, error = %failed.error, retry = self.retries, "tried again");
        tokio::time::sleep(pause).await;
        true
    }

    fn place(&self) -> Result<Where, Error> {
        match &self.plan.way {
            Way::Here { member } => Ok(Where::Here(*member)),
            Way::Mesh { subset, .. } | Way::Outside { subset } => {
                let picked =
                    self.worker
                        .pick(&self.plan.cluster, *subset, &self.failed, Instant::now());
                picked.map(Where::Picked).ok_or_else(|| {
                    Error::new(
                        Reason::NoEndpoint,
                        format!("{} has no instance to ask", self.plan.cluster.name),
                    )
                })
            }
        }
    }

    /// One try; `Ok` where the exchange is over by it.
    async fn once(
        &mut self,
        connection: &mut Connection,
        scratch: &mut Scratch,
        place: Where,
        fresh: bool,
    ) -> Result<End, Failed> {
        let cluster = &self.plan.cluster;
        let member = &cluster.members.list()[place.member()];
        let _active = member.state.begin();
        let began = Instant::now();
        let remaining = self.remaining();
        let method = std::str::from_utf8(scratch.request.method_name()).unwrap_or_default();
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
        let mut upstream = match reach(goal, fresh, head).await {
            Ok(upstream) => upstream,
            Err(failed) => {
                self.report(place, Err(&failed), began, head);
                return Err(failed);
            }
        };
        self.start(connection, &mut upstream, scratch, head)?;
        let patience = Patience {
            head,
            stream: cluster.traffic.stream_idle,
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
            Ok(()) => self.judge_head(scratch, tried, place, began, head)?,
            Err(Trouble::Downstream(error)) => {
                return Ok(self.downstream(connection, scratch, error).await);
            }
            Err(trouble) => {
                let failed = Failed::of(trouble, tried, self.worker, &self.plan.cluster);
                self.report(place, Err(&failed), began, head);
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

    /// Puts the request's head on its way, and what is kept of the body where this is not the first try.
    fn start(
        &mut self,
        connection: &mut Connection,
        upstream: &mut Upstream,
        scratch: &mut Scratch,
        patience: Duration,
    ) -> Result<(), Failed> {
        let relay = &mut self.upload.relay;
        match upstream {
            Upstream::H1(_) => {
                let trailers = || match relay.had_trailers() {
                    true => connection.wire.trailers(),
                    false => &NO_TRAILERS,
                };
                let ended = relay.is_decoded().then(trailers);
                encode_try(scratch, self.plan, patience, ended);
            }
            Upstream::H2(sender) => {
                scratch.up.clear();
                let request = frame_try(scratch, self.plan, patience).ok_or_else(|| {
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

    /// Whether the answer is to be forwarded; reports it either way.
    fn judge_head(
        &self,
        scratch: &Scratch,
        tried: Attempt,
        place: Where,
        began: Instant,
        head: Duration,
    ) -> Result<(), Failed> {
        let status = scratch.response.status();
        let peer = self.peers_reason(scratch);
        let failure = peer.map_or(Failure::Status(status), Failure::Peer);
        let counts = failure.counts();
        let failed = Failed {
            failure,
            error: Error::new(
                peer.unwrap_or(Reason::RetryExhausted),
                format!("answered with status {status}"),
            ),
            attempt: tried,
            host_unreachable: false,
        };
        self.report(
            place,
            if counts { Err(&failed) } else { Ok(()) },
            began,
            head,
        );
        let method = std::str::from_utf8(scratch.request.method_name()).unwrap_or_default();
        // An answer that cannot be tried again is better than none.
        match self
            .plan
            .rule
            .retry
            .judge(method, tried, failure, self.retries)
        {
            // gRPC tells a failure in an answer that HTTP takes for a success.
            Verdict::Again if (status >= 400 || peer.is_some()) && self.has_budget() => Err(failed),
            Verdict::Stop(Stop::Exhausted) if self.retries > 0 && peer.is_some() => Err(failed),
            _ => Ok(()),
        }
    }

    fn has_budget(&self) -> bool {
        let (_, retries) = self.plan.cluster.budget.under_way();
        let room = self.withdrawal.is_some() || self.plan.cluster.budget.withdraw().is_some();
        if !room {
            tracing::debug!(service = %self.plan.cluster.name, retries, "the retry budget is spent");
            self.worker.counters.event(Event::RetryOverBudget);
        }
        room
    }

    /// What a peer engine says for itself. The application behind it cannot: its engine takes the field off. Nobody else is one.
    fn peers_reason(&self, scratch: &Scratch) -> Option<Reason> {
        match self.plan.way {
            Way::Mesh { .. } => Reason::parse(scratch.response.get(FieldId::XWeftReason)?),
            Way::Outside { .. } | Way::Here { .. } => None,
        }
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

    async fn give_up(
        &self,
        connection: &mut Connection,
        scratch: &mut Scratch,
        error: Error,
    ) -> End {
        tracing::debug!(service = %self.plan.cluster.name, %error, "a request failed");
        answer(connection, self.worker, scratch, &Answer::from(&error)).await
    }

    fn report(&self, place: Where, ended: Result<(), &Failed>, began: Instant, patience: Duration) {
        let Where::Picked(pick) = place else { return };
        let now = Instant::now();
        let (seen, outcome) = match ended {
            Ok(()) => (Seen::Answer(now - began), Outcome::Success),
            Err(failed) if failed.host_unreachable => {
                (Seen::Failure(patience), Outcome::HostUnreachable)
            }
            Err(failed) if !failed.failure.counts() => return,
            Err(_) => (Seen::Failure(patience), Outcome::Failure),
        };
        self.worker
            .observe(&self.plan.cluster, pick.member, seen, now);
        self.worker.report(&self.plan.cluster, pick, outcome, now);
    }

    fn remaining(&self) -> Duration {
        let spent = self
            .upload
            .done
            .map_or(Duration::ZERO, |done| done.elapsed());
        self.plan.timeout.saturating_sub(spent)
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

// === impl Where ===

impl Where {
    fn member(self) -> usize {
        match self {
            Self::Picked(pick) => pick.member,
            Self::Here(member) => member,
        }
    }
}
