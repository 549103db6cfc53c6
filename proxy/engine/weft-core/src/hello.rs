//! The server name in a TLS ClientHello, read without taking part in the handshake.
//!
//! Bytes in, a [`Step`] out; no byte is consumed, so whoever carries the connection passes on what was read. Everything that
//! the record layer and the message promise about their own lengths is checked (RFC 8446 sections 4.1.2 and 5.1, RFC 6066
//! section 3): a hello that a TLS library would refuse is refused here, so that nobody reads another name than we did. What
//! follows the hello in records of its own (early data) is the application's business.

use std::net::IpAddr;

#[cfg(test)]
mod tests;

/// No hello is longer, record headers included. Those of today's browsers have 0.5 to 2 KiB.
pub const MOST: usize = 16 * 1024;

/// What the bytes so far are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The beginning of a hello that may still be good; with what is missing it has [`MOST`] bytes at most.
    Need,
    /// A whole hello, and the name it asks for, in lower case. An address is no name (RFC 6066 section 3).
    ServerName(Option<Box<str>>),
    /// Something else than TLS.
    NotTls,
    /// TLS, and wrong.
    Bad(Flaw),
}

/// What is wrong with a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Longer than [`MOST`].
    TooLarge,
    /// A record that is empty, too long, or no handshake.
    Record,
    /// Another handshake message.
    NotAHello,
    /// Bytes behind the message in its own record.
    Surplus,
    /// Lengths that do not add up.
    Length,
    /// An extension that is there twice, or not in its place.
    Extension,
    /// A server name that is none.
    ServerName,
}

/// Remembers how far it has read, so that a hello that comes byte by byte is not read anew with each.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    /// How many bytes of the input were read.
    at: usize,
    /// How many of the record they are in are still to come.
    left: usize,
    /// The handshake message, out of its records.
    message: Vec<u8>,
}

const HANDSHAKE: u8 = 22;
const MAJOR: u8 = 3;
const RECORD_HEADER: usize = 5;
const LONGEST_RECORD: usize = 1 << 14;
const CLIENT_HELLO: u8 = 1;
const MESSAGE_HEADER: usize = 4;
const SERVER_NAME: u16 = 0;
const PRE_SHARED_KEY: u16 = 41;
const HOST_NAME: u8 = 0;

/// A name and each of its labels have at most so many bytes (RFC 1035 section 2.3.4).
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

// === impl Flaw ===

impl Flaw {
    /// The alert to answer with (RFC 8446 section 6).
    pub const fn alert(self) -> u8 {
        match self {
            Flaw::TooLarge => 22,
            Flaw::Record | Flaw::NotAHello | Flaw::Surplus => 10,
            Flaw::Length => 50,
            Flaw::Extension | Flaw::ServerName => 47,
        }
    }

    /// The same for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Flaw::TooLarge => "the hello is longer than 16 KiB",
            Flaw::Record => "a record that is empty, too long or no handshake",
            Flaw::NotAHello => "the handshake does not begin with a hello",
            Flaw::Surplus => "bytes behind the hello in its record",
            Flaw::Length => "lengths in the hello that do not add up",
            Flaw::Extension => "an extension that is there twice or not in its place",
            Flaw::ServerName => "a server name that is none",
        }
    }
}

// === impl Reader ===

