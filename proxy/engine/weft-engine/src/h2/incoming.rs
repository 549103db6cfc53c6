//! The body a stream brings.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use weft_http1::{Fields, Limits};

use crate::relay::RelayError;

/// Frames smaller than this are joined: each costs the h2 crate a hundred bytes and more while it waits.
const SMALL: usize = 1024;

/// So much is joined into one piece.
const JOINED: usize = 16 * 1024;

/// A body on its way in. What was taken is credited to the sender only when [`Incoming::release`] says so.
#[derive(Debug)]
pub(crate) struct Incoming {
    stream: RecvStream,
    /// What came while nobody could take it, small frames joined; its sender's window bounds it.
    pieces: VecDeque<Bytes>,
    joined: BytesMut,
    unreleased: usize,
    data_ended: bool,
    broken: bool,
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
            pieces: VecDeque::new(),
            joined: BytesMut::new(),
            unreleased: 0,
            data_ended: false,
            broken: false,
            trailers: Fields::new(),
        }
    }

    /// Takes the next part.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, RelayError>> {
        if let Some(waiting) = self.waiting() {
            self.unreleased += waiting.len();
            return Poll::Ready(Ok(Piece::Data(waiting)));
        }
        if let Some(data) = ready!(self.poll_frame(cx))? {
            let data = if data.len() < SMALL {
                self.join(cx, data)
            } else {
                data
            };
            self.unreleased += data.len();
            return Poll::Ready(Ok(Piece::Data(data)));
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

    /// Takes what is there already, where what was taken before cannot go on yet: it is kept in fewer pieces here than it is
    /// as frames. What ends the body stays where it is.
    pub(crate) fn gather(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(frame) = self.poll_frame(cx) {
            match frame {
                Ok(Some(data)) if data.len() < SMALL => {
                    self.joined.extend_from_slice(&data);
                    if self.joined.len() >= JOINED {
                        self.pieces.push_back(self.joined.split().freeze());
                    }
                }
                Ok(Some(data)) => {
                    if !self.joined.is_empty() {
                        self.pieces.push_back(self.joined.split().freeze());
                    }
                    self.pieces.push_back(data);
                }
                // Said again to whoever takes the rest.
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// What was gathered, in its order.
    fn waiting(&mut self) -> Option<Bytes> {
        let joined = || {
            let joined = self.joined.split().freeze();
            (!joined.is_empty()).then_some(joined)
        };
        self.pieces.pop_front().or_else(joined)
    }

    /// Joins a small frame with those behind it that are there already, so that they go on together.
    fn join(&mut self, cx: &mut Context<'_>, first: Bytes) -> Bytes {
        let Poll::Ready(Ok(Some(second))) = self.poll_frame(cx) else {
            return first;
        };
        self.joined.extend_from_slice(&first);
        let mut next = Some(second);
        while let Some(data) = next.take() {
            if data.len() >= SMALL {
                self.pieces.push_back(data);
                break;
            }
            self.joined.extend_from_slice(&data);
            if self.joined.len() < JOINED
                && let Poll::Ready(Ok(Some(data))) = self.poll_frame(cx)
            {
                next = Some(data);
            }
        }
        self.joined.split().freeze()
    }

    /// The next frame that brings something; none: the data has ended.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, RelayError>> {
        while !self.data_ended {
            if self.broken {
                return Poll::Ready(Err(RelayError::Source));
            }
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => return Poll::Ready(Ok(Some(data))),
                Some(Err(_)) => self.broken = true,
                None => self.data_ended = true,
            }
        }
        Poll::Ready(Ok(None))
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
        self.pieces.is_empty() && self.joined.is_empty() && self.stream.is_end_stream()
    }

    /// What followed the body.
    pub(crate) fn trailers(&self) -> &Fields {
        &self.trailers
    }
}
