//! What is told of a connection whose bytes are carried: a record when it ends, and one when bytes begin to flow to whoever
//! taps. A connection has no head that could bring a trace along: each engine's part is the whole of one.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::SystemTime;

use rand::Rng;
use tokio::time::Instant;
use weft_core::announce::Ends;
use weft_core::reason::{Error, Reason};
use weft_http1::Method;

use super::announce;
use super::carry::Carried;
use crate::exchange::new_trace;
use crate::io::Stream;
use crate::observe::{Direction, Label, RequestKey, TunnelKey};
use crate::watch::{Ending, Facts, Missed, Record, Trace, Wants, bounded};
use crate::worker::Worker;

/// What is known of a connection.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) key: TunnelKey,
    pub(super) route: Label,
    /// The server name, where it has one.
    pub(super) host: String,
    /// Who was reached, or asked for.
    pub(super) instance: String,
    pub(super) tries: u32,
    pub(super) missed: Vec<Missed>,
    pub(super) detail: Cow<'static, str>,
    /// Bytes towards the service, and back.
    pub(super) moved: (u64, u64),
    client: IpAddr,
    tls: &'static str,
    began: Instant,
    trace: Option<Trace>,
}

// === impl Story ===

impl Story {
    /// Of a connection that was accepted now; `client`: whose it is, where that was told.
    pub(super) fn new(key: TunnelKey, down: &Stream, client: Option<Ends>) -> Self {
        let ends = client.unwrap_or_else(|| announce::ends(down));
        Self {
            key,
            route: Label::NONE,
            host: String::new(),
            instance: String::new(),
            tries: 0,
            missed: Vec::new(),
            detail: Cow::Borrowed(""),
            moved: (0, 0),
            client: ends.source.ip(),
            tls: down.tls(),
            began: Instant::now(),
            trace: None,
        }
    }

    /// A try with an instance failed.
    pub(super) fn missed(&mut self, instance: &str, error: &Error) {
        self.missed.push(Missed {
            instance: instance.to_owned(),
            reason: error.reason,
            detail: error.detail.to_string(),
        });
    }

    /// It was refused.
    pub(super) fn refused(&mut self, error: &Error) -> Carried {
        self.detail.clone_from(&error.detail);
        Carried::Refused(error.reason)
    }

    /// Bytes may flow.
    pub(super) fn opened(&mut self, worker: &Worker) {
        let named = self.named(None);
        let chance = || worker.rng.borrow_mut().random();
        let wants = worker
            .watcher
            .wants_begin(self.began, chance, &facts(&named));
        if let Some(wants) = wants {
            self.tell(worker, Ending::Open, (None, Instant::now()), wants);
        }
    }

    /// It is over: counted, and told to whoever listens.
    pub(super) fn ended(mut self, worker: &Worker, carried: Carried) {
        let reason = carried.reason(self.key.direction);
        worker
            .tunnels
            .count(self.key, carried.ending().word(), reason);
        if let Carried::Broken(whose, kind) = carried {
            self.detail = format!("the {} side broke: {kind}", whose.word()).into();
        }
        let named = self.named(reason);
        let chance = || worker.rng.borrow_mut().random::<f64>();
        let ratio = worker.watcher.ratio();
        let sampled = ratio.is_some_and(|ratio| chance() < ratio);
        let now = Instant::now();
        let told = (reason.is_some(), sampled);
        if let Some(wants) = worker.watcher.wants(told, now, chance, &facts(&named)) {
            if sampled {
                self.trace(worker).sampled = true;
            }
            self.tell(worker, carried.ending(), (reason, now), wants);
        }
    }

    fn tell(
        &mut self,
        worker: &Worker,
        ending: Ending,
        (reason, now): (Option<Reason>, Instant),
        wants: Wants,
    ) {
        let trace = *self.trace(worker);
        let record = Record {
            at: SystemTime::now(),
            took: now.saturating_duration_since(self.began),
            head: None,
            direction: self.key.direction,
            source: self.key.source,
            destination: self.key.destination,
            route: self.route,
            instance: self.instance.clone(),
            host: bounded(self.host.as_bytes()),
            method: String::new(),
            path: String::new(),
            code: 0,
            ending: Some(ending),
            reason,
            detail: self.detail.to_string(),
            moved: self.moved,
            tries: self.tries,
            missed: self.missed.clone(),
            trace,
            request_id: String::new(),
            client: self.client,
            tls: self.tls,
            fields: Vec::new(),
        };
        worker.watcher.tell(wants, record);
    }

    fn trace(&mut self, worker: &Worker) -> &mut Trace {
        self.trace
            .get_or_insert_with(|| new_trace(&mut *worker.rng.borrow_mut()))
    }

    fn named(&self, reason: Option<Reason>) -> RequestKey {
        RequestKey {
            direction: self.key.direction,
            source: self.key.source,
            destination: self.key.destination,
            route: self.route,
            method: Method::Other,
            code: 0,
            reason,
        }
    }
}

/// It has neither method nor path.
fn facts(key: &RequestKey) -> Facts<'_> {
    Facts {
        key,
        method: b"",
        path: b"",
    }
}

/// A direction's word for a right that was lost on the way.
pub(super) const fn revoked(direction: Direction) -> Reason {
    match direction {
        Direction::Inbound => Reason::Denied,
        Direction::Outbound | Direction::Gateway => Reason::TlsFailed,
    }
}
