//! Everything else that is counted: small tables of fixed words.

use std::sync::Arc;
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
    handshakes: [[AtomicU64; 2]; DIRECTIONS],
    open: [[AtomicU64; DIRECTIONS]; Open::ALL.len()],
}

/// What is open, and counted while it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Open {
    /// A connection of a client.
    Connection,
    /// A stream of HTTP/2 on one.
    Stream,
    /// A connection whose bytes are only carried: of a tcp service, or after an upgrade.
    Tunnel,
}

/// Counts something while it is open.
#[derive(Debug)]
pub(crate) struct Opened {
    counters: Arc<Counters>,
    what: Open,
    direction: Direction,
}

/// What is counted without further labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A copy of a request was answered.
    Mirrored,
    /// It was not.
    MirrorFailed,
    /// It was not sent: there were too many.
    MirrorBusy,
    /// It was not sent: its body is too large to be kept, or did not come whole.
    MirrorNoBody,
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
    /// One had to wait until another one ended.
    Crowded,
    /// A peer engine gave no sign of life.
    PeerDead,
    /// A client of HTTP/2 was cut off for frames that only cost.
    Flooded,
    /// A connection that must begin with a PROXY header begins with something else.
    ProxyHeaderMissing,
    /// The header is longer than is taken.
    ProxyHeaderTooLarge,
    /// It is not as its version must be.
    ProxyHeaderMalformed,
    /// Its checksum is wrong.
    ProxyHeaderChecksum,
    /// It did not come in time.
    ProxyHeaderTimeout,
    /// The peer left before it was whole.
    ProxyHeaderClosed,
    /// Too many wait for theirs.
    ProxyHeaderOverloaded,
}

// === impl Event ===

impl Event {
    /// All of them, with their metric and its labels.
    pub(crate) const ALL: [(Self, &'static str); 20] = [
        (Self::Mirrored, "weft_mirrored_total{outcome=\"answered\"}"),
        (
            Self::MirrorFailed,
            "weft_mirrored_total{outcome=\"failed\"}",
        ),
        (
            Self::MirrorBusy,
            "weft_mirrored_total{outcome=\"too_many\"}",
        ),
        (
            Self::MirrorNoBody,
            "weft_mirrored_total{outcome=\"no_body\"}",
        ),
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
        (Self::Crowded, "weft_accept_waits_total"),
        (Self::PeerDead, "weft_dead_peers_total"),
        (Self::Flooded, "weft_http2_floods_total"),
        (
            Self::ProxyHeaderMissing,
            "weft_proxy_headers_refused_total{reason=\"missing\"}",
        ),
        (
            Self::ProxyHeaderTooLarge,
            "weft_proxy_headers_refused_total{reason=\"too_large\"}",
        ),
        (
            Self::ProxyHeaderMalformed,
            "weft_proxy_headers_refused_total{reason=\"malformed\"}",
        ),
        (
            Self::ProxyHeaderChecksum,
            "weft_proxy_headers_refused_total{reason=\"checksum\"}",
        ),
        (
            Self::ProxyHeaderTimeout,
            "weft_proxy_headers_refused_total{reason=\"timeout\"}",
        ),
        (
            Self::ProxyHeaderClosed,
            "weft_proxy_headers_refused_total{reason=\"closed\"}",
        ),
        (
            Self::ProxyHeaderOverloaded,
            "weft_proxy_headers_refused_total{reason=\"overloaded\"}",
        ),
    ];
}

// === impl Counters ===

impl Default for Counters {
    fn default() -> Self {
        Self {
            events: Default::default(),
            tls: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            rejects: Reject::ALL.iter().map(|_| Default::default()).collect(),
            handshakes: Default::default(),
            open: Default::default(),
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

    /// A handshake succeeded.
    pub(crate) fn handshake(&self, direction: Direction, resumed: bool) {
        add(
            &self.handshakes[direction as usize][usize::from(resumed)],
            1,
        );
    }

    /// A connection to an upstream was opened; whether its TLS session is an earlier one's, where it has one.
    pub(crate) fn connected(&self, resumed: Option<bool>) {
        self.event(Event::Connected);
        if let Some(resumed) = resumed {
            self.handshake(Direction::Outbound, resumed);
        }
    }

    /// Something is open until that is dropped.
    pub(crate) fn opened(self: &Arc<Self>, what: Open, direction: Direction) -> Opened {
        add(&self.open[what as usize][direction as usize], 1);
        Opened {
            counters: Arc::clone(self),
            what,
            direction,
        }
    }

    /// Downstream connections that are open.
    pub(crate) fn open(&self) -> u64 {
        self.open[Open::Connection as usize]
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
        for direction in DIRECTION {
            for (resumed, count) in ["no", "yes"]
                .into_iter()
                .zip(&self.handshakes[direction as usize])
            {
                let labels = format!(
                    "{{direction=\"{}\",resumed=\"{resumed}\"}}",
                    direction.word()
                );
                visit(
                    format!("weft_tls_handshakes_total{labels}"),
                    count.load(Relaxed),
                );
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

    /// What is open, by direction.
    pub(super) fn gauge(&self, what: Open) -> impl Iterator<Item = (Direction, u64)> {
        DIRECTION.into_iter().map(move |direction| {
            let open = &self.open[what as usize][direction as usize];
            (direction, open.load(Relaxed))
        })
    }
}

// === impl Open ===

impl Open {
    /// All of them, with their metrics.
    pub(crate) const ALL: [(Self, &'static str, &'static str); 3] = [
        (
            Self::Connection,
            "weft_connections",
            "Downstream connections that are open.",
        ),
        (
            Self::Stream,
            "weft_streams",
            "Streams of HTTP/2 that are open downstream.",
        ),
        (
            Self::Tunnel,
            "weft_tunnels",
            "Connections of tcp services, and upgraded ones, that are open.",
        ),
    ];
}

// === impl Opened ===

impl Drop for Opened {
    fn drop(&mut self) {
        let open = &self.counters.open[self.what as usize][self.direction as usize];
        add(open, 1_u64.wrapping_neg());
    }
}

const DIRECTION: [Direction; DIRECTIONS] =
    [Direction::Outbound, Direction::Inbound, Direction::Gateway];
