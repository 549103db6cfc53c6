//! Inputs from inputs: seeded, so that a run can be repeated; blind, where a fuzzer looks at what was reached.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Makes inputs out of seeds, without end.
#[derive(Debug)]
pub struct Mutations<'a> {
    seeds: &'a [Vec<u8>],
    rng: SmallRng,
}

/// No input grows beyond this.
const LONGEST: usize = 8 * 1024;

/// What means something to one reader or another.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"/",
    b"//",
    b"/../",
    b"/./",
    b"%2e",
    b"%2f",
    b"%00",
    b"\0",
    b"\x7f",
    b"\xff",
    b"0\r\n\r\n",
    b"1",
    b"f",
    b"ffffffffffffffff",
    b"18446744073709551616",
    b"_",
    b"-",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0",
    b"Host: b\r\n",
    b"Content-Length: 1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: host\r\n",
    b"Upgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"X-Weft-Caller: me\r\n",
    b"spiffe://",
    b"/ns/",
    b"/dc/",
    b"/svc/",
    b"*",
    b"gateway:",
    b"\xc0",
    b"\xdc\xff\xff",
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xcb\x7f\xf8\0\0\0\0\0\0",
    b"\xd9\xff",
    b"PROXY ",
    b"TCP4 ",
    b"UNKNOWN",
    b"::ffff:1.2.3.4",
    b"65535",
    b"\x16\x03\x01",
    b"\0\0\0\x06\0\x04\0\0\x01a",
    b"\x03\0\x04",
];

// === impl Mutations ===

impl<'a> Mutations<'a> {
    /// The same for the same number.
    pub fn new(seeds: &'a [Vec<u8>], number: u64) -> Self {
        assert!(!seeds.is_empty(), "there is nothing to begin with");
        Self {
            seeds,
            rng: SmallRng::seed_from_u64(number),
        }
    }

    fn seed(&mut self) -> &'a [u8] {
        &self.seeds[self.rng.random_range(0..self.seeds.len())]
    }

    fn change(&mut self, data: &mut Vec<u8>) {
        let (from, to) = self.range(data.len());
        match self.rng.random_range(0..9) {
            0 => drop(data.drain(from..to.min(from + 16))),
            1 => {
                let word = WORDS[self.rng.random_range(0..WORDS.len())];
                data.splice(from..from, word.iter().copied());
            }
            2 => {
                let piece = data[from..to].to_vec();
                data.splice(to..to, piece);
            }
            3 => {
                let other = self.seed();
                let (start, end) = self.range(other.len());
                data.splice(from..to, other[start..end].iter().copied());
            }
            4 => data.truncate(to),
            5 if from < data.len() => data[from] ^= 1 << self.rng.random_range(0..8),
            6 if from < data.len() => data[from] = data[from].wrapping_add(1),
            7 => {
                let word = WORDS[self.rng.random_range(0..WORDS.len())];
                let end = data.len().min(from + word.len());
                data.splice(from..end, word.iter().copied());
            }
            _ if from < data.len() => data[from] = self.rng.random(),
            _ => data.push(self.rng.random()),
        }
        data.truncate(LONGEST);
    }

    fn range(&mut self, length: usize) -> (usize, usize) {
        let (a, b) = (
            self.rng.random_range(0..=length),
            self.rng.random_range(0..=length),
        );
        (a.min(b), a.max(b))
    }
}

impl Iterator for Mutations<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut data = self.seed().to_vec();
        for _ in 0..self.rng.random_range(1..=5) {
            self.change(&mut data);
        }
        Some(data)
    }
}
