//! A stream of bytes as the h2 crate wants it.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::meter::{Flood, Meter, Rates};
use crate::io::{Input, Stream};
use crate::tls::TlsReason;

/// What whoever serves a connection has to know of its frames: since when one waits for its end.
pub(super) type Waits = Rc<Cell<Option<Instant>>>;

/// After so many bytes those who take them have their turn, so that no burst of frames, however small, piles up.
const BURST: usize = 128 * 1024;

/// What TLS said when a connection broke; the h2 crate keeps no more than a text of it.
pub(super) type Said = Rc<Cell<Option<TlsReason>>>;

/// A connection, with what was read of it before it was known to be HTTP/2.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    first: Input,
    said: Said,
    meter: Option<Meter>,
    waits: Waits,
    /// Bytes read since others had their turn.
    burst: usize,
}

// === impl Wire ===

impl Wire {
    /// Towards an upstream.
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            first: Input::default(),
            said: Said::default(),
            meter: None,
            waits: Waits::default(),
            burst: 0,
        }
    }

    /// From a client, who is cut off for floods; `first` is read before the stream.
    pub(super) fn metered(stream: Stream, first: Input, rates: Rates) -> Self {
        Self {
            first,
            meter: Some(Meter::new(Instant::now(), rates)),
            ..Self::new(stream)
        }
    }

    /// Where it is told what TLS said.
    pub(super) fn said(&self) -> Said {
        Rc::clone(&self.said)
    }

    /// Where it is told since when a frame waits for its end.
    pub(super) fn waits(&self) -> Waits {
        Rc::clone(&self.waits)
    }

    fn heard<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result
            && let Some(reason) = TlsReason::within(error)
        {
            self.said.set(Some(reason));
        }
        result
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.burst >= BURST {
            self.burst = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = into.filled().len();
        let first = self.first.unread();
        if first.is_empty() {
            match self.stream.poll_read_buf(cx, into) {
                Poll::Ready(read) => self.heard(read)?,
                Poll::Pending => {
                    self.burst = 0;
                    return Poll::Pending;
                }
            }
        } else {
            let count = first.len().min(into.remaining());
            into.put_slice(&first[..count]);
            self.first.consume(count);
            self.first.release();
        }
        self.burst += into.filled().len() - before;
        let Self { meter, waits, .. } = &mut *self;
        if let Some(meter) = meter {
            let passed = meter.pass(&into.filled()[before..], Instant::now());
            waits.set(meter.open_since());
            passed.map_err(flooded)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.stream.poll_write(cx, parts));
        let written = self.heard(written)?;
        if let Some(meter) = &mut self.meter {
            let mut left = written;
            for part in parts {
                let count = left.min(part.len());
                meter.sent(&part[..count]).map_err(flooded)?;
                left -= count;
            }
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_shutdown(cx)
    }
}

fn flooded(flood: Flood) -> io::Error {
    io::Error::new(io::ErrorKind::QuotaExceeded, flood.text())
}
