//! Traffic: bounds that can be kept.

use super::route::{positive, retry};
use super::{Checked, must};
use crate::section::Traffic;

pub(crate) fn traffic(traffic: &Traffic) -> Checked {
    positive("connect_timeout_ms", traffic.connect_timeout_ms)?;
    positive("timeout_ms", traffic.timeout_ms)?;
    positive("idle_timeout_ms", traffic.idle_timeout_ms)?;
    positive("stream_idle_ms", traffic.stream_idle_ms)?;
    retry(&traffic.retry).map_err(|fault| fault.at("retry"))?;
    percent("retry_budget.percent", traffic.retry_budget.percent)?;
    percent("outlier.success_below", traffic.outlier.success_below)?;
    percent("outlier.max_ejected", traffic.outlier.max_ejected)?;
    positive("outlier.eject_ms", traffic.outlier.eject_ms)
}

fn percent(field: &str, value: f64) -> Checked {
    must((0.0..=100.0).contains(&value), || {
        format!("{value} is no share; expected 0 to 100 percent")
    })
    .map_err(|fault| fault.at(field))
}
