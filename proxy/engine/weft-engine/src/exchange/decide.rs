//! What happens to a request: by whom, to whom, under which rule. Everything is decided at one moment, from one world.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use weft_core::access::Call;
use weft_core::caller::SpiffeId;
use weft_core::limit::Capacity;
use weft_core::path::{Place as PathPlace, admit, admit_encoded};
use weft_core::rate::Places;
use weft_core::reason::{Error, Reason};
use weft_core::route::{Chosen, Part, Request, host_of, serves_host};
use weft_http1::{Framing, RequestHead};
use weft_model::section::{Decision as Allowed, GatewayListener, GatewayProtocol, Protocol};

use super::deadline::patience;
use super::fields::Seen;
use super::follow::{Chooser, ambiguous, redirect, retarget, text};
use super::restrain::{Restrained, Restraining, at_edge, at_service};
use crate::h1::Answer;
use crate::observe::{Counters, Event, Label};
use crate::tls::Identity;
use crate::upstream::Slots;
use crate::worker::Peer;
use crate::world::{Caller, Cluster, Gateway, Place, Rule, Service, Subset, World};

/// What a request is judged by, beside its head. The evaluator asks with the same.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    /// Which listener took it.
    pub(crate) address: SocketAddr,
    /// Who calls, on the inbound listener.
    pub(crate) peer: Option<Asker<'a>>,
    /// What is served.
    pub(crate) world: &'a World,
    /// For shares by weight.
    pub(crate) rng: &'a RefCell<SmallRng>,
    /// What is worth counting whatever comes of it.
    pub(crate) counters: &'a Counters,
    /// What limits and faults are judged by.
    pub(crate) restraint: Restraining<'a>,
}

/// A caller on the inbound listener, and whom it asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    pub(crate) caller: &'a SpiffeId,
    pub(crate) label: Label,
    pub(crate) service: &'a str,
    pub(crate) instance: &'a str,
}

/// A decision, with the names it is counted under.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) source: Label,
    pub(crate) destination: Label,
    pub(crate) route: Label,
    pub(crate) plan: Result<Plan, Error>,
    /// Before that is done: broken on purpose.
    pub(crate) delay: Duration,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Send it on.
    Forward(Forward),
    /// Say this.
    Answer(Answer),
}

/// Where a request goes, and how.
#[derive(Debug)]
pub(crate) struct Forward {
    pub(crate) rule: Arc<Rule>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) way: Way,
    /// From the end of the request to the final response head.
    pub(crate) timeout: Duration,
    /// In place of the request's own host.
    pub(crate) host: Option<Box<str>>,
    /// Bytes of a body; 0: no bound.
    pub(crate) max_body: u64,
    /// Its places under limits, until it ends.
    #[expect(dead_code, reason = "held until it is dropped")]
    pub(crate) places: Places,
    /// What was done to it on purpose.
    pub(crate) fault: Option<Arc<str>>,
    /// Where a copy of it goes.
    pub(crate) mirror: Option<Arc<Forward>>,
}

/// The way to an instance.
#[derive(Debug)]
pub(crate) enum Way {
    /// To one of a subset, over mutual TLS.
    Mesh {
        subset: Subset,
        /// As whom; `None`: there is no certificate to show.
        identity: Option<Arc<Identity>>,
    },
    /// To one of a subset, in plain: it is outside the mesh.
    Outside { subset: Subset },
    /// To the one that was asked for, on this host's loopback.
    Here {
        /// Its place among the members.
        member: usize,
    },
}

// === impl Forward ===

impl Forward {
    /// Room for connections on its way.
    pub(super) fn slots(&self) -> &Arc<Slots> {
        match self.way {
            Way::Here { .. } => &self.cluster.slots_here,
            Way::Mesh { .. } | Way::Outside { .. } => &self.cluster.slots,
        }
    }

    /// What may be open on its way.
    pub(super) fn capacity(&self) -> &Capacity {
        match self.way {
            Way::Here { .. } => &self.cluster.capacity_here,
            Way::Mesh { .. } | Way::Outside { .. } => &self.cluster.capacity,
        }
    }
}

/// Decides; the head's target is what goes on afterwards.
pub(crate) fn decide(ask: &Ask<'_>, head: &mut RequestHead) -> Decision {
    match ask.world.places.get(&ask.address).map(|place| &**place) {
        Some(Place::Outbound { caller, upstream }) => outbound(ask, head, caller, upstream),
        Some(Place::Open { caller }) => open(ask, head, caller),
        Some(Place::Inbound) => inbound(ask, head),
        Some(Place::Gateway { gateway, listener }) => public(ask, head, gateway, listener),
        None => Decision::refused(
            Label::NONE,
            Label::NONE,
            Error::new(Reason::Draining, "this listener is closing"),
        ),
    }
}

