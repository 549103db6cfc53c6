//! What the workers act on: a snapshot and the identities, prepared for deciding. Immutable; a change makes a new one that
//! shares whatever did not change.
//!
//! A request takes the `Arc`s of its rule and its cluster while it decides, and never holds the world itself: a WebSocket
//! would keep it for days.

mod build;
mod cluster;
mod gateway;
mod place;
mod rule;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use weft_core::access;
use weft_core::caller::{Local, SpiffeId};
use weft_core::fault::Faults;
use weft_core::rate::Limits;
use weft_core::route::Routes;
use weft_model::Snapshot;
use weft_model::section::Protocol;

pub(crate) use build::{Builder, Revisions};
pub(crate) use cluster::{Cluster, Subset};
pub(crate) use gateway::Gateway;
pub(crate) use place::{Caller, Place};
pub(crate) use rule::{Action, Mirror, Rule, Target};

use crate::fold::Folded;
use crate::tls::TlsState;

/// Services asked for one request that nobody of its own takes.
const MOST_ASKED: usize = 16;

/// Everything an engine serves.
#[derive(Debug)]
pub(crate) struct World {
    /// The agent's counter.
    pub(crate) generation: u64,
    /// The policy revision.
    pub(crate) policy: u64,
    /// The registry revision.
    pub(crate) registry: u64,
    /// As it was sent.
    pub(crate) snapshot: Snapshot,
    /// Identities and trust.
    pub(crate) tls: TlsState,
    /// What happens at each address.
    pub(crate) places: Folded<SocketAddr, Arc<Place>>,
    /// By `ns/service`.
    pub(crate) services: Folded<Arc<str>, Service>,
    /// By name.
    pub(crate) gateways: HashMap<Arc<str>, Arc<Gateway>>,
    /// Rises with every change of any service's rules.
    pub(crate) rules_epoch: u64,
    /// Whether any service's rules look at paths.
    pub(crate) looks_at_path: bool,
    /// Accepts no more, and lets connections go that were silent for this long: one that was not may still bring a request.
    pub(crate) draining: Option<Duration>,
}

/// A service: its rules and its instances, which change apart from each other.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    /// How it is called and who may.
    pub(crate) rules: Arc<Rules>,
    /// Who it is.
    pub(crate) cluster: Arc<Cluster>,
}

/// The rules of a service, prepared.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Which rule a request falls under.
    pub(crate) routes: Routes,
    /// By place in the section.
    pub(crate) rules: Vec<Arc<Rule>>,
    /// Where no rule matches: to the service itself.
    pub(crate) fallback: Arc<Rule>,
    /// For calls from the mesh, which the caller's engine has routed already.
    pub(crate) inbound: Arc<Rule>,
    /// Who may call.
    pub(crate) access: access::Rules,
    /// How much anybody gets.
    pub(crate) limits: Limits,
    /// What is broken on purpose.
    pub(crate) faults: Faults,
    /// Whether anybody looks at paths.
    pub(crate) looks_at_path: bool,
    section: Arc<weft_model::section::Service>,
}

// === impl Rules ===

impl Rules {
    /// What the service speaks.
    pub(crate) fn protocol(&self) -> Protocol {
        self.section.protocol
    }
}

// === impl World ===

impl World {
    /// Before the first snapshot.
    pub(crate) fn empty() -> Self {
        Self {
            generation: 0,
            policy: 0,
            registry: 0,
            snapshot: Snapshot::default(),
            tls: TlsState::empty(),
            places: Folded::default(),
            services: Folded::default(),
            gateways: HashMap::new(),
            rules_epoch: 0,
            looks_at_path: false,
            draining: None,
        }
    }

    /// Where this engine lives.
    pub(crate) fn local(&self) -> &Local {
        &self.tls.local
    }

    /// Where a service's requests go while it has nobody: the first that fits of those it fails over to, then of those that
    /// these fail over to. Each is asked once, so that services may stand in for each other; nothing is allocated.
    pub(crate) fn elsewhere(
        &self,
        cluster: &Cluster,
        fits: impl Fn(&Arc<Cluster>) -> bool,
    ) -> Option<&Arc<Cluster>> {
        let mut known: [&str; MOST_ASKED + 1] = [""; MOST_ASKED + 1];
        known[0] = &cluster.name;
        let mut count = 1;
        let mut more = &*cluster.traffic.failover;
        let mut next = 1;
        loop {
            for name in more {
                if count < known.len() && !known[..count].contains(&&**name) {
                    known[count] = name;
                    count += 1;
                }
            }
            if next == count {
                return None;
            }
            let other = self
                .services
                .get(known[next])
                .map(|service| &service.cluster);
            next += 1;
            more = &[];
            let Some(other) = other else {
                continue;
            };
            // Bytes are no requests; and who is outside the mesh was called without an identity to show.
            let alike = (other.protocol == Protocol::Tcp) == (cluster.protocol == Protocol::Tcp)
                && (other.outside || !cluster.outside);
            if alike && fits(other) {
                return Some(other);
            }
            more = &other.traffic.failover;
        }
    }

    /// The same with other identities.
    pub(crate) fn with_tls(&self, tls: TlsState) -> Self {
        Self {
            tls,
            ..self.share()
        }
    }

    /// The same, accepting no more; connections that are silent for so long are let go.
    pub(crate) fn drained(&self, quiet: Duration) -> Self {
        Self {
            draining: Some(quiet),
            ..self.share()
        }
    }

    fn share(&self) -> Self {
        Self {
            generation: self.generation,
            policy: self.policy,
            registry: self.registry,
            snapshot: self.snapshot.clone(),
            tls: self.tls.clone(),
            places: self.places.clone(),
            services: self.services.clone(),
            gateways: self.gateways.clone(),
            rules_epoch: self.rules_epoch,
            looks_at_path: self.looks_at_path,
            draining: self.draining,
        }
    }
}

/// Who `name` is here: `ns/service` or `gateway:<name>`.
fn principal(local: &Local, name: &str) -> Option<SpiffeId> {
    match name.strip_prefix("gateway:") {
        Some(gateway) => local.gateway(gateway).ok(),
        None => local.service(name).ok(),
    }
}
