//! The end of a request: the one place where it is counted.

use tokio::time::Instant;
use weft_core::reason::Error;
use weft_http1::Method;

use super::End;
use super::decide::Forward;
use crate::h1::{Connection, Scratch};
use crate::observe::{Label, RequestKey, Took};
use crate::worker::Worker;

/// The names that a request is counted under, and what was decided about it.
pub(super) struct Named<'a> {
    pub(super) source: Label,
    pub(super) destination: Label,
    pub(super) route: Label,
    pub(super) method: Method,
    /// `None`: it was answered here.
    #[expect(dead_code, reason = "told to whoever listens")]
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
    /// Where the digits of the trace stand in [`Scratch::lines`].
    pub(crate) trace: Option<usize>,
    /// Bytes of the request's body, and of the answer's.
    pub(crate) moved: (u64, u64),
}

/// Counts a request that is over.
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
    let took = Took {
        whole: started.elapsed(),
        head: trail
            .head
            .map(|head| head.saturating_duration_since(started)),
    };
    worker.requests.count(
        key,
        took,
        trail.digits(&scratch.lines),
        &mut connection.last,
    );
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

    /// For the next request. What it allocated is kept.
    pub(crate) fn clear(&mut self) {
        let mut missed = std::mem::take(&mut self.missed);
        missed.clear();
        *self = Self {
            missed,
            ..Self::default()
        };
    }

    /// The trace's digits, if a request under it is recorded (W3C Trace Context section 3.2.2.5).
    fn digits<'a>(&self, lines: &'a [u8]) -> Option<&'a [u8; 32]> {
        let value = lines.get(self.trace?..)?;
        let sampled = value.get(54)?.to_ascii_lowercase();
        let odd = matches!(
            sampled,
            b'1' | b'3' | b'5' | b'7' | b'9' | b'b' | b'd' | b'f'
        );
        value.get(3..35)?.first_chunk().filter(|_| odd)
    }
}
