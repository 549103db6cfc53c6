//! One direction of one message: decoded from where it comes, framed afresh where it goes, with back-pressure and no copy.
//!
//! Nothing accumulates: bytes are read only when those before them were written. Large pieces are written from the buffer
//! they were read into; small ones are gathered behind whatever is staged (the head, to begin with), so that a short message
//! is one write.

mod ends;
mod mixed;

use std::io;
use std::ops::Range;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use weft_http1::{Eof, Fields, Framing, Reject, Step, encode};

pub(crate) use self::ends::{Body, Sink, Source};
use crate::h1::Replay;
use crate::io::{Input, Output, Stream};

/// Pieces up to this size are gathered.
const SMALL: usize = 4 * 1024;

/// So much is gathered before it is written.
const GATHERED: usize = 16 * 1024;

/// Both ends, where both are connections of HTTP/1.1.
struct Ends<'a> {
    from: &'a mut Stream,
    input: &'a mut Input,
    to: &'a mut Stream,
    output: &'a mut Output,
}

/// How far one direction has come.
#[derive(Debug)]
pub(crate) struct Relay {
    framing: Framing,
    pending: Range<usize>,
    piece: Bytes,
    tail: &'static [u8],
    /// What was gathered is being written; nothing more is decoded meanwhile.
    sending: bool,
    ended: bool,
    trailers: bool,
    moved: u64,
    most: u64,
    progressed: bool,
}

/// Why a direction cannot go on.
#[derive(Debug)]
pub(crate) enum RelayError {
    /// The source broke, or ended inside the message.
    Source,
    /// The source sent what is refused.
    Refused(Reject),
    /// The source sent more than is taken.
    TooLarge,
    /// The sink broke.
    Sink(io::Error),
}

// === impl Relay ===

impl Relay {
    /// A direction whose body is sent with that framing, and has at most that many bytes (0: no bound).
    pub(crate) fn new(framing: Framing, most: u64) -> Self {
        let most = if most == 0 { u64::MAX } else { most };
        Self {
            framing,
            pending: 0..0,
            piece: Bytes::new(),
            tail: &[],
            sending: false,
            ended: false,
            trailers: false,
            moved: 0,
            most,
            progressed: false,
        }
    }

    /// Forgets what was not written: it was staged anew.
    pub(crate) fn restart(&mut self) {
        self.pending = 0..0;
        self.piece.clear();
        self.tail = &[];
        self.sending = false;
    }

    /// Whether the body ended with trailers.
    pub(crate) fn had_trailers(&self) -> bool {
        self.trailers
    }

    /// Whether the whole message was decoded, though perhaps not written yet.
    pub(crate) fn is_decoded(&self) -> bool {
        self.ended
    }

    /// Bytes of the body that were taken so far.
    pub(crate) fn moved(&self) -> u64 {
        self.moved
    }

    /// Whether anything moved since it was asked last.
    pub(crate) fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.progressed)
    }

    /// Moves what can be moved; ready when the message has been written to its end.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: Source<'_>,
        sink: Sink<'_>,
        replay: Option<&mut Replay>,
    ) -> Poll<Result<(), RelayError>> {
        match (source, sink) {
            (
                Source::H1 {
                    stream: from,
                    input,
                    mut body,
                },
                Sink::H1 { stream: to, output },
            ) => {
                let ends = Ends {
                    from,
                    input,
                    to,
                    output,
                };
                self.poll_plain(cx, ends, &mut body, replay)
            }
            (mut source, mut sink) => self.poll_mixed(cx, &mut source, &mut sink, replay),
        }
    }

    fn poll_plain(
        &mut self,
        cx: &mut Context<'_>,
        ends: Ends<'_>,
        body: &mut Body<'_>,
        mut replay: Option<&mut Replay>,
    ) -> Poll<Result<(), RelayError>> {
        let Ends {
            from,
            input,
            to,
            output,
        } = ends;
        loop {
            if self.sending {
                ready!(self.poll_write(cx, input, to, output)).map_err(RelayError::Sink)?;
                self.sending = false;
                if self.ended {
                    return Poll::Ready(Ok(()));
                }
            }
            if self.ended || self.decode(input, output, body, replay.as_deref_mut())? {
                self.sending = true;
                continue;
            }
            if ready!(input.poll_fill(from, cx)).map_err(|_| RelayError::Source)? == 0 {
                if body.eof() != Eof::Complete {
                    return Poll::Ready(Err(RelayError::Source));
                }
                self.end(output, None);
            }
            self.progressed = true;
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        input: &Input,
        to: &mut Stream,
        output: &mut Output,
    ) -> Poll<io::Result<()>> {
        let mut rest = input.slice(self.pending.clone());
        let before = rest.len();
        let written = output.poll_send(to, &mut rest, &mut self.tail, cx);
        self.pending.start = self.pending.end - rest.len();
        self.progressed |= rest.len() < before;
        if rest.is_empty() {
            // The next read may be into another buffer.
            self.pending = 0..0;
        }
        written
    }

    /// Decodes until there is something to write or nothing left; says whether there is something.
    fn decode(
        &mut self,
        input: &mut Input,
        output: &mut Output,
        body: &mut Body<'_>,
        mut replay: Option<&mut Replay>,
    ) -> Result<bool, RelayError> {
        loop {
            let (taken, step) = body.feed(input.unread());
            let base = input.position();
            input.consume(taken);
            match step {
                Step::Data(range) => {
                    let range = base + range.start..base + range.end;
                    let length = range.len();
                    self.moved += length as u64;
                    if self.moved > self.most {
                        return Err(RelayError::TooLarge);
                    }
                    if let Some(replay) = replay.as_deref_mut() {
                        replay.keep(input.slice(range.clone()));
                    }
                    if self.framing == Framing::Chunked {
                        encode::chunk_size(&mut output.staged, length);
                    }
                    if length > SMALL {
                        self.pending = range;
                        self.tail = if self.framing == Framing::Chunked {
                            encode::CHUNK_END
                        } else {
                            &[]
                        };
                        return Ok(true);
                    }
                    output.staged.extend_from_slice(input.slice(range));
                    if self.framing == Framing::Chunked {
                        output.staged.extend_from_slice(encode::CHUNK_END);
                    }
                    if output.staged.len() >= GATHERED {
                        return Ok(true);
                    }
                }
                Step::Trailers => self.end(output, Some(body.trailers())),
                Step::End => {
                    if !self.ended {
                        self.end(output, None);
                    }
                    return Ok(true);
                }
                Step::Need => return Ok(!output.is_empty()),
                Step::Bad(reject) => return Err(RelayError::Refused(reject)),
                // A head inside a body: the decoder does not say that.
                Step::Head => return Err(RelayError::Source),
            }
        }
    }

    fn end(&mut self, output: &mut Output, trailers: Option<&Fields>) {
        self.ended = true;
        self.trailers = trailers.is_some();
        if self.framing == Framing::Chunked {
            match trailers {
                Some(trailers) => encode::last_chunk(&mut output.staged, trailers),
                None => output.staged.extend_from_slice(encode::LAST_CHUNK),
            }
        }
    }
}
