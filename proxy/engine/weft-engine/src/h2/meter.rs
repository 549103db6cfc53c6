//! Frames that cost their sender nothing, counted before the h2 crate sees them: whoever sends too many is cut off.
//!
//! What is sent is read too: a reset that a client only provokes is one as well, and every DATA frame that it was sent
//! entitles it to credit windows, and to measure by PING how large they should be.

use std::time::Duration;

use tokio::time::Instant;

use super::frames::{Frame, Frames, flag, kind};
use crate::bounds::Http2;

/// So much stands before the first frame.
const PREFACE: usize = 24;

/// Counts begin anew that often.
const WINDOW: Duration = Duration::from_secs(1);

/// DATA with fewer bytes brings next to nothing: a message of gRPC, even an empty one, has five.
const SMALL: usize = 5;

/// Window updates and PINGs that a frame of DATA entitles to: libraries credit early, and some measure with every round trip.
const CREDITS: u32 = 10;

/// So many at most are saved up.
const MOST_CREDITS: u32 = 100_000;

/// What there was too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flood {
    Controls,
    Resets,
    Empties,
    Smalls,
    Continuations,
}

/// How much there may be of what in a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    controls: u32,
    resets: u32,
    empties: u32,
    smalls: u32,
    /// Of one header block.
    continuations: u32,
}

/// Reads the heads of the frames that pass.
#[derive(Debug)]
pub(super) struct Meter {
    rates: Rates,
    came: Frames,
    went: Frames,
    since: Instant,
    counted: Rates,
    /// Window updates and PINGs that are no flood.
    credits: u32,
    /// Since when a header block is open, or a frame has begun.
    open: Option<Instant>,
    /// Whether a header block waits for CONTINUATION.
    block: bool,
}

// === impl Flood ===

impl Flood {
    /// What to say about it.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Controls => "too many control frames",
            Self::Resets => "too many streams reset",
            Self::Empties => "too many empty frames",
            Self::Smalls => "too many frames of a few bytes",
            Self::Continuations => "too many CONTINUATION frames",
        }
    }
}

// === impl Rates ===

impl Rates {
    const NONE: Self = Self {
        controls: 0,
        resets: 0,
        empties: 0,
        smalls: 0,
        continuations: 0,
    };

    /// As configured, for somebody who may do so many times more than a client.
    pub(super) fn new(bounds: &Http2, factor: u32) -> Self {
        Self {
            controls: bounds.control_frames_per_second.saturating_mul(factor),
            resets: bounds.resets_per_second.saturating_mul(factor),
            empties: bounds.empty_frames_per_second.saturating_mul(factor),
            smalls: bounds.small_frames_per_second.saturating_mul(factor),
            continuations: bounds.continuation_frames,
        }
    }
}

// === impl Meter ===

impl Meter {
    /// Of a connection that begins now.
    pub(super) fn new(now: Instant, rates: Rates) -> Self {
        Self {
            rates,
            came: Frames::after(PREFACE),
            went: Frames::after(0),
            since: now,
            counted: Rates::NONE,
            credits: 0,
            open: None,
            block: false,
        }
    }

