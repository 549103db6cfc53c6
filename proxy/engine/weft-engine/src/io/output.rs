//! What is to be written to a stream and was not yet.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use super::Stream;

/// Bytes made here (heads, chunk sizes, small bodies), sent in one write with whatever of the other side's buffer follows.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// Written first. Callers append; [`Output::poll_send`] clears.
    pub(crate) staged: Vec<u8>,
    sent: usize,
    written: u64,
    dirty: bool,
}

// === impl Output ===

impl Output {
    /// Whether nothing is left to be written or flushed.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_written() && !self.dirty
    }

    /// How much was ever written through it.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    fn is_written(&self) -> bool {
        self.sent == self.staged.len()
    }

    /// Forgets everything, what was not sent included.
    pub(crate) fn clear(&mut self) {
        self.staged.clear();
        self.sent = 0;
        self.dirty = false;
    }

    /// Writes the staged bytes, then `body`, then `tail`, taking off both what was written. Ready when all is gone and flushed.
    pub(crate) fn poll_send(
        &mut self,
        stream: &mut Stream,
        body: &mut &[u8],
        tail: &mut &'static [u8],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !(self.is_written() && body.is_empty() && tail.is_empty()) {
            let staged = &self.staged[self.sent..];
            let written = match (staged.is_empty(), body.is_empty() && tail.is_empty()) {
                (false, true) => ready!(stream.poll_write(cx, &[IoSlice::new(staged)]))?,
                (true, false) if tail.is_empty() => {
                    ready!(stream.poll_write(cx, &[IoSlice::new(body)]))?
                }
                _ => {
                    let parts = [IoSlice::new(staged), IoSlice::new(body), IoSlice::new(tail)];
                    ready!(stream.poll_write(cx, &parts))?
                }
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written as u64;
            let of_staged = written.min(staged.len());
            let of_body = (written - of_staged).min(body.len());
            self.sent += of_staged;
            *body = &body[of_body..];
            *tail = &tail[written - of_staged - of_body..];
            self.dirty = true;
        }
        if self.dirty {
            ready!(stream.poll_flush(cx))?;
            self.dirty = false;
        }
        self.staged.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Writes and flushes the staged bytes.
    pub(crate) fn poll_flush(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_send(stream, &mut &[][..], &mut &[][..], cx)
    }
}
