//! A worker's own part of balancing: latencies and turns, per cluster, carried from one generation of it to the next.

use std::collections::HashMap;
use std::sync::Arc;

use rand::rngs::SmallRng;
use weft_core::balance::{Balancer, Latencies, Pick, Seen};
use weft_core::time::Moment;

use crate::world::{Cluster, Subset};

/// By the address of the service's name, which lives as long as the service does; the entry keeps it alive.
#[derive(Debug, Default)]
pub(super) struct Balances(HashMap<usize, Own>);

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
        failed: &[usize],
        now: Moment,
        rng: &mut SmallRng,
    ) -> Option<Pick> {
        let candidates = cluster.subset(subset)?;
        let own = self.own(cluster);
        let place = match own.balancers.iter().position(|(known, _)| *known == subset) {
            Some(place) => place,
            None => {
                own.balancers.push((
                    subset,
                    Balancer::new(cluster.traffic.balance, candidates, rng),
                ));
                own.balancers.len() - 1
            }
        };
        own.balancers[place].1.pick(
            candidates,
            &cluster.members,
            &own.latencies,
            failed,
            now,
            rng,
        )
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
