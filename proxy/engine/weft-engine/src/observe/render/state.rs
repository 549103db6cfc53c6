//! What the engine as a whole serves.

use std::collections::BTreeMap;

use super::super::counters::Open;
use super::super::exposition::{Exposition, Kind, escaped};
use super::Scraped;
use super::restraints::{Faulted, Limited};
use super::services::ServiceGauges;

/// What the control thread knows.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    /// The agent's counter.
    pub(crate) generation: u64,
    /// The policy revision.
    pub(crate) policy: u64,
    /// The registry revision.
    pub(crate) registry: u64,
    /// Seconds since an agent's change was acked last; `None`: never in this process.
    pub(crate) age: Option<f64>,
    /// Whether an agent is here.
    pub(crate) agent: bool,
    /// Whether it accepts no more.
    pub(crate) draining: bool,
    /// Why the newest generation on disk was not served at the start.
    pub(crate) fell_back: Option<&'static str>,
    /// Name and end of every certificate, in seconds since the epoch.
    pub(crate) certificates: Vec<(String, i64)>,
    /// What limits did.
    pub(crate) limits: Vec<Limited>,
    /// What faults did.
    pub(crate) faults: Vec<Faulted>,
    /// Towards each service.
    pub(crate) services: Vec<ServiceGauges>,
    /// What observing itself did: metric, its labels, what it means, how often.
    pub(crate) own: Vec<(&'static str, &'static str, &'static str, u64)>,
}

/// Writes it.
pub(super) fn write(out: &mut Exposition, workers: &[Scraped], gauges: &Gauges) {
    for (what, name, help) in Open::ALL {
        let mut open: BTreeMap<&str, u64> = BTreeMap::new();
        for (direction, count) in workers
            .iter()
            .flat_map(|worker| worker.counters.gauge(what))
        {
            let sum = open.entry(direction.word()).or_default();
            *sum = sum.wrapping_add(count);
        }
        out.family(name, Kind::Gauge, help);
        for (direction, count) in open {
            out.sample(name, &format!("direction=\"{direction}\""), count);
        }
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
            "weft_agent_connected",
            u64::from(gauges.agent),
            "1 while an agent is at the engine's socket.",
        ),
        (
            "weft_draining",
            u64::from(gauges.draining),
            "1 where no new connection is accepted any more.",
        ),
    ] {
        out.family(name, Kind::Gauge, help);
        out.sample(name, "", value);
    }
    if let Some(age) = gauges.age {
        out.family(
            "weft_config_age_seconds",
            Kind::Gauge,
            "Since a change by the agent was acknowledged last.",
        );
        out.sample("weft_config_age_seconds", "", format_args!("{age:.3}"));
    }
    out.family(
        "weft_state_fell_back",
        Kind::Gauge,
        "1 where the newest generation on disk was not served at the start, because it was torn or crashed the engine.",
    );
    for why in ["torn", "crashed"] {
        let fell = u8::from(gauges.fell_back == Some(why));
        out.sample("weft_state_fell_back", &format!("why=\"{why}\""), fell);
    }
    out.family(
        "weft_certificate_end_seconds",
        Kind::Gauge,
        "When a served certificate ends, in seconds since the epoch.",
    );
    for (name, end) in &gauges.certificates {
        let labels = format!("identity=\"{}\"", escaped(name));
        out.sample("weft_certificate_end_seconds", &labels, end);
    }
    let mut before = "";
    for (name, labels, help, count) in &gauges.own {
        if *name != before {
            out.family(name, Kind::Counter, help);
            before = name;
        }
        out.sample(name, labels, count);
    }
    out.family("weft_build_info", Kind::Info, "What this engine is.");
    let labels = format!(
        "version=\"{}\",schema=\"{}\"",
        env!("CARGO_PKG_VERSION"),
        weft_model::frame::SCHEMA
    );
    out.sample("weft_build_info", &labels, 1);
}
