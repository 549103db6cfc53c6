//! The tries of one request.

mod judge;
mod keyed;
mod once;
mod prepare;
mod start;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use weft_core::balance::{Key, Pick};
use weft_core::reason::{Error, Reason};
use weft_core::retry::{Failure, Stop, Verdict};
use weft_http1::{FieldId, Framing};

use self::keyed::key_of;
use self::prepare::prepare_request;
use super::attempt::Upload;
use super::decide::{Forward, Way};
use super::failed::Failed;
use super::{End, deadline, refuse_unread};
use crate::h1::{Answer, Connection, Scratch};
use crate::observe::Retried;
use crate::relay::Relay;
use crate::worker::Worker;
use crate::world::{Cluster, Subset};

/// Where one try goes.
#[derive(Clone, Copy, Debug)]
enum Where {
    /// The balancer's choice.
    Picked(Pick),
    /// The one that was asked for.
    Here(usize),
}

/// Tries until there is an answer to forward, or none is to be had. `plan` says in the end whom it went to.
pub(super) async fn forward(
    connection: &mut Connection,
    worker: &Worker,
    scratch: &mut Scratch,
    plan: &mut Forward,
    started: Instant,
) -> End {
    if let Some(other) = plan.elsewhere(worker) {
        plan.turn(other);
    }
    let mut key = key_of(connection, worker, scratch, plan);
    prepare_request(connection, worker, scratch, plan);
    let mut upload = Upload {
        relay: Relay::new(scratch.request.framing(), plan.max_body),
        done: None,
    };
    if scratch.request.framing() == Framing::None {
        upload.done = Some(started);
    }
    let deadline = deadline::of_call(&scratch.request, started);
    if deadline.is_some() {
        // What is left of it is said anew in every try.
        scratch.request.fields_mut().drop_id(FieldId::GrpcTimeout);
    }
    let mut retries = 0;
    // Nothing is tried again by the called engine, so that its requests allow no retries either.
    let calls = !matches!(plan.way, Way::Here { .. });
    loop {
        let Some(_permit) = plan.capacity().requests.acquire() else {
            let error = Error::new(
                Reason::Overloaded,
                format!("{} has no room for another request", plan.cluster.name),
            );
            return refuse_unread(connection, worker, scratch, &Answer::from(&error)).await;
        };
        let _deposit = calls.then(|| plan.cluster.budget.deposit());
        let mut tries = Tries {
            worker,
            plan,
            key,
            deadline,
            upload,
            failed: Vec::new(),
            retries,
            pause: None,
            withdrawal: None,
        };
        let ended = tries.run(connection, scratch).await;
        scratch.trail.moved.0 = tries.upload.relay.moved();
        (upload, retries) = (tries.upload, tries.retries);
        match ended {
            Ok(end) => {
                if let Some(mirror) = &plan.mirror {
                    let bodiless = scratch.request.framing() == Framing::None;
                    let whole = bodiless || upload.relay.is_decoded();
                    super::mirror::copy(worker, scratch, mirror, &plan.cluster.name, whole);
                }
                return end;
            }
            Err(Elsewhere(other)) => {
                scratch.trail.turned(&plan.cluster);
                plan.turn(other);
            }
        }
        key = key_of(connection, worker, scratch, plan);
    }
}

/// None of a service's instances is in rotation any more: to this one's instead.
struct Elsewhere(Arc<Cluster>);

/// The state of a request over its tries.
struct Tries<'a> {
    worker: &'a Worker,
    plan: &'a Forward,
    /// When the call is over for its caller.
    deadline: Option<Instant>,
    key: Option<Key>,
    upload: Upload,
    failed: Vec<usize>,
    retries: u32,
    /// Before the next try, which was granted.
    pause: Option<Duration>,
    withdrawal: Option<weft_core::budget::Withdrawal>,
}

// === impl Tries ===

