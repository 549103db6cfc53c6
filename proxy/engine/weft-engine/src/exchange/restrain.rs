//! Limits and faults: where a request is held back, and what it is told.
//!
//! They are kept by whoever knows the caller for certain: the called engine for services, a gateway for its clients, and for
//! a service outside the mesh, which has no engine, the caller's own.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use weft_core::caller::SpiffeId;
use weft_core::rate::{Limits, Places};
use weft_core::reason::Reason;
use weft_core::route::Request;
use weft_http1::RequestHead;

use super::decide::Ask;
use super::fields::Seen;
use super::follow::text;
use crate::h1::{Answer, Connection};
use crate::worker::{News, Worker, moment};
use crate::world::{Gateway, Service};

/// The field that says what was broken on purpose.
pub(super) const FAULT: &str = "x-weft-fault";

/// What limits and faults are judged by besides the request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Restraining<'a> {
    /// A request that came: it is counted.
    Live(Restraint<'a>),
    /// A request that is only asked about: limits of these names have nothing left, and nobody breaks anything.
    Supposed(&'a [String]),
}

/// What they need of a request that came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Restraint<'a> {
    /// When the request came.
    pub(crate) now: Instant,
    /// Where the client is.
    pub(crate) ip: IpAddr,
    pub(crate) worker: &'a Worker,
}

/// What becomes of a request to a service.
#[derive(Debug, Default)]
pub(super) struct Restrained {
    /// Under its limits.
    pub(super) places: Places,
    /// What was done to it.
    pub(super) fault: Option<Arc<str>>,
    /// It waits so long first.
    pub(super) delay: Duration,
    /// It is told this, and does not go on.
    pub(super) answer: Option<Answer>,
}

/// What the limits and faults of a service say.
pub(super) fn at_service(
    ask: &Ask<'_>,
    head: &RequestHead,
    service: &Service,
    caller: &SpiffeId,
) -> Restrained {
    let rules = &service.rules;
    if rules.limits.is_empty() && rules.faults.is_empty() {
        return Restrained::default();
    }
    let request = Request {
        host: "",
        method: text(head.method_name()),
        path: text(head.path()),
        caller: Some(caller),
    };
    let name = &service.cluster.name;
    let restraint = match ask.restraint {
        Restraining::Live(restraint) => restraint,
        Restraining::Supposed(used_up) => {
            return Restrained {
                answer: supposed(&rules.limits, request, head, used_up, name),
                ..Restrained::default()
            };
        }
    };
    let places = match admit(&rules.limits, request, head, restraint, None, name) {
        Ok(places) => places,
        Err(said) => {
            return Restrained {
                answer: Some(said),
                ..Restrained::default()
            };
        }
    };
    let rng = &mut *ask.rng.borrow_mut();
    let struck = rules
        .faults
        .strike(request, &Seen(head.fields()), unix_millis, rng);
    let Some(struck) = struck else {
        return Restrained {
            places,
            ..Restrained::default()
        };
    };
    tracing::debug!(service = %name, source = %caller.label(), fault = %struck.name, "broken on purpose");
    Restrained {
        answer: struck.abort.map(|status| aborted(status, &struck.name)),
        places,
        fault: Some(Arc::clone(&struck.name)),
        delay: struck.delay,
    }
}

/// What the limits of a gateway say.
pub(super) fn at_edge(
    ask: &Ask<'_>,
    head: &RequestHead,
    gateway: &Gateway,
) -> Result<Places, Answer> {
    if gateway.limits.is_empty() {
        return Ok(Places::default());
    }
    let request = Request {
        host: "",
        method: text(head.method_name()),
        path: text(head.path()),
        caller: None,
    };
    let name = &gateway.caller.name;
    let restraint = match ask.restraint {
        Restraining::Live(restraint) => restraint,
        Restraining::Supposed(used_up) => {
            let said = supposed(&gateway.limits, request, head, used_up, name);
            return said.map_or_else(|| Ok(Places::default()), Err);
        }
    };
    let told = head.fields().joined(b"x-forwarded-for");
    let told = told
        .as_deref()
        .and_then(|told| std::str::from_utf8(told).ok());
    let client = Some(gateway.trusted.client(restraint.ip, told));
    admit(&gateway.limits, request, head, restraint, client, name)
}

/// Waits; `false`: the client has left meanwhile.
pub(super) async fn wait(connection: &mut Connection, delay: Duration) -> bool {
    let Connection { wire, deadline, .. } = connection;
    deadline.set(Instant::now() + delay);
    std::future::poll_fn(|cx| {
        if wire.poll_left(cx).is_ready() {
            return Poll::Ready(false);
        }
        deadline.poll(cx).map(|()| true)
    })
    .await
}

fn admit(
    limits: &Limits,
    request: Request<'_>,
    head: &RequestHead,
    restraint: Restraint<'_>,
    address: Option<IpAddr>,
    destination: &str,
) -> Result<Places, Answer> {
    let now = moment(restraint.now);
    limits
        .admit(request, &Seen(head.fields()), address, now)
        .map_err(|refused| {
            if refused.news {
                let who = match (request.caller, address) {
                    (Some(caller), _) => caller.label().into_owned(),
                    (None, Some(address)) => address.to_string(),
                    (None, None) => String::new(),
                };
                let news = News::limited(destination, refused.rule, who);
                restraint.worker.tell(news);
            }
            limited(destination, refused.rule, refused.after)
        })
}

/// What a request would be told, if one of the limits that it falls under is among those that are used up.
fn supposed(
    limits: &Limits,
    request: Request<'_>,
    head: &RequestHead,
    used_up: &[String],
    destination: &str,
) -> Option<Answer> {
    let fields = Seen(head.fields());
    let mut under = limits.matching(request, &fields);
    let rule = under.find(|rule| used_up.iter().any(|one| one == rule))?;
    Some(limited(destination, rule, None))
}

fn limited(destination: &str, rule: &str, after: Option<Duration>) -> Answer {
    // A place is free when somebody leaves; nobody knows when.
    let after = after.unwrap_or(Duration::from_secs(1));
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    Answer {
        status: Reason::Limited.status(),
        reason: Some(Reason::Limited),
        location: None,
        extra: Some(("retry-after", seconds.max(1).to_string().into())),
        body: format!(
            "{}: {destination} gives no more than limit {} allows\n",
            Reason::Limited.as_str(),
            rule
        )
        .into(),
    }
}

fn aborted(status: u16, fault: &str) -> Answer {
    Answer {
        status,
        reason: None,
        location: None,
        extra: Some((FAULT, fault.into())),
        body: format!("fault {fault}: broken on purpose\n").into(),
    }
}

/// By this host's clock, which may be set: faults end by it all the same.
pub(crate) fn unix_millis() -> u64 {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
