//! One connection at the control socket: frames in, frames out.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;
use weft_model::frame::{FromEngine, ToEngine};

use super::ask::{Ask, Change};
use super::frames::{self, FrameError};
use super::inspect::inspect;
use super::said::welcome;
use super::standing::Standing;
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
    next: Cell<u64>,
}

#[derive(Debug)]
struct Writer {
    number: u64,
    replaced: Rc<Notify>,
    out: mpsc::Sender<FromEngine>,
}

/// Frames that may wait for a slow agent; events beyond are dropped.
const QUEUE: usize = 256;

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
    ) -> Self {
        Self {
            asks,
            latest,
            workers,
            writer: RefCell::default(),
            standing,
            next: Cell::new(1),
        }
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
        let ended = tokio::select! {
            ended = self.frames(number, &mut read, &out, &replaced) => ended,
            () = replaced.notified() => {
                tracing::info!("a newer agent took over");
                Ok(())
            }
        };
        if let Err(error) = ended {
            tracing::warn!(%error, "a control connection was closed");
            if !matches!(error, FrameError::Lost(_)) {
                let refused = FromEngine::Nack {
                    generation: 0,
                    section: String::new(),
                    code: "bad_frame".to_owned(),
                    path: String::new(),
                    message: error.to_string(),
                };
                let _ = out.try_send(refused);
            }
        }
        self.writer
            .borrow_mut()
            .take_if(|writer| writer.number == number);
        self.standing.agent(self.writer.borrow().is_some());
        drop(out);
        let _ = writing.await;
    }

    async fn frames(
        &self,
        number: u64,
        read: &mut OwnedReadHalf,
        out: &mpsc::Sender<FromEngine>,
        replaced: &Rc<Notify>,
    ) -> Result<(), FrameError> {
        while let Some(frame) = frames::read(read).await? {
            let said = match frame {
                ToEngine::Hello { schema, agent } => {
                    self.take_over(Writer {
                        number,
                        replaced: Rc::clone(replaced),
                        out: out.clone(),
                    });
                    tracing::info!(schema, agent, "an agent is here");
                    Some(welcome(&self.latest.borrow()))
                }
                ToEngine::Inspect {} => Some(FromEngine::State {
                    json: inspect(&self.latest.borrow()),
                }),
                frame if self.is_writer(number) => self.change(frame).await,
                _ => return Err(FrameError::Malformed("a change before `hello`".to_owned())),
            };
            if let Some(said) = said
                && out.send(said).await.is_err()
            {
                return Ok(());
            }
        }
        Ok(())
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
            ToEngine::Hello { .. } | ToEngine::Inspect {} => return None,
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
        let until = Instant::now() + within;
        let (answer, answered) = oneshot::channel();
        if self.asks.send(Ask::Drain { answer }).await.is_err() || answered.await.is_err() {
            return;
        }
        let open = || self.workers.iter().map(Handle::open).sum::<u64>();
        while open() > 0 && Instant::now() < until {
            tokio::time::sleep(DRAIN_TICK).await;
        }
        tracing::info!(open = open(), "drained");
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

async fn write_all(mut to: OwnedWriteHalf, mut queue: mpsc::Receiver<FromEngine>) {
    while let Some(frame) = queue.recv().await {
        if let Err(error) = frames::write(&mut to, &frame).await {
            tracing::debug!(%error, "an agent left while it was answered");
            return;
        }
    }
}
