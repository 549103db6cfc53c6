//! Everything else that is counted: small tables of fixed words.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use weft_http1::Reject;

use super::Direction;
use super::histogram::add;
use crate::tls::TlsReason;

const DIRECTIONS: usize = 3;

/// What one worker counts besides requests. Written by it alone.
#[derive(Debug)]
pub(crate) struct Counters {
    events: [AtomicU64; Event::ALL.len()],
    tls: [[AtomicU64; TlsReason::ALL.len()]; DIRECTIONS],
    rejects: Box<[[AtomicU64; 2]]>,
    connections: [AtomicU64; DIRECTIONS],
}

/// What is counted without further labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A request was tried again.
    Retry,
    /// It would have been, but for the budget.
    RetryOverBudget,
    /// An endpoint or host was taken out of rotation.
    Ejected,
    /// One came back.
    Returned,
    /// A connection to an upstream was opened.
    Connected,
    /// One was used again.
    Reused,
    /// A target's share went to others, for want of endpoints.
    Spilled,
    /// A rule in shadow would have decided otherwise.
    ShadowDenied,
    /// The same, the other way.
    ShadowAllowed,
    /// A connection could not be accepted.
    AcceptFailed,
    /// A client of HTTP/2 was cut off for frames that only cost.
    Flooded,
}

// === impl Event ===

impl Event {
    /// All of them, with their metric and its labels.
    pub(crate) const ALL: [(Self, &'static str); 11] = [
        (Self::Retry, "weft_retries_total{outcome=\"tried\"}"),
        (
            Self::RetryOverBudget,
            "weft_retries_total{outcome=\"over_budget\"}",
        ),
        (Self::Ejected, "weft_ejections_total{change=\"ejected\"}"),
        (Self::Returned, "weft_ejections_total{change=\"returned\"}"),
        (
            Self::Connected,
            "weft_upstream_connections_total{how=\"opened\"}",
        ),
        (
            Self::Reused,
            "weft_upstream_connections_total{how=\"reused\"}",
        ),
        (Self::Spilled, "weft_spilled_total"),
        (
            Self::ShadowDenied,
            "weft_access_shadow_total{would=\"deny\"}",
        ),
        (
            Self::ShadowAllowed,
            "weft_access_shadow_total{would=\"allow\"}",
        ),
        (Self::AcceptFailed, "weft_accept_failures_total"),
        (Self::Flooded, "weft_http2_floods_total"),
    ];
}

// === impl Counters ===

impl Default for Counters {
    fn default() -> Self {
        Self {
            events: Default::default(),
            tls: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            rejects: Reject::ALL.iter().map(|_| Default::default()).collect(),
            connections: Default::default(),
        }
    }
}

impl Counters {
    /// One of these happened.
    pub(crate) fn event(&self, event: Event) {
        add(&self.events[event as usize], 1);
    }

    /// A handshake failed.
    pub(crate) fn tls(&self, direction: Direction, reason: TlsReason) {
        add(&self.tls[direction as usize][reason as usize], 1);
    }

    /// A message was refused by the codec.
    pub(crate) fn reject(&self, reject: Reject, response: bool) {
        add(&self.rejects[reject as usize][usize::from(response)], 1);
    }

    /// A downstream connection opened.
    pub(crate) fn opened(&self, direction: Direction) {
        add(&self.connections[direction as usize], 1);
    }

    /// A downstream connection ended.
    pub(crate) fn closed(&self, direction: Direction) {
        add(&self.connections[direction as usize], 1_u64.wrapping_neg());
    }

    /// Downstream connections that are open.
    pub(crate) fn open(&self) -> u64 {
        self.connections
            .iter()
            .fold(0, |sum, count| sum.wrapping_add(count.load(Relaxed)))
    }

    /// Every count that is not zero, gauges aside, as metric with labels.
    pub(super) fn each(&self, mut visit: impl FnMut(String, u64)) {
        for (event, name) in Event::ALL {
            visit(name.to_owned(), self.events[event as usize].load(Relaxed));
        }
        for direction in DIRECTION {
            for reason in TlsReason::ALL {
                let count = self.tls[direction as usize][reason as usize].load(Relaxed);
                let labels = format!(
                    "{{direction=\"{}\",reason=\"{}\"}}",
                    direction.word(),
                    reason.word()
                );
                visit(format!("weft_tls_failures_total{labels}"), count);
            }
        }
        for (reject, counts) in Reject::ALL.iter().zip(&self.rejects) {
            for (side, count) in ["request", "response"].into_iter().zip(counts) {
                let labels = format!("{{message=\"{side}\",reject=\"{}\"}}", reject.word());
                visit(
                    format!("weft_rejected_messages_total{labels}"),
                    count.load(Relaxed),
                );
            }
        }
    }

    /// Open connections by direction.
    pub(super) fn connections(&self) -> impl Iterator<Item = (Direction, u64)> {
        DIRECTION.into_iter().map(|direction| {
            (
                direction,
                self.connections[direction as usize].load(Relaxed),
            )
        })
    }
}

const DIRECTION: [Direction; DIRECTIONS] =
    [Direction::Outbound, Direction::Inbound, Direction::Gateway];
