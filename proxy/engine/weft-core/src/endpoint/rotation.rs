//! Whether an endpoint or a host gets requests: in, out until a moment, then one probe at a time until one succeeds.
//!
//! One number decides, which whoever is first changes for all workers.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::time::Moment;

/// No ejection lasts longer.
pub const MAX_EJECTION: Duration = Duration::from_secs(300);

/// A probe whose result never comes is repeated after this.
pub const PROBE_LEASE: Duration = Duration::from_secs(20);

/// Whether an endpoint or a host is in rotation: in, out until a moment, then one probe at a time until one succeeds.
#[derive(Debug, Default)]
pub struct Rotation {
    /// 0: in. Else the moment from which one request may try.
    until: AtomicU64,
    /// Since when it is in, where it was not always; 0: always, as far as is known.
    pub(super) since: AtomicU64,
    /// Ejections so far, which lengthen the next.
    times: AtomicU32,
}

/// A rotation as it is told to another process, whose moments are not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Milliseconds until it is due; `None`: given up.
    pub left_ms: Option<u64>,
    /// Whether it is out at all.
    pub out: bool,
    /// Ejections that still count.
    pub times: u32,
}

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In rotation.
    In,
    /// Ejected, or being probed by another request.
    Out,
    /// The ejection is over: whoever claims it may send one request.
    Due,
}

// === impl Rotation ===

impl Rotation {
    const GONE: u64 = u64::MAX;

    /// Where it stands.
    pub fn standing(&self, now: Moment) -> Standing {
        #[cfg(test)]
        super::tests::LOOKS.with(|looks| looks.set(looks.get() + 1));
        match self.until.load(Relaxed) {
            0 => Standing::In,
            until if now.as_nanos() < until || until == Self::GONE => Standing::Out,
            _ => Standing::Due,
        }
    }

    /// Whether it is ejected or being probed.
    pub fn is_ejected(&self) -> bool {
        self.until.load(Relaxed) != 0
    }

    /// Whether it was given up.
    pub fn is_gone(&self) -> bool {
        self.until.load(Relaxed) == Self::GONE
    }

    /// Ejections that still count.
    pub fn times(&self) -> u32 {
        self.times.load(Relaxed)
    }

    /// What a successor has to know; `None`: nothing is held against it.
    pub fn carried(&self, now: Moment) -> Option<Carried> {
        let (until, times) = (self.until.load(Relaxed), self.times());
        let left = Duration::from_nanos(until.saturating_sub(now.as_nanos()));
        (until != 0 || times != 0).then(|| Carried {
            left_ms: (until != Self::GONE)
                .then(|| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
            out: until != 0,
            times,
        })
    }

    /// Takes over what another process held against it.
    pub fn carry(&self, carried: Carried, now: Moment) {
        let out = match carried.left_ms {
            _ if !carried.out => 0,
            Some(left) => until(now, Duration::from_millis(left).min(MAX_EJECTION)),
            None => Self::GONE,
        };
        self.until.store(out, Relaxed);
        self.times.store(carried.times, Relaxed);
    }

    /// Out, the n-th time n times as long. `None`: somebody else was first.
    pub(crate) fn eject(&self, now: Moment, base: Duration) -> Option<Duration> {
        let times = self.times().saturating_add(1);
        let length = base.saturating_mul(times).min(MAX_EJECTION);
        self.until
            .compare_exchange(0, until(now, length), Relaxed, Relaxed)
            .ok()?;
        self.times.store(times, Relaxed);
        Some(length)
    }

    /// The claimed probe failed: out again, longer.
    pub(crate) fn eject_again(&self, now: Moment, base: Duration) -> Option<Duration> {
        let before = self.until.load(Relaxed);
        if before == 0 || before == Self::GONE {
            return None;
        }
        let times = self.times().saturating_add(1);
        let length = base.saturating_mul(times).min(MAX_EJECTION);
        self.until
            .compare_exchange(before, until(now, length), Relaxed, Relaxed)
            .ok()?;
        self.times.store(times, Relaxed);
        Some(length)
    }

    /// Back in. `false`: it was in, or is given up.
    pub(crate) fn give_back(&self, now: Moment) -> bool {
        let back = |until| (until != 0 && until != Self::GONE).then_some(0);
        let is_back = self.until.fetch_update(Relaxed, Relaxed, back).is_ok();
        if is_back {
            self.starts(now);
        }
        is_back
    }

    pub(super) fn starts(&self, now: Moment) {
        self.since.store(now.as_nanos(), Relaxed);
    }

    /// Out for good. `false`: it was already.
    pub(crate) fn give_up(&self) -> bool {
        self.until.swap(Self::GONE, Relaxed) != Self::GONE
    }

    /// One ejection less to hold against it.
    pub(crate) fn forgive(&self) {
        let less = |times: u32| times.checked_sub(1);
        // Fails where there is nothing to forgive, which is as good.
        let _ = self.times.fetch_update(Relaxed, Relaxed, less);
    }

    pub(crate) fn claim(&self, now: Moment) -> bool {
        let before = self.until.load(Relaxed);
        before != 0
            && before <= now.as_nanos()
            && self
                .until
                .compare_exchange(before, until(now, PROBE_LEASE), Relaxed, Relaxed)
                .is_ok()
    }
}

fn until(now: Moment, length: Duration) -> u64 {
    now.plus(length).as_nanos().clamp(1, u64::MAX - 1)
}
