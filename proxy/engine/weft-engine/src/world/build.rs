//! From a snapshot to a world, sharing with the one before whatever stayed the same.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::time::Instant;
use weft_core::access;
use weft_core::caller::Local;
use weft_core::endpoint::Hosts;
use weft_core::fault::Faults;
use weft_core::header::Trusted;
use weft_core::rate::Limits;
use weft_core::route::Routes;
use weft_model::section::{self, Listener};
use weft_model::{Code, Refusal, Snapshot};

use super::cluster::Source;
use super::{Caller, Cluster, Gateway, Place, Rule, Rules, Service, Subset, World, principal};
use crate::fold::Folded;
use crate::observe::Label;
use crate::tls::TlsState;
use crate::worker::moment;

/// Builds worlds, one after another; owned by the control thread.
#[derive(Debug)]
pub(crate) struct Builder {
    hosts: Hosts,
    subsets: HashMap<BTreeMap<String, String>, Subset>,
    nobody: Arc<section::Endpoints>,
}

/// Which revisions a world is of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Revisions {
    pub(crate) generation: u64,
    pub(crate) policy: u64,
    pub(crate) registry: u64,
}

type Wanted = HashMap<Arc<str>, BTreeMap<Subset, BTreeMap<String, String>>>;

// === impl Builder ===

impl Default for Builder {
    fn default() -> Self {
        let nobody = section::Endpoints {
            endpoints: Vec::new(),
            outside: false,
        };
        Self {
            hosts: Hosts::default(),
            subsets: HashMap::new(),
            nobody: Arc::new(nobody),
        }
    }
}

impl Builder {
    /// The world of a snapshot; nothing of `before` changes by that.
    pub(crate) fn build(
        &mut self,
        before: &World,
        snapshot: Snapshot,
        tls: TlsState,
        revisions: Revisions,
    ) -> Result<World, Refusal> {
        let local = Arc::clone(&tls.local);
        let rules = self.rules(before, &snapshot, &local)?;
        let rules_epoch = before.rules_epoch + u64::from(differ(before, &rules));
        let gateways = self.gateways(before, &snapshot, &local)?;
        let wanted = self.wanted(&rules, &gateways);
        let services = match &snapshot.host {
            Some(host) => self.services(before, &snapshot, host, rules, &wanted),
            None => Folded::default(),
        };
        let places = places(&snapshot, &gateways, &local)?;
        Ok(World {
            generation: revisions.generation,
            policy: revisions.policy,
            registry: revisions.registry,
            snapshot,
            tls,
            places,
            looks_at_path: services.values().any(|service| service.rules.looks_at_path),
            services,
            gateways,
            rules_epoch,
            draining: before.draining,
        })
    }

    /// What was built is in force now: its bounds hold, and what nobody mentions any more is forgotten.
    pub(crate) fn publish(&mut self, world: &World) {
        for service in world.services.values() {
            service.cluster.enforce();
            service.rules.limits.enforce(service.cluster.share);
        }
        for gateway in world.gateways.values() {
            gateway.limits.enforce(1.0);
        }
        self.hosts.sweep();
    }

    fn rules(
        &mut self,
        before: &World,
        snapshot: &Snapshot,
        local: &Local,
    ) -> Result<HashMap<Arc<str>, Arc<Rules>>, Refusal> {
        let moved = before.local() != local;
        let mut all = HashMap::with_capacity(snapshot.services.len());
        for (name, section) in &snapshot.services {
            let known = before.services.get_key_value(name.as_str());
            let (name, rules) = match known {
                Some((name, known)) if !moved && Arc::ptr_eq(&known.rules.section, section) => {
                    (Arc::clone(name), Arc::clone(&known.rules))
                }
                _ => {
                    let name: Arc<str> =
                        known.map_or_else(|| name.as_str().into(), |(name, _)| Arc::clone(name));
                    let rules =
                        self.compile(&name, section, known.map(|(_, known)| &*known.rules), local)?;
                    (name, Arc::new(rules))
                }
            };
            all.insert(name, rules);
        }
        Ok(all)
    }

