//! From tokens to fields: what httparse found is checked once more where it is lenient, and written down by position.

use std::mem::MaybeUninit;

use crate::field::{Entry, Span};
use crate::fields::{Fields, is_token};
use crate::limits::Limits;
use crate::name::identify;
use crate::reject::Reject;

/// Room for httparse's tokens: nothing is written into it before it is used.
pub(crate) type Tokens<'a> = [MaybeUninit<httparse::Header<'a>>; Limits::MAX_FIELDS];

/// Writes down the fields of `raw` (first line and the empty line included, if there is one), which is then copied behind them.
/// Returns where the first line ends, and the bits of the fields that are there more than once; nothing if a line does not
/// end with CRLF.
#[inline]
pub(crate) fn absorb(
    raw: &[u8],
    tokens: &[httparse::Header<'_>],
    fields: &mut Fields,
) -> Option<(usize, u64)> {
    let mut repeated = 0;
    let mut first = None;
    fields.list.clear();
    fields.seen = 0;
    for token in tokens {
        let name = token.name.as_bytes();
        let span = Span::of(raw, name);
        let before = (span.start as usize).wrapping_sub(2);
        if raw.get(before..span.start as usize)? != b"\r\n" {
            return None;
        }
        first.get_or_insert(before);
        let id = identify(name);
        repeated |= fields.seen & id.bit();
        fields.seen |= id.bit();
        fields.list.push(Entry {
            name: span,
            value: Span::of(raw, token.value),
            id,
            dropped: id.is_hop_by_hop() || (id.is_open() && name.contains(&b'_')),
        });
    }
    let end = raw.strip_suffix(b"\r\n\r\n")?.len();
    Some((first.unwrap_or(end), repeated))
}

/// Fills `trailers` from its own bytes, which end with the empty line.
pub(crate) fn trailers(trailers: &mut Fields) -> Result<(), Reject> {
    if trailers.raw == b"\r\n" {
        return Ok(());
    }
    let raw = std::mem::take(&mut trailers.raw);
    let mut tokens = [httparse::EMPTY_HEADER; Limits::MAX_FIELDS];
    let parsed = match httparse::parse_headers(&raw, &mut tokens) {
        Ok(httparse::Status::Complete((_, tokens))) => absorb_lines(&raw, tokens, trailers),
        _ => None,
    };
    let why = parsed.is_none().then(|| why_refused(&raw));
    trailers.raw = raw;
    match why {
        Some(reject) => Err(reject),
        None if trailers
            .list
            .iter()
            .any(|entry| entry.id.is_refused_as_trailer()) =>
        {
            Err(Reject::TrailerRefused)
        }
        None => Ok(()),
    }
}

/// As [`absorb`], for lines that no first line precedes. [`crate::scan::Scan`] saw that each ends with CRLF.
fn absorb_lines(raw: &[u8], tokens: &[httparse::Header<'_>], fields: &mut Fields) -> Option<()> {
    for token in tokens {
        let name = token.name.as_bytes();
        let id = identify(name);
        fields.seen |= id.bit();
        fields.list.push(Entry {
            name: Span::of(raw, name),
            value: Span::of(raw, token.value),
            id,
            dropped: id.is_open() && name.contains(&b'_'),
        });
    }
    Some(())
}

/// Why a head is refused in which every line ends with CRLF and whose first line is good.
pub(crate) fn why_head_refused(raw: &[u8]) -> Reject {
    let first = memchr::memchr(b'\n', raw).map_or(raw.len(), |at| at + 1);
    why_refused(&raw[first..])
}

/// Why httparse refuses these field lines, each of which ends with CRLF.
pub(crate) fn why_refused(lines: &[u8]) -> Reject {
    lines
        .split(|&b| b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .take_while(|line| !line.is_empty())
        .find_map(why_line_refused)
        .unwrap_or(Reject::BadFieldValue)
}

fn why_line_refused(line: &[u8]) -> Option<Reject> {
    if line.contains(&b'\r') {
        return Some(Reject::BareCr);
    }
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Some(Reject::FoldedLine);
    }
    let name = line.split(|&b| b == b':').next().unwrap_or_default();
    if name.is_empty() || name.len() == line.len() || !name.iter().all(|&b| is_token(b)) {
        return Some(Reject::BadFieldName);
    }
    let controls = line[name.len()..]
        .iter()
        .any(|&b| b == 0x7f || (b < b' ' && b != b'\t'));
    controls.then_some(Reject::BadFieldValue)
}
