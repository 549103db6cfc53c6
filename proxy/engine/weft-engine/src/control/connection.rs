//! One connection at the control socket: frames in, frames out.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;
use weft_model::frame::{FromEngine, TapFilter, ToEngine};

use super::ask::{Ask, Change};
use super::disk::FellBack;
use super::estate::Doors;
use super::frames::{self, FrameError};
use super::handover;
use super::inspect::{inspect, sections};
use super::said::welcome;
use super::standing::Standing;
use crate::watch::{Filter, Watch};
use crate::worker::{Handle, News};
use crate::world::World;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Desk {
    /// To the core.
    pub(crate) asks: mpsc::Sender<Ask>,
    /// What is served.
    pub(crate) latest: watch::Receiver<Arc<World>>,
    /// Who forwards.
    pub(crate) workers: Arc<[Handle]>,
    /// The one connection that may write.
    writer: RefCell<Option<Writer>>,
    standing: Arc<Standing>,
    watch: Arc<Watch>,
    next: Cell<u64>,
    /// What a successor gets besides; none when it has it.
    doors: RefCell<Option<Doors>>,
    /// Told when a successor serves, with whom to answer when nothing is accepted or written here any more.
    handed: RefCell<Option<oneshot::Sender<oneshot::Sender<()>>>>,
    /// What every agent is told: that what is newest on disk was not served.
    fell_back: Option<FellBack>,
    /// Ends all connections when it is so.
    over: watch::Sender<bool>,
}

/// How a connection ended.
enum End {
    Left,
    /// It is a successor's.
    HandOver(u32),
}

#[derive(Debug)]
struct Writer {
    number: u64,
    replaced: Rc<Notify>,
    out: mpsc::Sender<FromEngine>,
}

/// Frames that may wait for a slow agent; events beyond are dropped.
const QUEUE: usize = 256;

/// In a drain without a successor a connection that was silent for so long is let go.
const QUIET: Duration = Duration::from_millis(250);

/// How often a drain looks whether it is over.
const DRAIN_TICK: Duration = Duration::from_millis(20);

// === impl Desk ===

impl Desk {
    /// Before anybody came.
    pub(crate) fn new(
        asks: mpsc::Sender<Ask>,
        latest: watch::Receiver<Arc<World>>,
        workers: Arc<[Handle]>,
        standing: Arc<Standing>,
        watch: Arc<Watch>,
        doors: Doors,
        fell_back: Option<FellBack>,
    ) -> (Self, oneshot::Receiver<oneshot::Sender<()>>) {
        let (handed, taken) = oneshot::channel();
        let desk = Self {
            asks,
            latest,
            workers,
            writer: RefCell::default(),
            standing,
            watch,
            next: Cell::new(1),
            doors: RefCell::new(Some(doors)),
            handed: RefCell::new(Some(handed)),
            fell_back,
            over: watch::Sender::new(false),
        };
        (desk, taken)
    }

    /// Tells the writing agent, if there is one and it keeps up.
    pub(crate) fn tell(&self, news: &News) {
        if let Some(writer) = &*self.writer.borrow() {
            let fields = news
                .fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect();
            let _ = writer.out.try_send(FromEngine::Event {
                kind: news.kind.to_owned(),
                fields,
            });
        }
    }

    /// Serves a connection to its end.
    pub(crate) async fn serve(self: Rc<Self>, stream: UnixStream) {
        let number = self.next.replace(self.next.get() + 1);
        let (mut read, write) = stream.into_split();
        let (out, queue) = mpsc::channel(QUEUE);
        let writing = tokio::task::spawn_local(write_all(write, queue));
        let replaced = Rc::new(Notify::new());
        let mut over = self.over.subscribe();
        let ended = tokio::select! {
            ended = self.frames(number, &mut read, &out, &replaced) => ended,
            () = replaced.notified() => {
                tracing::info!("a newer agent took over");
                Ok(End::Left)
            }
            _ = over.wait_for(|over| *over) => Ok(End::Left),
        };
        if let Err(error) = &ended {
            tracing::warn!(%error, "a control connection was closed");
            if !matches!(error, FrameError::Lost(_)) {
                let refused = FromEngine::Nack {
                    generation: 0,
                    section: String::new(),
                    code: "bad_frame".to_owned(),
                    path: String::new(),
                    message: error.to_string(),
                    also: Vec::new(),
                };
                let _ = out.try_send(refused);
            }
        }
        self.writer
            .borrow_mut()
            .take_if(|writer| writer.number == number);
        self.standing.agent(self.writer.borrow().is_some());
        drop(out);
        let written = writing.await;
        if let (Ok(End::HandOver(format)), Ok(write)) = (ended, written)
            && let Ok(stream) = read.reunite(write)
        {
            self.hand_over(stream, format).await;
        }
    }

