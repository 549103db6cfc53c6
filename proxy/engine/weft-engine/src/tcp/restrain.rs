//! Limits and faults of a service of bytes: connections in a time, connections at a time, by caller.

use std::time::Duration;

use tokio::time::Instant;
use weft_core::caller::SpiffeId;
use weft_core::matcher::NoFields;
use weft_core::rate::Places;
use weft_core::reason::{Error, Reason};
use weft_core::route::Request;

use crate::exchange::unix_millis;
use crate::worker::{News, Worker, moment};
use crate::world::Service;

/// A connection's places under limits, and how long it is held up on purpose; or that it is not to be.
pub(super) fn restrain(
    service: &Service,
    caller: &SpiffeId,
    worker: &Worker,
) -> Result<(Places, Duration), Error> {
    let rules = &service.rules;
    if rules.limits.is_empty() && rules.faults.is_empty() {
        return Ok((Places::default(), Duration::ZERO));
    }
    let connection = Request {
        host: "",
        method: "",
        path: "",
        caller: Some(caller),
    };
    let name = &service.cluster.name;
    let now = moment(Instant::now());
    let admitted = rules.limits.admit(connection, &NoFields, None, now);
    let places = admitted.map_err(|refused| {
        if refused.news {
            worker.tell(News::limited(name, refused.rule, caller.label().into()));
        }
        let detail = format!("{name} gives no more than limit {} allows", refused.rule);
        Error::new(Reason::Limited, detail)
    })?;
    let rng = &mut *worker.rng.borrow_mut();
    match rules.faults.strike(connection, &NoFields, unix_millis, rng) {
        Some(fault) if fault.abort.is_some() => {
            let detail = format!("fault {}: broken on purpose", fault.name);
            Err(Error::new(Reason::Reset, detail))
        }
        Some(fault) => Ok((places, fault.delay)),
        None => Ok((places, Duration::ZERO)),
    }
}
