//! Limits and faults.

use super::route::matched;
use super::{Checked, each, must};
use crate::section::{Fault, Limit, LimitBy, LimitScope, Match};

/// The longest delay of a fault, in milliseconds.
const LONGEST_DELAY: u64 = 60_000;

pub(super) fn of_service(limit: &Limit) -> Checked {
    must(limit.by != LimitBy::Address, || {
        "only clients of a gateway are told apart by address; callers by who they are".to_owned()
    })
    .map_err(|fault| fault.at("by"))?;
    any(limit)
}

pub(super) fn of_gateway(limit: &Limit) -> Checked {
    must(limit.by != LimitBy::Caller, || {
        "clients of a gateway prove nothing; expected everybody or address".to_owned()
    })
    .map_err(|fault| fault.at("by"))?;
    must(limit.scope == LimitScope::Host, || {
        "no gateway knows of the others; expected host".to_owned()
    })
    .map_err(|fault| fault.at("scope"))?;
    each("matches", &limit.matches, |one| {
        must(one.callers.is_empty(), || {
            "clients of a gateway are no callers".to_owned()
        })
        .map_err(|fault| fault.at("callers"))
    })?;
    any(limit)
}

fn any(limit: &Limit) -> Checked {
    must(!limit.name.is_empty(), || "a limit needs a name".to_owned())
        .map_err(|fault| fault.at("name"))?;
    each("matches", &limit.matches, matched)?;
    must(limit.rate > 0 || limit.concurrency > 0, || {
        "neither rate nor concurrency is bounded".to_owned()
    })
    .map_err(|fault| fault.at("rate"))?;
    must((1..=86_400_000).contains(&limit.window_ms), || {
        format!("{} ms is no window; expected up to a day", limit.window_ms)
    })
    .map_err(|fault| fault.at("window_ms"))?;
    must(
        u64::from(limit.rate) <= limit.window_ms.saturating_mul(1_000),
        || "more than a million in a second".to_owned(),
    )
    .map_err(|fault| fault.at("rate"))?;
    must((1..=1_000_000).contains(&limit.burst), || {
        format!("{} at once; expected 1 to 1,000,000", limit.burst)
    })
    .map_err(|fault| fault.at("burst"))
}

pub(super) fn fault(fault: &Fault) -> Checked {
    must(!fault.name.is_empty(), || "a fault needs a name".to_owned())
        .map_err(|found| found.at("name"))?;
    each("matches", &fault.matches, matched)?;
    must((0.0..=100.0).contains(&fault.percent), || {
        format!("{} is no share; expected 0 to 100 percent", fault.percent)
    })
    .map_err(|found| found.at("percent"))?;
    must(fault.delay_ms <= LONGEST_DELAY, || {
        format!("{} ms is over {LONGEST_DELAY}", fault.delay_ms)
    })
    .map_err(|found| found.at("delay_ms"))?;
    must(matches!(fault.abort, 0 | 400..=599), || {
        format!(
            "{} is no failure; expected 400 to 599, or 0 for none",
            fault.abort
        )
    })
    .map_err(|found| found.at("abort"))
}

/// Bytes have no requests that a match could look at.
pub(super) fn of_connections(matches: &[Match]) -> Checked {
    each("matches", matches, |one| {
        let callers_only = Match {
            callers: one.callers.clone(),
            ..Match::default()
        };
        must(*one == callers_only, || {
            "a match that looks at requests never holds for a connection to a tcp service"
                .to_owned()
        })
    })
}
