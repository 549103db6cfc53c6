//! The end of a request: the one place where it is counted, and told to whoever listens.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;
use weft_core::reason::Error;
use weft_http1::Method;

use super::decide::Forward;
use super::tell::tell;
use super::{End, trace};
use crate::h1::{Connection, Scratch};
use crate::observe::{Label, RequestKey, Took};
use crate::watch::{Ending, Facts};
use crate::worker::Worker;
use crate::world::Cluster;

/// The names that a request is counted under, and what was decided about it.
pub(super) struct Named<'a> {
    pub(super) source: Label,
    pub(super) destination: Label,
    pub(super) route: Label,
    pub(super) method: Method,
    /// `None`: it was answered here.
    pub(super) plan: Option<&'a Forward>,
}

/// What is learned of a request while it is under way. Kept with its [`Scratch`], so that nothing is allocated for it.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    /// When the head of the answer was there.
    pub(crate) head: Option<Instant>,
    /// The place among the members of the instance that was tried last.
    pub(crate) member: Option<usize>,
    /// How often it was tried.
    pub(crate) tries: u32,
    /// The tries that failed: the instance, and why.
    pub(crate) missed: Vec<(usize, Error)>,
    /// Services that were given up for another: whose the tries up to that many were.
    pub(crate) turned: Vec<(usize, Arc<Cluster>)>,
    /// Where the `traceparent` that went on stands in [`Scratch::lines`].
    pub(crate) trace: Option<usize>,
    /// Where the request id that was made stands there.
    pub(crate) request_id: Option<usize>,
    /// The part of the trace above this engine's.
    pub(crate) parent: Option<[u8; 16]>,
    /// Why it was refused, in one line.
    pub(crate) detail: Cow<'static, str>,
    /// Bytes of the request's body, and of the answer's.
    pub(crate) moved: (u64, u64),
    /// What became of it after a 101.
    pub(crate) tunnel: Option<Box<Tunnelled>>,
    /// Who called, for what is told before the end.
    pub(crate) source: Label,
}

/// A tunnel that a request became.
#[derive(Debug)]
pub(crate) struct Tunnelled {
    pub(crate) ending: Ending,
    /// Bytes towards the service, and back.
    pub(crate) moved: (u64, u64),
}

/// Counts a request that is over, and tells of it.
pub(super) fn record(
    connection: &mut Connection,
    worker: &Worker,
    scratch: &Scratch,
    named: &Named<'_>,
    end: End,
    started: Instant,
) {
    let trail = &scratch.trail;
    let key = RequestKey {
        direction: connection.direction,
        source: named.source,
        destination: named.destination,
        route: named.route,
        method: named.method,
        code: end.code,
        reason: end.reason,
    };
    let now = connection.tick();
    let since = |moment: Instant| moment.saturating_duration_since(started);
    let took = Took {
        whole: since(now),
        head: trail.head.map(since),
    };
    let trace = trail.digits(&scratch.lines);
    worker
        .requests
        .count(key, took, trace, &mut connection.last);
    let failed = end.reason.is_some() || end.code >= 500;
    let facts = Facts {
        key: &key,
        method: scratch.request.method_name(),
        path: scratch.request.path(),
    };
    let chance = || worker.rng.borrow_mut().random();
    let told = (failed, trace.is_some());
    if let Some(wants) = worker.watcher.wants(told, now, chance, &facts) {
        tell(connection, worker, scratch, named.plan, (key, took), wants);
    }
}

/// Tells whoever taps that a request becomes a tunnel, which may last long.
pub(super) fn record_opened(
    connection: &Connection,
    worker: &Worker,
    scratch: &mut Scratch,
    plan: &Forward,
) {
    let key = RequestKey {
        direction: connection.direction,
        source: scratch.trail.source,
        destination: plan.cluster.label,
        route: plan.rule.label,
        method: scratch.request.method(),
        code: scratch.response.status(),
        reason: None,
    };
    let facts = Facts {
        key: &key,
        method: scratch.request.method_name(),
        path: scratch.request.path(),
    };
    let chance = || worker.rng.borrow_mut().random();
    let now = connection.now;
    if let Some(wants) = worker.watcher.wants_begin(now, chance, &facts) {
        let opened = Tunnelled {
            ending: Ending::Open,
            moved: (0, 0),
        };
        scratch.trail.tunnel = Some(Box::new(opened));
        let took = Took {
            whole: Duration::ZERO,
            head: None,
        };
        tell(connection, worker, scratch, Some(plan), (key, took), wants);
    }
}

// === impl Trail ===

impl Trail {
    /// Another try goes to a member.
    pub(super) fn tried(&mut self, member: usize) {
        self.head = None;
        self.tries += 1;
        self.member = Some(member);
    }

    /// The try under way failed.
    pub(super) fn missed(&mut self, error: &Error) {
        if let Some(member) = self.member {
            self.missed.push((member, error.clone()));
        }
    }

    /// It goes to another service; what was missed up to here were instances of that one.
    pub(super) fn turned(&mut self, from: &Arc<Cluster>) {
        self.member = None;
        self.turned.push((self.missed.len(), Arc::clone(from)));
    }

    /// It became a tunnel, which ended so.
    pub(super) fn tunnel(&mut self, ending: Ending, moved: (u64, u64)) {
        self.tunnel = Some(Box::new(Tunnelled { ending, moved }));
    }

    /// For the next request. What it allocated is kept.
    pub(crate) fn clear(&mut self) {
        let mut missed = std::mem::take(&mut self.missed);
        missed.clear();
        *self = Self {
            missed,
            ..Self::default()
        };
    }

    /// The trace's digits, if requests under it are recorded.
    fn digits<'a>(&self, lines: &'a [u8]) -> Option<&'a [u8; 32]> {
        let value = lines.get(self.trace?..)?;
        let digits = value.get(3..35)?.first_chunk();
        digits.filter(|_| trace::is_sampled(value))
    }
}
