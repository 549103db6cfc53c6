//! TLS that a gateway passes on as it is: only the server name in its first message is read, and picks the service.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use weft_core::announce::Ends;
use weft_core::hello::{Flaw, Reader, Step};
use weft_core::reason::{Error, Reason};
use weft_core::route::{Fields, Request, serves_host};
use weft_core::target::Choice;

use super::carry::Carried;
use super::outbound::{Call, refused, through};
use super::reach::reach;
use super::story::Story;
use crate::io::{Input, Stream, Whose};
use crate::observe::{Direction, Event, Label, TunnelKey};
use crate::worker::Worker;
use crate::world::{Action, Gateway, Place, Target, World};

/// After an alert the connection ends in order, within this time and with so much more of the client's read, so that a reset
/// does not eat the alert.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_FILLS: usize = 8;

/// Alerts (RFC 8446 section 6, RFC 6066 section 3).
const ACCESS_DENIED: u8 = 49;
const INTERNAL_ERROR: u8 = 80;
const UNRECOGNIZED_NAME: u8 = 112;

/// Why there was no hello to go by.
enum NoHello {
    /// Nobody said anything, or not all of it.
    Left,
    /// It took too long.
    Slow,
    /// It is no TLS.
    NotTls,
    /// It is wrong.
    Bad(Flaw),
}

/// A rule of a gateway's looks at no field: there are none.
struct NoFields;

/// Serves a connection to its end. `client`: whose it is, where that was told.
pub(crate) async fn passthrough(
    mut down: Stream,
    address: SocketAddr,
    client: Option<Ends>,
    worker: &Worker,
) {
    let Some(gateway) = gateway_at(address, &worker.world()) else {
        return;
    };
    let unknown = TunnelKey {
        direction: Direction::Gateway,
        source: gateway.caller.label,
        destination: Label::NONE,
    };
    let mut story = Story::new(unknown, &down, client);
    let Some(waiting) = worker.greetings.acquire() else {
        down.reset();
        story.detail = "too many first messages are waited for".into();
        return story.ended(worker, Carried::Refused(Reason::Overloaded));
    };
    let mut input = Input::default();
    let patience = worker.bounds.handshake_timeout.0;
    let heard = timeout(patience, hear(&mut down, &mut input)).await;
    drop(waiting);
    let name = match heard.unwrap_or(Err(NoHello::Slow)) {
        Ok(name) => name,
        Err(NoHello::Left) => {
            let left = Carried::Broken(Whose::Down, io::ErrorKind::UnexpectedEof);
            return story.ended(worker, left);
        }
        Err(no) => {
            story.detail = no.detail().into();
            if let Some(alert) = no.alert() {
                tell(&mut down, &mut input, alert).await;
            }
            return story.ended(worker, Carried::Refused(no.reason()));
        }
    };
    let name = name.as_deref().unwrap_or_default();
    name.clone_into(&mut story.host);
    let carried = match decide(name, address, client, worker) {
        Err(error) => {
            tracing::debug!(%address, name, %error, "a server name leads nowhere");
            tell(&mut down, &mut input, alert(error.reason)).await;
            story.refused(&error)
        }
        Ok(call) => {
            story.key = call.key(Label::of(&call.service));
            story.route = call.rule.as_ref().map_or(Label::NONE, |rule| rule.label);
            match reach(&call, worker, &mut story).await {
                Ok(reached) => through(down, input, reached, &call, worker, &mut story).await,
                Err(error) => {
                    refused(&call, &error);
                    tell(&mut down, &mut input, alert(error.reason)).await;
                    story.refused(&error)
                }
            }
        }
    };
    story.ended(worker, carried);
}

/// The server name of a whole hello; every byte of it stays in `input`.
async fn hear(down: &mut Stream, input: &mut Input) -> Result<Option<Box<str>>, NoHello> {
    let mut reader = Reader::default();
    loop {
        let filled = poll_fn(|cx| input.poll_fill(down, cx)).await;
        if !matches!(filled, Ok(1..)) {
            return Err(NoHello::Left);
        }
        match reader.feed(input.unread()) {
            Step::Need => {}
            Step::ServerName(name) => return Ok(name),
            Step::NotTls => return Err(NoHello::NotTls),
            Step::Bad(flaw) => return Err(NoHello::Bad(flaw)),
        }
    }
}

