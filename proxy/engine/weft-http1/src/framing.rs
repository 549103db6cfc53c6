//! How the end of a body is told, and what a connection's own fields say.

use crate::field::FieldId;
use crate::fields::{Fields, is_name};
use crate::head::Version;
use crate::name::identify;
use crate::reject::Reject;

/// Where a body ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// When the peer closes: responses only; such a connection is never used again.
    UntilClose,
}

/// What Connection says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Connection {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
}

/// Eighteen digits always fit a `u64`.
const LONGEST_LENGTH: usize = 18;

// === impl Framing ===

impl Framing {
    /// How the same response body is told to a client of this version: 1.0 knows no chunks, and to 1.1 a body without a length
    /// goes in chunks, so that the connection survives and a cut is noticed.
    #[must_use]
    pub const fn towards(self, version: Version) -> Self {
        match (self, version) {
            (Self::UntilClose, Version::Http11) => Self::Chunked,
            (Self::Chunked, Version::Http10) => Self::UntilClose,
            (framing, _) => framing,
        }
    }

    /// What the fields declare: a length, chunks, or nothing ([`Framing::None`]). `repeated` has the bits of the fields that
    /// are there more than once; equal lengths are one length if `equal_is_one`.
    #[inline]
    pub(crate) fn declared(
        fields: &Fields,
        version: Version,
        repeated: u64,
        equal_is_one: bool,
    ) -> Result<Self, Reject> {
        let length = fields.get(FieldId::ContentLength);
        if fields.has(FieldId::TransferEncoding) {
            return encoding(fields, version, repeated, length.is_some());
        }
        let Some(length) = length else {
            return Ok(Self::None);
        };
        if repeated & FieldId::ContentLength.bit() != 0 {
            let equal = fields
                .all(FieldId::ContentLength)
                .all(|other| other == length);
            if !(equal_is_one && equal) {
                return Err(Reject::TwoLengths);
            }
        }
        parse_length(length).map(Self::Length)
    }
}

fn encoding(
    fields: &Fields,
    version: Version,
    repeated: u64,
    has_length: bool,
) -> Result<Framing, Reject> {
    if version == Version::Http10 {
        return Err(Reject::EncodingOnOldVersion);
    }
    if has_length {
        return Err(Reject::LengthAndEncoding);
    }
    if repeated & FieldId::TransferEncoding.bit() != 0 {
        return Err(Reject::TwoEncodings);
    }
    match fields.get(FieldId::TransferEncoding) {
        Some(coding) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        _ => Err(Reject::UnknownEncoding),
    }
}

pub(crate) fn parse_length(digits: &[u8]) -> Result<u64, Reject> {
    if digits.is_empty() || digits.len() > LONGEST_LENGTH || !digits.iter().all(u8::is_ascii_digit)
    {
        return Err(Reject::BadLength);
    }
    Ok(digits
        .iter()
        .fold(0, |length, b| length * 10 + u64::from(b - b'0')))
}

// === impl Connection ===

impl Connection {
    /// Reads every Connection line and drops the fields they name, wherever those stand.
    #[inline]
    pub(crate) fn collect(fields: &mut Fields) -> Result<Self, Reject> {
        let mut said = Self::default();
        if !fields.has(FieldId::Connection) {
            return Ok(said);
        }
        for at in 0..fields.list.len() {
            if fields.list[at].id == FieldId::Connection {
                said.read_line(fields, at)?;
            }
        }
        Ok(said)
    }

    fn read_line(&mut self, fields: &mut Fields, at: usize) -> Result<(), Reject> {
        let Fields { raw, list, .. } = fields;
        let value = list[at].value.get(raw);
        for option in value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
            if option.is_empty() {
                continue;
            }
            if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else {
                let id = named(option)?;
                for entry in list.iter_mut().filter(|entry| entry.id == id) {
                    entry.dropped |=
                        !id.is_open() || entry.name.get(raw).eq_ignore_ascii_case(option);
                }
            }
        }
        Ok(())
    }

    /// Whether the connection may be used again afterwards.
    pub(crate) const fn persists(self, version: Version) -> bool {
        match version {
            Version::Http11 => !self.close,
            Version::Http10 => self.keep_alive && !self.close,
        }
    }
}

/// The field a connection option names, if a peer may have it dropped.
fn named(option: &[u8]) -> Result<FieldId, Reject> {
    if !is_name(option) {
        return Err(Reject::BadConnection);
    }
    let id = identify(option);
    if id.is_protected() {
        return Err(Reject::ConnectionNamesField);
    }
    Ok(id)
}
