//! Headers of the PROXY protocol, by which a balancer says whose connection it passes on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use weft_core::announce::{Ends, Flaw, Header, MOST, Step, encode, parse};
use weft_model::section::ProxyProtocol;

use crate::addresses::{v4, v6};
use crate::input::Input;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A line has so many bytes, its end included.
const LINE: usize = 107;

/// The message is what came on the wire, or what follows the beginning of a header, with a length or a checksum that holds.
/// However it is cut, the same is read, by a slow reader too, and never a byte behind the header is waited for; ends that
/// were read are written as a header that says the same.
pub fn check(data: &[u8]) {
    let input = Input::new(data);
    let made = wire(&input);
    let input = input.around(&made);
    let wire = input.message;
    let whole = told(wire, [wire]);
    assert_eq!(told(wire, input.pieces()), whole);
    if let Some(bytes) = input.bytes() {
        assert_eq!(told(wire, bytes), whole);
    }
    assert_eq!(whole, by_the_specification(wire));
    let Step::Header(Header { length, ends }) = whole else {
        return;
    };
    assert!(length <= MOST.min(wire.len()));
    if let Some(ends) = ends {
        for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
            is_said(version, ends);
        }
    }
}

fn wire(input: &Input<'_>) -> Vec<u8> {
    let message = input.message;
    let (command, rest) = message.split_at(message.len().min(2));
    match input.options & 3 {
        0 => message.to_vec(),
        1 => [b"PROXY ", message].concat(),
        2 => [SIGNATURE, command, &number(rest.len()), rest].concat(),
        _ => {
            let blank = [3, 0, 4, 0, 0, 0, 0];
            let all = rest.len() + blank.len();
            let mut wire = [SIGNATURE, command, &number(all), rest, &blank].concat();
            let sum = crc(&wire).to_be_bytes();
            let place = wire.len() - sum.len();
            wire[place..].copy_from_slice(&sum);
            wire
        }
    }
}

fn number(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

/// What is told of pieces one behind the other. All that is there is consumed as long as a header is not whole, so that none of
/// it may be anybody else's.
fn told<'a>(all: &[u8], pieces: impl IntoIterator<Item = &'a [u8]>) -> Step {
    let (mut end, mut consumed) = (0, 0);
    for piece in pieces {
        end += piece.len();
        match parse(&all[..end]) {
            Step::Need => consumed = end,
            step => {
                if let Step::Header(Header { length, .. }) = step {
                    assert!(consumed < length, "{consumed} of {length} were consumed");
                }
                return step;
            }
        }
        assert!(end < MOST, "more than {MOST} bytes are waited for");
    }
    Step::Need
}

/// A header that is written is read as what it says, whatever follows.
fn is_said(version: ProxyProtocol, ends: Ends) {
    let header = encode(version, ends);
    let followed = [&header[..], b"\r\nPROXY \0"].concat();
    let read = parse(&followed);
    assert_eq!(read, by_the_specification(&followed));
    let Step::Header(Header {
        length,
        ends: Some(read),
    }) = read
    else {
        panic!("{ends:?} is written as {header:?}");
    };
    assert_eq!(length, header.len());
    let plain = |end: SocketAddr| (end.ip().to_canonical(), end.port());
    assert_eq!(plain(read.source), plain(ends.source));
    assert_eq!(plain(read.destination), plain(ends.destination));
    let most = match version {
        ProxyProtocol::V1 => LINE,
        ProxyProtocol::V2 => 52,
    };
    assert!(length <= most);
}

// === the slow reader ===

fn by_the_specification(wire: &[u8]) -> Step {
    let begins = |start: &[u8]| wire.iter().zip(start).all(|(byte, wanted)| byte == wanted);
    let read = if begins(b"PROXY ") {
        line(wire)
    } else if begins(SIGNATURE) {
        bytes(wire)
    } else {
        Err(Flaw::Missing)
    };
    match read {
        Ok(None) => Step::Need,
        Ok(Some((length, ends))) => Step::Header(Header { length, ends }),
        Err(flaw) => Step::Bad(flaw),
    }
}

type Read = Result<Option<(usize, Option<Ends>)>, Flaw>;

