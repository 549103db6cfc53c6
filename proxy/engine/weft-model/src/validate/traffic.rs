//! Traffic: bounds that can be kept.

use super::route::{positive, retry};
use super::{Checked, each, must, service_name};
use crate::field;
use crate::section::{Balance, HashOn, MAGLEV_MOST, Traffic};

/// Services to fail over to.
const MOST_FAILOVERS: usize = 16;

pub(crate) fn traffic(traffic: &Traffic) -> Checked {
    positive("connect_timeout_ms", traffic.connect_timeout_ms)?;
    positive("timeout_ms", traffic.timeout_ms)?;
    positive("idle_timeout_ms", traffic.idle_timeout_ms)?;
    positive("stream_idle_ms", traffic.stream_idle_ms)?;
    retry(&traffic.retry).map_err(|fault| fault.at("retry"))?;
    percent("retry_budget.percent", traffic.retry_budget.percent)?;
    let outlier = &traffic.outlier;
    percent("outlier.success_below", outlier.success_below)?;
    percent("outlier.max_ejected", outlier.max_ejected)?;
    positive("outlier.eject_ms", outlier.eject_ms)?;
    let factor = outlier.latency_factor;
    must(factor == 0.0 || (factor > 1.0 && factor <= 1_000.0), || {
        format!("{factor} is no factor; expected more than 1, 1,000 at most, or 0 for never")
    })
    .map_err(|fault| fault.at("outlier.latency_factor"))?;
    if let Some(zone) = &traffic.zone {
        percent("zone.spill_below", zone.spill_below)?;
    }
    balance(&traffic.balance).map_err(|fault| fault.at("balance"))?;
    must(traffic.failover.len() <= MOST_FAILOVERS, || {
        format!(
            "{} services are too many; expected at most {MOST_FAILOVERS}",
            traffic.failover.len()
        )
    })
    .map_err(|fault| fault.at("failover"))?;
    each("failover", &traffic.failover, |name| service_name(name))
}

fn balance(balance: &Balance) -> Checked {
    match balance {
        Balance::P2c | Balance::LeastRequest | Balance::RoundRobin | Balance::Random => Ok(()),
        Balance::RingHash(on) => key(on).map_err(|fault| fault.at("ring_hash")),
        Balance::Maglev(maglev) => {
            key(&maglev.on).map_err(|fault| fault.at("maglev.on"))?;
            let size = maglev.table_size;
            must(size <= MAGLEV_MOST && is_prime(size), || {
                format!("{size} is no size of a table; expected a prime of at most {MAGLEV_MOST}")
            })
            .map_err(|fault| fault.at("maglev.table_size"))
        }
    }
}

fn key(on: &HashOn) -> Checked {
    match on {
        HashOn::Header(name) => must(field::is_name(name), || {
            format!("{name:?} is no field name; expected a token in lower case")
        })
        .map_err(|fault| fault.at("header")),
        HashOn::Cookie(name) => named("cookie", name),
        HashOn::Query(name) => named("query", name),
        HashOn::SourceAddress(on) => {
            must(*on, || "expected true".to_owned()).map_err(|fault| fault.at("source_address"))
        }
    }
}

fn named(field: &str, name: &str) -> Checked {
    let good = |byte: u8| byte.is_ascii_graphic() && !b"=;,&#\"\\".contains(&byte);
    must(
        !name.is_empty() && name.len() <= 256 && name.bytes().all(good),
        || format!("{name:?} is no name of a {field}"),
    )
    .map_err(|fault| fault.at(field))
}

fn is_prime(number: u32) -> bool {
    let divides = |divisor: &u32| number.is_multiple_of(*divisor);
    number > 1
        && !(2..)
            .take_while(|divisor| divisor * divisor <= number)
            .any(|divisor| divides(&divisor))
}

fn percent(field: &str, value: f64) -> Checked {
    must((0.0..=100.0).contains(&value), || {
        format!("{value} is no share; expected 0 to 100 percent")
    })
    .map_err(|fault| fault.at(field))
}
