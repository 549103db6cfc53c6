//! The sum of all workers, in Prometheus's text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use weft_http1::Method;

use super::Counters;
use super::histogram::{BOUNDS, Sum};
use super::requests::{DurationKey, Listed, RequestKey, lock};
use super::tunnels::{Counted, ListedTunnels};

/// What the control thread knows.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    /// The agent's counter.
    pub(crate) generation: u64,
    /// The policy revision.
    pub(crate) policy: u64,
    /// The registry revision.
    pub(crate) registry: u64,
    /// Whether it accepts no more.
    pub(crate) draining: bool,
    /// Name and end of every certificate, in seconds since the epoch.
    pub(crate) certificates: Vec<(String, i64)>,
}

/// What one worker lets a scrape read.
#[derive(Clone, Debug)]
pub(crate) struct Scraped {
    pub(crate) counters: Arc<Counters>,
    pub(crate) requests: Arc<Listed>,
    pub(crate) tunnels: Arc<ListedTunnels>,
}

/// Everything, summed.
pub(crate) fn render(workers: &[Scraped], gauges: &Gauges) -> String {
    let mut out = String::with_capacity(16 * 1024);
    requests(&mut out, workers);
    durations(&mut out, workers);
    tunnels(&mut out, workers);
    counters(&mut out, workers);
    state(&mut out, workers, gauges);
    out
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn requests(out: &mut String, workers: &[Scraped]) {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for worker in workers {
        for (key, count) in lock(&worker.requests.series).iter() {
            *sums.entry(labels(key)).or_default() += count.load(Relaxed);
        }
    }
    head(
        out,
        "weft_requests_total",
        "counter",
        "Requests that ended, by what they were and how.",
    );
    for (labels, count) in sums {
        let _ = writeln!(out, "weft_requests_total{{{labels}}} {count}");
    }
}

fn labels(key: &RequestKey) -> String {
    let method = match key.method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Options => "OPTIONS",
        Method::Patch => "PATCH",
        Method::Other => "other",
    };
    format!(
        "direction=\"{}\",source=\"{}\",destination=\"{}\",route=\"{}\",method=\"{method}\",code=\"{}\",reason=\"{}\"",
        key.direction.word(),
        escaped(&key.source.text()),
        escaped(&key.destination.text()),
        escaped(&key.route.text()),
        key.code,
        key.reason.map_or("", |reason| reason.as_str()),
    )
}

fn durations(out: &mut String, workers: &[Scraped]) {
    let mut sums: BTreeMap<DurationKey, Sum> = BTreeMap::new();
    for worker in workers {
        for (key, histogram) in lock(&worker.requests.durations).iter() {
            histogram.add_to(sums.entry(*key).or_default());
        }
    }
    let name = "weft_request_duration_seconds";
    head(
        out,
        name,
        "histogram",
        "From the request's head to the end of the answer.",
    );
    for ((direction, destination, class), sum) in sums {
        let labels = format!(
            "direction=\"{}\",destination=\"{}\",code_class=\"{class}xx\"",
            direction.word(),
            escaped(&destination.text())
        );
        let mut total = 0;
        let bounds = BOUNDS.iter().map(|(text, _)| *text).chain(["+Inf"]);
        for (bound, count) in bounds.zip(sum.buckets) {
            total += count;
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {total}");
        }
        let seconds = sum.nanos as f64 / 1e9;
        let _ = writeln!(
            out,
            "{name}_sum{{{labels}}} {seconds}\n{name}_count{{{labels}}} {total}"
        );
    }
}

fn tunnels(out: &mut String, workers: &[Scraped]) {
    let (mut ends, mut bytes) = (
        BTreeMap::<String, u64>::new(),
        BTreeMap::<String, u64>::new(),
    );
    for worker in workers {
        worker.tunnels.each(|key, what, count| {
            let labels = format!(
                "direction=\"{}\",source=\"{}\",destination=\"{}\"",
                key.direction.word(),
                escaped(&key.source.text()),
                escaped(&key.destination.text()),
            );
            let sum = match what {
                Counted::Ended(end, reason) => {
                    let reason = reason.map_or("", |reason| reason.as_str());
                    ends.entry(format!("{labels},end=\"{end}\",reason=\"{reason}\""))
                }
                Counted::Sent => bytes.entry(format!("{labels},way=\"sent\"")),
                Counted::Received => bytes.entry(format!("{labels},way=\"received\"")),
            };
            *sum.or_default() += count;
        });
    }
    for (name, help, sums) in [
        (
            "weft_tcp_connections_total",
            "Connections of tcp services that ended, and how.",
            ends,
        ),
        (
            "weft_tcp_bytes_total",
            "Bytes carried for tcp services, towards them and back.",
            bytes,
        ),
    ] {
        head(out, name, "counter", help);
        for (labels, count) in sums {
            let _ = writeln!(out, "{name}{{{labels}}} {count}");
        }
    }
}

fn counters(out: &mut String, workers: &[Scraped]) {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for worker in workers {
        worker
            .counters
            .each(|name, count| *sums.entry(name).or_default() += count);
    }
    let mut before = "";
    for (name, count) in &sums {
        let metric = name.split('{').next().unwrap_or(name);
        if metric != before {
            head(out, metric, "counter", help(metric));
            before = metric;
        }
        let _ = writeln!(out, "{name} {count}");
    }
}

fn help(metric: &str) -> &'static str {
    match metric {
        "weft_tls_failures_total" => "Handshakes that failed, and why.",
        "weft_rejected_messages_total" => "Messages refused by the codec, and why.",
        "weft_retries_total" => "Requests tried again, or not for want of budget.",
        "weft_ejections_total" => "Endpoints and hosts taken out of rotation and given back.",
        "weft_upstream_connections_total" => {
            "Connections to upstreams that were opened, and times one was used again."
        }
        "weft_spilled_total" => {
            "Requests sent to another target because their own had no endpoints."
        }
        "weft_access_shadow_total" => "Requests that rules in shadow would have judged otherwise.",
        _ => "Connections that could not be accepted.",
    }
}

fn state(out: &mut String, workers: &[Scraped], gauges: &Gauges) {
    head(
        out,
        "weft_connections",
        "gauge",
        "Downstream connections that are open.",
    );
    let mut open: BTreeMap<&str, u64> = BTreeMap::new();
    for (direction, count) in workers
        .iter()
        .flat_map(|worker| worker.counters.connections())
    {
        let sum = open.entry(direction.word()).or_default();
        *sum = sum.wrapping_add(count);
    }
    for (direction, count) in open {
        let _ = writeln!(out, "weft_connections{{direction=\"{direction}\"}} {count}");
    }
    for (name, value, help) in [
        (
            "weft_config_generation",
            gauges.generation,
            "The generation every worker serves.",
        ),
        (
            "weft_policy_revision",
            gauges.policy,
            "The policy revision every worker serves.",
        ),
        (
            "weft_registry_revision",
            gauges.registry,
            "The registry revision every worker serves.",
        ),
        (
            "weft_draining",
            u64::from(gauges.draining),
            "1 where no new connection is accepted any more.",
        ),
    ] {
        head(out, name, "gauge", help);
        let _ = writeln!(out, "{name} {value}");
    }
    head(
        out,
        "weft_certificate_end_seconds",
        "gauge",
        "When a served certificate ends, in seconds since the epoch.",
    );
    for (name, end) in &gauges.certificates {
        let _ = writeln!(
            out,
            "weft_certificate_end_seconds{{identity=\"{}\"}} {end}",
            escaped(name)
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
