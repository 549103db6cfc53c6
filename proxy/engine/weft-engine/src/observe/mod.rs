//! What happened, in numbers: each worker counts for itself, a scrape sums.

mod counters;
mod histogram;
mod label;
mod render;
mod requests;
mod tunnels;

pub(crate) use counters::{Counters, Event};
pub(crate) use histogram::Histogram;
pub(crate) use label::Label;
pub(crate) use render::{Gauges, Scraped, render};
pub(crate) use requests::{Direction, Fold, Listed, RequestKey, Requests, Series};
pub(crate) use tunnels::{ListedTunnels, Meter, TunnelKey, Tunnels};
