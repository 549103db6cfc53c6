//! From a configuration to a running engine, and to its end.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::{LocalSet, spawn_local};

use super::admin::Admin;
use super::begin::{Begin, Begun};
use super::connection::Desk;
use super::core::Core;
use super::estate::Doors;
use super::judge::judge;
use super::notify;
use super::saver;
use super::signals::{Signals, listen};
use super::socket::Door;
use super::standing::Standing;
use super::watchdog;
use crate::config::Config;
use crate::watch::start as start_watch;
use crate::worker::{Handle, Rooms, Shared, spawn};
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

/// How this process came to be, for the one that comes after it.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    /// The configuration's file.
    pub(crate) config: PathBuf,
    /// Whether to take over from the engine that runs with it, if one does.
    pub(crate) replace: bool,
}

/// Why an engine ends in order.
enum End {
    Signal,
    /// To be answered when nothing is accepted or written here any more.
    HandedOver(oneshot::Sender<()>),
}

/// Runs an engine until a signal ends it or a successor took over (`Ok`), or a worker is lost.
pub(crate) fn run(config: &Config, command: Command) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| StartError::new("the runtime", error))?;
    LocalSet::new().block_on(&runtime, serve(config, command))
}

async fn serve(config: &Config, command: Command) -> Result<(), StartError> {
    let (mut signals, mut hangup) = (Signals::new()?, listen(SignalKind::hangup())?);
    let Begin { admin, door, from } = Begin::new(config, command.replace).await?;
    let (inherited, from) = from.listeners(config.worker_count())?;

    let empty = Arc::new(World::empty());
    let (news, mut heard) = mpsc::unbounded_channel();
    let watch = start_watch(&config.access_log, &config.traces, &config.state_dir)
        .map_err(|error| StartError::new("the watching thread", error))?;
    let shared = Shared {
        caps: Arc::default(),
        watch: Arc::clone(&watch),
    };
    let bounds = Arc::new(config.bounds.clone());
    let rooms = Rooms::default();
    let begin = |index| {
        let (empty, bounds) = (Arc::clone(&empty), Arc::clone(&bounds));
        let (news, shared) = (news.clone(), shared.clone());
        spawn(index, empty, (bounds, rooms.clone()), news, shared)
    };
    let workers = (0..config.worker_count()).map(begin);
    let workers: Arc<[Handle]> = workers
        .collect::<io::Result<_>>()
        .map_err(|error| StartError::new("the workers", error))?;
    let (latest, look) = watch::channel(empty);
    let serving = Arc::new(AtomicBool::new(false));
    let standing = Arc::new(Standing::new());
    let answers = Admin {
        workers: Arc::clone(&workers),
        latest: look.clone(),
        serving: Arc::clone(&serving),
        standing: Arc::clone(&standing),
        watch: Arc::clone(&watch),
        scrapes: Arc::new(Semaphore::new(SCRAPES)),
    };
    let failed = |what: &'static str| move |error| StartError::new(what, error);
    let admin_descriptor = admin.as_fd().try_clone_to_owned();
    let admin_descriptor = admin_descriptor.map_err(failed("the admin socket"))?;
    let scrapes = spawn_local(answers.serve(admin));

    let mut core = Core::new(Arc::clone(&workers), latest, serving, inherited);
    let Begun {
        disk,
        fell_back,
        predecessor: took_over,
    } = from.begin(config, &mut core).await?;
    if let Some(fell_back) = &fell_back {
        standing.fell(fell_back.why);
    }
    let doors = Doors {
        state_dir: config.state_dir.clone(),
        lock: disk.lock().map_err(failed("the lock"))?,
        socket: door.descriptor().map_err(failed("the control socket"))?,
        admin: admin_descriptor,
    };
    let saver = saver::start(disk, look.clone(), took_over.is_some())
        .map_err(failed("the saving thread"))?;
    let (asks, asked) = mpsc::channel(QUEUE);
    if let Some(predecessor) = took_over {
        core.tell(
            predecessor
                .into_stream()
                .map_err(failed("the engine before"))?,
        );
    }
    let core = spawn_local(core.run(asked));
    let (desk, handed) = Desk::new(
        asks,
        look.clone(),
        Arc::clone(&workers),
        standing,
        watch,
        doors,
        fell_back,
    );
    let desk = Rc::new(desk);
    let listening = Rc::clone(&desk);
    spawn_local(async move {
        while let Some(news) = heard.recv().await {
            listening.tell(&news);
        }
    });
    spawn_local(judge(look, news));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), workers = workers.len(), admin = %config.admin.listen, "started");
    notify::ready();

    let ended = tokio::select! {
        lost = watchdog::watch(Arc::clone(&workers)) => Err(StartError::new(lost, io::Error::other("the supervisor restarts it"))),
        () = signals.asked() => Ok(End::Signal),
        Ok(done) = handed => Ok(End::HandedOver(done)),
        _ = core => Err(StartError::new("the control task died", io::Error::other("the supervisor restarts it"))),
        error = answer(&door, &desk) => Err(error),
        () = succeed_at(&mut hangup, &command) => Ok(End::Signal),
    };
    let within = config.drain();
    match ended {
        Ok(End::Signal) => {
            notify::stopping();
            signals.or(desk.drain(within)).await;
            saver.finish();
            Ok(())
        }
        Ok(End::HandedOver(done)) => {
            door.leave();
            scrapes.abort();
            let _ = scrapes.await;
            saver.finish();
            // A successor that is gone was told everything.
            let _ = done.send(());
            signals.or(desk.until_nothing_is_open(within)).await;
            Ok(())
        }
        Err(error) => {
            saver.give_up();
            Err(error)
        }
    }
}

/// Starts a successor at every SIGHUP: the program that is at our own path now.
async fn succeed_at(hangup: &mut Signal, command: &Command) {
    let program = std::env::current_exe();
    while hangup.recv().await.is_some() {
        let started = program
            .as_ref()
            .map_err(ToString::to_string)
            .and_then(|program| {
                std::process::Command::new(program)
                    .arg("--config")
                    .arg(&command.config)
                    .arg("--replace")
                    .spawn()
                    .map_err(|error| error.to_string())
            });
        match started {
            Ok(mut child) => {
                tracing::info!(pid = child.id(), "SIGHUP: a successor was started");
                std::thread::spawn(move || {
                    if let Ok(status) = child.wait() {
                        tracing::error!(%status, "the successor ended before this engine did");
                    }
                });
            }
            Err(error) => tracing::error!(%error, "no successor can be started"),
        }
    }
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

// === impl StartError ===

impl StartError {
    pub(super) fn new(what: impl Into<String>, error: io::Error) -> Self {
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
