//! The PROXY protocol: what a balancer says, before anything else, about the connection it passes on.
//!
//! Versions 1 (a line of text) and 2 (bytes), as its specification has them
//! (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>, sections 2.1 and 2.2), both ways: [`parse`] and
//! [`encode`]. Strict: what the specification does not permit is refused, and nothing is guessed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use weft_model::section::ProxyProtocol;

#[cfg(test)]
mod tests;

/// No header is longer. Those with certificates and vendors' fields have 1 or 2 KiB.
pub const MOST: usize = 4096;

/// The longest line of version 1, its end included.
const LONGEST_LINE: usize = 107;

const LINE: &[u8] = b"PROXY ";
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const FIXED: usize = 16;

/// What the bytes so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The beginning of a header that may still be good, and nothing but that: all of it may be consumed.
    Need,
    /// A whole header.
    Header(Header),
    /// Something else.
    Bad(Flaw),
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// How many bytes it takes.
    pub length: usize,
    /// The ends of the connection it speaks of. `None`: the connection's own hold. So it is for what a balancer opens by
    /// itself (`LOCAL`, its health checks), and where it does not know or the ends are no addresses.
    pub ends: Option<Ends>,
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Who opened it.
    pub source: SocketAddr,
    /// What was asked for.
    pub destination: SocketAddr,
}

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The first bytes are no header's.
    Missing,
    /// It is longer than is taken.
    TooLarge,
    /// It is not as its version must be.
    Malformed,
    /// Its checksum is another.
    Checksum,
}

// === impl Flaw ===

impl Flaw {
    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Flaw::Missing => "missing",
            Flaw::TooLarge => "too_large",
            Flaw::Malformed => "malformed",
            Flaw::Checksum => "checksum",
        }
    }
}

// === impl Ends ===

impl Ends {
    /// Both in one family: an IPv4 address mapped into IPv6 is taken as IPv4, and mapped where the other is none.
    fn of_one_family(self) -> (SocketAddr, SocketAddr) {
        let plain = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
        let (source, destination) = (plain(self.source), plain(self.destination));
        if source.is_ipv4() == destination.is_ipv4() {
            return (source, destination);
        }
        let mapped = |end: SocketAddr| match end.ip() {
            IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), end.port()),
            IpAddr::V6(_) => end,
        };
        (mapped(source), mapped(destination))
    }
}

/// What all bytes since the connection's first are.
pub fn parse(input: &[u8]) -> Step {
    let begins = |with: &[u8]| {
        let count = input.len().min(with.len());
        input[..count] == with[..count]
    };
    let (line, bytes) = (begins(LINE), begins(SIGNATURE));
    let parsed = match (line, bytes) {
        (true, _) if input.len() >= LINE.len() => by_line(input),
        (_, true) if input.len() >= FIXED => by_bytes(input),
        (true, _) | (_, true) => return Step::Need,
        _ => Err(Flaw::Missing),
    };
    match parsed {
        Ok(Some(header)) => Step::Header(header),
        Ok(None) => Step::Need,
        Err(flaw) => Step::Bad(flaw),
    }
}

/// A header of that version; of two ends, one IPv4 and one IPv6, both are said as IPv6.
pub fn encode(version: ProxyProtocol, ends: Ends) -> Vec<u8> {
    let (source, destination) = ends.of_one_family();
    match version {
        ProxyProtocol::V1 => {
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (source.ip(), destination.ip());
            let (from_port, to_port) = (source.port(), destination.port());
            format!("PROXY {family} {from} {to} {from_port} {to_port}\r\n").into_bytes()
        }
        ProxyProtocol::V2 => {
            let mut addresses = Vec::with_capacity(36);
            for end in [source, destination] {
                match end.ip() {
                    IpAddr::V4(v4) => addresses.extend_from_slice(&v4.octets()),
                    IpAddr::V6(v6) => addresses.extend_from_slice(&v6.octets()),
                }
            }
            for end in [source, destination] {
                addresses.extend_from_slice(&end.port().to_be_bytes());
            }
            let family = if source.is_ipv4() { 0x11 } else { 0x21 };
            let length = if source.is_ipv4() { 12 } else { 36 };
            [&SIGNATURE[..], &[0x21, family, 0, length], &addresses].concat()
        }
    }
}

type Parsed = Result<Option<Header>, Flaw>;

