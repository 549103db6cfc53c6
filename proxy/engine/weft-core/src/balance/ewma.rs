//! A latency that rises at once and falls slowly: the peak EWMA of Finagle.

use std::time::Duration;

use crate::time::Moment;

/// How fast a latency is forgotten.
const DECAY: Duration = Duration::from_secs(10);

/// How fast a failure is forgiven: a time-out of 15 s would otherwise outweigh latencies of milliseconds for a minute and a
/// half, long after the endpoint works again.
const FORGIVEN: Duration = Duration::from_secs(1);

/// Nanoseconds, and when they were learned.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ewma {
    nanos: f64,
    at: Option<Moment>,
    failed: Option<(f64, Moment)>,
}

// === impl Ewma ===

impl Ewma {
    pub(crate) fn observe(&mut self, took: Duration, now: Moment) {
        let sample = took.as_nanos() as f64;
        self.failed = None;
        self.nanos = match self.at {
            Some(at) if sample < self.nanos => {
                let kept = remains(now.since(at), DECAY);
                self.nanos * kept + sample * (1.0 - kept)
            }
            _ => sample,
        };
        self.at = Some(now);
    }

    /// It would have been waited for so long; holds until it answers, and fades.
    pub(crate) fn fail(&mut self, waited: Duration, now: Moment) {
        self.failed = Some((waited.as_nanos() as f64, now));
    }

    /// It fades while nothing is seen, so that somebody who was slow once is tried again.
    pub(crate) fn estimate(&self, now: Moment) -> Option<f64> {
        let took = self.at.map(|at| self.nanos * remains(now.since(at), DECAY));
        let failed = self
            .failed
            .map(|(nanos, at)| nanos * remains(now.since(at), FORGIVEN));
        match (took, failed) {
            (Some(took), Some(failed)) => Some(took + failed),
            (known, None) | (None, known) => known,
        }
    }
}

fn remains(elapsed: Duration, decay: Duration) -> f64 {
    (-elapsed.as_secs_f64() / decay.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_origin(Duration::from_millis(millis))
    }

    #[test]
    fn it_rises_at_once_and_falls_slowly() {
        let mut ewma = Ewma::default();
        assert_eq!(ewma.estimate(at(1)), None);
        ewma.observe(Duration::from_nanos(100), at(1));
        ewma.observe(Duration::from_nanos(1_000), at(1));
        assert_eq!(ewma.estimate(at(1)), Some(1_000.0));
        ewma.observe(Duration::from_nanos(100), at(101));
        let after = ewma.estimate(at(101)).expect("an estimate");
        assert!((900.0..1_000.0).contains(&after), "{after}");
        assert!(ewma.estimate(at(60_000)).expect("an estimate") < 10.0);
    }

    #[test]
    fn a_failure_weighs_like_its_timeout_and_is_forgiven_in_seconds_or_by_an_answer() {
        let mut ewma = Ewma::default();
        ewma.observe(Duration::from_millis(2), at(1));
        ewma.fail(Duration::from_secs(15), at(1));
        assert!(ewma.estimate(at(2)).expect("an estimate") > 14e9);
        assert!(ewma.estimate(at(12_000)).expect("an estimate") < 2e6);
        ewma.observe(Duration::from_millis(1), at(100));
        assert!(ewma.estimate(at(100)).expect("an estimate") <= 2e6);
    }
}
