//! What limits and faults did, which all workers count together.

use super::super::exposition::{Exposition, Kind, escaped};

/// What one limit did.
#[derive(Debug)]
pub(crate) struct Limited {
    /// `ns/service` or `gateway:<name>`.
    pub(crate) destination: String,
    /// `<document>/<rule>`
    pub(crate) limit: String,
    /// Requests it refused.
    pub(crate) refused: u64,
    /// Requests of callers or clients that had no bucket of their own.
    pub(crate) overflowed: u64,
}

/// What one fault did.
#[derive(Debug)]
pub(crate) struct Faulted {
    /// `ns/service`
    pub(crate) destination: String,
    /// `<namespace>/<document>`
    pub(crate) fault: String,
    /// Milliseconds since the epoch.
    pub(crate) until_ms: u64,
    /// Requests that waited.
    pub(crate) delayed: u64,
    /// Requests that were answered.
    pub(crate) aborted: u64,
}

/// Nothing where there are none.
pub(super) fn write(out: &mut Exposition, limits: &[Limited], faults: &[Faulted]) {
    if !limits.is_empty() {
        let name = "weft_limited_total";
        let help = "Requests and connections that a limit refused.";
        out.family(name, Kind::Counter, help);
        for one in limits {
            out.sample(name, &one.labels(), one.refused);
        }
        let name = "weft_limit_overflow_total";
        let help = "Those counted with others, for want of room to tell them apart.";
        out.family(name, Kind::Counter, help);
        for one in limits {
            out.sample(name, &one.labels(), one.overflowed);
        }
    }
    if !faults.is_empty() {
        let name = "weft_faults_total";
        out.family(name, Kind::Counter, "What was broken on purpose.");
        for one in faults {
            let labels = one.labels();
            out.sample(name, &format!("{labels},what=\"delay\""), one.delayed);
            out.sample(name, &format!("{labels},what=\"abort\""), one.aborted);
        }
        let name = "weft_fault_end_timestamp_seconds";
        out.family(name, Kind::Gauge, "When a fault ends.");
        for one in faults {
            out.sample(name, &one.labels(), one.until_ms as f64 / 1e3);
        }
    }
}

impl Limited {
    fn labels(&self) -> String {
        let (destination, limit) = (escaped(&self.destination), escaped(&self.limit));
        format!("destination=\"{destination}\",limit=\"{limit}\"")
    }
}

impl Faulted {
    fn labels(&self) -> String {
        let (destination, fault) = (escaped(&self.destination), escaped(&self.fault));
        format!("destination=\"{destination}\",fault=\"{fault}\"")
    }
}
