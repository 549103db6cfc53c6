//! A worker's thread: takes commands from the control thread, runs everything else as local tasks.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::LocalOptions;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::spawn_local;

use super::accept::accept;
use super::{News, Rooms, Shared, Worker};
use crate::bounds::Bounds;
use crate::exchange::{Mirrored, play_mirrored};
use crate::observe::{Counters, Listed, ListedTunnels, Scraped};
use crate::upstream::wanted;
use crate::world::World;

/// What the control thread asks of a worker.
#[derive(Debug)]
pub(crate) enum Command {
    /// Serve this from now on; answered with what was served before, so that it is freed elsewhere.
    Serve {
        /// From now on.
        world: Arc<World>,
        /// To accept on besides.
        opened: Vec<(SocketAddr, TcpListener)>,
        /// To accept on no longer.
        closed: Vec<SocketAddr>,
        /// When it is so.
        done: oneshot::Sender<Arc<World>>,
    },
    /// Second descriptors of every listening socket, for a successor.
    Lend {
        /// Where they go.
        lent: oneshot::Sender<io::Result<Vec<(SocketAddr, OwnedFd)>>>,
    },
}

/// A listening socket and the task that accepts there.
struct Listening {
    task: tokio::task::JoinHandle<()>,
    listener: Rc<tokio::net::TcpListener>,
}

/// The control thread's end of a worker.
#[derive(Debug)]
pub(crate) struct Handle {
    /// Where commands go.
    pub(crate) commands: UnboundedSender<Command>,
    /// Rises several times a second while the worker lives.
    pub(crate) beat: Arc<AtomicU64>,
    /// What it counts.
    pub(crate) scraped: Scraped,
    thread: JoinHandle<()>,
}

/// How often a worker shows that it lives.
const BEAT: Duration = Duration::from_millis(250);

/// How often idle upstream connections are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// So many copies of requests wait to be sent; those beyond are not.
const COPIES: usize = 64;

/// Starts a worker.
pub(crate) fn spawn(
    index: usize,
    world: Arc<World>,
    bounds: (Arc<Bounds>, Rooms),
    news: UnboundedSender<News>,
    shared: Shared,
) -> io::Result<Handle> {
    let (commands, inbox) = unbounded_channel();
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let beat = Arc::new(AtomicU64::new(0));
    let counters = Arc::<Counters>::default();
    let (own_beat, own_counters) = (Arc::clone(&beat), Arc::clone(&counters));
    let run = move || {
        let runtime = match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())
        {
            Ok(runtime) => runtime,
            Err(error) => return drop(tell.send(Err(error))),
        };
        let (mirrored, copies) = channel(COPIES);
        let worker = Rc::new_cyclic(|me| {
            let own = (me.clone(), mirrored);
            Worker::new(world, bounds, own_counters, news, &shared, own)
        });
        if tell
            .send(Ok((worker.requests.listed(), worker.tunnels.listed())))
            .is_ok()
        {
            runtime.block_on(work(worker, inbox, copies, own_beat));
        }
    };
    let thread = std::thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(run)?;
    let (requests, tunnels): (Arc<Listed>, Arc<ListedTunnels>) = told
        .recv()
        .map_err(|_| io::Error::other("a worker died at its start"))??;
    Ok(Handle {
        commands,
        beat,
        scraped: Scraped {
            counters,
            requests,
            tunnels,
        },
        thread,
    })
}

async fn work(
    worker: Rc<Worker>,
    mut inbox: UnboundedReceiver<Command>,
    copies: Receiver<Mirrored>,
    beat: Arc<AtomicU64>,
) {
    spawn_local(play_mirrored(Rc::clone(&worker), copies));
    spawn_local(async move {
        loop {
            beat.fetch_add(1, Relaxed);
            tokio::time::sleep(BEAT).await;
        }
    });
    let yielder = Rc::clone(&worker);
    spawn_local(async move {
        loop {
            wanted().await;
            yielder.pool.yield_room();
        }
    });
    let sweeper = Rc::clone(&worker);
    spawn_local(async move {
        loop {
            tokio::time::sleep(SWEEP).await;
            sweeper.pool.sweep();
            sweeper.waiters.sweep();
            sweeper.links.sweep();
        }
    });
    let mut accepting: HashMap<SocketAddr, Vec<Listening>> = HashMap::new();
    while let Some(command) = inbox.recv().await {
        let (world, opened, closed, done) = match command {
            Command::Serve {
                world,
                opened,
                closed,
                done,
            } => (world, opened, closed, done),
            Command::Lend { lent } => {
                // Whoever wanted them may be gone.
                let _ = lent.send(lend(&accepting));
                continue;
            }
        };
        for address in closed {
            for listening in accepting.remove(&address).into_iter().flatten() {
                listening.task.abort();
                // Only when it is gone is its socket closed: whoever is told so next may want the port.
                let _ = listening.task.await;
            }
        }
        let before = worker.refresh(world);
        for (address, socket) in opened {
            match tokio::net::TcpListener::from_std(socket) {
                Ok(listener) => {
                    let listener = Rc::new(listener);
                    let task = accept(Rc::clone(&listener), address, Rc::clone(&worker));
                    let task = spawn_local(task);
                    let listening = Listening { task, listener };
                    accepting.entry(address).or_default().push(listening);
                }
                Err(error) => tracing::error!(%address, %error, "a bound socket cannot be watched"),
            }
        }
        // Whoever asked may be gone; the world is served all the same.
        let _ = done.send(before);
    }
}

fn lend(accepting: &HashMap<SocketAddr, Vec<Listening>>) -> io::Result<Vec<(SocketAddr, OwnedFd)>> {
    let each = accepting.iter().flat_map(|(address, listening)| {
        listening.iter().map(move |one| (*address, &one.listener))
    });
    each.map(|(address, listener)| Ok((address, listener.as_fd().try_clone_to_owned()?)))
        .collect()
}

// === impl Handle ===

impl Handle {
    /// Whether the thread has ended.
    pub(crate) fn is_dead(&self) -> bool {
        self.thread.is_finished()
    }

    /// Downstream connections it has open.
    pub(crate) fn open(&self) -> u64 {
        self.scraped.counters.open()
    }
}