fn by_line(input: &[u8]) -> Parsed {
    let within = &input[..input.len().min(LONGEST_LINE)];
    let Some(end) = within.iter().position(|byte| *byte == b'\n') else {
        return match input.len() >= LONGEST_LINE {
            true => Err(Flaw::TooLarge),
            false => Ok(None),
        };
    };
    let line = within[LINE.len()..end].strip_suffix(b"\r");
    let line = line.and_then(|line| std::str::from_utf8(line).ok());
    let line = line.filter(|line| line.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
    let line = line.ok_or(Flaw::Malformed)?;
    Ok(Some(Header {
        length: end + 1,
        ends: ends_in(line).ok_or(Flaw::Malformed)?,
    }))
}

/// What follows `PROXY `; `None`: it is not as it must be.
fn ends_in(line: &str) -> Option<Option<Ends>> {
    // Whatever follows UNKNOWN is to be ignored.
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Some(None);
    }
    let mut words = line.split(' ');
    let family = words.next()?;
    let mut address = || -> Option<IpAddr> {
        let word = words.next()?;
        match family {
            "TCP4" => word.parse().ok().map(IpAddr::V4),
            "TCP6" => word.parse().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (from, to) = (address()?, address()?);
    let (from_port, to_port) = (port(words.next()?)?, port(words.next()?)?);
    let ends = Ends {
        source: (from, from_port).into(),
        destination: (to, to_port).into(),
    };
    words.next().is_none().then_some(Some(ends))
}

/// Digits without a leading zero.
fn port(word: &str) -> Option<u16> {
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    let plain = word == "0" || !word.starts_with('0');
    (digits && plain).then(|| word.parse().ok()).flatten()
}

fn by_bytes(input: &[u8]) -> Parsed {
    let (version, family) = (input[12], input[13]);
    let length = FIXED + usize::from(u16::from_be_bytes([input[14], input[15]]));
    let local = match version {
        0x20 => true,
        0x21 => false,
        _ => return Err(Flaw::Malformed),
    };
    if length > MOST {
        return Err(Flaw::TooLarge);
    }
    // Of a LOCAL connection everything else is to be ignored.
    let addresses = match (local, family) {
        (true, _) | (_, 0x00) => None,
        (_, 0x11 | 0x12) => Some(12),
        (_, 0x21 | 0x22) => Some(36),
        (_, 0x31 | 0x32) => Some(216),
        _ => return Err(Flaw::Malformed),
    };
    if addresses.is_some_and(|wanted| length < FIXED + wanted) {
        return Err(Flaw::Malformed);
    }
    let Some(header) = input.get(..length) else {
        return Ok(None);
    };
    let Some(addresses) = addresses else {
        return Ok(Some(Header { length, ends: None }));
    };
    fields(header, FIXED + addresses)?;
    let ends = match addresses {
        12 => Some(ends_of::<4>(header)),
        36 => Some(ends_of::<16>(header)),
        _ => None,
    };
    Ok(Some(Header { length, ends }))
}

/// The ends, of addresses of so many bytes.
fn ends_of<const N: usize>(header: &[u8]) -> Ends {
    let mut bytes = header[FIXED..].iter().copied();
    let mut address = || -> IpAddr {
        let mut octets = [0; 16];
        for (octet, byte) in octets.iter_mut().zip(bytes.by_ref().take(N)) {
            *octet = byte;
        }
        match N {
            4 => Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]).into(),
            _ => Ipv6Addr::from(octets).into(),
        }
    };
    let (from, to) = (address(), address());
    let mut port = || u16::from_be_bytes([0, 1].map(|_| bytes.next().unwrap_or_default()));
    let (from_port, to_port) = (port(), port());
    Ends {
        source: (from, from_port).into(),
        destination: (to, to_port).into(),
    }
}

/// The fields behind the addresses: passed over, but that their lengths add up, and the checksum, where there is one.
fn fields(header: &[u8], from: usize) -> Result<(), Flaw> {
    const CRC32C: u8 = 0x03;
    let mut at = from;
    let mut summed = false;
    while at < header.len() {
        let &[kind, high, low, ..] = &header[at..] else {
            return Err(Flaw::Malformed);
        };
        let value = at + 3..at + 3 + usize::from(u16::from_be_bytes([high, low]));
        let said = header.get(value.clone()).ok_or(Flaw::Malformed)?;
        if kind == CRC32C {
            if std::mem::replace(&mut summed, true) {
                return Err(Flaw::Malformed);
            }
            let said = said.try_into().map_err(|_| Flaw::Malformed)?;
            if crc32c(header, &value) != u32::from_be_bytes(said) {
                return Err(Flaw::Checksum);
            }
        }
        at = value.end;
    }
    Ok(())
}

/// Castagnoli's CRC (RFC 3720 section 12.1), of `bytes` with those in `blank` taken as zero.
fn crc32c(bytes: &[u8], blank: &std::ops::Range<usize>) -> u32 {
    const REVERSED: u32 = 0x82f6_3b78;
    let mut crc = u32::MAX;
    for (place, byte) in bytes.iter().enumerate() {
        crc ^= u32::from(if blank.contains(&place) { 0 } else { *byte });
        for _ in 0..8 {
            crc = (crc >> 1) ^ (REVERSED & (crc & 1).wrapping_neg());
        }
    }
    !crc
}
