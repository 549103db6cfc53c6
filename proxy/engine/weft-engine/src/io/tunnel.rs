//! Bytes both ways, each direction ending alone, one idle timer over both.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::{Deadline, Input, Stream};

/// One direction.
#[derive(Debug, Default)]
struct Way {
    unflushed: bool,
    ending: bool,
    ended: bool,
    moved: u64,
}

/// Which end of a direction broke.
enum Broke {
    From(io::Error),
    To(io::Error),
}

/// A side: a stream and what was read from it already.
#[derive(Debug)]
pub(crate) struct Side<'a> {
    pub(crate) stream: &'a mut Stream,
    pub(crate) input: &'a mut Input,
}

/// Bytes both ways. May be interrupted and gone on with.
#[derive(Debug, Default)]
pub(crate) struct Tunnel {
    there: Way,
    back: Way,
}

/// How long a tunnel may last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// With nothing moving in either direction.
    pub(crate) idle: Duration,
    /// Whatever moves: a connection ends before the certificates it was opened with.
    pub(crate) expires: Option<Instant>,
}

/// A side of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The caller's.
    Down,
    /// The service's.
    Up,
}

/// Why a tunnel ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Both sides had nothing more to say.
    Whole,
    /// A side broke.
    Broken(Whose, io::Error),
    /// Nothing moved for too long.
    Idle,
    /// Its certificates end.
    Expired,
}

// === impl Tunnel ===

impl Tunnel {
    /// Carries bytes until it ends. `moved` is told how many went there and came back, while they do.
    pub(crate) async fn run(
        &mut self,
        mut down: Side<'_>,
        mut up: Side<'_>,
        deadline: &mut Deadline,
        bounds: Bounds,
        mut moved: impl FnMut(u64, u64),
    ) -> Ended {
        deadline.set(bounds.next());
        poll_fn(|cx| {
            let there = self.there.poll(cx, &mut down, &mut up);
            let back = self.back.poll(cx, &mut up, &mut down);
            let (sent, received) = (self.there.take_moved(), self.back.take_moved());
            if sent | received > 0 {
                moved(sent, received);
                deadline.set(bounds.next());
            }
            match (there, back) {
                (Poll::Ready(Err(error)), _) => {
                    return Poll::Ready(error.of(Whose::Down, Whose::Up));
                }
                (_, Poll::Ready(Err(error))) => {
                    return Poll::Ready(error.of(Whose::Up, Whose::Down));
                }
                (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(Ended::Whole),
                _ => {}
            }
            deadline.poll(cx).map(|()| bounds.over())
        })
        .await
    }
}

// === impl Whose ===

impl Whose {
    /// Of it, in a sentence.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Down => "caller's",
            Self::Up => "service's",
        }
    }
}

// === impl Bounds ===

impl Bounds {
    fn next(self) -> Instant {
        let idle = Instant::now() + self.idle;
        self.expires.map_or(idle, |expires| expires.min(idle))
    }

    fn over(self) -> Ended {
        match self.expires {
            Some(expires) if expires <= Instant::now() => Ended::Expired,
            _ => Ended::Idle,
        }
    }
}

// === impl Broke ===

impl Broke {
    /// Of a direction between these.
    fn of(self, from: Whose, to: Whose) -> Ended {
        match self {
            Self::From(error) => Ended::Broken(from, error),
            Self::To(error) => Ended::Broken(to, error),
        }
    }
}

// === impl Way ===

impl Way {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Side<'_>,
        to: &mut Side<'_>,
    ) -> Poll<Result<(), Broke>> {
        loop {
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            let unread = from.input.unread();
            if !unread.is_empty() {
                let count = to.stream.poll_write(cx, &[io::IoSlice::new(unread)]);
                let count = ready!(count).map_err(Broke::To)?;
                if count == 0 {
                    return Poll::Ready(Err(Broke::To(io::ErrorKind::WriteZero.into())));
                }
                from.input.consume(count);
                self.unflushed = true;
                self.moved += count as u64;
                continue;
            }
            if self.unflushed {
                ready!(to.stream.poll_flush(cx)).map_err(Broke::To)?;
                self.unflushed = false;
            }
            if self.ending {
                ready!(to.stream.poll_shutdown(cx)).map_err(Broke::To)?;
                self.ended = true;
            } else {
                let filled = ready!(from.input.poll_fill(from.stream, cx));
                self.ending = filled.map_err(Broke::From)? == 0;
            }
        }
    }

    fn take_moved(&mut self) -> u64 {
        std::mem::take(&mut self.moved)
    }
}
