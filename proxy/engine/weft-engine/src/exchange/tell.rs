//! What is told of a request that is over. Only where somebody listens: it allocates.

use std::time::SystemTime;

use weft_core::reason::Error;
use weft_http1::FieldId;

use super::decide::Forward;
use super::trace;
use crate::h1::{Connection, Scratch};
use crate::observe::{RequestKey, Took};
use crate::watch::{Missed, Record, Trace, Wants, bounded};
use crate::worker::Worker;
use crate::world::Cluster;

/// Hands a record over to whoever wants it.
pub(super) fn tell(
    connection: &Connection,
    worker: &Worker,
    scratch: &Scratch,
    plan: Option<&Forward>,
    (key, took): (RequestKey, Took),
    wants: Wants,
) {
    let trail = &scratch.trail;
    let head = &scratch.request;
    let named = |cluster: Option<&Cluster>, member: usize| {
        let member = cluster.and_then(|cluster| cluster.members.list().get(member));
        member.map_or_else(String::new, |member| member.endpoint.instance.clone())
    };
    let last = plan.map(|plan| &*plan.cluster);
    let instance = |member: usize| named(last, member);
    let whose = |place: usize| {
        let before = trail.turned.iter().find(|(until, _)| place < *until);
        before.map_or(last, |(_, cluster)| Some(&**cluster))
    };
    let missed = |(place, (member, error)): (usize, &(usize, Error))| Missed {
        instance: named(whose(place), *member),
        reason: error.reason,
        detail: error.detail.to_string(),
    };
    let field = |name: String| {
        let value = head.fields().joined(name.as_bytes())?;
        Some((name, bounded(&value)))
    };
    let names = worker.watcher.fields(wants).into_iter();
    let record = Record {
        at: SystemTime::now(),
        took: took.whole,
        head: took.head,
        direction: key.direction,
        source: key.source,
        destination: key.destination,
        route: key.route,
        instance: trail.member.map_or_else(String::new, instance),
        host: bounded(head.authority()),
        method: bounded(head.method_name()),
        path: worker.watcher.path(head.received_target(), head.target()),
        code: key.code,
        ending: trail.tunnel.as_ref().map(|tunnel| tunnel.ending),
        reason: key.reason,
        detail: trail.detail.to_string(),
        moved: trail
            .tunnel
            .as_ref()
            .map_or(trail.moved, |tunnel| tunnel.moved),
        tries: trail.tries,
        missed: trail.missed.iter().enumerate().map(missed).collect(),
        trace: place(worker, scratch),
        request_id: request_id(scratch),
        client: connection.ip,
        tls: connection.tls,
        fields: names.filter_map(field).collect(),
    };
    worker.watcher.tell(wants, record);
}

/// The trace that went on; of what was refused before, the one that came, or a new one.
fn place(worker: &Worker, scratch: &Scratch) -> Trace {
    let trail = &scratch.trail;
    let mut made = Vec::new();
    let went_on = trail.trace.and_then(|at| scratch.lines.get(at..));
    let (value, parent) = match went_on {
        Some(value) => (value, trail.parent),
        None => {
            let came = scratch.request.get(FieldId::Traceparent);
            let came = came.filter(|value| trace::is_traceparent(value));
            let rng = &mut *worker.rng.borrow_mut();
            trace::traceparent(&mut made, came, false, rng);
            let parent = came.and_then(|value| value[36..].first_chunk().copied());
            (&made[..], parent)
        }
    };
    let digits = |at: usize| value.get(at..).unwrap_or_default();
    Trace {
        trace: digits(3).first_chunk().copied().unwrap_or_default(),
        span: digits(36).first_chunk().copied().unwrap_or_default(),
        parent: parent.unwrap_or_default(),
        sampled: trace::is_sampled(value),
    }
}

/// The one that was made here, 32 digits, or the one that came.
fn request_id(scratch: &Scratch) -> String {
    let made = scratch.trail.request_id;
    let made = made.and_then(|at| scratch.lines.get(at..at + 32));
    let came = || scratch.request.get(FieldId::XRequestId);
    bounded(made.or_else(came).unwrap_or_default())
}