impl Tries<'_> {
    async fn run(
        &mut self,
        connection: &mut Connection,
        scratch: &mut Scratch,
    ) -> Result<End, Elsewhere> {
        let mut fresh = false;
        loop {
            if self.left(connection.now).is_some_and(|left| left.is_zero()) {
                return Ok(self.give_up(connection, scratch, self.too_late()).await);
            }
            let place = match self.place(connection.now) {
                Ok(place) => place,
                Err(error) => return Ok(self.give_up(connection, scratch, error).await),
            };
            let ended = self.once(connection, scratch, place, fresh).await;
            let failed = match ended {
                Ok(end) => return Ok(end),
                Err(failed) => failed,
            };
            scratch.trail.missed(&failed.error);
            let method = scratch.request.method_text();
            match self
                .plan
                .rule
                .retry
                .judge(method, failed.attempt, failed.failure, self.retries)
            {
                Verdict::AgainFree => {
                    connection.tick();
                    fresh = true;
                }
                Verdict::Again => {
                    if self.pause.is_none() && !self.grant(connection.tick(), None) {
                        return Ok(self.give_up(connection, scratch, failed.error).await);
                    }
                    Box::pin(self.again(&failed, place)).await;
                    connection.tick();
                    if let Some(other) = self.plan.elsewhere(self.worker) {
                        return Err(Elsewhere(other));
                    }
                    fresh = false;
                }
                Verdict::Stop(Stop::NotReplayable) => {
                    self.plan.cluster.shared.retried(Retried::BodyGone);
                    return Ok(self.give_up(connection, scratch, failed.error).await);
                }
                // The time of the whole was over with the last try's.
                Verdict::Stop(Stop::Exhausted)
                    if self.retries > 0 && !self.ran_out(connection.now, failed.failure) =>
                {
                    let detail = format!(
                        "tried {} times; the last time: {}",
                        self.retries + 1,
                        failed.error
                    );
                    let error = Error::new(Reason::RetryExhausted, detail);
                    return Ok(self.give_up(connection, scratch, error).await);
                }
                Verdict::Stop(_) => {
                    return Ok(self.give_up(connection, scratch, failed.error).await);
                }
            }
        }
    }

    /// Takes another try from the budget, if there is time for the pause before it: that of the rule, or as long as the answer
    /// asked to be left alone, if that is longer.
    fn grant(&mut self, now: Instant, asked: Option<Duration>) -> bool {
        let rng = &mut *self.worker.rng.borrow_mut();
        let pause = self.plan.rule.retry.backoff(self.retries + 1, rng);
        let pause = pause.max(asked.unwrap_or_default());
        if pause >= self.remaining(now) {
            return false;
        }
        self.withdrawal = None;
        self.withdrawal = self.plan.cluster.budget.withdraw();
        if self.withdrawal.is_none() {
            tracing::debug!(service = %self.plan.cluster.name, "the retry budget is spent");
            self.plan.cluster.shared.retried(Retried::OverBudget);
            return false;
        }
        self.pause = Some(pause);
        true
    }

    /// Pauses before the try that was granted.
    async fn again(&mut self, failed: &Failed, place: Where) {
        self.plan.cluster.shared.retried(Retried::Tried);
        self.retries += 1;
        if let Where::Picked(pick) = place {
            self.failed.push(pick.member);
        }
        tracing::debug!(service = %self.plan.cluster.name, error = %failed.error, retry = self.retries, "tried again");
        if let Some(pause) = self.pause.take() {
            tokio::time::sleep(pause).await;
        }
    }

    fn place(&self, now: Instant) -> Result<Where, Error> {
        match &self.plan.way {
            Way::Here { member } => Ok(Where::Here(*member)),
            Way::Mesh { subset, .. } | Way::Outside { subset } => {
                let asked = (&*self.failed, self.key);
                let picked = self.worker.pick(&self.plan.cluster, *subset, asked, now);
                picked.map(Where::Picked).ok_or_else(|| {
                    Error::new(
                        Reason::NoEndpoint,
                        format!("{} has no instance to ask", self.plan.cluster.name),
                    )
                })
            }
        }
    }

    async fn give_up(
        &self,
        connection: &mut Connection,
        scratch: &mut Scratch,
        error: Error,
    ) -> End {
        let late = self
            .left(connection.tick())
            .is_some_and(|left| left.is_zero());
        let error = if late { self.too_late() } else { error };
        tracing::debug!(service = %self.plan.cluster.name, %error, "a request failed");
        scratch.trail.detail.clone_from(&error.detail);
        refuse_unread(connection, self.worker, scratch, &Answer::from(&error)).await
    }

    /// Whether it was the time of all tries together that ended the last one.
    fn ran_out(&self, now: Instant, failure: Failure) -> bool {
        matches!(failure, Failure::TryTimeout) && self.remaining(now).is_zero()
    }

    fn remaining(&self, now: Instant) -> Duration {
        let spent = self
            .upload
            .done
            .map_or(Duration::ZERO, |done| now.saturating_duration_since(done));
        let remaining = self.plan.timeout.saturating_sub(spent);
        self.left(now).map_or(remaining, |left| left.min(remaining))
    }

    /// What is left of the time of a call that has a deadline.
    fn left(&self, now: Instant) -> Option<Duration> {
        let deadline = self.deadline?;
        Some(deadline.saturating_duration_since(now))
    }

    fn too_late(&self) -> Error {
        Error::new(
            Reason::RequestTimeout,
            format!(
                "{} did not answer by the caller's deadline",
                self.plan.cluster.name
            ),
        )
    }
}

// === impl Forward ===

impl Forward {
    /// Whose instances are asked instead, while none of its own is in rotation.
    fn elsewhere(&self, worker: &Worker) -> Option<Arc<Cluster>> {
        match self.way {
            Way::Mesh { .. } | Way::Outside { .. } => worker.elsewhere(&self.cluster),
            Way::Here { .. } => None,
        }
    }

    /// To that service, whose identity is expected from now on.
    fn turn(&mut self, other: Arc<Cluster>) {
        match &mut self.way {
            way if other.outside => {
                *way = Way::Outside {
                    subset: Subset::ALL,
                }
            }
            Way::Mesh { subset, .. } | Way::Outside { subset } => *subset = Subset::ALL,
            Way::Here { .. } => {}
        }
        tracing::debug!(service = %self.cluster.name, to = %other.name, "failed over");
        self.cluster = other;
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
