//! The sum of all workers, as text. Nothing is locked while it is written but for copies of lists.

mod process;
mod restraints;
mod services;
mod state;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use weft_http1::Method;

use super::Counters;
use super::exposition::{Exemplar, Exposition, Format, Kind, escaped, seconds};
use super::histogram::{BOUNDS, Sum};
use super::requests::{ANY, Listed, RequestKey, TimingKey};
use super::tunnels::{Counted, ListedTunnels};

pub(crate) use restraints::{Faulted, Limited};
pub(crate) use services::ServiceGauges;
pub(crate) use state::Gauges;

/// What one worker lets a scrape read.
#[derive(Clone, Debug)]
pub(crate) struct Scraped {
    pub(crate) counters: Arc<Counters>,
    pub(crate) requests: Arc<Listed>,
    pub(crate) tunnels: Arc<ListedTunnels>,
}

/// Everything, summed.
pub(crate) fn render(workers: &[Scraped], gauges: &Gauges, format: Format) -> String {
    let mut out = Exposition::new(format);
    requests(&mut out, workers);
    timings(&mut out, workers);
    tunnels(&mut out, workers);
    counters(&mut out, workers);
    services::write(&mut out, &gauges.services);
    state::write(&mut out, workers, gauges);
    restraints::write(&mut out, &gauges.limits, &gauges.faults);
    process::write(&mut out);
    out.finish()
}

/// What several workers counted, and when the first of them began.
#[derive(Default)]
struct Total {
    count: u64,
    since: u64,
}

fn requests(out: &mut Exposition, workers: &[Scraped]) {
    let mut sums: HashMap<RequestKey, Total> = HashMap::new();
    for one in workers.iter().flat_map(|worker| worker.requests.series()) {
        sums.entry(one.key)
            .or_default()
            .add(one.count.load(Relaxed), one.since);
    }
    let labelled = sums.into_iter().map(|(key, total)| (labels(&key), total));
    counter(
        out,
        "weft_requests_total",
        "Requests that ended, by what they were and how.",
        labelled.collect(),
    );
}

fn counter(out: &mut Exposition, name: &str, help: &str, sums: BTreeMap<String, Total>) {
    out.family(name, Kind::Counter, help);
    for (labels, total) in sums {
        out.sample(name, &labels, total.count);
        out.created(name, &labels, total.since);
    }
}

fn labels(key: &RequestKey) -> String {
    let method = match key.method {
        _ if key.code == ANY => "overflow",
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Options => "OPTIONS",
        Method::Patch => "PATCH",
        Method::Other => "other",
    };
    let code = match key.code {
        ANY => "overflow".to_owned(),
        code => code.to_string(),
    };
    format!(
        "direction=\"{}\",source=\"{}\",destination=\"{}\",route=\"{}\",method=\"{method}\",code=\"{code}\",reason=\"{}\"",
        key.direction.word(),
        escaped(&key.source.text()),
        escaped(&key.destination.text()),
        escaped(&key.route.text()),
        key.reason.map_or("", |reason| reason.as_str()),
    )
}

/// The histograms of all workers for one key.
struct Timed {
    whole: Sum,
    head: Sum,
    exemplars: [Option<Exemplar>; BOUNDS.len() + 1],
    since: u64,
}

fn timings(out: &mut Exposition, workers: &[Scraped]) {
    let mut sums: BTreeMap<TimingKey, Timed> = BTreeMap::new();
    for (key, timings) in workers.iter().flat_map(|worker| worker.requests.timings()) {
        let sum = sums.entry(key).or_insert_with(|| Timed {
            whole: Sum::default(),
            head: Sum::default(),
            exemplars: Default::default(),
            since: timings.since,
        });
        timings.whole.add_to(&mut sum.whole);
        timings.head.add_to(&mut sum.head);
        sum.since = sum.since.min(timings.since);
        for (bucket, kept) in sum.exemplars.iter_mut().enumerate() {
            let other = timings.exemplars.of(bucket);
            *kept = kept.take().max_by_time(other);
        }
    }
    let sums: Vec<_> = sums
        .iter()
        .map(|(key, timed)| (timing_labels(key), timed))
        .collect();
    let name = "weft_request_duration_seconds";
    out.family(
        name,
        Kind::Histogram,
        "From the request's head to the end of the answer.",
    );
    for (labels, timed) in &sums {
        histogram(out, name, labels, &timed.whole, &timed.exemplars);
        out.created(name, labels, timed.since);
    }
    let name = "weft_request_first_byte_seconds";
    out.family(
        name,
        Kind::Histogram,
        "From the request's head to the head of the answer from upstream.",
    );
    for (labels, timed) in &sums {
        histogram(out, name, labels, &timed.head, &[]);
        out.created(name, labels, timed.since);
    }
}