fn outbound(
    ask: &Ask<'_>,
    head: &mut RequestHead,
    caller: &Arc<Caller>,
    upstream: &str,
) -> Decision {
    let Some(service) = ask.world.services.get(upstream) else {
        let error = Error::new(Reason::NoRoute, format!("{upstream} is not known here"));
        return Decision::refused(caller.label, Label::of(upstream), error);
    };
    let refused = |error| Decision::refused(caller.label, service.cluster.label, error);
    let rules = &service.rules;
    let path = match admit(text(head.path()), rules.looks_at_path, PathPlace::Mesh) {
        Ok(path) => path,
        Err(why) => return refused(ambiguous(why)),
    };
    let request = Request {
        host: "",
        method: head.method_text(),
        path: &path,
        caller: Some(&caller.id),
    };
    let chosen = rules.routes.choose(request, &Seen(head.fields()));
    let (rule, part) = match chosen {
        Some(Chosen { route, part, .. }) => (&rules.rules[route], part),
        None => (&rules.fallback, Part::Whole),
    };
    let choice = Chooser {
        ask,
        caller,
        looked: rules.looks_at_path,
        max_body: 0,
        places: Places::default(),
        patience: patience(head),
    };
    choice.follow(head, rule, part, service.cluster.label, "http")
}

/// The request's host names the service.
fn open(ask: &Ask<'_>, head: &mut RequestHead, caller: &Arc<Caller>) -> Decision {
    let world = ask.world;
    let host = host_of(text(head.authority())).into_owned();
    let named = named(&host, &caller.name).filter(|name| world.services.contains_key(&**name));
    let Some(upstream) = named else {
        let error = Error::new(
            Reason::NoRoute,
            format!("host {host:?} names no service that is known here"),
        );
        return Decision::refused(caller.label, Label::NONE, error);
    };
    if world.services[&*upstream].rules.protocol() == Protocol::Tcp {
        let detail = format!("{upstream} takes bytes, not requests: use an upstream's own port");
        let error = Error::new(Reason::NoRoute, detail);
        return Decision::refused(caller.label, Label::of(&upstream), error);
    }
    outbound(ask, head, caller, &upstream)
}

/// `api`, `api.shop`, `api.weft` and `api.shop.weft` to `namespace/service`; the caller's own namespace where none is named.
pub(crate) fn named(host: &str, caller: &str) -> Option<Arc<str>> {
    let host = host.strip_suffix(".weft").unwrap_or(host);
    let (service, namespace) = match host.split_once('.') {
        Some((service, namespace)) => (service, namespace),
        None => (host, caller.split('/').next()?),
    };
    (!namespace.contains('.')).then(|| format!("{namespace}/{service}").into())
}

fn inbound(ask: &Ask<'_>, head: &mut RequestHead) -> Decision {
    let Some(peer) = ask.peer else {
        return Decision::refused(
            Label::NONE,
            Label::NONE,
            Error::new(Reason::Internal, "the caller is not known"),
        );
    };
    let Some(service) = ask.world.services.get(peer.service) else {
        let error = Error::new(
            Reason::Draining,
            format!("{} does not run here any more", peer.service),
        );
        return Decision::refused(peer.label, Label::of(peer.service), error);
    };
    let Service { rules, cluster } = service;
    let refused = |error| Decision::refused(peer.label, cluster.label, error);
    let path = text(head.path());
    let looked = rules.access.looks_at_path() || rules.limits.looks_at_path();
    let admitted = admit(path, rules.looks_at_path, PathPlace::Mesh)
        .and_then(|_| admit_encoded(path, looked, rules.inbound.permits_encoded));
    if let Err(why) = admitted {
        return refused(ambiguous(why));
    }
    let call = Call {
        caller: Some(peer.caller),
        method: head.method_text(),
        path: text(head.path()),
    };
    let verdict = rules.access.judge(call);
    if let Some(shadow) = verdict.shadow
        && shadow.decision != verdict.enforced.decision
    {
        let denied = shadow.decision == Allowed::Deny;
        ask.counters.event(if denied {
            Event::ShadowDenied
        } else {
            Event::ShadowAllowed
        });
    }
    if verdict.enforced.decision == Allowed::Deny {
        let error = format!("{} may not call {}", peer.caller.label(), cluster.name);
        return refused(Error::new(Reason::Denied, error));
    }
    let Some(member) = cluster.here(peer.instance) else {
        let error = format!(
            "{} of {} does not run here any more",
            peer.instance, cluster.name
        );
        return refused(Error::new(Reason::Draining, error));
    };
    let Restrained {
        places,
        fault,
        delay,
        answer,
    } = at_service(ask, head, service, peer.caller);
    let rule = Arc::clone(&rules.inbound);
    Decision {
        source: peer.label,
        destination: cluster.label,
        route: rule.label,
        plan: Ok(match answer {
            Some(said) => Plan::Answer(said),
            None => Plan::Forward(Forward {
                timeout: patience(head).unwrap_or(rule.timeout),
                rule,
                cluster: Arc::clone(cluster),
                way: Way::Here { member },
                host: None,
                max_body: 0,
                places,
                fault,
                mirror: None,
            }),
        }),
        delay,
    }
}

