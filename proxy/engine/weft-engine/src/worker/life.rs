//! How long a connection between engines lives: it is over before any certificate that vouches for it is.
//!
//! Four moments, in this order, so that neither side is surprised: the caller sends no further request; the called side
//! takes none; what is still under way is cut off by the caller, and then by the called.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::tls::Facts;

/// When a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    /// No request begins from then on.
    pub(crate) last: Instant,
    /// It is gone, whatever is under way.
    pub(crate) end: Instant,
}

/// Which side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// It opened it.
    Caller,
    /// It accepted it.
    Called,
}

/// How long before a certificate's own end: milliseconds for every second of its life, and the most of them.
struct Margin(i64, i64);

const LAST_BY_CALLER: Margin = Margin(100, 60_000);
const LAST_BY_CALLED: Margin = Margin(20, 30_000);
const END_BY_CALLER: Margin = Margin(15, 10_000);
const END_BY_CALLED: Margin = Margin(5, 5_000);

/// No connection lives longer; far beyond what a timer should be set to.
const MOST: Duration = Duration::from_secs(365 * 86_400);

// === impl Life ===

impl Life {
    /// Of a connection under a certificate; `None`: it may not begin any more.
    pub(crate) fn of(facts: &Facts, side: Side) -> Option<Self> {
        Self::at(facts, side, unix_millis(), Instant::now())
    }

    /// Of a connection under both.
    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            last: self.last.min(other.last),
            end: self.end.min(other.end),
        }
    }

    fn at(facts: &Facts, side: Side, millis: i64, now: Instant) -> Option<Self> {
        let left = facts.holds_until.checked_mul(1000)?.checked_sub(millis)?;
        let life = facts.not_after - facts.not_before;
        let before = |margin: Margin| {
            let early = life.saturating_mul(margin.0).min(margin.1);
            let left = Duration::from_millis(u64::try_from(left - early).ok()?);
            (!left.is_zero()).then(|| now + left.min(MOST))
        };
        let (last, end) = match side {
            Side::Caller => (LAST_BY_CALLER, END_BY_CALLER),
            Side::Called => (LAST_BY_CALLED, END_BY_CALLED),
        };
        Some(Self {
            last: before(last)?,
            end: before(end)?,
        })
    }
}

/// Milliseconds since the epoch: a certificate may live for seconds, and its end is exact.
fn unix_millis() -> i64 {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Usage;

    fn facts(not_before: i64, not_after: i64) -> Facts {
        Facts {
            spiffe: None,
            dns: Vec::new(),
            is_ca: false,
            usage: Usage::Handshakes,
            serial: "1".to_owned(),
            not_before,
            not_after,
            holds_until: not_after,
        }
    }

    #[test]
    fn the_caller_stops_first_then_the_called_then_everything_and_only_then_the_certificate() {
        let now = Instant::now();
        for length in [1, 3, 60, 3_600, 259_200, 31_536_000] {
            let facts = facts(1_000, 1_000 + length);
            let certificate = now + Duration::from_secs(length.unsigned_abs());
            let caller = Life::at(&facts, Side::Caller, 1_000_000, now).expect("alive");
            let called = Life::at(&facts, Side::Called, 1_000_000, now).expect("alive");
            assert!(caller.last < called.last, "{length}");
            assert!(called.last < caller.end, "{length}");
            assert!(caller.end < called.end, "{length}");
            assert!(called.end < certificate, "{length}");
        }
    }

    #[test]
    fn no_connection_begins_in_the_last_moments_of_a_certificate() {
        let now = Instant::now();
        let facts = facts(0, 100);
        assert!(Life::at(&facts, Side::Called, 97_999, now).is_some());
        assert!(Life::at(&facts, Side::Called, 98_000, now).is_none());
        assert!(Life::at(&facts, Side::Caller, 90_000, now).is_none());
        assert!(Life::at(&facts, Side::Called, 200_000, now).is_none());
    }

    #[test]
    fn of_two_certificates_the_one_that_ends_first_counts() {
        let now = Instant::now();
        let long = Life::at(&facts(0, 1_000), Side::Caller, 0, now).expect("alive");
        let short = Life::at(&facts(0, 100), Side::Caller, 0, now).expect("alive");
        assert_eq!(long.and(short), short);
        assert_eq!(short.and(long), short);
    }
}
