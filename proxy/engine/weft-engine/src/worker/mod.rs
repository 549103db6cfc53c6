//! One thread that forwards: its own listeners, tasks, pool and counters; nothing on its path is locked.

mod accept;
mod announced;
mod balance;
mod changes;
mod crowd;
mod handshake;
mod life;
mod peer;
mod thread;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::Notify;
use tokio::sync::mpsc::{Sender, UnboundedSender};
use tokio::time::Instant;
use weft_core::balance::{Ask, Key, Pick, Seen, Why};
use weft_core::limit::Limit;
use weft_core::outlier;
use weft_core::time::Moment;

pub(crate) use changes::{Changes, Seen as SeenChanges};
pub(crate) use crowd::Rooms;
pub(crate) use life::{Life, Side};
pub(crate) use peer::Peer;
pub(crate) use thread::{Command, Handle, spawn};

use self::balance::Balances;
use self::crowd::Handshakes;
use crate::bounds::Bounds;
use crate::exchange::Mirrored;
use crate::h1::ReplayBudget;
use crate::observe::{Caps, Counters, Requests, Tunnels, words};
use crate::upstream::{self, Links, Pool, Waiters};
use crate::watch::{Watch, Watcher};
use crate::world::{Cluster, Place, Subset, World};

/// So many connections of one worker may wait for their first bytes at once: 16 KiB of memory each, at most.
const GREETINGS: u32 = 2048;

/// What the tasks of one worker share.
#[derive(Debug)]
pub(crate) struct Worker {
    me: Weak<Self>,
    /// What peers may use up.
    pub(crate) bounds: Arc<Bounds>,
    /// With clients, under way.
    handshakes: Handshakes,
    /// Behind each listener.
    rooms: Rooms,
    world: RefCell<Arc<World>>,
    /// Tells connections to ask whether they are still served.
    pub(crate) changes: Changes,
    /// Wakes open tunnels to ask whether their callers are still believed and allowed.
    pub(crate) rejudge: Notify,
    /// Idle connections to upstreams.
    pub(crate) pool: Pool,
    /// Those who wait for one, where their number is bounded.
    pub(crate) waiters: Waiters,
    /// Connections to upstreams that many requests share.
    pub(crate) links: Links,
    /// Its randomness.
    pub(crate) rng: RefCell<SmallRng>,
    /// What it counts.
    pub(crate) counters: Arc<Counters>,
    /// Requests it counts.
    pub(crate) requests: Requests,
    /// Connections whose bytes are only carried.
    pub(crate) tunnels: Tunnels,
    /// Connections that must say first who they are or whom they ask for, and have not yet.
    pub(crate) greetings: Arc<Limit>,
    /// Bodies it keeps for retries.
    pub(crate) replay: Rc<ReplayBudget>,
    /// Tells of single requests, where somebody listens.
    pub(crate) watcher: Watcher,
    /// Bodies it keeps for copies of requests.
    pub(crate) copies: Rc<ReplayBudget>,
    /// Where copies of requests go, to be sent when there is time.
    pub(crate) mirrored: Sender<Mirrored>,
    balances: RefCell<Balances>,
    news: UnboundedSender<News>,
}

/// What the workers of an engine have in common.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    /// How much is told apart in metrics.
    pub(crate) caps: Arc<Caps>,
    /// Who listens.
    pub(crate) watch: Arc<Watch>,
}

