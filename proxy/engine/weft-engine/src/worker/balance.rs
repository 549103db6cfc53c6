//! A worker's own part of balancing: latencies and turns, per cluster, carried from one generation of it to the next.

use std::sync::Arc;

use rand::rngs::SmallRng;
use weft_core::balance::{Ask, Balancer, Latencies, Pick, Seen};
use weft_core::time::Moment;

use crate::fold::Folded;
use crate::world::{Cluster, Subset};

/// By the address of the service's name, which lives as long as the service does; the entry keeps it alive.
#[derive(Debug, Default)]
pub(super) struct Balances(Folded<usize, Own>);

#[derive(Debug)]
struct Own {
    cluster: Arc<Cluster>,
    latencies: Latencies,
    balancers: Vec<(Subset, Balancer)>,
}

// === impl Balances ===

impl Balances {
    /// Who gets it.
    pub(super) fn pick(
        &mut self,
        cluster: &Arc<Cluster>,
        subset: Subset,
        ask: Ask<'_>,
        rng: &mut SmallRng,
    ) -> Option<Pick> {
        let candidates = cluster.subset(subset)?;
        let own = self.own(cluster);
        let place = own.balancer(subset, rng);
        own.balancers[place]
            .1
            .pick(candidates, &cluster.members, &own.latencies, ask, rng)
    }

    /// Whether nobody of it is in rotation, so that requests had better go elsewhere.
    pub(super) fn is_out(
        &mut self,
        cluster: &Arc<Cluster>,
        now: Moment,
        rng: &mut SmallRng,
    ) -> bool {
        let Some(candidates) = cluster.subset(Subset::ALL) else {
            return true;
        };
        let own = self.own(cluster);
        let place = own.balancer(Subset::ALL, rng);
        own.balancers[place]
            .1
            .is_out(candidates, &cluster.members, now)
    }

    /// What a request saw of a member.
    pub(super) fn observe(
        &mut self,
        cluster: &Arc<Cluster>,
        member: usize,
        seen: Seen,
        now: Moment,
    ) {
        let own = self.own(cluster);
        // A request of the generation before knows its members by other places.
        if Arc::ptr_eq(&own.cluster, cluster) {
            own.latencies.observe(member, seen, now);
        }
    }

    /// Forgets clusters that are nobody's any more.
    pub(super) fn sweep(&mut self) {
        self.0.retain(|_, own| Arc::strong_count(&own.cluster) > 1);
    }

    fn own(&mut self, cluster: &Arc<Cluster>) -> &mut Own {
        let own = self
            .0
            .entry(Arc::as_ptr(&cluster.name).cast::<u8>() as usize)
            .or_insert_with(|| Own {
                latencies: Latencies::default().carry(&cluster.members, &cluster.members),
                cluster: Arc::clone(cluster),
                balancers: Vec::new(),
            });
        if !Arc::ptr_eq(&own.cluster, cluster) {
            own.latencies = own.latencies.carry(&own.cluster.members, &cluster.members);
            own.cluster = Arc::clone(cluster);
            own.balancers.clear();
        }
        own
    }
}

// === impl Own ===

impl Own {
    /// The place of a subset's balancer, which is made if nobody asked for it before.
    fn balancer(&mut self, subset: Subset, rng: &mut SmallRng) -> usize {
        let known = self
            .balancers
            .iter()
            .position(|(known, _)| *known == subset);
        known.unwrap_or_else(|| {
            if let Some(candidates) = self.cluster.subset(subset) {
                let balancer = Balancer::new(candidates, rng);
                self.balancers.push((subset, balancer));
            }
            self.balancers.len() - 1
        })
    }
}
