//! What the core says: to agents, to scrapes, to the log.

use tokio::time::Instant;
use weft_model::frame::{FromEngine, SCHEMA};

use super::sockets::BindError;
use super::standing::Standing;
use crate::observe::{Faulted, Gauges, Limited, Scraped, ServiceGauges};
use crate::watch::Watch;
use crate::worker::{Handle, moment};
use crate::world::{Cluster, Subset, World};

/// What `welcome` says of a world.
pub(crate) fn welcome(world: &World) -> FromEngine {
    FromEngine::Welcome {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        base: world.generation,
        policy: world.policy,
        registry: world.registry,
        pid: std::process::id(),
    }
}

/// What a scrape needs to know of a world.
pub(crate) fn gauges(world: &World, standing: &Standing, watch: &Watch) -> Gauges {
    Gauges {
        generation: world.generation,
        policy: world.policy,
        registry: world.registry,
        draining: world.draining.is_some(),
        fell_back: standing.fell_back(),
        age: standing.age().map(|age| age.as_secs_f64()),
        agent: standing.has_agent(),
        services: world
            .services
            .values()
            .map(|service| towards(&service.cluster))
            .collect(),
        own: watch.counted(),
        certificates: world
            .tls
            .certificates()
            .map(|(name, facts)| (name.to_owned(), facts.not_after))
            .collect(),
        limits: limits(world),
        faults: faults(world),
    }
}

fn towards(cluster: &Cluster) -> ServiceGauges {
    let (requests, retries) = cluster.budget.under_way();
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let capacity = &cluster.capacity;
    let stand = cluster
        .subset(Subset::ALL)
        .map(|all| all.stand(&cluster.members, moment(Instant::now())));
    ServiceGauges {
        panic: stand.is_some_and(|stand| stand.panic).into(),
        stays: stand
            .and_then(|stand| stand.stays)
            .map(|share| share * 100.0),
        shared: cluster.shared.counts(),
        name: cluster.name.to_string(),
        requests: requests.into(),
        retries: retries.into(),
        capacity: [&capacity.connections, &capacity.pending, &capacity.requests]
            .map(|limit| (limit.open().into(), limit.most().into())),
        usable: count(cluster.members.usable()),
        ejected: count(cluster.members.ejected()),
        known: count(cluster.members.list().len()),
    }
}

/// What limits did, of services and gateways.
fn limits(world: &World) -> Vec<Limited> {
    let services = world
        .services
        .iter()
        .map(|(name, service)| (name.to_string(), &service.rules.limits));
    let gateways = world
        .gateways
        .iter()
        .map(|(name, gateway)| (format!("gateway:{name}"), &gateway.limits));
    services
        .chain(gateways)
        .flat_map(|(destination, limits)| {
            limits.counts().map(move |count| Limited {
                destination: destination.clone(),
                limit: count.rule.to_owned(),
                refused: count.refused,
                overflowed: count.overflowed,
            })
        })
        .collect()
}

fn faults(world: &World) -> Vec<Faulted> {
    let services = world.services.iter();
    services
        .flat_map(|(destination, service)| {
            service.rules.faults.counts().map(|count| Faulted {
                destination: destination.to_string(),
                fault: count.fault.to_owned(),
                until_ms: count.until_ms,
                delayed: count.delayed,
                aborted: count.aborted,
            })
        })
        .collect()
}

/// What the workers let a scrape read.
pub(crate) fn scraped(workers: &[Handle]) -> Vec<Scraped> {
    workers
        .iter()
        .map(|worker| worker.scraped.clone())
        .collect()
}

/// A refused apply, said once in the log too.
pub(super) fn nack(
    generation: u64,
    section: String,
    code: &str,
    path: String,
    message: String,
) -> FromEngine {
    tracing::warn!(
        generation,
        section,
        error.code = code,
        path,
        message,
        "an apply was refused"
    );
    FromEngine::Nack {
        generation,
        section,
        code: code.to_owned(),
        path,
        message,
        also: Vec::new(),
    }
}

/// Sections that crashed the engine, in a change or on disk.
pub(super) fn crashed(generation: u64, mut sections: Vec<String>, left: u64) -> FromEngine {
    let message = format!(
        "the engine crashed three times within a minute with this; it is taken again when it has changed, or in {left} s"
    );
    let section = sections.remove(0);
    let mut nack = nack(generation, section, "crashed", String::new(), message);
    if let FromEngine::Nack { also, .. } = &mut nack {
        *also = sections;
    }
    nack
}

/// An apply whose listener cannot be had.
pub(super) fn unbound(generation: u64, world: &World, error: &BindError) -> FromEngine {
    let listeners = &world.snapshot.listeners;
    let name = listeners
        .iter()
        .find(|(_, listener)| listener.address() == error.address)
        .map(|(name, _)| name);
    let section = name.map_or_else(String::new, |name| format!("listener/{name}"));
    let message = format!("{} cannot be listened on: {}", error.address, error.error);
    nack(
        generation,
        section,
        "bind_failed",
        "address".to_owned(),
        message,
    )
}

/// How a change of identities or trust went.
pub(super) fn epoch_answer(epoch: u64, done: Result<(), String>) -> FromEngine {
    match done {
        Ok(()) => FromEngine::EpochAck { epoch },
        Err(message) => {
            tracing::warn!(epoch, message, "identity or trust was refused");
            FromEngine::EpochNack { epoch, message }
        }
    }
}