fn timing_labels((direction, destination, class): &TimingKey) -> String {
    format!(
        "direction=\"{}\",destination=\"{}\",code_class=\"{class}xx\"",
        direction.word(),
        escaped(&destination.text())
    )
}

fn histogram(
    out: &mut Exposition,
    name: &str,
    labels: &str,
    sum: &Sum,
    exemplars: &[Option<Exemplar>],
) {
    let mut total = 0;
    let bounds = BOUNDS.iter().map(|(text, _)| *text).chain(["+Inf"]);
    for (bucket, (bound, count)) in bounds.zip(sum.buckets).enumerate() {
        total += count;
        let exemplar = exemplars.get(bucket).and_then(Option::as_ref);
        out.bucket(name, labels, bound, total, exemplar);
    }
    let took = std::time::Duration::from_nanos(sum.nanos);
    out.sample(&format!("{name}_sum"), labels, seconds(took));
    out.sample(&format!("{name}_count"), labels, total);
}

fn tunnels(out: &mut Exposition, workers: &[Scraped]) {
    let (mut ends, mut bytes) = (
        BTreeMap::<String, Total>::new(),
        BTreeMap::<String, Total>::new(),
    );
    for worker in workers {
        worker.tunnels.each(|key, what, count, since| {
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
            sum.or_default().add(count, since);
        });
    }
    counter(
        out,
        "weft_tcp_connections_total",
        "Connections of tcp services that ended, and how.",
        ends,
    );
    counter(
        out,
        "weft_tcp_bytes_total",
        "Bytes carried for tcp services, towards them and back.",
        bytes,
    );
}

fn counters(out: &mut Exposition, workers: &[Scraped]) {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for worker in workers {
        worker
            .counters
            .each(|name, count| *sums.entry(name).or_default() += count);
    }
    let mut before = "";
    for (name, count) in &sums {
        let (metric, labels) = name.split_once('{').unwrap_or((name, ""));
        if metric != before {
            out.family(metric, Kind::Counter, help(metric));
            before = metric;
        }
        out.sample(metric, labels.trim_end_matches('}'), count);
    }
}

fn help(metric: &str) -> &'static str {
    match metric {
        "weft_tls_failures_total" => "Handshakes that failed, and why.",
        "weft_tls_handshakes_total" => {
            "Handshakes that succeeded, and whether a session was resumed."
        }
        "weft_rejected_messages_total" => "Messages refused by the codec, and why.",
        "weft_ejections_total" => "Endpoints and hosts taken out of rotation and given back.",
        "weft_upstream_connections_total" => {
            "Connections to upstreams that were opened, and times one was used again."
        }
        "weft_spilled_total" => {
            "Requests sent to another target because their own had no endpoints."
        }
        "weft_access_shadow_total" => "Requests that rules in shadow would have judged otherwise.",
        "weft_http2_floods_total" => "Clients of HTTP/2 cut off for frames that only cost.",
        "weft_proxy_headers_refused_total" => {
            "Connections that did not begin with a PROXY header as they must, and why."
        }
        "weft_accept_failures_total" => "Connections that could not be accepted.",
        "weft_accept_waits_total" => "Connections that waited until another one ended.",
        "weft_dead_peers_total" => "Connections to peer engines that gave no sign of life.",
        _ => "Times that it happened.",
    }
}

// === impl Total ===

impl Total {
    fn add(&mut self, count: u64, since: u64) {
        let first = self.since == 0 || since < self.since;
        self.since = if first { since } else { self.since };
        self.count += count;
    }
}

/// The later of two exemplars.
trait Later {
    fn max_by_time(self, other: Self) -> Self;
}

impl Later for Option<Exemplar> {
    fn max_by_time(self, other: Self) -> Self {
        match (self, other) {
            (Some(one), Some(other)) if other.at <= one.at => Some(one),
            (one, None) => one,
            (_, other) => other,
        }
    }
}
