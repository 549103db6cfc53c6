//! What the engine serves, and the only one who changes it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use serde_bytes::ByteBuf;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_local;
use weft_core::caller::Local;
use weft_model::Refusal;
use weft_model::frame::{FromEngine, ToEngine};

use super::ask::{Ask, Change};
use super::estate::{Doors, Estate, Experience, Left};
use super::frames;
use super::said::{crashed, epoch_answer, nack, unbound};
use super::sockets::{BindError, Bound, bind};
use super::state::Saved;
use super::trial::Suspects;
use crate::tls::Trust;
use crate::worker::{Command, Handle};
use crate::world::{Builder, Revisions, World};

/// Owns the world.
#[derive(Debug)]
pub(crate) struct Core {
    world: Arc<World>,
    builder: Builder,
    workers: Arc<[Handle]>,
    /// The newest; the disk's thread and whoever looks take it when they can.
    latest: watch::Sender<Arc<World>>,
    serving: Arc<AtomicBool>,
    /// Listening sockets of the engine before, until they are used.
    inherited: Bound,
    /// What is refused, because it crashed this engine.
    suspects: Suspects,
    /// To the engine before, while it drains.
    predecessor: Option<mpsc::UnboundedSender<ToEngine>>,
}

/// After a hand-over a connection that was silent for so long is let go: one that was not may just be bringing a request.
const QUIET_AFTER_HANDOVER: Duration = Duration::from_secs(2);

/// Marks a generation that is less than what it was on disk.
const PARTIAL: u64 = 1 << 62;

// === impl Core ===

impl Core {
    /// Serves nothing yet.
    pub(crate) fn new(
        workers: Arc<[Handle]>,
        latest: watch::Sender<Arc<World>>,
        serving: Arc<AtomicBool>,
        inherited: Bound,
    ) -> Self {
        let world = latest.borrow().clone();
        Self {
            world,
            builder: Builder::default(),
            workers,
            latest,
            serving,
            inherited,
            suspects: Suspects::default(),
            predecessor: None,
        }
    }

    /// Serves what the engine before did, on its sockets, and holds against endpoints what it learned of them.
    /// `false`: it cannot be.
    pub(crate) async fn succeed(&mut self, saved: Saved, experience: Experience) -> bool {
        let whole = self.restore(saved).await;
        experience.carry(&self.world);
        self.inherited.clear();
        whole
    }

    /// Refuses these from now on.
    pub(crate) fn suspect(&mut self, suspects: Suspects) {
        self.suspects = suspects;
    }