    fn compile(
        &mut self,
        name: &Arc<str>,
        section: &Arc<section::Service>,
        before: Option<&Rules>,
        local: &Local,
    ) -> Result<Rules, Refusal> {
        let refuse = |path: &str, error: String| refusal(format!("service/{name}"), path, error);
        let routes = Routes::new(&section.routes, local)
            .map_err(|error| refuse("routes", error.to_string()))?;
        let access = access::Rules::new(&section.access, local)
            .map_err(|error| refuse("access", error.to_string()))?;
        let limits = Limits::new(&section.limits, before.map(|before| &before.limits), local)
            .map_err(|error| refuse("limits", error.to_string()))?;
        let faults = Faults::new(&section.faults, before.map(|before| &before.faults), local)
            .map_err(|error| refuse("faults", error.to_string()))?;
        Ok(Rules {
            looks_at_path: routes.looks_at_path()
                || access.looks_at_path()
                || limits.looks_at_path()
                || faults.looks_at_path(),
            limits,
            faults,
            routes,
            rules: self.prepared(&section.routes),
            fallback: Arc::new(Rule::fallback(name, &section.traffic)),
            inbound: Arc::new(Rule::inbound(name, section)),
            access,
            section: Arc::clone(section),
        })
    }

    fn prepared(&mut self, routes: &[section::Route]) -> Vec<Arc<Rule>> {
        routes
            .iter()
            .map(|route| Arc::new(Rule::new(route, |labels| self.subset(labels))))
            .collect()
    }

    fn subset(&mut self, labels: &BTreeMap<String, String>) -> Subset {
        if labels.is_empty() {
            return Subset::ALL;
        }
        let next = Subset(u32::try_from(self.subsets.len() + 1).unwrap_or(u32::MAX));
        *self.subsets.entry(labels.clone()).or_insert(next)
    }

    fn gateways(
        &mut self,
        before: &World,
        snapshot: &Snapshot,
        local: &Local,
    ) -> Result<HashMap<Arc<str>, Arc<Gateway>>, Refusal> {
        let moved = before.local() != local;
        let mut all = HashMap::new();
        for (name, section) in &snapshot.gateways {
            let known = before.gateways.get(name.as_str());
            let gateway = match known {
                Some(known) if Arc::ptr_eq(&known.section, section) && !moved => Arc::clone(known),
                _ => {
                    let limits = known.map(|known| &known.limits);
                    Arc::new(self.gateway(name, section, limits, local)?)
                }
            };
            all.insert(name.as_str().into(), gateway);
        }
        Ok(all)
    }

    fn gateway(
        &mut self,
        name: &str,
        section: &Arc<section::Gateway>,
        limits: Option<&Limits>,
        local: &Local,
    ) -> Result<Gateway, Refusal> {
        let whole = format!("gateway/{name}");
        let table = |field: &str, routes| {
            Routes::new(routes, local)
                .map_err(|error| refusal(whole.clone(), field, error.to_string()))
        };
        let announced = section
            .listeners
            .iter()
            .filter(|(_, listener)| !listener.proxy_protocol_from.is_empty())
            .map(|(name, listener)| {
                let from = Trusted::new(&listener.proxy_protocol_from);
                (name.as_str().into(), from)
            });
        let limits = Limits::new(&section.limits, limits, local)
            .map_err(|error| refusal(whole.clone(), "limits", error.to_string()))?;
        Ok(Gateway {
            limits,
            caller: caller(local, &format!("gateway:{name}"), &whole, "")?,
            routes: table("routes", &section.routes)?,
            rules: self.prepared(&section.routes),
            passthrough: table("passthrough", &section.passthrough)?,
            passing: self.prepared(&section.passthrough),
            announced: announced.collect(),
            listeners: section.listeners.clone(),
            trusted: Trusted::new(&section.trust_forwarded_from),
            max_body: section.max_body,
            section: Arc::clone(section),
        })
    }