/// Section 2.1.
fn line(wire: &[u8]) -> Read {
    let mut lines = wire.split_inclusive(|byte| *byte == b'\n');
    let line = lines.next().unwrap_or_default();
    if line.len() > LINE || (line.len() == LINE && !line.ends_with(b"\n")) {
        return Err(Flaw::TooLarge);
    }
    if !line.ends_with(b"\n") {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(line);
    let text = text.strip_suffix("\r\n").ok_or(Flaw::Malformed)?;
    if !text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        return Err(Flaw::Malformed);
    }
    let words: Vec<&str> = text.split(' ').collect();
    let port = |word: &str| {
        let port: u16 = word.parse().ok()?;
        (port.to_string() == word).then_some(port)
    };
    let ends = |from: IpAddr, to: IpAddr, ports: (&str, &str)| {
        Some(Ends {
            source: (from, port(ports.0)?).into(),
            destination: (to, port(ports.1)?).into(),
        })
    };
    let ends = match words[..] {
        ["PROXY", "UNKNOWN", ..] => return Ok(Some((line.len(), None))),
        ["PROXY", "TCP4", from, to, one, other] => v4(from)
            .zip(v4(to))
            .and_then(|(from, to)| ends(from.into(), to.into(), (one, other))),
        ["PROXY", "TCP6", from, to, one, other] => v6(from)
            .zip(v6(to))
            .and_then(|(from, to)| ends(from.into(), to.into(), (one, other))),
        _ => None,
    };
    ends.map(|ends| Some((line.len(), Some(ends))))
        .ok_or(Flaw::Malformed)
}

/// Section 2.2.
fn bytes(wire: &[u8]) -> Read {
    let Some((&[version, family, high, low], _)) = wire
        .get(SIGNATURE.len()..)
        .and_then(|rest| rest.split_first_chunk::<4>())
    else {
        return Ok(None);
    };
    let length = 16 + usize::from(high) * 256 + usize::from(low);
    if version >> 4 != 2 || version & 15 > 1 {
        return Err(Flaw::Malformed);
    }
    if length > MOST {
        return Err(Flaw::TooLarge);
    }
    let header = wire.get(..length);
    let ignored = version & 15 == 0 || family == 0;
    if ignored {
        return Ok(header.map(|_| (length, None)));
    }
    let width = match family >> 4 {
        1 => 4,
        2 => 16,
        3 => 108,
        _ => return Err(Flaw::Malformed),
    };
    let ports = if width == 108 { 0 } else { 4 };
    let fields = 16 + 2 * width + ports;
    if !matches!(family & 15, 1 | 2) || fields > length {
        return Err(Flaw::Malformed);
    }
    let Some(header) = header else {
        return Ok(None);
    };
    values(header, fields)?;
    let port = |at: usize| u16::from(header[at]) * 256 + u16::from(header[at + 1]);
    let address = |at: usize| -> Option<IpAddr> {
        let octets = &header[at..at + width];
        match width {
            4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into()),
            16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into()),
            _ => None,
        }
    };
    let ends = address(16).zip(address(16 + width)).map(|(from, to)| Ends {
        source: (from, port(fields - 4)).into(),
        destination: (to, port(fields - 2)).into(),
    });
    Ok(Some((length, ends)))
}

/// Types, lengths and values to the header's last byte (section 2.2.); of its checksum there is one at most (section 2.2.3).
fn values(header: &[u8], from: usize) -> Result<(), Flaw> {
    let (mut rest, mut sums) = (&header[from..], 0);
    while let Some((&kind, after)) = rest.split_first() {
        let (length, after) = after.split_at_checked(2).ok_or(Flaw::Malformed)?;
        let length = usize::from(length[0]) * 256 + usize::from(length[1]);
        let (value, after) = after.split_at_checked(length).ok_or(Flaw::Malformed)?;
        if kind == 3 {
            sums += 1;
            if sums > 1 || value.len() != 4 {
                return Err(Flaw::Malformed);
            }
            let place = header.len() - after.len() - 4;
            let mut blank = header.to_vec();
            blank[place..place + 4].fill(0);
            if crc(&blank).to_be_bytes() != value {
                return Err(Flaw::Checksum);
            }
        }
        rest = after;
    }
    Ok(())
}

/// RFC 3720 section 12.1, as the division it is: bits of each byte from the lowest on, the remainder turned round and inverted.
fn crc(bytes: &[u8]) -> u32 {
    let mut remainder = u32::MAX;
    for byte in bytes {
        remainder ^= u32::from(byte.reverse_bits()) << 24;
        for _ in 0..8 {
            let divides = remainder >> 31 == 1;
            remainder <<= 1;
            if divides {
                remainder ^= 0x1edc_6f41;
            }
        }
    }
    !remainder.reverse_bits()
}
