//! The heads of frames as they pass, read beside the h2 crate: no byte is kept or changed.

/// A frame's own head: length, kind, flags, stream.
const HEAD: usize = 9;

/// Beyond it: the error of a reset, which is more than the length of a padding.
const MOST: usize = HEAD + 4;

/// The kinds of frames, RFC 9113 section 6.
pub(super) mod kind {
    pub(in crate::h2) const DATA: u8 = 0;
    pub(in crate::h2) const HEADERS: u8 = 1;
    pub(in crate::h2) const RST_STREAM: u8 = 3;
    pub(in crate::h2) const PING: u8 = 6;
    pub(in crate::h2) const WINDOW_UPDATE: u8 = 8;
    pub(in crate::h2) const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub(super) mod flag {
    pub(in crate::h2) const END_STREAM: u8 = 1;
    pub(in crate::h2) const END_HEADERS: u8 = 4;
    pub(in crate::h2) const PADDED: u8 = 8;
}

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    /// Bytes that it brings, padding left out.
    pub(super) brings: usize,
    /// The error of a reset.
    pub(super) error: u32,
}

/// Reads one direction of a connection.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes to be passed over.
    skip: usize,
    head: [u8; MOST],
    have: usize,
}

// === impl Frame ===

impl Frame {
    /// Whether it has a flag.
    pub(super) const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

// === impl Frames ===

impl Frames {
    /// Of a direction in which so many bytes stand before the first frame.
    pub(super) const fn after(bytes: usize) -> Self {
        Self {
            skip: bytes,
            head: [0; MOST],
            have: 0,
        }
    }

    /// The next frame whose head is complete within `bytes`, which are taken as far as that.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Option<Frame> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let count = self.skip.min(bytes.len());
                self.skip -= count;
                *bytes = &bytes[count..];
                continue;
            }
            let wanted = self.wanted();
            let count = (wanted - self.have).min(bytes.len());
            self.head[self.have..self.have + count].copy_from_slice(&bytes[..count]);
            self.have += count;
            *bytes = &bytes[count..];
            if self.have >= HEAD && self.have == self.wanted() {
                return Some(self.complete());
            }
        }
        None
    }

    /// Whether a frame has begun and not ended, other than one of a body.
    pub(super) const fn waits(&self) -> bool {
        self.have > 0 || (self.skip > 0 && self.head[3] != kind::DATA)
    }

    fn length(&self) -> usize {
        u32::from_be_bytes([0, self.head[0], self.head[1], self.head[2]]) as usize
    }

    fn wanted(&self) -> usize {
        if self.have < HEAD {
            return HEAD;
        }
        let padded =
            matches!(self.head[3], kind::DATA | kind::HEADERS) && self.head[4] & flag::PADDED != 0;
        let further = match self.head[3] {
            kind::RST_STREAM => 4,
            _ if padded => 1,
            _ => 0,
        };
        HEAD + further.min(self.length())
    }

    fn complete(&mut self) -> Frame {
        let (length, further) = (self.length(), self.have - HEAD);
        let (kind, flags) = (self.head[3], self.head[4]);
        let error = match further {
            4 => u32::from_be_bytes([self.head[9], self.head[10], self.head[11], self.head[12]]),
            _ => 0,
        };
        let padding = if further == 1 {
            1 + usize::from(self.head[9])
        } else {
            0
        };
        self.have = 0;
        self.skip = length - further;
        Frame {
            kind,
            flags,
            brings: length.saturating_sub(padding),
            error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 1];
        frame.extend_from_slice(payload);
        frame
    }

    fn all(bytes: &[u8], cut: usize) -> Vec<Frame> {
        let mut frames = Frames::after(3);
        let mut found = Vec::new();
        for mut piece in bytes.chunks(cut) {
            while let Some(frame) = frames.next(&mut piece) {
                found.push(frame);
            }
        }
        assert!(!frames.waits() && frames.skip == 0);
        found
    }

    #[test]
    fn any_cut_of_the_bytes_reads_the_same_frames() {
        let stream = [
            b"xyz".to_vec(),
            bytes(kind::DATA, 0, &[9; 200]),
            bytes(
                kind::DATA,
                flag::PADDED,
                &[[2, 7].as_slice(), &[0; 2]].concat(),
            ),
            bytes(kind::RST_STREAM, 0, &[0, 0, 1, 8]),
            bytes(kind::HEADERS, flag::PADDED | flag::END_HEADERS, &[2, 0, 0]),
            bytes(kind::DATA, flag::END_STREAM, &[]),
            bytes(kind::DATA, flag::PADDED, &[]),
            bytes(6, 0, &[0; 8]),
        ]
        .concat();
        let brings: Vec<_> = all(&stream, stream.len())
            .iter()
            .map(|frame| (frame.kind, frame.brings, frame.error))
            .collect();
        assert_eq!(
            brings,
            [
                (kind::DATA, 200, 0),
                (kind::DATA, 1, 0),
                (kind::RST_STREAM, 4, 0x108),
                (kind::HEADERS, 0, 0),
                (kind::DATA, 0, 0),
                (kind::DATA, 0, 0),
                (6, 8, 0),
            ]
        );
        for cut in 1..stream.len() {
            assert_eq!(all(&stream, cut), all(&stream, stream.len()), "{cut}");
        }
    }
}
