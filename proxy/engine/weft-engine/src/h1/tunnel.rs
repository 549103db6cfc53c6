//! After a 101: bytes both ways, each direction ending alone, one idle timer over both.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use crate::io::{Deadline, Input, Stream};

/// One direction.
#[derive(Debug, Default)]
struct Way {
    written: usize,
    ending: bool,
    ended: bool,
    moved: bool,
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

// === impl Tunnel ===

impl Tunnel {
    /// Carries bytes until both sides have ended, one breaks, or nothing moves for `idle`.
    pub(crate) async fn run(
        &mut self,
        mut down: Side<'_>,
        mut up: Side<'_>,
        deadline: &mut Deadline,
        idle: Duration,
    ) -> io::Result<()> {
        deadline.set(Instant::now() + idle);
        poll_fn(|cx| {
            let there = self.there.poll(cx, &mut down, &mut up)?;
            let back = self.back.poll(cx, &mut up, &mut down)?;
            if there.is_ready() && back.is_ready() {
                return Poll::Ready(Ok(()));
            }
            if self.there.take_moved() | self.back.take_moved() {
                deadline.set(Instant::now() + idle);
            }
            match deadline.poll(cx) {
                Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}

// === impl Way ===

impl Way {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Side<'_>,
        to: &mut Side<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            let unread = from.input.unread();
            if !unread.is_empty() {
                let count = ready!(to.stream.poll_write(cx, &[io::IoSlice::new(unread)]))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                from.input.consume(count);
                self.written += count;
                self.moved = true;
                continue;
            }
            if self.written > 0 {
                ready!(to.stream.poll_flush(cx))?;
                self.written = 0;
            }
            if self.ending {
                ready!(to.stream.poll_shutdown(cx))?;
                self.ended = true;
            } else if ready!(from.input.poll_fill(from.stream, cx))? == 0 {
                self.ending = true;
            }
        }
    }

    fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }
}
