//! Which rules were looked at, and what came of each.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use weft_core::access::{self, Call};
use weft_core::path::{Place as PathPlace, admit};
use weft_core::route::{Explainer, Fate, Lost, Request, host_of};
use weft_http1::RequestHead;
use weft_model::section;

use crate::exchange::{Asker, Seen, named, text, unix_millis};
use crate::world::{Place, World};

/// What the answer says besides.
#[derive(Debug, Default)]
pub(super) struct Trace {
    parts: BTreeMap<&'static str, Value>,
}

/// What rules are asked about.
struct Around<'a> {
    world: &'a World,
    head: &'a RequestHead,
    lost: usize,
}

// === impl Trace ===

impl Trace {
    /// Of a request at a place.
    pub(super) fn of(
        world: &World,
        place: &Place,
        peer: Option<Asker<'_>>,
        head: &RequestHead,
        lost: usize,
    ) -> Self {
        let around = Around { world, head, lost };
        let mut trace = Self::default();
        match place {
            Place::Outbound { caller, upstream } => {
                trace.put("service", Some(json!(&**upstream)));
                let routes = around.service_routes(upstream);
                trace.put(
                    "routes",
                    routes
                        .map(|routes| around.routes(routes, "", Some(&caller.id), PathPlace::Mesh)),
                );
            }
            Place::Open { caller } => {
                let host = host_of(text(head.authority())).into_owned();
                let upstream = named(&host, &caller.name);
                trace.put("service", upstream.as_deref().map(|name| json!(name)));
                let routes = upstream.and_then(|upstream| around.service_routes(&upstream));
                trace.put(
                    "routes",
                    routes
                        .map(|routes| around.routes(routes, "", Some(&caller.id), PathPlace::Mesh)),
                );
            }
            Place::Inbound => {
                trace.put("access", peer.and_then(|peer| around.access(peer)));
                let service = peer.and_then(|peer| Some((world.services.get(peer.service)?, peer)));
                if let Some((service, peer)) = service {
                    let (request, fields) = around.asked(text(head.path()), Some(peer.caller));
                    let limits = service.rules.limits.matching(request, &fields);
                    trace.put("limits", Some(limits.collect()));
                    let faults = service
                        .rules
                        .faults
                        .matching(request, &fields, unix_millis());
                    trace.put("faults", Some(faults.collect()));
                }
            }
            Place::Gateway { gateway, .. } => {
                let path = admit(text(head.path()), true, PathPlace::Gateway);
                let path = path.as_deref().unwrap_or(text(head.path()));
                let (request, fields) = around.asked(path, None);
                let limits = gateway.limits.matching(request, &fields);
                trace.put("limits", Some(limits.collect()));
                let section = around.world.snapshot.gateways.get(gateway.name());
                let host = host_of(text(head.authority())).into_owned();
                trace.put(
                    "routes",
                    section.map(|section| {
                        around.routes(&section.routes, &host, None, PathPlace::Gateway)
                    }),
                );
            }
        }
        trace
    }

    fn put(&mut self, name: &'static str, value: Option<Value>) {
        if let Some(value) = value {
            self.parts.insert(name, value);
        }
    }

    /// By part.
    pub(super) fn into_json(self) -> Value {
        json!(self.parts)
    }
}

// === impl Around ===

impl Around<'_> {
    fn service_routes(&self, name: &str) -> Option<&[section::Route]> {
        Some(&self.world.snapshot.services.get(name)?.routes)
    }

    /// As limits and faults look at it.
    fn asked<'a>(
        &'a self,
        path: &'a str,
        caller: Option<&'a weft_core::caller::SpiffeId>,
    ) -> (Request<'a>, Seen<'a>) {
        let request = Request {
            host: "",
            method: text(self.head.method_name()),
            path,
            caller,
        };
        (request, Seen(self.head.fields()))
    }

    fn routes(
        &self,
        routes: &[section::Route],
        host: &str,
        caller: Option<&weft_core::caller::SpiffeId>,
        place: PathPlace,
    ) -> Value {
        let Ok(explainer) = Explainer::new(routes, self.world.local()) else {
            return Value::Null;
        };
        let path = admit(text(self.head.path()), true, place);
        let request = Request {
            host,
            method: text(self.head.method_name()),
            path: path.as_deref().unwrap_or(text(self.head.path())),
            caller,
        };
        let mut told = Vec::new();
        let mut left_out = 0_usize;
        let mut lost = 0;
        for tried in explainer.tried(request, &Seen(self.head.fields())) {
            let (fate, by) = match tried.fate {
                Fate::Won => ("won", None),
                Fate::Outranked => ("outranked", None),
                Fate::Lost(why) => {
                    lost += 1;
                    if lost > self.lost {
                        left_out += 1;
                        continue;
                    }
                    ("lost", Some(did_not_hold(why)))
                }
            };
            told.push(json!({
                "rule": routes[tried.route].name,
                "match": tried.matched,
                "host": tried.host,
                "fate": fate,
                "by": by,
            }));
        }
        json!({"tried": told, "left_out": left_out})
    }

    fn access(&self, peer: Asker<'_>) -> Option<Value> {
        let rules = &self.world.services.get(peer.service)?.rules.access;
        let call = Call {
            caller: Some(peer.caller),
            method: text(self.head.method_name()),
            path: text(self.head.path()),
        };
        let verdict = rules.judge(call);
        let looked: Vec<Value> = rules
            .looked_at(call)
            .iter()
            .map(|looked| {
                json!({
                    "rule": looked.name,
                    "says": says(looked.decision),
                    "shadow": looked.shadow,
                    "matches": looked.lost.is_none(),
                    "by": looked.lost.map(|lost| match lost {
                        access::Lost::Method => "method",
                        access::Lost::Caller => "caller",
                        access::Lost::Path => "path",
                    }),
                })
            })
            .collect();
        Some(json!({
            "decision": says(verdict.enforced.decision),
            "by": ruled(verdict.enforced),
            "shadow": verdict.shadow.map(|shadow| json!({
                "decision": says(shadow.decision),
                "by": ruled(shadow),
            })),
            "rules": looked,
        }))
    }
}

fn did_not_hold(lost: Lost<'_>) -> String {
    match lost {
        Lost::Host => "host".to_owned(),
        Lost::Path => "path".to_owned(),
        Lost::Method => "method".to_owned(),
        Lost::Caller => "caller".to_owned(),
        Lost::Header(name) => format!("header {name}"),
    }
}

fn says(decision: section::Decision) -> &'static str {
    match decision {
        section::Decision::Allow => "allow",
        section::Decision::Deny => "deny",
    }
}

fn ruled(ruling: access::Ruling<'_>) -> Value {
    match ruling.by {
        access::By::Rule(name) => json!({ "rule": name }),
        access::By::NoneAllows => json!("none allows it"),
        access::By::Default => json!("the default"),
    }
}