impl Reader {
    /// What all bytes since the connection's first are. `input` only grows from call to call.
    pub fn feed(&mut self, input: &[u8]) -> Step {
        let input = &input[..input.len().min(MOST)];
        loop {
            let step = if self.left == 0 {
                self.record(input)
            } else {
                self.payload(input)
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// A record's header; `None`: its payload is next.
    fn record(&mut self, input: &[u8]) -> Option<Step> {
        if self.at + RECORD_HEADER + 1 > MOST {
            return Some(Step::Bad(Flaw::TooLarge));
        }
        let header = &input[self.at..];
        let starts =
            |place: usize, wanted: u8| header.get(place).is_none_or(|byte| *byte == wanted);
        if !starts(0, HANDSHAKE) || !starts(1, MAJOR) {
            let first = self.at == 0;
            return Some(if first {
                Step::NotTls
            } else {
                Step::Bad(Flaw::Record)
            });
        }
        let &[_, _, _, high, low, ..] = header else {
            return Some(Step::Need);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length == 0 || length > LONGEST_RECORD {
            return Some(Step::Bad(Flaw::Record));
        }
        self.at += RECORD_HEADER;
        self.left = length;
        (self.at + length > MOST).then_some(Step::Bad(Flaw::TooLarge))
    }

    /// As much of a record's payload as there is; `None`: another record is next.
    fn payload(&mut self, input: &[u8]) -> Option<Step> {
        let there = &input[self.at..];
        let taken = there.len().min(self.left);
        self.message.extend_from_slice(&there[..taken]);
        self.at += taken;
        self.left -= taken;
        match self.message[..] {
            [] => return Some(Step::Need),
            [kind, ..] if kind != CLIENT_HELLO => return Some(Step::Bad(Flaw::NotAHello)),
            [_, high, middle, low, ..] => {
                let length = u32::from_be_bytes([0, high, middle, low]) as usize;
                let whole = MESSAGE_HEADER + length;
                if self.at + whole.saturating_sub(self.message.len()) > MOST {
                    return Some(Step::Bad(Flaw::TooLarge));
                }
                if self.message.len() > whole || (self.message.len() == whole && self.left > 0) {
                    return Some(Step::Bad(Flaw::Surplus));
                }
                if self.message.len() == whole {
                    return Some(match server_name(&self.message[MESSAGE_HEADER..]) {
                        Ok(name) => Step::ServerName(name),
                        Err(flaw) => Step::Bad(flaw),
                    });
                }
            }
            _ => {}
        }
        (self.left > 0).then_some(Step::Need)
    }
}

/// Bytes that are cut off one after another.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Flaw> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Flaw::Length)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Flaw> {
        Ok(self.take(1)?[0])
    }

    fn short(&mut self) -> Result<u16, Flaw> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// What its own length, in one byte, stands before.
    fn within_byte(&mut self) -> Result<&'a [u8], Flaw> {
        let length = self.byte()?;
        self.take(usize::from(length))
    }

    /// The same, in two bytes.
    fn within_short(&mut self) -> Result<&'a [u8], Flaw> {
        let length = self.short()?;
        self.take(usize::from(length))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Of a hello's body.
fn server_name(body: &[u8]) -> Result<Option<Box<str>>, Flaw> {
    let mut body = Bytes(body);
    let version = body.short()?;
    body.take(32)?;
    let session = body.within_byte()?;
    let suites = body.within_short()?;
    let compressions = body.within_byte()?;
    let fits = version >> 8 == u16::from(MAJOR)
        && session.len() <= 32
        && suites.len() >= 2
        && suites.len() % 2 == 0
        && !compressions.is_empty();
    if !fits {
        return Err(Flaw::Length);
    }
    // TLS 1.2 and before may end here.
    if body.is_empty() {
        return Ok(None);
    }
    let extensions = body.within_short()?;
    if !body.is_empty() {
        return Err(Flaw::Length);
    }
    among(extensions)
}

fn among(extensions: &[u8]) -> Result<Option<Box<str>>, Flaw> {
    let mut extensions = Bytes(extensions);
    let mut kinds = Vec::new();
    let mut found = None;
    while !extensions.is_empty() {
        let kind = extensions.short()?;
        let value = extensions.within_short()?;
        if kind == SERVER_NAME {
            found = Some(value);
        }
        // The last of all, by RFC 8446 section 4.2.11.
        if kind == PRE_SHARED_KEY && !extensions.is_empty() {
            return Err(Flaw::Extension);
        }
        kinds.push(kind);
    }
    kinds.sort_unstable();
    if kinds.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Flaw::Extension);
    }
    found.map_or(Ok(None), host_name)
}

/// A list of exactly one name: no other type was ever defined, and no type may be there twice.
fn host_name(extension: &[u8]) -> Result<Option<Box<str>>, Flaw> {
    let mut extension = Bytes(extension);
    let mut list = Bytes(extension.within_short()?);
    let kind = list.byte()?;
    let name = list.within_short()?;
    if !extension.is_empty() {
        return Err(Flaw::Length);
    }
    if kind != HOST_NAME || !list.is_empty() {
        return Err(Flaw::ServerName);
    }
    let name = std::str::from_utf8(name).map_err(|_| Flaw::ServerName)?;
    if name.parse::<IpAddr>().is_ok() {
        return Ok(None);
    }
    if !is_name(name) {
        return Err(Flaw::ServerName);
    }
    Ok(Some(name.to_ascii_lowercase().into()))
}

fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    name.len() <= LONGEST_NAME && name.split('.').all(is_label)
}