/// Where a name leads. A hello without one has the name `""`: it fits where every name does.
fn decide(
    name: &str,
    address: SocketAddr,
    client: Option<Ends>,
    worker: &Worker,
) -> Result<Call, Error> {
    let world = worker.world();
    let nowhere = || {
        let detail = match name {
            "" => "no server name was sent".into(),
            name => format!("{name} is not served here"),
        };
        Error::new(Reason::NoRoute, detail)
    };
    let Some(Place::Gateway { gateway, listener }) =
        world.places.get(&address).map(|place| &**place)
    else {
        return Err(Error::new(Reason::Draining, "this listener is closing"));
    };
    let port = gateway.listeners.get(&**listener);
    if !port.is_some_and(|port| serves_host(&port.hosts, name)) {
        return Err(nowhere());
    }
    let asked = Request {
        host: name,
        method: "",
        path: "",
        caller: None,
    };
    let chosen = gateway.passthrough.choose(asked, &NoFields);
    let rule = &gateway.passing[chosen.ok_or_else(nowhere)?.route];
    let Action::Forward { targets, split, .. } = &rule.action else {
        return Err(Error::new(Reason::Internal, "the rule leads nowhere"));
    };
    let empty = |place: usize| is_empty(&targets[place], &world);
    let target = match split.choose(&mut *worker.rng.borrow_mut(), empty) {
        Choice::To(place) => &targets[place],
        Choice::Spilled { to, .. } => {
            worker.counters.event(Event::Spilled);
            &targets[to]
        }
        // Counted for the service, by whoever finds nobody to ask.
        Choice::Empty { from } => &targets[from],
    };
    Ok(Call {
        direction: Direction::Gateway,
        caller: Arc::clone(&gateway.caller),
        service: Arc::clone(&target.service),
        subset: target.subset,
        rule: Some(Arc::clone(rule)),
        client,
    })
}

fn is_empty(target: &Target, world: &World) -> bool {
    let service = world.services.get(&target.service);
    let subset = service.and_then(|service| service.cluster.subset(target.subset));
    subset.is_none_or(|subset| subset.is_empty())
}

fn gateway_at(address: SocketAddr, world: &World) -> Option<Arc<Gateway>> {
    match &**world.places.get(&address)? {
        Place::Gateway { gateway, .. } => Some(Arc::clone(gateway)),
        Place::Outbound { .. } | Place::Open { .. } | Place::Inbound => None,
    }
}

fn alert(reason: Reason) -> u8 {
    match reason {
        Reason::NoRoute => UNRECOGNIZED_NAME,
        Reason::Denied => ACCESS_DENIED,
        _ => INTERNAL_ERROR,
    }
}

/// Ends the connection in order, with a fatal alert in a record that nobody has to decrypt.
async fn tell(down: &mut Stream, input: &mut Input, alert: u8) {
    let told = async {
        let record = [21, 3, 3, 0, 2, 2, alert];
        poll_fn(|cx| down.poll_write(cx, &[IoSlice::new(&record)])).await?;
        poll_fn(|cx| down.poll_shutdown(cx)).await?;
        for _ in 0..LINGER_FILLS {
            input.consume(input.unread().len());
            if poll_fn(|cx| input.poll_fill(down, cx)).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    };
    // Whoever does not hear why still sees that it ended.
    let _ = timeout(LINGER, told).await;
}

// === impl NoHello ===

impl NoHello {
    /// `None`: it would not be understood.
    fn alert(&self) -> Option<u8> {
        match self {
            Self::Bad(flaw) => Some(flaw.alert()),
            Self::Left | Self::Slow | Self::NotTls => None,
        }
    }

    fn detail(&self) -> &'static str {
        match self {
            Self::Left => "the client left before it said where to",
            Self::Slow => "the client's first message took too long",
            Self::NotTls => "the client's first message is no TLS",
            Self::Bad(_) => "the client's first message is malformed",
        }
    }

    fn reason(&self) -> Reason {
        match self {
            Self::Left => Reason::Reset,
            Self::Slow => Reason::RequestTimeout,
            Self::NotTls => Reason::TlsRequired,
            Self::Bad(Flaw::TooLarge) => Reason::TooLarge,
            Self::Bad(_) => Reason::BadRequest,
        }
    }
}

// === impl NoFields ===

impl Fields for NoFields {
    fn field(&self, _: &str) -> Option<std::borrow::Cow<'_, [u8]>> {
        None
    }
}
