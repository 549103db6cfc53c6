//! The body a stream takes.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use weft_http1::Fields;

use super::append_fields;

/// Bytes to be sent, piece by piece as the receiver has room.
pub(crate) trait Chunk {
    /// How many are left.
    fn left(&self) -> usize;
    /// Takes that many off.
    fn take(&mut self, count: usize) -> Bytes;
}

/// A body on its way out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    stream: SendStream<Bytes>,
    /// What of an earlier try goes first.
    backlog: Bytes,
    ended: bool,
}

// === impl Chunk ===

impl Chunk for Bytes {
    fn left(&self) -> usize {
        self.len()
    }

    fn take(&mut self, count: usize) -> Bytes {
        self.split_to(count)
    }
}

impl Chunk for &[u8] {
    fn left(&self) -> usize {
        self.len()
    }

    fn take(&mut self, count: usize) -> Bytes {
        let (taken, rest) = self.split_at(count);
        *self = rest;
        Bytes::copy_from_slice(taken)
    }
}

// === impl Outgoing ===

impl Outgoing {
    /// Of a stream whose head was sent; `ended`: the head was all.
    pub(crate) fn new(stream: SendStream<Bytes>, backlog: Bytes, ended: bool) -> Self {
        Self {
            stream,
            backlog,
            ended,
        }
    }

    /// Sends what the receiver has room for; ready when all of it is sent. `last`: nothing follows, trailers neither.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        chunk: &mut impl Chunk,
        last: bool,
    ) -> Poll<io::Result<()>> {
        if self.ended {
            return Poll::Ready(Ok(()));
        }
        ready!(push(&mut self.stream, cx, &mut self.backlog, false))?;
        if chunk.left() > 0 {
            ready!(push(&mut self.stream, cx, chunk, last))?;
            self.ended = last;
        }
        Poll::Ready(Ok(()))
    }

    /// Says that nothing more comes.
    pub(crate) fn finish(&mut self, trailers: Option<&Fields>) -> io::Result<()> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        let sent = match trailers {
            None => self.stream.send_data(Bytes::new(), true),
            Some(trailers) => {
                let mut map = http::HeaderMap::new();
                append_fields(&mut map, trailers.forwarded());
                self.stream.send_trailers(map)
            }
        };
        sent.map_err(broken)
    }

    /// Whether everything was said.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Ends it in the middle.
    pub(crate) fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }

    /// Ready when the receiver wants no more of it.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_reset(cx).map(drop)
    }
}

fn push(
    stream: &mut SendStream<Bytes>,
    cx: &mut Context<'_>,
    chunk: &mut impl Chunk,
    last: bool,
) -> Poll<io::Result<()>> {
    while chunk.left() > 0 {
        stream.reserve_capacity(chunk.left());
        let room = stream.capacity();
        if room == 0 {
            match ready!(stream.poll_capacity(cx)) {
                Some(Ok(_)) => continue,
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let piece = chunk.take(room.min(chunk.left()));
        let ends = last && chunk.left() == 0;
        stream.send_data(piece, ends).map_err(broken)?;
    }
    Poll::Ready(Ok(()))
}

fn broken(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, error)
}
