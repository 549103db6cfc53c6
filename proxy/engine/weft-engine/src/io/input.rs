//! What was read from a stream and not yet consumed.

use std::io;
use std::task::{Context, Poll, ready};

use super::{Buffer, Stream};

/// A window into a buffer that is owned only while there is something in it.
#[derive(Debug, Default)]
pub(crate) struct Input {
    buffer: Option<Buffer>,
    start: usize,
    end: usize,
    came_full: bool,
}

// === impl Input ===

impl Input {
    /// What is there to be consumed.
    pub(crate) fn unread(&self) -> &[u8] {
        match &self.buffer {
            Some(buffer) => &buffer.bytes()[self.start..self.end],
            None => &[],
        }
    }

    /// Part of the buffer, as ranges from [`Input::take`] name it.
    pub(crate) fn slice(&self, range: std::ops::Range<usize>) -> &[u8] {
        match &self.buffer {
            Some(buffer) => &buffer.bytes()[range],
            None => &[],
        }
    }

    /// Where the unread bytes begin in the buffer.
    pub(crate) fn position(&self) -> usize {
        self.start
    }

    /// Consumes so many bytes. They stay where they are until the next [`Input::poll_fill`].
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end);
    }

    /// Gives the buffer back where nothing is left in it.
    pub(crate) fn release(&mut self) {
        if self.start == self.end {
            self.buffer = None;
            self.start = 0;
            self.end = 0;
            self.came_full = false;
        }
    }

    /// Reads more behind the unread bytes; 0 is the end of the stream. Nothing consumed may be looked at afterwards.
    ///
    /// While nothing comes an empty connection keeps no buffer. A buffer full of unread bytes is `OutOfMemory`: the decoder's
    /// own bounds are smaller, so that this is never seen.
    pub(crate) fn poll_fill(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.make_room();
        let buffer = self.buffer.get_or_insert_with(Buffer::smallest);
        let room = &mut buffer.bytes_mut()[self.end..];
        if room.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        }
        let wanted = room.len();
        let result = stream.poll_read(cx, room);
        if !matches!(result, Poll::Ready(Ok(_))) {
            self.release();
        }
        let count = ready!(result)?;
        self.end += count;
        self.came_full = count == wanted;
        Poll::Ready(Ok(count))
    }

    fn make_room(&mut self) {
        let Some(buffer) = &mut self.buffer else {
            return;
        };
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.came_full
                && let Some(larger) = buffer.larger()
            {
                *buffer = larger;
            }
            self.came_full = false;
            return;
        }
        let full = self.end == buffer.bytes().len();
        if self.start > 0 && full {
            buffer.bytes_mut().copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        } else if full && let Some(mut larger) = buffer.larger() {
            larger.bytes_mut()[..self.end].copy_from_slice(&buffer.bytes()[..self.end]);
            *buffer = larger;
        }
    }
}
