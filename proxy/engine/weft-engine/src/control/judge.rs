//! What the control thread decides about instances: shares and latencies of the last seconds, hosts that may be back,
//! suspects that are given up; and what it tells about it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_local};
use tokio::time::{Instant, timeout};
use weft_core::endpoint::Rotation;
use weft_core::outlier::claim_hosts;

use crate::worker::{News, moment};
use crate::world::{Cluster, Subset, World};

/// How often hosts that may be back are looked for.
const TICK: Duration = Duration::from_millis(250);

/// Ticks in a second.
const TICKS: u32 = 4;

/// Hosts that are connected to at once.
const MOST: usize = 64;

/// A connection that only asks whether somebody is there takes no longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Judges for ever.
pub(super) async fn judge(look: watch::Receiver<Arc<World>>, news: mpsc::UnboundedSender<News>) {
    let mut judge = Judge {
        news: news.clone(),
        calm: None,
        panics: HashSet::new(),
    };
    for tick in 0_u32.. {
        tokio::time::sleep(TICK).await;
        let world = look.borrow().clone();
        let due = judge.hosts(&world);
        if !due.is_empty() {
            drop(spawn_local(probe(due, look.clone(), news.clone())));
        }
        if tick.is_multiple_of(TICKS) {
            judge.roll(&world);
        }
    }
}

struct Judge {
    news: mpsc::UnboundedSender<News>,
    /// The count of changes at which no host was out.
    calm: Option<u64>,
    /// Services of which all instances are used, because too many are ejected.
    panics: HashSet<Arc<str>>,
}

/// A host to connect to, as one service knows it.
struct Due {
    cluster: Arc<Cluster>,
    member: usize,
}

// === impl Judge ===

impl Judge {
    /// Those whose time is over; nothing is looked at while no host is out.
    fn hosts(&mut self, world: &World) -> Vec<Due> {
        let mut clusters = world.services.values().map(|service| &service.cluster);
        let changes = clusters.next().map(|cluster| cluster.members.changes());
        if changes.is_none() || changes == self.calm {
            return Vec::new();
        }
        let now = moment(Instant::now());
        let (mut due, mut out) = (Vec::new(), false);
        for service in world.services.values() {
            let members = &service.cluster.members;
            out = out || members.list().iter().any(|member| member.host.is_ejected());
            let room = MOST.saturating_sub(due.len());
            due.extend(claim_hosts(members, now).take(room).map(|member| Due {
                cluster: Arc::clone(&service.cluster),
                member,
            }));
        }
        self.calm = changes.filter(|_| !out);
        due
    }

    /// Judges the last seconds; every second.
    fn roll(&mut self, world: &World) {
        let now = moment(Instant::now());
        for service in world.services.values() {
            let cluster = &service.cluster;
            for event in cluster.outlier.roll(&cluster.members, now) {
                drop(self.news.send(News::outlier(cluster, event)));
            }
            let stand = (cluster.subset(Subset::ALL))
                .filter(|_| cluster.members.ejected() > 0)
                .map(|all| all.stand(&cluster.members, now));
            let panics = stand.is_some_and(|stand| stand.panic);
            if panics != self.panics.contains(&cluster.name) {
                match panics {
                    true => drop(self.panics.insert(Arc::clone(&cluster.name))),
                    false => drop(self.panics.remove(&cluster.name)),
                }
                tracing::warn!(service = %cluster.name, panics, "panic begins or ends");
                drop(self.news.send(News::panic(cluster, panics)));
            }
        }
        self.panics.retain(|name| world.services.contains_key(name));
    }
}

/// Connects to all of them at once, then says who came back and which suspects are given up.
async fn probe(
    due: Vec<Due>,
    look: watch::Receiver<Arc<World>>,
    news: mpsc::UnboundedSender<News>,
) {
    let mut tries = JoinSet::new();
    for Due { cluster, member } in due {
        tries.spawn_local(async move {
            let address = cluster.members.list()[member].endpoint.address;
            let patience = cluster.traffic.connect_timeout.min(PATIENCE);
            let connected = timeout(patience, TcpStream::connect(address)).await;
            (cluster, member, matches!(connected, Ok(Ok(_))))
        });
    }
    let mut missed: Vec<Arc<Rotation>> = Vec::new();
    while let Some(tried) = tries.join_next().await {
        // One that is lost is repeated when its claim ends.
        let Ok((cluster, member, reached)) = tried else {
            continue;
        };
        let members = &cluster.members;
        if !reached {
            missed.push(Arc::clone(&members.list()[member].host));
        }
        let now = moment(Instant::now());
        if let Some(event) = cluster.outlier.probed(members, member, reached, now) {
            drop(news.send(News::outlier(&cluster, event)));
        }
    }
    if missed.is_empty() {
        return;
    }
    let world = look.borrow().clone();
    for service in world.services.values() {
        let cluster = &service.cluster;
        let is_missed = |host: &Arc<Rotation>| missed.iter().any(|one| Arc::ptr_eq(one, host));
        for event in cluster.outlier.missed(&cluster.members, is_missed) {
            drop(news.send(News::outlier(cluster, event)));
        }
    }
}
