//! Whether to try again, when, and for how long. The loop that asks knows no status codes and no methods.
//!
//! Nothing was delivered: any method. Something may have been: only what may be repeated, and only before the first
//! response byte went on downstream. A reused connection that was closed before any byte: once more, free of budget.

mod after;

use std::time::Duration;

use rand::Rng;
use weft_model::section::Retry;

pub use self::after::retry_after;
use crate::reason::Reason;

/// Methods that may be repeated (RFC 9110 section 9.2.2).
const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"];

/// The rule's say.
#[derive(Clone, Debug)]
pub struct Policy {
    max: u32,
    undelivered: bool,
    reset: bool,
    statuses: Box<[u16]>,
    grpc_statuses: Box<[u8]>,
    methods: Box<[Box<str>]>,
    per_try: Duration,
    base: Duration,
    bound: Duration,
}

/// How far a try got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    /// Whether any byte of the request was written to a connection that stood.
    pub sent: bool,
    /// Whether any byte of the response was forwarded downstream: then nothing is ever tried again.
    pub seen: bool,
    /// Whether the connection had served another request before.
    pub reused: bool,
    /// Whether the request can be sent again from its first byte (no body, or one that was kept whole).
    pub replayable: bool,
}

/// How a try failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// This engine itself has no room, no descriptor or no certificate for it: no endpoint is to blame, and none could help.
    Local,
    /// No connection came about: TCP, TLS or their timeout.
    Connect,
    /// The peer's protocol says that it did not look at it: a refused stream, GOAWAY above the last id.
    RefusedStream,
    /// The peer's connection takes no more requests, this one included: GOAWAY below its id.
    GoAway,
    /// The connection ended before the response head.
    Reset,
    /// No response head within the try's own time.
    TryTimeout,
    /// An authenticated peer engine answered by itself, with this word.
    Peer(Reason),
    /// The application answered with this status.
    Status(u16),
    /// The application answered with this code of gRPC, and nothing else.
    Grpc(u8),
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again if the budget gives it, after [`Policy::backoff`].
    Again,
    /// Try again at once on a new connection, free of budget and uncounted.
    AgainFree,
    /// Do not.
    Stop(Stop),
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The rule does not name this failure.
    NotNamed,
    /// The request may have been acted on, and its method may not be repeated.
    NotIdempotent,
    /// Response bytes went on downstream.
    AlreadyAnswering,
    /// The body is not there any more.
    NotReplayable,
    /// It was tried as often as the rule allows: `retry_exhausted`, if that was more than once.
    Exhausted,
}

/// What a failure says about delivery.
enum Delivery {
    Nothing,
    Unknown,
    Answered(u16),
    AnsweredGrpc(u8),
}

// === impl Policy ===

impl Policy {
    /// From the section.
    pub fn new(retry: &Retry) -> Policy {
        Policy {
            max: retry.max,
            undelivered: retry.undelivered,
            reset: retry.reset,
            statuses: retry.statuses.as_slice().into(),
            grpc_statuses: retry.grpc_statuses.as_slice().into(),
            methods: retry
                .methods
                .iter()
                .map(|method| method.as_str().into())
                .collect(),
            per_try: Duration::from_millis(retry.per_try_timeout_ms),
            base: Duration::from_millis(retry.backoff_base_ms),
            bound: Duration::from_millis(retry.backoff_max_ms),
        }
    }

    /// Whether to try again. `retries`: how many there were, free ones not counted.
    pub fn judge(&self, method: &str, attempt: Attempt, failure: Failure, retries: u32) -> Verdict {
        if attempt.seen {
            return Verdict::Stop(Stop::AlreadyAnswering);
        }
        if failure == Failure::Local || failure.is_settled() {
            return Verdict::Stop(Stop::NotNamed);
        }
        let delivery = failure.delivery(attempt);
        let (named, repeatable) = match delivery {
            Delivery::Nothing => (self.undelivered, true),
            Delivery::Unknown => (self.reset, self.may_repeat(method)),
            Delivery::Answered(status) => {
                (self.statuses.contains(&status), self.may_repeat(method))
            }
            // Every call is a POST: whoever names a code says that a call that ends so may be repeated.
            Delivery::AnsweredGrpc(code) => (self.grpc_statuses.contains(&code), true),
        };
        let stale = attempt.reused && matches!(failure, Failure::Reset | Failure::GoAway);
        if !named && !stale {
            return Verdict::Stop(Stop::NotNamed);
        }
        if !repeatable {
            return Verdict::Stop(Stop::NotIdempotent);
        }
        if attempt.sent && !attempt.replayable {
            return Verdict::Stop(Stop::NotReplayable);
        }
        if stale {
            return Verdict::AgainFree;
        }
        if retries >= self.max {
            return Verdict::Stop(Stop::Exhausted);
        }
        Verdict::Again
    }

