//! Moments that fit into an atomic.

use std::time::Duration;

/// Nanoseconds since an origin that the caller picked once for the whole process (its start, say). Never 0 in practice:
/// 0 stands for "never" in shared state, so the origin should lie a little before the first use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

// === impl Moment ===

impl Moment {
    /// That many nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Moment {
        Moment(nanos)
    }

    /// That long after the origin.
    pub fn from_origin(elapsed: Duration) -> Moment {
        Moment(nanos(elapsed))
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Later by `duration`.
    pub fn plus(self, duration: Duration) -> Moment {
        Moment(self.0.saturating_add(nanos(duration)))
    }

    /// How long ago `earlier` was; zero if it was not.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
