//! The body a stream brings.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use weft_http1::{Fields, Limits};

use crate::relay::RelayError;

/// A body on its way in. What was taken is credited to the sender only when [`Incoming::release`] says so.
#[derive(Debug)]
pub(crate) struct Incoming {
    stream: RecvStream,
    unreleased: usize,
    data_ended: bool,
    trailers: Fields,
}

/// The next part of a body.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Some of it.
    Data(Bytes),
    /// What follows it, kept in [`Incoming::trailers`].
    Trailers,
    /// Nothing more.
    End,
}

// === impl Incoming ===

impl Incoming {
    /// Of a stream whose head was read.
    pub(crate) fn new(stream: RecvStream) -> Self {
        Self {
            stream,
            unreleased: 0,
            data_ended: false,
            trailers: Fields::new(),
        }
    }

    /// Takes the next part.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, RelayError>> {
        while !self.data_ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => {
                    self.unreleased += data.len();
                    return Poll::Ready(Ok(Piece::Data(data)));
                }
                Some(Err(_)) => return Poll::Ready(Err(RelayError::Source)),
                None => self.data_ended = true,
            }
        }
        match ready!(self.stream.poll_trailers(cx)) {
            Err(_) => Poll::Ready(Err(RelayError::Source)),
            Ok(None) => Poll::Ready(Ok(Piece::End)),
            Ok(Some(trailers)) => {
                let lines = super::head::lines(&trailers);
                Poll::Ready(
                    self.trailers
                        .assemble_trailers(lines, &Limits::REQUEST)
                        .map(|()| Piece::Trailers)
                        .map_err(RelayError::Refused),
                )
            }
        }
    }

    /// Credits the sender with what was taken so far.
    pub(crate) fn release(&mut self) {
        let count = std::mem::take(&mut self.unreleased);
        if count > 0 {
            // A stream that was reset needs no more credit.
            let _ = self.stream.flow_control().release_capacity(count);
        }
    }

    /// Whether everything was taken and no trailers follow.
    pub(crate) fn is_ended(&self) -> bool {
        self.stream.is_end_stream()
    }

    /// What followed the body.
    pub(crate) fn trailers(&self) -> &Fields {
        &self.trailers
    }
}
