//! What happened, in numbers: each worker counts for itself, a scrape sums.

mod cap;
mod counters;
mod exposition;
mod histogram;
mod label;
mod render;
mod requests;
mod shared;
mod tunnels;

pub(crate) use cap::Caps;
pub(crate) use counters::{Counters, Event, Open, Opened};
pub(crate) use exposition::Format;
pub(crate) use histogram::Histogram;
pub(crate) use label::Label;
pub(crate) use render::{Faulted, Gauges, Limited, Scraped, ServiceGauges, render};
pub(crate) use requests::{Direction, Listed, RequestKey, Requests, Series, Took};
pub(crate) use shared::{Retried, Shared, words};
pub(crate) use tunnels::{ListedTunnels, Meter, TunnelKey, Tunnels};