/// Something that the agent may want to know.
#[derive(Clone, Debug)]
pub(crate) struct News {
    /// As in `event` frames.
    pub(crate) kind: &'static str,
    /// By the names of the glossary.
    pub(crate) fields: Vec<(&'static str, String)>,
}

/// The moment that the engine's decisions are told.
pub(crate) fn moment(now: Instant) -> Moment {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let origin = *ORIGIN.get_or_init(|| now - std::time::Duration::from_secs(1));
    Moment::from_origin(now.saturating_duration_since(origin))
}

// === impl Worker ===

impl Worker {
    pub(crate) fn new(
        world: Arc<World>,
        (bounds, rooms): (Arc<Bounds>, Rooms),
        counters: Arc<Counters>,
        news: UnboundedSender<News>,
        shared: &Shared,
        (me, mirrored): (Weak<Self>, Sender<Mirrored>),
    ) -> Self {
        let pool = Pool::default();
        pool.show(world.tls.identities.values().map(|identity| identity.id));
        Self {
            me,
            handshakes: Handshakes::new(bounds.handshakes),
            bounds,
            rooms,
            world: RefCell::new(world),
            changes: Changes::default(),
            rejudge: Notify::new(),
            pool,
            waiters: Waiters::default(),
            links: Links::default(),
            rng: RefCell::new(SmallRng::from_os_rng()),
            counters,
            requests: Requests::new(Arc::clone(&shared.caps)),
            tunnels: Tunnels::new(Arc::clone(&shared.caps)),
            greetings: Arc::new(Limit::of(GREETINGS)),
            replay: Rc::default(),
            watcher: Watcher::new(Arc::clone(&shared.watch)),
            copies: Rc::default(),
            mirrored,
            balances: RefCell::default(),
            news,
        }
    }

    /// Itself, for tasks that may outlive it.
    pub(crate) fn me(&self) -> Weak<Self> {
        self.me.clone()
    }

    /// Connections to a host that gave no sign of life on one of them are worth nothing.
    pub(crate) fn give_up_on(&self, address: SocketAddr) {
        self.links.give_up_on(address);
        self.pool.give_up_on(address);
    }

    /// What is served now. For the length of a decision, not of a request.
    pub(crate) fn world(&self) -> std::cell::Ref<'_, Arc<World>> {
        self.world.borrow()
    }

    /// Serves another world from now on. The one before is returned, to be freed elsewhere.
    fn refresh(&self, world: Arc<World>) -> Arc<World> {
        let before = self.world.replace(world);
        let world = self.world();
        self.changes.note(
            before.tls.trust_epoch != world.tls.trust_epoch
                || before.draining != world.draining
                || before.places.len() != world.places.len()
                || before
                    .places
                    .keys()
                    .any(|address| !world.places.contains_key(address)),
        );
        if before.tls.trust_epoch != world.tls.trust_epoch
            || before.rules_epoch != world.rules_epoch
        {
            self.rejudge.notify_waiters();
        }
        self.pool
            .show(world.tls.identities.values().map(|identity| identity.id));
        let identities = &world.tls.identities;
        self.links
            .keep_identities(|id| identities.values().any(|identity| identity.id == id));
        self.balances.borrow_mut().sweep();
        drop(world);
        before
    }

    /// Whether a connection may take another request: its listener is there, nobody drains, its peer is still believed.
    pub(crate) fn still_serves(&self, address: SocketAddr, peer: Option<&Peer>) -> bool {
        self.draining().is_none() && self.may_ask(address, peer)
    }

    /// For how long a connection may be silent before a draining engine lets it go.
    pub(crate) fn draining(&self) -> Option<Duration> {
        self.world().draining
    }

    /// Whether a request that comes is served, were it the connection's last.
    pub(crate) fn may_ask(&self, address: SocketAddr, peer: Option<&Peer>) -> bool {
        let world = self.world();
        let Some(place) = world.places.get(&address) else {
            return false;
        };
        peer.is_some() == matches!(**place, Place::Inbound)
            && peer.is_none_or(|peer| peer.is_still_believed(&world.tls))
    }

    /// An upstream's connection that was used and is good: for whoever waits for it, else for the next request.
    pub(crate) fn give(&self, connection: Box<upstream::Connection>, idle: Duration, now: Instant) {
        if !connection.slot.is_wanted() {
            self.pool.give(connection, idle, now);
        } else if let Some(unwanted) = self.waiters.hand(connection) {
            // Somebody else wants its room.
            drop(unwanted);
        }
    }