    async fn frames(
        &self,
        number: u64,
        read: &mut OwnedReadHalf,
        out: &mpsc::Sender<FromEngine>,
        replaced: &Rc<Notify>,
    ) -> Result<End, FrameError> {
        while let Some(frame) = frames::read(read).await? {
            let said = match frame {
                ToEngine::Hello { schema, agent } => {
                    self.take_over(Writer {
                        number,
                        replaced: Rc::clone(replaced),
                        out: out.clone(),
                    });
                    tracing::info!(schema, agent, "an agent is here");
                    let welcome = welcome(&self.latest.borrow());
                    if out.send(welcome).await.is_err() {
                        return Ok(End::Left);
                    }
                    self.fell_back.as_ref().map(FellBack::event)
                }
                ToEngine::Handover { format } => return Ok(End::HandOver(format)),
                ToEngine::Inspect {} => Some(FromEngine::State {
                    json: inspect(&self.latest.borrow()),
                }),
                ToEngine::Sections {} => Some(sections(&self.latest.borrow())?),
                ToEngine::Subscribe { filter } => {
                    return self.tap(&filter, read, out).await.map(|()| End::Left);
                }
                frame if self.is_writer(number) => self.change(frame).await,
                _ => return Err(FrameError::Malformed("a change before `hello`".to_owned())),
            };
            if let Some(said) = said
                && out.send(said).await.is_err()
            {
                return Ok(End::Left);
            }
        }
        Ok(End::Left)
    }

    /// Hands records over until the reader leaves.
    async fn tap(
        &self,
        filter: &TapFilter,
        read: &mut OwnedReadHalf,
        out: &mpsc::Sender<FromEngine>,
    ) -> Result<(), FrameError> {
        let tapped = Filter::parse(filter).and_then(|filter| {
            let tapped = self.watch.tap(filter);
            tapped.ok_or_else(|| "as many taps as there may be are open".to_owned())
        });
        let mut tapped = match tapped {
            Ok(tapped) => tapped,
            Err(message) => return Err(FrameError::Refused(message)),
        };
        tracing::info!(?filter, "somebody taps");
        let _ = out.send(FromEngine::Subscribed {}).await;
        loop {
            let (record, dropped) = tokio::select! {
                // Nothing more is expected; what comes is the end, or as good as it.
                _ = frames::read(read) => return Ok(()),
                next = tapped.next() => match next {
                    Some(next) => next,
                    None => return Ok(()),
                },
            };
            if out.send(FromEngine::Tap { record, dropped }).await.is_err() {
                return Ok(());
            }
        }
    }

    async fn change(&self, frame: ToEngine) -> Option<FromEngine> {
        let (answer, answered) = oneshot::channel();
        let ask = match frame {
            ToEngine::Apply {
                base,
                generation,
                policy,
                registry,
                reset,
                set,
                delete,
            } => {
                let change = Change {
                    base,
                    generation,
                    policy,
                    registry,
                    reset,
                    set,
                    delete,
                };
                Ask::Apply { change, answer }
            }
            ToEngine::Identity {
                epoch,
                service,
                chain,
                key,
            } => Ask::Identity {
                epoch,
                name: service,
                chain,
                key,
                answer,
            },
            ToEngine::Trust {
                epoch,
                bundles,
                revoked,
            } => Ask::Trust {
                epoch,
                bundles,
                revoked,
                answer,
            },
            ToEngine::Drain { deadline_ms } => {
                self.drain(Duration::from_millis(deadline_ms)).await;
                return Some(FromEngine::Drained {});
            }
            ToEngine::Hello { .. }
            | ToEngine::Inspect {}
            | ToEngine::Sections {}
            | ToEngine::Subscribe { .. }
            | ToEngine::Handover { .. }
            | ToEngine::Serving {} => return None,
        };
        self.asks.send(ask).await.ok()?;
        let said = answered.await.ok()?;
        if matches!(said, FromEngine::Ack { .. }) {
            self.standing.acked();
        }
        Some(said)
    }