    /// Counts what was read.
    pub(super) fn pass(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Flood> {
        if now.saturating_duration_since(self.since) >= WINDOW {
            self.since = now;
            self.counted = Rates {
                continuations: self.counted.continuations,
                ..Rates::NONE
            };
        }
        while let Some(frame) = self.came.next(&mut bytes) {
            self.count(frame)?;
            if !self.block {
                self.open = None;
            }
        }
        let waits = self.block || self.came.waits();
        self.open = waits.then(|| self.open.unwrap_or(now));
        Ok(())
    }

    /// Counts what was written.
    pub(super) fn sent(&mut self, mut bytes: &[u8]) -> Result<(), Flood> {
        while let Some(frame) = self.went.next(&mut bytes) {
            match frame.kind {
                kind::DATA => {
                    self.credits = self.credits.saturating_add(CREDITS).min(MOST_CREDITS);
                }
                kind::RST_STREAM if is_provoked(frame.error) => self.reset()?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Since when a header block, or a frame, waits for its end.
    pub(super) fn open_since(&self) -> Option<Instant> {
        self.open
    }

    fn count(&mut self, frame: Frame) -> Result<(), Flood> {
        let counted = &mut self.counted;
        let ended = frame.has(match frame.kind {
            kind::DATA => flag::END_STREAM,
            _ => flag::END_HEADERS,
        });
        let (count, most, flood) = match frame.kind {
            kind::DATA if ended => return Ok(()),
            kind::DATA if frame.brings == 0 => {
                (&mut counted.empties, self.rates.empties, Flood::Empties)
            }
            kind::DATA if frame.brings < SMALL => {
                (&mut counted.smalls, self.rates.smalls, Flood::Smalls)
            }
            kind::DATA => return Ok(()),
            kind::HEADERS | kind::CONTINUATION => return self.headers(frame, ended),
            kind::RST_STREAM => return self.reset(),
            kind::WINDOW_UPDATE | kind::PING if self.credits > 0 => {
                self.credits -= 1;
                return Ok(());
            }
            _ => (&mut counted.controls, self.rates.controls, Flood::Controls),
        };
        over(count, most, flood)
    }

    fn headers(&mut self, frame: Frame, ended: bool) -> Result<(), Flood> {
        let counted = &mut self.counted;
        if frame.kind == kind::HEADERS {
            counted.continuations = 0;
            // Its answer may be credited before a byte of it was sent, and its window opened.
            self.credits = self.credits.saturating_add(2).min(MOST_CREDITS);
        } else {
            over(
                &mut counted.continuations,
                self.rates.continuations,
                Flood::Continuations,
            )?;
        }
        self.block = !ended;
        if frame.brings == 0 && !ended {
            over(&mut counted.empties, self.rates.empties, Flood::Empties)?;
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<(), Flood> {
        over(&mut self.counted.resets, self.rates.resets, Flood::Resets)
    }
}

fn over(count: &mut u32, most: u32, flood: Flood) -> Result<(), Flood> {
    *count += 1;
    if *count > most { Err(flood) } else { Ok(()) }
}

/// Whether a stream is reset for what its client did: it broke the protocol, or opened more than it may.
fn is_provoked(error: u32) -> bool {
    const PROTOCOL_ERROR: u32 = 1;
    const FLOW_CONTROL_ERROR: u32 = 3;
    const STREAM_CLOSED: u32 = 5;
    const REFUSED_STREAM: u32 = 7;
    const COMPRESSION_ERROR: u32 = 9;
    matches!(
        error,
        PROTOCOL_ERROR | FLOW_CONTROL_ERROR | STREAM_CLOSED..=REFUSED_STREAM | COMPRESSION_ERROR
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: u8 = 6;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![0, 0, length as u8, kind, flags, 0, 0, 0, 1];
        frame.resize(frame.len() + length, 7);
        frame
    }

    fn many(kind: u8, flags: u8, length: usize, count: usize) -> Vec<u8> {
        [
            vec![b'x'; PREFACE],
            frame(kind, flags, length).repeat(count),
        ]
        .concat()
    }

    fn meter(now: Instant) -> Meter {
        Meter::new(now, Rates::new(&Http2::default(), 1))
    }

    fn passes(bytes: &[u8]) -> Result<(), Flood> {
        let now = Instant::now();
        meter(now).pass(bytes, now)
    }

    #[test]
    fn floods_are_told_apart_and_cut_after_few_frames() {
        for (kind, flags, length, flood) in [
            (PING, 0, 8, Flood::Controls),
            (4, 0, 0, Flood::Controls),
            (2, 0, 5, Flood::Controls),
            (7, 0, 8, Flood::Controls),
            (kind::WINDOW_UPDATE, 0, 4, Flood::Controls),
            (77, 0, 1, Flood::Controls),
            (kind::RST_STREAM, 0, 4, Flood::Resets),
            (kind::DATA, 0, 0, Flood::Empties),
            // All of it is padding: its length is 7, as every byte here.
            (kind::DATA, flag::PADDED, 8, Flood::Empties),
            (kind::DATA, flag::PADDED, 9, Flood::Smalls),
            (kind::DATA, 0, 1, Flood::Smalls),
            (kind::DATA, 0, 4, Flood::Smalls),
            (kind::CONTINUATION, 0, 0, Flood::Continuations),
            (kind::CONTINUATION, 0, 1, Flood::Continuations),
            (kind::HEADERS, flag::PADDED, 8, Flood::Empties),
            (kind::HEADERS, 0, 0, Flood::Empties),
        ] {
            let told = (kind, flags, length);
            assert_eq!(
                passes(&many(kind, flags, length, 501)),
                Err(flood),
                "{told:?}"
            );
            assert_eq!(passes(&many(kind, flags, length, 10)), Ok(()), "{told:?}");
        }
    }

    #[test]
    fn any_cut_of_the_bytes_counts_the_same() {
        let bytes = many(PING, 0, 8, 200);
        let now = Instant::now();
        let mut meter = meter(now);
        for byte in bytes.chunks(1) {
            assert_eq!(meter.pass(byte, now), Ok(()));
        }
        assert_eq!(meter.counted.controls, 200);
        assert_eq!(meter.pass(&frame(PING, 0, 8), now), Err(Flood::Controls));
    }

    #[test]
    fn counts_begin_anew_each_second() {
        let mut now = Instant::now();
        let mut meter = meter(now);
        assert_eq!(meter.pass(&many(PING, 0, 8, 150), now), Ok(()));
        now += WINDOW;
        assert_eq!(meter.pass(&frame(PING, 0, 8).repeat(150), now), Ok(()));
    }

    #[test]
    fn a_body_of_any_length_and_the_end_of_one_are_no_flood() {
        assert_eq!(passes(&many(kind::DATA, 0, 200, 10_000)), Ok(()));
        assert_eq!(passes(&many(kind::DATA, 0, 5, 10_000)), Ok(()));
        assert_eq!(
            passes(&many(kind::DATA, flag::END_STREAM, 0, 10_000)),
            Ok(())
        );
        assert_eq!(
            passes(&many(kind::HEADERS, flag::END_HEADERS, 20, 10_000)),
            Ok(())
        );
    }

    #[test]
    fn whoever_is_sent_a_body_may_credit_windows() {
        let now = Instant::now();
        let mut meter = meter(now);
        assert_eq!(
            meter.pass(&many(kind::HEADERS, flag::END_HEADERS, 20, 1), now),
            Ok(())
        );
        assert_eq!(meter.sent(&frame(kind::DATA, 0, 200).repeat(5_000)), Ok(()));
        let updates = frame(kind::WINDOW_UPDATE, 0, 4);
        assert_eq!(meter.pass(&updates.repeat(10_000), now), Ok(()));
        assert_eq!(
            meter.pass(&updates.repeat(50_000), now),
            Err(Flood::Controls)
        );
    }

    #[test]
    fn resets_that_a_client_provokes_count_as_its_own() {
        let reset = |error: u8| [&frame(kind::RST_STREAM, 0, 3)[..9], &[0, 0, 0, error]].concat();
        let reset = |error| {
            let mut bytes = reset(error);
            bytes[2] = 4;
            bytes
        };
        for (error, expected) in [
            (0, Ok(())),
            (1, Err(Flood::Resets)),
            (2, Ok(())),
            (3, Err(Flood::Resets)),
            (5, Err(Flood::Resets)),
            (6, Err(Flood::Resets)),
            (7, Err(Flood::Resets)),
            (8, Ok(())),
            (11, Ok(())),
        ] {
            let mut meter = meter(Instant::now());
            assert_eq!(meter.sent(&reset(error).repeat(200)), Ok(()), "{error}");
            assert_eq!(meter.sent(&reset(error)), expected, "{error}");
        }
    }

    #[test]
    fn a_header_block_is_open_from_its_first_frame_to_its_last() {
        let now = Instant::now();
        let later = now + Duration::from_millis(10);
        let mut meter = meter(now);
        assert_eq!(meter.pass(&many(kind::HEADERS, 0, 9, 1), now), Ok(()));
        assert_eq!(meter.pass(&frame(kind::CONTINUATION, 0, 9), later), Ok(()));
        assert_eq!(meter.open_since(), Some(now));
        let last = frame(kind::CONTINUATION, flag::END_HEADERS, 9);
        assert_eq!(meter.pass(&last, later), Ok(()));
        assert_eq!(meter.open_since(), None);
        assert_eq!(meter.pass(&last[..12], later), Ok(()));
        assert_eq!(meter.open_since(), Some(later));
        assert_eq!(meter.pass(&last[12..], later), Ok(()));
        assert_eq!(meter.pass(&frame(kind::DATA, 0, 200)[..50], later), Ok(()));
        assert_eq!(meter.open_since(), None);
    }
}