    /// Tells the engine before of every change from now on, while connections are open there: rights may be lost.
    pub(crate) fn tell(&mut self, predecessor: UnixStream) {
        let (tell, mut told) = mpsc::unbounded_channel::<ToEngine>();
        self.predecessor = Some(tell);
        spawn_local(async move {
            let (mut read, mut write) = predecessor.into_split();
            let gone = async {
                let mut rest = [0; 64];
                while matches!(read.read(&mut rest).await, Ok(1..)) {}
            };
            let telling = async {
                while let Some(frame) = told.recv().await {
                    if frames::write(&mut write, &frame).await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! {
                () = gone => {}
                () = telling => {}
            }
            tracing::info!("the engine before has ended");
        });
    }

    /// Serves what was saved. What cannot be used of it is said in the log, and the rest is served. Whether all of it is.
    pub(crate) async fn restore(&mut self, saved: Saved) -> bool {
        let Saved { served, keys } = saved;
        if let Err(message) = self.trust(served.bundles, served.revoked).await {
            tracing::warn!(error = %message, "the trust on disk cannot be used");
        }
        let change = Change {
            base: 0,
            generation: served.generation,
            policy: served.policy,
            registry: served.registry,
            reset: true,
            set: served.sections,
            delete: Vec::new(),
        };
        // Identities are built for a realm, which the host section names: it is known before them, and so before any port is open.
        let snapshot = self.world.snapshot.apply(true, &change.set, &[]);
        if let Ok(snapshot) = &snapshot
            && let Some(host) = &snapshot.host
            && let Ok(tls) = self.world.tls.at(&Local::of(host))
        {
            self.world = Arc::new(self.world.with_tls(tls));
        }
        for (name, keys) in keys {
            if let Err(message) = self.identity(&name, keys.chain, keys.key).await {
                tracing::warn!(identity = %name, error = %message, "an identity on disk cannot be used");
            }
        }
        self.serve_what_can_be(change).await
    }

    /// A port that somebody else took meanwhile costs itself only: the rest is served, under a generation that no agent
    /// knows, so that the next one starts anew and asks for that port again.
    async fn serve_what_can_be(&mut self, mut change: Change) -> bool {
        let mut whole = true;
        loop {
            let nack = match self.apply(&change).await {
                Ok(generation) => {
                    tracing::info!(generation, "serving what was there before");
                    return whole;
                }
                Err(nack) => nack,
            };
            match &nack {
                FromEngine::Nack {
                    section,
                    code,
                    message,
                    ..
                } if code == "bind_failed" && change.set.remove(section).is_some() => {
                    tracing::error!(%section, %message, "a listener on disk cannot be opened and is left out");
                    change.generation |= PARTIAL;
                    whole = false;
                }
                _ => {
                    tracing::error!(
                        ?nack,
                        "what was there before cannot be served; waiting for the agent"
                    );
                    return false;
                }
            }
        }
    }

    /// Answers until nobody can ask any more.
    pub(crate) async fn run(mut self, mut asked: mpsc::Receiver<Ask>) {
        while let Some(ask) = asked.recv().await {
            // Whoever asked may be gone; what was done stays done.
            match ask {
                Ask::Apply { change, answer } => {
                    self.pass_on(|| change.frame());
                    let said = match self.apply(&change).await {
                        Ok(generation) => FromEngine::Ack { generation },
                        Err(nack) => nack,
                    };
                    drop(answer.send(said));
                }
                Ask::Identity {
                    epoch,
                    name,
                    chain,
                    key,
                    answer,
                } => {
                    self.pass_on(|| ToEngine::Identity {
                        epoch,
                        service: name.clone(),
                        chain: chain.clone(),
                        key: key.clone(),
                    });
                    let done = self.identity(&name, chain, key).await;
                    drop(answer.send(epoch_answer(epoch, done)));
                }
                Ask::Trust {
                    epoch,
                    bundles,
                    revoked,
                    answer,
                } => {
                    self.pass_on(|| ToEngine::Trust {
                        epoch,
                        bundles: bundles.clone(),
                        revoked: revoked.clone(),
                    });
                    let done = self.trust(bundles, revoked).await;
                    drop(answer.send(epoch_answer(epoch, done)));
                }
                Ask::Drain { quiet, answer } => {
                    self.drain(quiet).await;
                    let _ = answer.send(());
                }
                Ask::HandOver { doors, give, taken } => {
                    if give.send(self.estate(doors).await).is_ok()
                        && let Ok(done) = taken.await
                    {
                        // The directory is the successor's from now on.
                        self.suspects = Suspects::default();
                        self.drain(QUIET_AFTER_HANDOVER).await;
                        let _ = done.send(());
                    }
                }
            }
        }
    }

    /// What is refused here is refused there too: it serves the same.
    fn pass_on(&mut self, frame: impl FnOnce() -> ToEngine) {
        let gone = |to: &mpsc::UnboundedSender<ToEngine>| to.is_closed();
        if self.predecessor.take_if(|to| gone(to)).is_none()
            && let Some(predecessor) = &self.predecessor
        {
            let _ = predecessor.send(frame());
        }
    }

    async fn drain(&mut self, quiet: Duration) {
        let closed = self.world.places.keys().copied().collect();
        self.publish(self.world.drained(quiet), Bound::new(), closed)
            .await;
    }

    /// All that is served, and a second descriptor of every listening socket.
    async fn estate(&self, doors: Doors) -> io::Result<Estate> {
        if self.world.draining.is_some() {
            return Err(io::Error::other("this engine drains already"));
        }
        let mut listeners: BTreeMap<SocketAddr, Vec<OwnedFd>> = BTreeMap::new();
        for worker in &*self.workers {
            let (lent, told) = oneshot::channel();
            let dead = |_| io::Error::other("a worker is dead");
            let asked = worker.commands.send(Command::Lend { lent });
            asked.map_err(|_| io::Error::other("a worker is dead"))?;
            for (address, descriptor) in told.await.map_err(dead)?? {
                listeners.entry(address).or_default().push(descriptor);
            }
        }
        Ok(Estate {
            left: Left::of(&self.world),
            doors,
            listeners,
        })
    }

    async fn apply(&mut self, change: &Change) -> Result<u64, FromEngine> {
        let generation = change.generation;
        if !change.reset && change.base != self.world.generation {
            let message = format!(
                "this engine serves generation {}, not {}",
                self.world.generation, change.base
            );
            return Err(nack(
                generation,
                String::new(),
                "rebase",
                String::new(),
                message,
            ));
        }
        if let Some((sections, left)) = self.suspects.among(&change.set) {
            return Err(crashed(generation, sections, left));
        }
        self.suspects.applying(&self.world.snapshot, &change.set);
        let done = self.put_in_force(change).await;
        if done.is_err() {
            self.suspects.refused();
        }
        done
    }

    async fn put_in_force(&mut self, change: &Change) -> Result<u64, FromEngine> {
        let generation = change.generation;
        let refused = |refusal: Refusal| {
            nack(
                generation,
                refusal.section,
                refusal.code.as_str(),
                refusal.path,
                refusal.message,
            )
        };
        let snapshot = self
            .world
            .snapshot
            .apply(change.reset, &change.set, &change.delete)
            .map_err(refused)?;
        let mut tls = self.world.tls.clone();
        if let Some(host) = &snapshot.host {
            tls = tls.at(&Local::of(host)).map_err(|error| {
                nack(
                    generation,
                    "host".to_owned(),
                    "invalid_section",
                    String::new(),
                    error.to_string(),
                )
            })?;
        }
        let revisions = Revisions {
            generation,
            policy: change.policy,
            registry: change.registry,
        };
        let next = self
            .builder
            .build(&self.world, snapshot, tls, revisions)
            .map_err(refused)?;
        let (opened, closed) = self
            .listen(&next)
            .map_err(|error| unbound(generation, &next, &error))?;
        self.builder.publish(&next);
        self.publish(next, opened, closed).await;
        self.serving.store(true, Relaxed);
        tracing::info!(
            generation,
            policy = change.policy,
            registry = change.registry,
            "serving"
        );
        Ok(generation)
    }

    async fn identity(
        &mut self,
        name: &str,
        chain: Vec<ByteBuf>,
        key: ByteBuf,
    ) -> Result<(), String> {
        let known = self.world.tls.identity(name);
        if known.is_some_and(|known| known.is_made_of(&chain, &key)) {
            return Ok(());
        }
        let tls = if chain.is_empty() {
            self.world.tls.without_identity(name)
        } else {
            let tls = self
                .world
                .tls
                .with_identity(name, der(chain), key.into_vec());
            tls.map_err(|error| error.to_string())?
        };
        self.publish(self.world.with_tls(tls), Bound::new(), Vec::new())
            .await;
        tracing::info!(identity = name, "identity changed");
        Ok(())
    }

    async fn trust(
        &mut self,
        bundles: BTreeMap<String, Vec<ByteBuf>>,
        revoked: Vec<String>,
    ) -> Result<(), String> {
        let bundles = bundles
            .into_iter()
            .map(|(domain, certificates)| (domain, der(certificates)))
            .collect();
        let trust = Trust::new(bundles, revoked)?;
        if trust.is_same(&self.world.tls.trust) {
            return Ok(());
        }
        let tls = self
            .world
            .tls
            .with_trust(trust)
            .map_err(|error| error.to_string())?;
        self.publish(self.world.with_tls(tls), Bound::new(), Vec::new())
            .await;
        tracing::info!("trust changed");
        Ok(())
    }

    /// Binds what is new and says what is gone; sockets whose address stays are not touched.
    fn listen(&mut self, next: &World) -> Result<(Bound, Vec<SocketAddr>), BindError> {
        if self.world.draining.is_some() {
            return Ok((Bound::new(), Vec::new()));
        }
        let now = &self.world.places;
        let fresh = next
            .places
            .keys()
            .copied()
            .filter(|address| !now.contains_key(address));
        let (given, fresh): (Vec<_>, Vec<_>) =
            fresh.partition(|address| self.inherited.contains_key(address));
        let mut opened = bind(fresh, self.workers.len())?;
        for address in given {
            opened.extend(self.inherited.remove_entry(&address));
        }
        let closed = now
            .keys()
            .copied()
            .filter(|address| !next.places.contains_key(address))
            .collect();
        Ok((opened, closed))
    }

    /// Hands every worker the new world and returns when the last of them serves it. What was served before is freed here.
    async fn publish(&mut self, world: World, mut opened: Bound, closed: Vec<SocketAddr>) {
        let world = Arc::new(world);
        let mut waiting = Vec::with_capacity(self.workers.len());
        for (index, worker) in self.workers.iter().enumerate() {
            let (done, told) = oneshot::channel();
            let left = self.workers.len() - index;
            let share = |sockets: &mut Vec<_>| {
                sockets.split_off(sockets.len() - sockets.len().div_ceil(left))
            };
            let own = opened.iter_mut().flat_map(|(address, sockets)| {
                share(sockets).into_iter().map(|socket| (*address, socket))
            });
            let own = own.collect();
            let command = Command::Serve {
                world: Arc::clone(&world),
                opened: own,
                closed: closed.clone(),
                done,
            };
            // A dead worker ends the process; the watchdog sees to it.
            if worker.commands.send(command).is_ok() {
                waiting.push(told);
            }
        }
        for told in waiting {
            drop(told.await);
        }
        self.world = Arc::clone(&world);
        self.latest.send_replace(world);
    }
}

fn der(certificates: Vec<ByteBuf>) -> Vec<CertificateDer<'static>> {
    certificates
        .into_iter()
        .map(|bytes| CertificateDer::from(bytes.into_vec()))
        .collect()
}