    /// Accepts no more, and returns when nothing is open any more or the time is over.
    pub(crate) async fn drain(&self, within: Duration) {
        let (answer, answered) = oneshot::channel();
        let ask = Ask::Drain {
            quiet: QUIET,
            answer,
        };
        if self.asks.send(ask).await.is_err() || answered.await.is_err() {
            return;
        }
        self.until_nothing_is_open(within).await;
    }

    /// Returns when nothing is open any more or the time is over.
    pub(crate) async fn until_nothing_is_open(&self, within: Duration) {
        let until = Instant::now() + within;
        let open = || self.workers.iter().map(Handle::open).sum::<u64>();
        while open() > 0 && Instant::now() < until {
            tokio::time::sleep(DRAIN_TICK).await;
        }
        tracing::info!(open = open(), "drained");
    }

    /// Gives everything to a successor, and tells it of changes as long as connections are open here.
    async fn hand_over(&self, stream: UnixStream, format: u32) {
        let given = match self.give(stream, format).await {
            Ok(given) => given,
            Err(error) => return tracing::error!(%error, "a hand-over failed; this engine goes on"),
        };
        tracing::info!("handed over to a successor");
        let mut from = given;
        while let Ok(Some(frame)) = frames::read(&mut from).await {
            drop(self.change(frame).await);
        }
    }

    async fn give(&self, stream: UnixStream, format: u32) -> io::Result<UnixStream> {
        let mut stream = stream.into_std()?;
        let refused = |stream: &mut std::os::unix::net::UnixStream, error: io::Error| {
            let _ = handover::say(stream, &refusal(&error));
            error
        };
        if format != handover::FORMAT {
            let what = format!(
                "format {format}; this engine hands over {}",
                handover::FORMAT
            );
            return Err(refused(&mut stream, io::Error::other(what)));
        }
        let doors = self.doors.borrow().as_ref().map(Doors::try_clone);
        let doors = match doors {
            Some(doors) => doors?,
            None => {
                let error = io::Error::other("this engine has handed over already");
                return Err(refused(&mut stream, error));
            }
        };
        let gone = || io::Error::other("the core is gone");
        let (give, given) = oneshot::channel();
        let (take, taken) = oneshot::channel();
        let ask = Ask::HandOver { doors, give, taken };
        self.asks.send(ask).await.map_err(|_| gone())?;
        let estate = match given.await.map_err(|_| gone())? {
            Ok(estate) => estate,
            Err(error) => return Err(refused(&mut stream, error)),
        };
        let mut line = stream.try_clone()?;
        let giving = tokio::task::spawn_blocking(move || handover::give(stream, estate));
        let mut stream = match giving.await.map_err(io::Error::other)? {
            Ok(stream) => stream,
            Err(error) => return Err(refused(&mut line, error)),
        };
        drop(line);
        let (done, closed) = oneshot::channel();
        take.send(done).map_err(|_| gone())?;
        closed.await.map_err(|_| gone())?;
        let (done, ended) = oneshot::channel();
        drop(self.doors.take());
        if let Some(handed) = self.handed.take() {
            handed.send(done).map_err(|_| gone())?;
            ended.await.map_err(|_| gone())?;
        }
        // It serves, whether it hears this or not.
        let _ = handover::say(&mut stream, &FromEngine::Handed {});
        self.over.send_replace(true);
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    }

    fn take_over(&self, writer: Writer) {
        let before = self.writer.borrow_mut().replace(writer);
        self.standing.agent(true);
        if let Some(before) = before
            && !self.is_writer(before.number)
        {
            before.replaced.notify_one();
        }
    }

    fn is_writer(&self, number: u64) -> bool {
        self.writer
            .borrow()
            .as_ref()
            .is_some_and(|writer| writer.number == number)
    }
}

/// Everything it is given, until nobody gives any more; what it wrote to comes back.
async fn write_all(
    mut to: OwnedWriteHalf,
    mut queue: mpsc::Receiver<FromEngine>,
) -> OwnedWriteHalf {
    while let Some(frame) = queue.recv().await {
        if let Err(error) = frames::write(&mut to, &frame).await {
            tracing::debug!(%error, "an agent left while it was answered");
            break;
        }
    }
    to
}

fn refusal(error: &io::Error) -> FromEngine {
    FromEngine::Nack {
        generation: 0,
        section: String::new(),
        code: "handover_failed".to_owned(),
        path: String::new(),
        message: error.to_string(),
        also: Vec::new(),
    }
}
