//! The instances of one service, prepared for balancing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use weft_core::balance::{Candidates, Plan};
use weft_core::budget::Budget;
use weft_core::endpoint::{Hosts, Member, Members};
use weft_core::limit::Capacity;
use weft_core::outlier;
use weft_core::time::Moment;
use weft_model::section;

use crate::observe::{Label, Shared};
use crate::tls::server_name;
use crate::upstream::Slots;

/// A set of labels, numbered: the instances that carry all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Subset(pub(crate) u32);

/// The instances of one service.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// `ns/service`
    pub(crate) name: Arc<str>,
    /// The same in metrics.
    pub(crate) label: Label,
    /// Who they are, and what all workers know of them.
    pub(crate) members: Members,
    /// Bounds on what is open towards its instances.
    pub(crate) capacity: Capacity,
    /// Room for connections to its instances.
    pub(crate) slots: Arc<Slots>,
    /// The same for connections to those of this host.
    pub(crate) slots_here: Arc<Slots>,
    /// The same for what has come to those of this host: a call within a host is counted once on each side.
    pub(crate) capacity_here: Capacity,
    /// How much of it may be retries.
    pub(crate) budget: Arc<Budget>,
    /// Who is taken out of rotation.
    pub(crate) outlier: outlier::Policy,
    /// What its instances speak.
    pub(crate) protocol: section::Protocol,
    /// How it is called.
    pub(crate) traffic: Traffic,
    /// Whether it is outside the mesh: spoken to in plain, and believed nothing.
    pub(crate) outside: bool,
    /// How much of what all its instances get comes to this host; 0 to 1.
    pub(crate) share: f64,
    /// What is counted of it beside requests.
    pub(crate) shared: Arc<Shared>,
    names: Box<[Option<ServerName<'static>>]>,
    subsets: Box<[(Subset, Candidates)]>,
    here: HashMap<Box<str>, usize>,
    pub(super) endpoints: Arc<section::Endpoints>,
    pub(super) bounds: section::Traffic,
}

/// How a service is called, whatever the rule.
#[derive(Clone, Debug)]
pub(crate) struct Traffic {
    /// What requests to the same instance have in common, where balancing goes by that.
    pub(crate) hash_on: Option<section::HashOn>,
    /// Where requests go while none of its instances is in rotation.
    pub(crate) failover: Box<[Arc<str>]>,
    /// TCP and TLS together.
    pub(crate) connect_timeout: Duration,
    /// Of a pooled connection.
    pub(crate) idle_timeout: Duration,
    /// Between two reads of one body.
    pub(crate) stream_idle: Duration,
    /// What says to an application whose connection it gets.
    pub(crate) proxy_protocol: Option<section::ProxyProtocol>,
}

/// What a cluster is made from.
pub(super) struct Source<'a> {
    pub(super) name: &'a Arc<str>,
    pub(super) endpoints: Arc<section::Endpoints>,
    pub(super) protocol: section::Protocol,
    pub(super) traffic: &'a section::Traffic,
    pub(super) subsets: &'a BTreeMap<Subset, BTreeMap<String, String>>,
    pub(super) host: &'a section::Host,
}

// === impl Subset ===

impl Subset {
    /// No label at all: every instance.
    pub(crate) const ALL: Self = Self(0);
}

// === impl Cluster ===

impl Cluster {
    /// From its sections; what was learned of the same instances is carried over from `before`.
    pub(super) fn new(
        source: &Source<'_>,
        before: Option<&Self>,
        hosts: &mut Hosts,
        now: Moment,
    ) -> Self {
        let members = before.map_or_else(Members::default, |before| before.members.clone());
        let members = members.reconcile(&source.endpoints.endpoints, hosts, now);
        let plan = Plan::new(source.traffic, &source.host.zone);
        let name = |member: &Member| {
            server_name(
                &member.endpoint.instance,
                source.name,
                &source.host.trust_domain,
            )
        };
        let outside = source.endpoints.outside;
        let here = members
            .list()
            .iter()
            .enumerate()
            .filter(|(_, member)| !outside && member.endpoint.host == source.host.name);
        let traffic = source.traffic;
        let capacity = || Capacity::new(&traffic.capacity);
        let (capacity, capacity_here) = match before {
            Some(before) => (before.capacity.clone(), before.capacity_here.clone()),
            None => (capacity(), capacity()),
        };
        let slots = |of: fn(&Self) -> &Arc<Slots>, capacity: &Capacity| {
            before.map_or_else(
                || Slots::new(&capacity.connections),
                |before| Arc::clone(of(before)),
            )
        };
        Self {
            slots: slots(|cluster| &cluster.slots, &capacity),
            slots_here: slots(|cluster| &cluster.slots_here, &capacity_here),
            name: Arc::clone(source.name),
            label: Label::of(source.name),
            names: members.list().iter().map(name).collect(),
            subsets: source
                .subsets
                .iter()
                .map(|(id, labels)| (*id, Candidates::new(&members, labels, &plan)))
                .collect(),
            here: here
                .map(|(index, member)| (member.endpoint.instance.as_str().into(), index))
                .collect(),
            members,
            capacity,
            capacity_here,
            budget: before.map_or_else(
                || Budget::new(&traffic.retry_budget),
                |before| Arc::clone(&before.budget),
            ),
            outlier: outlier::Policy::new(&traffic.outlier),
            protocol: source.protocol,
            traffic: Traffic::new(traffic),
            shared: before.map_or_else(Arc::default, |before| Arc::clone(&before.shared)),
            outside,
            share: share(&source.endpoints, &source.host.name),
            endpoints: Arc::clone(&source.endpoints),
            bounds: traffic.clone(),
        }
    }