fn public(
    ask: &Ask<'_>,
    head: &mut RequestHead,
    gateway: &Arc<Gateway>,
    listener: &str,
) -> Decision {
    let source = Label::NONE;
    let refused = |error| Decision::refused(source, Label::NONE, error);
    let host = host_of(text(head.authority())).into_owned();
    let Some(port) = gateway
        .listeners
        .get(listener)
        .filter(|port| serves_host(&port.hosts, &host))
    else {
        return refused(Error::new(
            Reason::NoRoute,
            format!("host {host:?} is not served here"),
        ));
    };
    if let Some(to) = port.redirect_to.as_ref() {
        let location = elsewhere(&to.scheme, &host, to.port, text(head.target()));
        return Decision::answered(source, Label::NONE, redirect(308, location));
    }
    let looked =
        gateway.routes.looks_at_path() || gateway.limits.looks_at_path() || ask.world.looks_at_path;
    let plain = match admit(text(head.path()), looked, PathPlace::Gateway) {
        Ok(path) => path.into_owned_if_needed(),
        Err(why) => return refused(ambiguous(why)),
    };
    if let Some(plain) = plain
        && retarget(head, &plain).is_err()
    {
        return refused(Error::new(
            Reason::BadRequest,
            "the path cannot be made plain",
        ));
    }
    let places = match at_edge(ask, head, gateway) {
        Ok(places) => places,
        Err(said) => return Decision::answered(source, Label::NONE, said),
    };
    let caller = &gateway.caller;
    let request = Request {
        host: &host,
        method: head.method_text(),
        path: text(head.path()),
        caller: None,
    };
    let Some(chosen) = gateway.routes.choose(request, &Seen(head.fields())) else {
        let error = format!("no route for {host}{}", text(head.path()));
        return refused(Error::new(Reason::NoRoute, error));
    };
    let rule = &gateway.rules[chosen.route];
    if gateway.max_body > 0
        && matches!(head.framing(), Framing::Length(length) if length > gateway.max_body)
    {
        return refused(Error::new(
            Reason::TooLarge,
            format!("a body may have {} bytes here", gateway.max_body),
        ));
    }
    let choice = Chooser {
        ask,
        caller,
        looked,
        max_body: gateway.max_body,
        places,
        patience: None,
    };
    choice.follow(head, rule, chosen.part, Label::NONE, scheme(port))
}

// === impl Asker ===

impl<'a> From<&'a Peer> for Asker<'a> {
    fn from(peer: &'a Peer) -> Self {
        Self {
            caller: &peer.caller,
            label: peer.label,
            service: &peer.service,
            instance: &peer.instance,
        }
    }
}

// === impl Decision ===

impl Decision {
    fn refused(source: Label, destination: Label, error: Error) -> Self {
        Self {
            source,
            destination,
            route: Label::NONE,
            plan: Err(error),
            delay: Duration::ZERO,
        }
    }

    fn answered(source: Label, destination: Label, said: Answer) -> Self {
        Self {
            source,
            destination,
            route: Label::NONE,
            plan: Ok(Plan::Answer(said)),
            delay: Duration::ZERO,
        }
    }
}

/// A path that was changed, or nothing where it stays as it is.
trait IntoOwnedIfNeeded {
    fn into_owned_if_needed(self) -> Option<String>;
}

impl IntoOwnedIfNeeded for std::borrow::Cow<'_, str> {
    fn into_owned_if_needed(self) -> Option<String> {
        match self {
            Self::Borrowed(_) => None,
            Self::Owned(changed) => Some(changed),
        }
    }
}

fn elsewhere(scheme: &str, host: &str, port: u16, target: &str) -> String {
    match (scheme, port) {
        ("https", 443) | ("http", 80) => format!("{scheme}://{host}{target}"),
        _ => format!("{scheme}://{host}:{port}{target}"),
    }
}

fn scheme(listener: &GatewayListener) -> &'static str {
    match listener.protocol {
        GatewayProtocol::Http => "http",
        GatewayProtocol::Https | GatewayProtocol::Tls => "https",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_name_services_in_four_ways_and_nothing_else_does() {
        for (host, expected) in [
            ("api", Some("shop/api")),
            ("api.weft", Some("shop/api")),
            ("api.other", Some("other/api")),
            ("api.other.weft", Some("other/api")),
            ("api.other.example.com", None),
            ("127.0.0.1", None),
        ] {
            assert_eq!(named(host, "shop/web").as_deref(), expected, "{host}");
        }
    }
}
