//! From a configuration to a running engine, and to its end.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::Instant;

use super::admin::Admin;
use super::connection::Desk;
use super::core::Core;
use super::disk::Disk;
use super::saver;
use super::socket::Door;
use super::standing::Standing;
use super::watchdog;
use crate::config::Config;
use crate::observe::Caps;
use crate::worker::{Handle, News, Rooms, moment, spawn};
use crate::world::World;

/// Why an engine cannot start.
#[derive(Debug)]
pub(crate) struct StartError {
    what: String,
    error: io::Error,
}

/// Requests that may wait for the core.
const QUEUE: usize = 64;

/// Scrapes that are written at once.
const SCRAPES: usize = 2;

/// After a signal, open requests get this long.
const BRIEFLY: Duration = Duration::from_secs(5);

/// Runs an engine until a signal ends it (`Ok`), or a worker is lost.
pub(crate) fn run(config: &Config) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| StartError::new("the runtime", error))?;
    LocalSet::new().block_on(&runtime, serve(config))
}

async fn serve(config: &Config) -> Result<(), StartError> {
    let disk = Disk::open(&config.state_dir).map_err(|error| {
        StartError::new(format!("state_dir {}", config.state_dir.display()), error)
    })?;
    let admin_at = config.admin.listen;
    let admin_listener = TcpListener::bind(admin_at)
        .await
        .map_err(|error| StartError::new(format!("admin.listen {admin_at}"), error))?;
    let door = Door::open(&config.socket)
        .await
        .map_err(|error| StartError::new(format!("socket {}", config.socket.display()), error))?;
    let saved = disk
        .load()
        .map_err(|error| StartError::new("the snapshot on disk", error))?;

    let empty = Arc::new(World::empty());
    let (news, mut heard) = mpsc::unbounded_channel();
    let caps = Arc::<Caps>::default();
    let bounds = Arc::new(config.bounds.clone());
    let rooms = Rooms::default();
    let begin = |index| {
        let (empty, bounds) = (Arc::clone(&empty), Arc::clone(&bounds));
        let (news, caps) = (news.clone(), Arc::clone(&caps));
        spawn(index, empty, (bounds, rooms.clone()), news, caps)
    };
    let workers = (0..config.worker_count()).map(begin);
    let workers: Arc<[Handle]> = workers
        .collect::<io::Result<_>>()
        .map_err(|error| StartError::new("the workers", error))?;
    let (latest, look) = watch::channel(empty);
    let serving = Arc::new(AtomicBool::new(false));
    let standing = Arc::new(Standing::new());
    let admin = Admin {
        workers: Arc::clone(&workers),
        latest: look.clone(),
        serving: Arc::clone(&serving),
        standing: Arc::clone(&standing),
        scrapes: Arc::new(Semaphore::new(SCRAPES)),
    };
    spawn_local(admin.serve(admin_listener));

    let mut core = Core::new(Arc::clone(&workers), latest, serving);
    if let Some(saved) = saved {
        core.restore(saved).await;
    }
    let saver = saver::start(disk, look.clone())
        .map_err(|error| StartError::new("the saving thread", error))?;
    let (asks, asked) = mpsc::channel(QUEUE);
    let core = spawn_local(core.run(asked));
    let desk = Rc::new(Desk::new(
        asks,
        look.clone(),
        Arc::clone(&workers),
        standing,
    ));
    let listening = Rc::clone(&desk);
    spawn_local(async move {
        while let Some(news) = heard.recv().await {
            listening.tell(&news);
        }
    });
    spawn_local(roll(look, news));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), workers = workers.len(), admin = %admin_at, "started");

    let ended = tokio::select! {
        lost = watchdog::watch(workers) => Err(StartError::new(lost, io::Error::other("the supervisor restarts it"))),
        ended = until_signal() => ended,
        _ = core => Err(StartError::new("the control task died", io::Error::other("the supervisor restarts it"))),
        error = answer(&door, &desk) => Err(error),
    };
    if ended.is_ok() {
        desk.drain(BRIEFLY).await;
    }
    saver.finish();
    ended
}

async fn answer(door: &Door, desk: &Rc<Desk>) -> StartError {
    loop {
        match door.accept().await {
            Ok(stream) => drop(spawn_local(Rc::clone(desk).serve(stream))),
            Err(error) if error.raw_os_error().is_some() => {
                tracing::warn!(%error, "no control connection can be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => return StartError::new("the control socket", error),
        }
    }
}

async fn until_signal() -> Result<(), StartError> {
    let listen = |kind| signal(kind).map_err(|error| StartError::new("signals", error));
    let (mut terminate, mut interrupt) = (
        listen(SignalKind::terminate())?,
        listen(SignalKind::interrupt())?,
    );
    tokio::select! {
        _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "ending"),
        _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "ending"),
    }
    Ok(())
}

/// Judges the shares of successes every second.
async fn roll(look: watch::Receiver<Arc<World>>, news: mpsc::UnboundedSender<News>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let world = look.borrow().clone();
        let now = moment(Instant::now());
        for service in world.services.values() {
            let cluster = &service.cluster;
            for event in cluster.outlier.roll(&cluster.members, now) {
                drop(news.send(News::outlier(cluster, event)));
            }
        }
    }
}

// === impl StartError ===

impl StartError {
    fn new(what: impl Into<String>, error: io::Error) -> Self {
        Self {
            what: what.into(),
            error,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.error)
    }
}

impl std::error::Error for StartError {}