    /// Which subsets of which services any rule sends to.
    fn wanted(
        &self,
        rules: &HashMap<Arc<str>, Arc<Rules>>,
        gateways: &HashMap<Arc<str>, Arc<Gateway>>,
    ) -> Wanted {
        let labels: HashMap<Subset, &BTreeMap<String, String>> = self
            .subsets
            .iter()
            .map(|(labels, id)| (*id, labels))
            .collect();
        let of_services = rules.values().flat_map(|rules| &rules.rules);
        let of_gateways = gateways
            .values()
            .flat_map(|gateway| gateway.rules.iter().chain(&gateway.passing));
        let mut wanted = Wanted::new();
        for target in of_services
            .chain(of_gateways)
            .flat_map(|rule| rule.targets())
        {
            let subsets = wanted.entry(Arc::clone(&target.service)).or_default();
            subsets.insert(
                target.subset,
                labels
                    .get(&target.subset)
                    .map_or_else(BTreeMap::new, |labels| (*labels).clone()),
            );
        }
        for service in rules.keys() {
            wanted
                .entry(Arc::clone(service))
                .or_default()
                .insert(Subset::ALL, BTreeMap::new());
        }
        wanted
    }

    fn services(
        &mut self,
        before: &World,
        snapshot: &Snapshot,
        host: &section::Host,
        rules: HashMap<Arc<str>, Arc<Rules>>,
        wanted: &Wanted,
    ) -> Folded<Arc<str>, Service> {
        let now = moment(Instant::now());
        let same_host = before.snapshot.host.as_deref() == Some(host);
        let mut all = Folded::with_capacity_and_hasher(rules.len(), Default::default());
        for (name, rules) in rules {
            let source = Source {
                name: &name,
                endpoints: Arc::clone(snapshot.endpoints.get(&*name).unwrap_or(&self.nobody)),
                protocol: rules.section.protocol,
                traffic: &rules.section.traffic,
                subsets: &wanted[&name],
                host,
            };
            let known = before.services.get(&name).map(|service| &service.cluster);
            let cluster = match known {
                Some(known) if same_host && known.is_of(&source) => Arc::clone(known),
                _ => Arc::new(Cluster::new(
                    &source,
                    known.map(|known| &**known),
                    &mut self.hosts,
                    now,
                )),
            };
            all.insert(name, Service { rules, cluster });
        }
        all
    }
}

fn differ(before: &World, rules: &HashMap<Arc<str>, Arc<Rules>>) -> bool {
    let same = |(name, rules): (&Arc<str>, &Arc<Rules>)| {
        let known = before.services.get(name);
        known.is_some_and(|known| Arc::ptr_eq(&known.rules, rules))
    };
    before.services.len() != rules.len() || !rules.iter().all(same)
}

fn places(
    snapshot: &Snapshot,
    gateways: &HashMap<Arc<str>, Arc<Gateway>>,
    local: &Local,
) -> Result<Folded<std::net::SocketAddr, Arc<Place>>, Refusal> {
    let mut places = Folded::default();
    for (name, listener) in &snapshot.listeners {
        let section = format!("listener/{name}");
        let place = match &**listener {
            Listener::Outbound {
                caller: by,
                upstream,
                ..
            } => Place::Outbound {
                caller: caller(local, by, &section, "caller")?,
                upstream: upstream.as_str().into(),
            },
            Listener::Open { caller: by, .. } => Place::Open {
                caller: caller(local, by, &section, "caller")?,
            },
            Listener::Inbound { .. } => Place::Inbound,
            Listener::Gateway {
                gateway, listener, ..
            } => {
                let gateway = gateway.strip_prefix("gateway/").unwrap_or(gateway);
                let found = gateways
                    .get(gateway)
                    .filter(|found| found.listeners.contains_key(listener));
                let Some(found) = found else {
                    let message = format!("gateway/{gateway} has no listener {listener}");
                    return Err(refusal(section, "listener", message));
                };
                Place::Gateway {
                    gateway: Arc::clone(found),
                    listener: listener.as_str().into(),
                }
            }
        };
        places.insert(listener.address(), Arc::new(place));
    }
    Ok(places)
}

fn caller(local: &Local, name: &str, section: &str, path: &str) -> Result<Arc<Caller>, Refusal> {
    let Some(id) = principal(local, name) else {
        return Err(refusal(
            section.to_owned(),
            path,
            format!("{name:?} has no identity in this trust domain"),
        ));
    };
    Ok(Arc::new(Caller {
        name: name.into(),
        id,
        label: Label::of(name),
    }))
}

fn refusal(section: String, path: &str, message: String) -> Refusal {
    Refusal {
        section,
        code: Code::InvalidSection,
        path: path.to_owned(),
        message,
    }
}
