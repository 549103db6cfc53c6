//! A world to ask, built as the control thread builds it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::Value;
use tokio::time::Instant;
use weft_core::caller::{Local, SpiffeId};
use weft_core::endpoint::{Carried, Member};
use weft_core::time::Moment;
use weft_http1::{Limits, RequestDecoder, RequestHead, Step};
use weft_model::Snapshot;

use super::answer;
use super::question::Question;
use super::trace::Trace;
use crate::exchange::{Ask, Asker, Restraining, decide, refused};
use crate::observe::{Counters, Label};
use crate::tls::TlsState;
use crate::worker::moment;
use crate::world::{Builder, Place, Revisions, World};

/// What is asked, and what a decision is made from besides.
pub(super) struct Stage {
    builder: Builder,
    world: World,
}

/// Whom a question on the inbound listener comes from, and whom it is for.
struct Peer {
    caller: SpiffeId,
    label: Label,
    service: String,
    instance: String,
}

/// Instances that are taken out of rotation until an answer is given.
struct Out<'a>(Vec<&'a Member>, Moment);

// === impl Stage ===

impl Default for Stage {
    fn default() -> Self {
        Self {
            builder: Builder::default(),
            world: World::empty(),
        }
    }
}

impl Stage {
    /// Another snapshot; what was before stays where this one is refused.
    pub(super) fn set(&mut self, sections: &BTreeMap<String, Value>) -> Result<(), String> {
        let bytes = |(name, value): (&String, &Value)| {
            let bytes = rmp_serde::to_vec(value).map_err(|error| format!("{name}: {error}"))?;
            Ok((name.clone(), bytes))
        };
        let set: BTreeMap<String, Vec<u8>> =
            sections.iter().map(bytes).collect::<Result<_, String>>()?;
        let snapshot = Snapshot::default()
            .apply(true, &set, &[])
            .map_err(|refusal| refusal.to_string())?;
        let tls = match &snapshot.host {
            Some(host) => TlsState::empty()
                .at(&Local::of(host))
                .map_err(|error| error.to_string())?,
            None => TlsState::empty(),
        };
        self.world = self
            .builder
            .build(&self.world, snapshot, tls, Revisions::default())
            .map_err(|refusal| refusal.to_string())?;
        self.builder.publish(&self.world);
        Ok(())
    }

    /// What would happen.
    pub(super) fn ask(&self, question: &Question) -> Result<Value, String> {
        let world = &self.world;
        let now = moment(Instant::now());
        let _out = Out::new(world, &question.state.ejected, now)?;
        let (address, place) = self.place(&question.listener)?;
        let peer = match &*place {
            Place::Inbound => Some(self.peer(question)?),
            _ => None,
        };
        let mut head = RequestHead::new();
        let bytes = question.bytes();
        let limits = match &*place {
            Place::Inbound => Limits::MESH,
            _ => Limits::REQUEST,
        };
        match RequestDecoder::new(limits).feed(&bytes, &mut head) {
            (taken, Step::Head) if taken == bytes.len() => {}
            (_, Step::Bad(reject)) => return Ok(answer::refused(&refused(reject))),
            _ => return Err("the method, target, host or a header holds line breaks".to_owned()),
        }
        let asker = peer.as_ref().map(|peer| Asker {
            caller: &peer.caller,
            label: peer.label,
            service: &peer.service,
            instance: &peer.instance,
        });
        let trace = question
            .trace
            .then(|| Trace::of(world, &place, asker, &head, question.lost));
        let counters = Counters::default();
        let ask = Ask {
            address,
            peer: asker,
            world,
            rng: &RefCell::new(SmallRng::seed_from_u64(question.seed)),
            counters: &counters,
            restraint: Restraining::Supposed(&question.state.used_up),
        };
        let decision = decide(&ask, &mut head);
        let mut said = answer::decided(&decision, &head, (world, now));
        if let Some(trace) = trace {
            said["trace"] = trace.into_json();
        }
        Ok(said)
    }

    fn place(&self, listener: &str) -> Result<(SocketAddr, Arc<Place>), String> {
        let section = self.world.snapshot.listeners.get(listener);
        let found = section.and_then(|section| {
            let address = section.address();
            Some((address, Arc::clone(self.world.places.get(&address)?)))
        });
        found.ok_or_else(|| {
            let known: Vec<&str> = self
                .world
                .snapshot
                .listeners
                .keys()
                .map(String::as_str)
                .collect();
            format!(
                "listener {listener:?} is not there; there are: {}",
                known.join(", ")
            )
        })
    }

    fn peer(&self, question: &Question) -> Result<Peer, String> {
        let Some(caller) = &question.caller else {
            return Err("caller: expected a SPIFFE ID on the inbound listener".to_owned());
        };
        let caller = SpiffeId::parse(caller).map_err(|error| format!("caller: {error}"))?;
        let Some(service) = question.service.clone() else {
            return Err("service: expected namespace/service on the inbound listener".to_owned());
        };
        let here = || {
            let cluster = &self.world.services.get(service.as_str())?.cluster;
            let members = cluster.members.list().iter();
            let mut instances = members.map(|member| &member.endpoint.instance);
            instances.find(|instance| cluster.here(instance).is_some())
        };
        Ok(Peer {
            label: Label::of(&caller.label()),
            caller,
            instance: question
                .instance
                .clone()
                .or_else(|| here().cloned())
                .unwrap_or_default(),
            service,
        })
    }
}

// === impl Out ===

impl<'a> Out<'a> {
    /// Each is `ns/service/instance`.
    fn new(world: &'a World, names: &[String], now: Moment) -> Result<Self, String> {
        let mut out = Self(Vec::new(), now);
        for name in names {
            let found = name.rsplit_once('/').and_then(|(service, instance)| {
                let members = &world.services.get(service)?.cluster.members;
                let mut list = members.list().iter();
                list.find(|member| member.endpoint.instance == instance)
            });
            let member = found.ok_or_else(|| {
                format!("state.ejected: {name:?} is no namespace/service/instance that is there")
            })?;
            out.0.push(member);
            // Long enough that no probe is due.
            let ejected = Carried {
                left_ms: Some(3_600_000),
                out: true,
                times: 1,
            };
            member.state.rotation.carry(ejected, now);
        }
        Ok(out)
    }
}

impl Drop for Out<'_> {
    fn drop(&mut self) {
        for member in &self.0 {
            let back = Carried {
                left_ms: Some(0),
                out: false,
                times: 0,
            };
            member.state.rotation.carry(back, self.1);
        }
    }
}
