//! The first message of TLS, of which a gateway that passes TLS on reads the server name.

use weft_core::hello::{MOST, Reader, Step};

use crate::addresses;
use crate::input::Input;

/// What the slow reader takes bytes for.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// Nothing wrong so far.
    Beginning,
    /// A whole hello, and the name in it.
    Name(Option<String>),
    NotTls,
    Bad,
}

/// So many bytes are in each record of a hello that is made here.
const RECORDS: [usize; 8] = [16_384, 1, 2, 5, 40, 100, 1_000, 4_000];

/// The message is what came on the wire, or becomes part of a hello around it: its body, its extensions, the name in it.
/// However it is cut, the same is read, by a slow reader too; no more than a bounded part is waited for; and a name that was
/// read is one, and is read again from another hello.
pub fn check(data: &[u8]) {
    let input = Input::new(data);
    let made = wire(&input);
    let input = input.around(&made);
    let whole = told(input.message, [input.message]);
    assert_eq!(told(input.message, input.pieces()), whole);
    if let Some(bytes) = input.bytes() {
        assert_eq!(told(input.message, bytes), whole);
    }
    let said = match &whole {
        Step::Need => Said::Beginning,
        Step::ServerName(name) => Said::Name(name.as_deref().map(str::to_owned)),
        Step::NotTls => Said::NotTls,
        Step::Bad(_) => Said::Bad,
    };
    assert_eq!(said, by_the_rfcs(input.message), "{whole:?}");
    if let Step::ServerName(Some(name)) = whole {
        assert_eq!(*name, name.to_lowercase());
        let again = records(&message(&body(&extensions(name.as_bytes()))), 7);
        assert_eq!(told(&again, [&again[..]]), Step::ServerName(Some(name)));
    }
}

fn wire(input: &Input<'_>) -> Vec<u8> {
    let cut = RECORDS[usize::from(input.options >> 2)];
    let body = match input.options & 3 {
        0 => return input.message.to_vec(),
        1 => input.message.to_vec(),
        2 => body(input.message),
        _ => body(&extensions(input.message)),
    };
    records(&message(&body), cut)
}

/// What is told of pieces one behind the other.
fn told<'a>(all: &[u8], pieces: impl IntoIterator<Item = &'a [u8]>) -> Step {
    let mut reader = Reader::default();
    let mut end = 0;
    for piece in pieces {
        end += piece.len();
        match reader.feed(&all[..end]) {
            Step::Need => assert!(end < MOST, "more than {MOST} bytes are waited for"),
            step => return step,
        }
    }
    Step::Need
}

// === what a hello is made of ===

fn within(bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len().min(usize::from(u16::MAX));
    let length = u16::try_from(length).expect("short").to_be_bytes();
    [&length[..], bytes].concat()
}

/// An extension with a name, and what a client of TLS 1.3 has to say besides.
fn extensions(name: &[u8]) -> Vec<u8> {
    let listed = [&[0][..], &within(name)].concat();
    let share = [&[0, 29][..], &within(&[9; 32])].concat();
    [
        extension(0, &within(&listed)),
        extension(10, &within(&[0, 29])),
        extension(13, &within(&[4, 3, 8, 4])),
        extension(43, &[2, 3, 4]),
        extension(51, &within(&share)),
    ]
    .concat()
}

fn extension(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[0, kind][..], &within(value)].concat()
}

fn body(extensions: &[u8]) -> Vec<u8> {
    let suites = within(&[0x13, 1, 0x13, 2]);
    [
        &[3, 3][..],
        &[7; 32],
        &[0],
        &suites,
        &[1, 0],
        &within(extensions),
    ]
    .concat()
}

fn message(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("short").to_be_bytes();
    [&[1], &length[1..], body].concat()
}

fn records(message: &[u8], cut: usize) -> Vec<u8> {
    let record = |part: &[u8]| [&[22, 3, 1][..], &within(part)].concat();
    message.chunks(cut).flat_map(record).collect()
}

// === the slow reader ===

/// All records first, then the message in them, by RFC 8446 sections 4.1.2, 4.2 and 5.1 and RFC 6066 section 3.
fn by_the_rfcs(wire: &[u8]) -> Said {
    let wire = &wire[..wire.len().min(MOST)];
    let (mut at, mut message) = (0, Vec::new());
    loop {
        // A record has five bytes of header and one at least in it.
        if at + 6 > MOST {
            return Said::Bad;
        }
        let header = &wire[at..wire.len().min(at + 5)];
        if header
            .iter()
            .zip([22, 3])
            .any(|(byte, wanted)| *byte != wanted)
        {
            return if at == 0 { Said::NotTls } else { Said::Bad };
        }
        if header.len() < 5 {
            return Said::Beginning;
        }
        let (start, length) = (at + 5, number(&header[3..]));
        let end = start + length;
        if !(1..=16_384).contains(&length) || end > MOST {
            return Said::Bad;
        }
        let there = end.min(wire.len());
        message.extend_from_slice(&wire[start..there]);
        if message.first().is_some_and(|kind| *kind != 1) {
            return Said::Bad;
        }
        if let Some(length) = message.get(1..4) {
            let length = 4 + number(length);
            let missing = length.saturating_sub(message.len());
            if missing == 0 {
                // Its last byte is its record's.
                let exact = there == end && message.len() == length;
                let name = whole(&message[4..]).filter(|_| exact);
                return name.map_or(Said::Bad, Said::Name);
            }
            if there + missing > MOST {
                return Said::Bad;
            }
        }
        if there < end {
            return Said::Beginning;
        }
        at = end;
    }
}

/// A vector with its length, in so many bytes, before it; and what follows it.
fn vector(bytes: &[u8], width: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(width)?;
    rest.split_at_checked(number(length))
}

fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |sum, byte| sum * 256 + usize::from(*byte))
}

/// The name in a hello's body; `None`: the body is none.
fn whole(body: &[u8]) -> Option<Option<String>> {
    let (fixed, rest) = body.split_at_checked(34)?;
    let (session, rest) = vector(rest, 1)?;
    let (suites, rest) = vector(rest, 2)?;
    let (compressions, rest) = vector(rest, 1)?;
    let good = fixed[0] == 3
        && session.len() <= 32
        && !suites.is_empty()
        && suites.len().is_multiple_of(2)
        && !compressions.is_empty();
    if !good {
        return None;
    }
    if rest.is_empty() {
        return Some(None);
    }
    let (mut rest, []) = vector(rest, 2)? else {
        return None;
    };
    let mut listed: Vec<(&[u8], &[u8])> = Vec::new();
    while !rest.is_empty() {
        let (kind, after) = rest.split_at_checked(2)?;
        let (value, after) = vector(after, 2)?;
        if listed.iter().any(|(other, _)| *other == kind) || (kind == [0, 41] && !after.is_empty())
        {
            return None;
        }
        listed.push((kind, value));
        rest = after;
    }
    match listed.iter().find(|(kind, _)| *kind == [0, 0]) {
        Some((_, value)) => name(value),
        None => Some(None),
    }
}

fn name(extension: &[u8]) -> Option<Option<String>> {
    let ([0, name @ ..], []) = vector(extension, 2)? else {
        return None;
    };
    let (name, []) = vector(name, 2)? else {
        return None;
    };
    let name = std::str::from_utf8(name).ok()?;
    if addresses::any(name).is_some() {
        return Some(None);
    }
    let letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    let label = |label: &str| {
        !label.is_empty() && label.len() < 64 && label.chars().all(|c| letters.contains(c))
    };
    (name.len() < 254 && name.split('.').all(label)).then(|| Some(name.to_lowercase()))
}
