//! Frames that cost their sender nothing, counted before the h2 crate sees them: whoever sends too many is cut off.

use std::time::Duration;

use tokio::time::Instant;

/// So much stands before the first frame.
const PREFACE: usize = 24;

/// A frame's own head: length, kind, flags, stream.
const HEAD: usize = 9;

/// Counts begin anew that often.
const WINDOW: Duration = Duration::from_secs(1);

/// PING, SETTINGS, PRIORITY and unknown frames, acknowledgements included.
const CONTROLS: u32 = 200;

/// Streams that are reset.
const RESETS: u32 = 200;

/// DATA, HEADERS and CONTINUATION without a byte in them, unless they end something.
const EMPTIES: u32 = 100;

/// Frames that go on with one header block: 16 of the usual size would be 256 KiB.
const CONTINUATIONS: u32 = 16;

/// What there was too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flood {
    Controls,
    Resets,
    Empties,
    Continuations,
}

/// Reads the heads of the frames that pass.
#[derive(Debug)]
pub(super) struct Meter {
    /// Bytes to be passed over.
    skip: usize,
    head: [u8; HEAD],
    have: usize,
    since: Instant,
    controls: u32,
    resets: u32,
    empties: u32,
    continuations: u32,
}

// === impl Flood ===

impl Flood {
    /// What to say about it.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Controls => "too many control frames",
            Self::Resets => "too many streams reset",
            Self::Empties => "too many empty frames",
            Self::Continuations => "too many CONTINUATION frames",
        }
    }
}

// === impl Meter ===

impl Meter {
    /// Of a connection that begins now.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            skip: PREFACE,
            head: [0; HEAD],
            have: 0,
            since: now,
            controls: 0,
            resets: 0,
            empties: 0,
            continuations: 0,
        }
    }

    /// Counts what was read.
    pub(super) fn pass(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Flood> {
        if now.saturating_duration_since(self.since) >= WINDOW {
            self.since = now;
            (self.controls, self.resets, self.empties) = (0, 0, 0);
        }
        while !bytes.is_empty() {
            if self.skip > 0 {
                let count = self.skip.min(bytes.len());
                self.skip -= count;
                bytes = &bytes[count..];
                continue;
            }
            let count = (HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + count].copy_from_slice(&bytes[..count]);
            self.have += count;
            bytes = &bytes[count..];
            if self.have == HEAD {
                self.have = 0;
                self.skip =
                    u32::from_be_bytes([0, self.head[0], self.head[1], self.head[2]]) as usize;
                self.count()?;
            }
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), Flood> {
        const DATA: u8 = 0;
        const HEADERS: u8 = 1;
        const RST_STREAM: u8 = 3;
        const GOAWAY: u8 = 7;
        const WINDOW_UPDATE: u8 = 8;
        const CONTINUATION: u8 = 9;
        const END_STREAM: u8 = 1;
        const END_HEADERS: u8 = 4;
        let (kind, flags) = (self.head[3], self.head[4]);
        let (counted, most, flood) = match kind {
            DATA if self.skip == 0 && flags & END_STREAM == 0 => {
                (&mut self.empties, EMPTIES, Flood::Empties)
            }
            HEADERS | CONTINUATION if self.skip == 0 && flags & END_HEADERS == 0 => {
                (&mut self.empties, EMPTIES, Flood::Empties)
            }
            CONTINUATION => (&mut self.continuations, CONTINUATIONS, Flood::Continuations),
            RST_STREAM => (&mut self.resets, RESETS, Flood::Resets),
            HEADERS => {
                self.continuations = 0;
                return Ok(());
            }
            DATA | GOAWAY | WINDOW_UPDATE => return Ok(()),
            _ => (&mut self.controls, CONTROLS, Flood::Controls),
        };
        *counted += 1;
        if *counted > most { Err(flood) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: u8 = 6;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![0, 0, length as u8, kind, flags, 0, 0, 0, 1];
        frame.resize(HEAD + length, 7);
        frame
    }

    fn many(kind: u8, flags: u8, length: usize, count: usize) -> Vec<u8> {
        [
            vec![b'x'; PREFACE],
            frame(kind, flags, length).repeat(count),
        ]
        .concat()
    }

    fn passes(bytes: &[u8]) -> Result<(), Flood> {
        let now = Instant::now();
        Meter::new(now).pass(bytes, now)
    }

    #[test]
    fn floods_are_told_apart_and_cut_after_few_frames() {
        for (kind, length, flood) in [
            (PING, 8, Flood::Controls),
            (4, 0, Flood::Controls),
            (3, 4, Flood::Resets),
            (0, 0, Flood::Empties),
            (9, 0, Flood::Empties),
            (9, 1, Flood::Continuations),
        ] {
            assert_eq!(passes(&many(kind, 0, length, 201)), Err(flood), "{kind}");
            assert_eq!(passes(&many(kind, 0, length, 10)), Ok(()), "{kind}");
        }
    }

    #[test]
    fn any_cut_of_the_bytes_counts_the_same() {
        let bytes = many(PING, 0, 8, 200);
        let now = Instant::now();
        let mut meter = Meter::new(now);
        for byte in bytes.chunks(1) {
            assert_eq!(meter.pass(byte, now), Ok(()));
        }
        assert_eq!(meter.controls, 200);
        assert_eq!(meter.pass(&frame(PING, 0, 8), now), Err(Flood::Controls));
    }

    #[test]
    fn counts_begin_anew_each_second() {
        let mut now = Instant::now();
        let mut meter = Meter::new(now);
        assert_eq!(meter.pass(&many(PING, 0, 8, 150), now), Ok(()));
        now += WINDOW;
        assert_eq!(meter.pass(&frame(PING, 0, 8).repeat(150), now), Ok(()));
    }

    #[test]
    fn a_body_of_any_length_and_the_end_of_one_are_no_flood() {
        assert_eq!(passes(&many(0, 0, 200, 10_000)), Ok(()));
        assert_eq!(passes(&many(0, 1, 0, 10_000)), Ok(()));
        assert_eq!(passes(&many(8, 0, 4, 10_000)), Ok(()));
    }
}
