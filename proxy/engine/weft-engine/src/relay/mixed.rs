//! Messages with HTTP/2 at one end or both: pieces wait for the receiver's window, and are credited to the sender once they
//! were written.

use std::io;
use std::task::{Context, Poll, ready};

use weft_http1::{Eof, Framing, Step, encode};

use super::{GATHERED, Relay, RelayError, SMALL, Sink, Source};
use crate::h1::Replay;
use crate::h2::Piece;

impl Relay {
    /// As [`Relay::poll`].
    pub(super) fn poll_mixed(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Source<'_>,
        sink: &mut Sink<'_>,
        mut replay: Option<&mut Replay>,
    ) -> Poll<Result<(), RelayError>> {
        loop {
            if self.sending {
                let pushed = self.poll_push(cx, source, sink);
                if pushed.is_pending()
                    && let Source::H2(incoming) = source
                {
                    incoming.gather(cx);
                }
                ready!(pushed).map_err(RelayError::Sink)?;
                self.sending = false;
                if let Source::H2(incoming) = source {
                    incoming.release();
                }
                if self.ended {
                    let trailers = self.trailers.then(|| source.trailers());
                    if let Sink::H2(outgoing) = sink {
                        outgoing.finish(trailers).map_err(RelayError::Sink)?;
                    }
                    return Poll::Ready(Ok(()));
                }
            }
            if self.ended {
                self.sending = true;
                continue;
            }
            let staged = match sink {
                Sink::H1 { output, .. } => !output.is_empty(),
                Sink::H2(_) => false,
            };
            match self.poll_take(cx, source, sink, replay.as_deref_mut()) {
                Poll::Pending if staged => self.sending = true,
                taken => self.sending = ready!(taken)?,
            }
            self.progressed |= self.sending;
        }
    }

    /// Takes the next part; `true`: it is to be sent before another one is taken.
    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Source<'_>,
        sink: &mut Sink<'_>,
        replay: Option<&mut Replay>,
    ) -> Poll<Result<bool, RelayError>> {
        match source {
            Source::H1 { .. } => self.poll_take_h1(cx, source, replay),
            Source::H2(incoming) => match ready!(incoming.poll_piece(cx))? {
                Piece::Data(data) => {
                    self.account(&data, replay)?;
                    self.ended = incoming.is_ended();
                    self.piece = data;
                    Poll::Ready(Ok(self.stage(sink)))
                }
                Piece::Trailers => {
                    self.ended = true;
                    self.trailers = true;
                    if let Sink::H1 { output, .. } = sink {
                        self.end(output, Some(incoming.trailers()));
                    }
                    Poll::Ready(Ok(true))
                }
                Piece::End => {
                    self.ended = true;
                    if let Sink::H1 { output, .. } = sink {
                        self.end(output, None);
                    }
                    Poll::Ready(Ok(true))
                }
            },
        }
    }

    fn poll_take_h1(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Source<'_>,
        mut replay: Option<&mut Replay>,
    ) -> Poll<Result<bool, RelayError>> {
        let Source::H1 {
            stream,
            input,
            body,
        } = source
        else {
            return Poll::Ready(Err(RelayError::Source));
        };
        loop {
            let (taken, step) = body.feed(input.unread());
            let base = input.position();
            input.consume(taken);
            match step {
                Step::Data(range) => {
                    let range = base + range.start..base + range.end;
                    self.account(input.slice(range.clone()), replay.as_deref_mut())?;
                    self.pending = range;
                    return Poll::Ready(Ok(true));
                }
                Step::Trailers => {
                    self.ended = true;
                    self.trailers = true;
                }
                Step::End => {
                    self.ended = true;
                    return Poll::Ready(Ok(true));
                }
                Step::Need => {
                    let read = ready!(input.poll_fill(stream, cx));
                    if read.map_err(|_| RelayError::Source)? == 0 {
                        if body.eof() != Eof::Complete {
                            return Poll::Ready(Err(RelayError::Source));
                        }
                        self.ended = true;
                        return Poll::Ready(Ok(true));
                    }
                    self.progressed = true;
                }
                Step::Bad(reject) => return Poll::Ready(Err(RelayError::Refused(reject))),
                // A head inside a body: the decoder does not say that.
                Step::Head => return Poll::Ready(Err(RelayError::Source)),
            }
        }
    }

    /// Frames a piece for where it goes; `true`: it is to be sent now.
    fn stage(&mut self, sink: &mut Sink<'_>) -> bool {
        let Sink::H1 { output, .. } = sink else {
            return true;
        };
        let chunked = self.framing == Framing::Chunked;
        if chunked {
            encode::chunk_size(&mut output.staged, self.piece.len());
        }
        if self.piece.len() > SMALL {
            // What the end of the message says goes behind the piece: not before it is written.
            self.tail = match (chunked, self.ended) {
                (true, true) => b"\r\n0\r\n\r\n",
                (true, false) => encode::CHUNK_END,
                (false, _) => &[],
            };
            return true;
        }
        output.staged.extend_from_slice(&self.piece);
        self.piece.clear();
        if chunked {
            output.staged.extend_from_slice(encode::CHUNK_END);
            if self.ended {
                output.staged.extend_from_slice(encode::LAST_CHUNK);
            }
        }
        self.ended || output.staged.len() >= GATHERED
    }

    fn poll_push(
        &mut self,
        cx: &mut Context<'_>,
        source: &Source<'_>,
        sink: &mut Sink<'_>,
    ) -> Poll<io::Result<()>> {
        let mut slice = match source {
            Source::H1 { input, .. } => input.slice(self.pending.clone()),
            Source::H2(_) => &self.piece[..],
        };
        let before = slice.len();
        let last = self.ended && !self.trailers;
        let pushed = match sink {
            Sink::H1 { stream, output } => output.poll_send(stream, &mut slice, &mut self.tail, cx),
            Sink::H2(outgoing) if matches!(source, Source::H1 { .. }) => {
                outgoing.poll_send(cx, &mut slice, last)
            }
            Sink::H2(outgoing) => {
                let pushed = outgoing.poll_send(cx, &mut self.piece, last);
                self.progressed |= self.piece.len() < before;
                return pushed;
            }
        };
        let sent = before - slice.len();
        self.progressed |= sent > 0;
        match source {
            Source::H1 { .. } => {
                self.pending.start += sent;
                if self.pending.is_empty() {
                    // The next read may be into another buffer.
                    self.pending = 0..0;
                }
            }
            Source::H2(_) => drop(self.piece.split_to(sent)),
        }
        pushed
    }

    fn account(&mut self, data: &[u8], replay: Option<&mut Replay>) -> Result<(), RelayError> {
        self.moved += data.len() as u64;
        if self.moved > self.most {
            return Err(RelayError::TooLarge);
        }
        if let Some(replay) = replay {
            replay.keep(data);
        }
        Ok(())
    }
}