    /// Who gets a request for these instances.
    pub(crate) fn pick(
        &self,
        cluster: &Arc<Cluster>,
        subset: Subset,
        (failed, key): (&[usize], Option<Key>),
        now: Instant,
    ) -> Option<Pick> {
        let ask = Ask {
            key,
            failed,
            now: moment(now),
        };
        let mut balances = self.balances.borrow_mut();
        let picked = balances.pick(cluster, subset, ask, &mut self.rng.borrow_mut());
        if let Some(pick) = picked
            && (pick.here.is_some() || pick.why != Why::Rotation)
        {
            cluster.shared.picked(pick);
        }
        picked
    }

    /// What calls of this host have in common.
    pub(crate) fn host_key(&self) -> Option<Key> {
        Key::of(self.world().snapshot.host.as_ref()?.name.as_bytes())
    }

    /// Where requests to these instances go now, if not to them: another service's, while none of these is in rotation.
    pub(crate) fn elsewhere(&self, cluster: &Arc<Cluster>) -> Option<Arc<Cluster>> {
        if cluster.traffic.failover.is_empty() {
            return None;
        }
        let now = moment(Instant::now());
        let is_out = |cluster: &Arc<Cluster>| {
            let mut balances = self.balances.borrow_mut();
            balances.is_out(cluster, now, &mut self.rng.borrow_mut())
        };
        if !is_out(cluster) {
            return None;
        }
        let world = self.world();
        let other = world.elsewhere(cluster, |other| !is_out(other))?;
        cluster.shared.failed_over();
        Some(Arc::clone(other))
    }

    /// What a request saw of an instance.
    pub(crate) fn observe(&self, cluster: &Arc<Cluster>, member: usize, seen: Seen, now: Instant) {
        if let Seen::Answer(took) = seen {
            cluster.outlier.took(&cluster.members, member, took);
        }
        self.balances
            .borrow_mut()
            .observe(cluster, member, seen, moment(now));
    }

    /// How a request to an instance ended.
    pub(crate) fn report(
        &self,
        cluster: &Cluster,
        pick: Pick,
        outcome: outlier::Outcome,
        now: Instant,
    ) {
        let told = cluster.outlier.report(
            &cluster.members,
            pick.member,
            pick.why,
            outcome,
            moment(now),
        );
        if let Some(event) = told {
            self.tell(News::outlier(cluster, event));
        }
    }

    /// Tells the agent, if there is one.
    pub(crate) fn tell(&self, news: News) {
        // The control thread ends last; without it nobody is left to be told.
        let _ = self.news.send(news);
    }
}

// === impl News ===

impl News {
    /// A limit refused somebody; told now and then.
    pub(crate) fn limited(destination: &str, limit: &str, who: String) -> Self {
        Self {
            kind: "limited",
            fields: vec![
                ("destination", destination.to_owned()),
                ("limit", limit.to_owned()),
                ("source", who),
            ],
        }
    }

    /// Somebody left rotation or came back; counts it.
    pub(crate) fn outlier(cluster: &Cluster, event: outlier::Event) -> Self {
        cluster.shared.changed(event.change);
        let (kind, cause) = words(event.change);
        let endpoint = &cluster.members.list()[event.member].endpoint;
        let mut fields = vec![
            ("service", cluster.name.to_string()),
            ("instance", endpoint.instance.clone()),
            ("host", endpoint.host.clone()),
        ];
        match event.change {
            outlier::Change::Ejected(length, _) | outlier::Change::HostEjected(length) => {
                fields.push(("for_ms", length.as_millis().to_string()));
                fields.push(("cause", cause.to_owned()));
            }
            outlier::Change::Returned | outlier::Change::HostReturned | outlier::Change::Gone => {}
        }
        if matches!(
            event.change,
            outlier::Change::HostEjected(_) | outlier::Change::HostReturned
        ) {
            fields.push(("scope", "host".to_owned()));
        }
        Self { kind, fields }
    }

    /// So many instances of a service are ejected that all are used, or not any more.
    pub(crate) fn panic(cluster: &Cluster, begins: bool) -> Self {
        let fields = vec![
            ("service", cluster.name.to_string()),
            ("state", if begins { "begins" } else { "ends" }.to_owned()),
        ];
        Self {
            kind: "panic",
            fields,
        }
    }
}