    /// Whether it would be the same if it were made again.
    pub(super) fn is_of(&self, source: &Source<'_>) -> bool {
        Arc::ptr_eq(&self.endpoints, &source.endpoints)
            && self.bounds == *source.traffic
            && self.protocol == source.protocol
            && self
                .subsets
                .iter()
                .map(|(id, _)| id)
                .eq(source.subsets.keys())
    }

    /// Its bounds hold from now on, for what is open too.
    pub(super) fn enforce(&self) {
        self.capacity.set(&self.bounds.capacity);
        self.capacity_here.set(&self.bounds.capacity);
        self.budget.set(&self.bounds.retry_budget);
    }

    /// The instances of a subset; `None`: nobody asked for it when this was made.
    pub(crate) fn subset(&self, subset: Subset) -> Option<&Candidates> {
        let place = self
            .subsets
            .binary_search_by_key(&subset, |(id, _)| *id)
            .ok()?;
        Some(&self.subsets[place].1)
    }

    /// Whether it has no instance at all that might get requests.
    pub(crate) fn has_nobody(&self) -> bool {
        self.subset(Subset::ALL).is_none_or(Candidates::is_empty)
    }

    /// The instance of that id on this host, by its place among the members.
    pub(crate) fn here(&self, instance: &str) -> Option<usize> {
        self.here.get(instance).copied()
    }

    /// What to call it in a Host field that the client did not send: the service's own name.
    pub(crate) fn host(&self) -> &[u8] {
        self.name.rsplit('/').next().unwrap_or_default().as_bytes()
    }

    /// Whether any instance is on this host.
    pub(crate) fn is_here(&self) -> bool {
        !self.here.is_empty()
    }

    /// The server name to ask a member for.
    pub(crate) fn server_name(&self, member: usize) -> Option<&ServerName<'static>> {
        self.names.get(member)?.as_ref()
    }
}

// === impl Traffic ===

impl Traffic {
    fn new(traffic: &section::Traffic) -> Self {
        let millis = Duration::from_millis;
        let hash_on = match &traffic.balance {
            section::Balance::RingHash(on) => Some(on.clone()),
            section::Balance::Maglev(maglev) => Some(maglev.on.clone()),
            section::Balance::P2c
            | section::Balance::LeastRequest
            | section::Balance::RoundRobin
            | section::Balance::Random => None,
        };
        Self {
            hash_on,
            failover: traffic
                .failover
                .iter()
                .map(|name| name.as_str().into())
                .collect(),
            connect_timeout: millis(traffic.connect_timeout_ms),
            idle_timeout: millis(traffic.idle_timeout_ms),
            stream_idle: millis(traffic.stream_idle_ms),
            proxy_protocol: traffic.proxy_protocol,
        }
    }
}

/// How much of what the instances of a service get comes to those of a host, by weight. Where it has none that takes any, as
/// much as if it were one of the hosts like the others: something may still be on its way.
fn share(endpoints: &section::Endpoints, host: &str) -> f64 {
    if endpoints.outside {
        return 1.0;
    }
    let weight = |endpoint: &&section::Endpoint| match endpoint.state {
        section::EndpointState::Up => f64::from(endpoint.weight),
        section::EndpointState::Drain | section::EndpointState::Down => 0.0,
    };
    let all = endpoints.endpoints.iter();
    let total: f64 = all.clone().map(|one| weight(&one)).sum();
    let own: f64 = all
        .clone()
        .filter(|one| one.host == host)
        .map(|one| weight(&one))
        .sum();
    if own > 0.0 {
        return own / total;
    }
    let hosts: std::collections::HashSet<&str> = all.map(|one| one.host.as_str()).collect();
    1.0 / hosts.len().max(1) as f64
}