    /// Whether it is worth while to keep the request's body: some failure after sending could be tried again.
    pub fn may_need_body(&self) -> bool {
        let answers = !self.statuses.is_empty() || !self.grpc_statuses.is_empty();
        self.max > 0 && (self.undelivered || self.reset || answers)
    }

    /// Whether this answer's head must be judged before it is forwarded.
    pub fn looks_at(&self, status: u16) -> bool {
        self.max > 0 && self.statuses.contains(&status)
    }

    /// The pause before the retry of that number (from 1): anything up to a bound that doubles, so that those who failed
    /// together do not come back together.
    pub fn backoff(&self, retry: u32, rng: &mut impl Rng) -> Duration {
        let doublings = 1_u32
            .checked_shl(retry.saturating_sub(1))
            .unwrap_or(u32::MAX);
        let most = self.base.saturating_mul(doublings).min(self.bound);
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(rng.random_range(0..=nanos))
    }

    /// The time of the next try, when `retries` were made and `remaining` is left of the whole.
    ///
    /// Derived, if the rule gives none: what is left, less the pauses that may come, shared evenly among the tries that
    /// may come. A method that could not be tried again after this timeout has all that is left.
    pub fn try_timeout(&self, method: &str, retries: u32, remaining: Duration) -> Duration {
        let further = self.max.saturating_sub(retries);
        if !self.per_try.is_zero() {
            return self.per_try.min(remaining);
        }
        if further == 0 || !self.reset || !self.may_repeat(method) {
            return remaining;
        }
        let mut rest = remaining;
        for retry in retries + 1..=self.max {
            let doublings = 1_u32.checked_shl(retry - 1).unwrap_or(u32::MAX);
            rest = rest.saturating_sub(self.base.saturating_mul(doublings).min(self.bound));
        }
        let share = rest / (further + 1);
        if share.is_zero() { remaining } else { share }
    }

    fn may_repeat(&self, method: &str) -> bool {
        IDEMPOTENT.contains(&method) || self.methods.iter().any(|named| &**named == method)
    }
}

// === impl Failure ===

impl Failure {
    fn delivery(self, attempt: Attempt) -> Delivery {
        match self {
            Failure::Local | Failure::Connect | Failure::RefusedStream | Failure::GoAway => {
                Delivery::Nothing
            }
            Failure::Reset | Failure::TryTimeout if attempt.sent => Delivery::Unknown,
            Failure::Reset | Failure::TryTimeout => Delivery::Nothing,
            Failure::Peer(Reason::ConnectFailed | Reason::Draining | Reason::Overloaded) => {
                Delivery::Nothing
            }
            Failure::Peer(Reason::Reset) => Delivery::Unknown,
            Failure::Peer(reason) => Delivery::Answered(reason.status()),
            Failure::Status(status) => Delivery::Answered(status),
            Failure::Grpc(code) => Delivery::AnsweredGrpc(code),
        }
    }

    /// Whether every endpoint would say the same, because all of them judge by one policy: the answer goes on as it is, even
    /// where the rule names its status. That is meant for what applications say.
    fn is_settled(self) -> bool {
        use Reason::{BadRequest, Denied, Limited, TooLarge};
        matches!(
            self,
            Failure::Peer(Denied | BadRequest | TooLarge | Limited)
        )
    }

    /// Whether it is refused for load: others may have room, and a quick refusal must attract nobody, but whoever does what it
    /// can is not to be taken out of rotation for it; those left would have to bear the rest.
    pub fn is_load(self) -> bool {
        self == Failure::Peer(Reason::Overloaded)
    }

    /// Whether the endpoint is to blame: what outlier detection counts. Peers that drain count too: others take more.
    pub fn counts(self) -> bool {
        match self {
            Failure::Connect | Failure::Reset | Failure::TryTimeout => true,
            Failure::Local | Failure::RefusedStream | Failure::GoAway => false,
            Failure::Peer(reason) => matches!(
                reason,
                Reason::ConnectFailed
                    | Reason::ConnectTimeout
                    | Reason::RequestTimeout
                    | Reason::Reset
                    | Reason::Draining
                    | Reason::Internal
            ),
            Failure::Status(status) => status >= 500,
            // As 5xx would be: unknown, deadline exceeded, internal, unavailable, data loss.
            Failure::Grpc(code) => matches!(code, 2 | 4 | 13..=15),
        }
    }
}

#[cfg(test)]
mod tests;
