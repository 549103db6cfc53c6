//! A latency that rises at once and falls slowly: the peak EWMA of Finagle.

use std::time::Duration;

use crate::time::Moment;

/// How fast what was seen is forgotten.
const DECAY: Duration = Duration::from_secs(10);

/// Nanoseconds, and when they were learned.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ewma {
    nanos: f64,
    at: Option<Moment>,
}

// === impl Ewma ===

impl Ewma {
    pub(crate) fn observe(&mut self, took: Duration, now: Moment) {
        let sample = took.as_nanos() as f64;
        self.nanos = match self.at {
            Some(at) if sample < self.nanos => {
                let kept = remains(now.since(at));
                self.nanos * kept + sample * (1.0 - kept)
            }
            _ => sample,
        };
        self.at = Some(now);
    }

    /// It fades while nothing is seen, so that somebody who was slow once is tried again.
    pub(crate) fn estimate(&self, now: Moment) -> Option<f64> {
        self.at.map(|at| self.nanos * remains(now.since(at)))
    }
}

fn remains(elapsed: Duration) -> f64 {
    (-elapsed.as_secs_f64() / DECAY.as_secs_f64()).exp()
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
}
