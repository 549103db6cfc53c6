//! What is under way towards each service, and what bounds it. Read when somebody scrapes; nothing is counted for it.

use super::super::exposition::{Exposition, Kind, escaped};
use super::super::shared::{CHANGES, RETRIES, SharedCounts};

/// So many services stand for themselves; those behind them in the order of names are summed as `overflow`.
const MOST: usize = 1_000;

/// One service.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceGauges {
    /// `ns/service`
    pub(crate) name: String,
    /// Under way.
    pub(crate) requests: u64,
    /// Of these, retries.
    pub(crate) retries: u64,
    /// Against its capacity: connections, waiting requests, requests; each with its bound, 0 where there is none.
    pub(crate) capacity: [(u64, u64); 3],
    /// Instances that may get requests as far as the registry says.
    pub(crate) usable: u64,
    /// Of these, ejected.
    pub(crate) ejected: u64,
    /// All that are known.
    pub(crate) known: u64,
    /// Whether ejections are not believed; of several, how many.
    pub(crate) panic: u64,
    /// The share that stays in the caller's zone, in percent; none where no zone is preferred.
    pub(crate) stays: Option<f64>,
    /// What all workers counted together.
    pub(crate) shared: SharedCounts,
}

const BOUNDED: [&str; 3] = ["connections", "pending", "requests"];

/// Writes all of them.
pub(super) fn write(out: &mut Exposition, services: &[ServiceGauges]) {
    let mut shown: Vec<ServiceGauges> = services.to_vec();
    shown.sort_by(|one, other| one.name.cmp(&other.name));
    if shown.len() > MOST {
        let mut rest = ServiceGauges {
            name: "overflow".to_owned(),
            ..ServiceGauges::default()
        };
        shown.drain(MOST..).for_each(|one| rest.add(&one));
        shown.push(rest);
    }
    let labelled: Vec<_> = shown
        .iter()
        .map(|one| (format!("destination=\"{}\"", escaped(&one.name)), one))
        .collect();
    let mut gauge = |name: &str, help: &str, value: fn(&ServiceGauges) -> u64| {
        out.family(name, Kind::Gauge, help);
        for (labels, one) in &labelled {
            out.sample(name, labels, value(one));
        }
    };
    gauge(
        "weft_requests_active",
        "Requests that are under way to a service.",
        |one| one.requests,
    );
    gauge(
        "weft_retries_active",
        "Of these, retries: what its budget bounds.",
        |one| one.retries,
    );
    for (name, help, place) in [
        (
            "weft_capacity_used",
            "What is open against a service's capacity.",
            0,
        ),
        ("weft_capacity_limit", "A service's capacity; 0 is none.", 1),
    ] {
        out.family(name, Kind::Gauge, help);
        for (labels, one) in &labelled {
            for (of, bound) in BOUNDED.into_iter().zip(one.capacity) {
                let value = [bound.0, bound.1][place];
                out.sample(name, &format!("{labels},of=\"{of}\""), value);
            }
        }
    }
    out.family(
        "weft_endpoints",
        Kind::Gauge,
        "Instances of a service: in use, ejected, and not to be used as the registry says.",
    );
    for (labels, one) in &labelled {
        let in_use = one.usable.saturating_sub(one.ejected);
        let unusable = one.known.saturating_sub(one.usable);
        for (state, count) in [
            ("in_use", in_use),
            ("ejected", one.ejected),
            ("unusable", unusable),
        ] {
            out.sample(
                "weft_endpoints",
                &format!("{labels},state=\"{state}\""),
                count,
            );
        }
    }
    write_balance(out, &labelled);
}

/// Zones, failovers, retries, ejections: only of services for which there is something to say.
fn write_balance(out: &mut Exposition, labelled: &[(String, &ServiceGauges)]) {
    out.family(
        "weft_panic",
        Kind::Gauge,
        "1 where so many instances are ejected that all are used.",
    );
    for (labels, one) in labelled {
        out.sample("weft_panic", labels, one.panic);
    }
    let name = "weft_zone_stays_percent";
    out.family(
        name,
        Kind::Gauge,
        "The share of requests that stays in the caller's zone, where one is preferred.",
    );
    for (labels, one) in labelled {
        if let Some(stays) = one.stays {
            out.sample(name, labels, format_args!("{stays:.1}"));
        }
    }
    let mut counter = |name: &str, help: &str, of: &Samples| {
        out.family(name, Kind::Counter, help);
        for (labels, one) in labelled {
            for (more, count) in of(one).into_iter().filter(|(_, count)| *count > 0) {
                out.sample(name, &format!("{labels}{more}"), count);
            }
        }
    };
    counter(
        "weft_zone_requests_total",
        "Requests by whether their instance is in the caller's zone, where one is preferred.",
        &|one| {
            let zones = [",zone=\"same\"", ",zone=\"other\""].map(str::to_owned);
            zones.into_iter().zip(one.shared.zone).collect()
        },
    );
    counter(
        "weft_panic_requests_total",
        "Requests sent to ejected instances, because too many were ejected.",
        &|one| vec![(String::new(), one.shared.panicked)],
    );
    counter(
        "weft_failovers_total",
        "Requests and connections that went to another service, because no instance of this one was in rotation.",
        &|one| vec![(String::new(), one.shared.failovers)],
    );
    counter(
        "weft_retries_total",
        "Requests and connections tried again, or not for want of budget or of what was sent.",
        &|one| {
            let label = |outcome| format!(",outcome=\"{outcome}\"");
            RETRIES
                .map(label)
                .into_iter()
                .zip(one.shared.retries)
                .collect()
        },
    );
    counter(
        "weft_ejections_total",
        "Instances and hosts taken out of rotation and given back, and why.",
        &|one| {
            let label = |(change, cause)| format!(",change=\"{change}\",cause=\"{cause}\"");
            CHANGES
                .map(label)
                .into_iter()
                .zip(one.shared.changes)
                .collect()
        },
    );
}

type Samples = dyn Fn(&ServiceGauges) -> Vec<(String, u64)>;

// === impl ServiceGauges ===

impl ServiceGauges {
    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.retries += other.retries;
        for (sum, one) in self.capacity.iter_mut().zip(other.capacity) {
            *sum = (sum.0 + one.0, sum.1 + one.1);
        }
        self.usable += other.usable;
        self.ejected += other.ejected;
        self.known += other.known;
        self.panic += other.panic;
        self.shared.add(&other.shared);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::exposition::Format;
    use super::*;

    #[test]
    fn services_beyond_the_bound_are_summed() {
        let shared = SharedCounts {
            retries: [2, 0, 1],
            ..SharedCounts::default()
        };
        let one = |n: usize| ServiceGauges {
            name: format!("shop/s{n:05}"),
            requests: 1,
            shared,
            ..ServiceGauges::default()
        };
        let mut out = Exposition::new(Format::Prometheus);
        write(&mut out, &(0..MOST + 7).map(one).collect::<Vec<_>>());
        let text = out.finish();
        let active = text
            .lines()
            .filter(|line| line.starts_with("weft_requests_active{"));
        assert_eq!(active.count(), MOST + 1);
        assert!(text.contains("weft_requests_active{destination=\"overflow\"} 7\n"));
        let tried = "weft_retries_total{destination=\"overflow\",outcome=\"tried\"} 14\n";
        assert!(text.contains(tried), "{text}");
        let retries = text
            .lines()
            .filter(|line| line.starts_with("weft_retries_total{"));
        assert_eq!(retries.count(), 2 * (MOST + 1));
    }
}
