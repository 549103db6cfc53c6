//! Writing heads and chunks. What is written is framed afresh: nothing here can copy a peer's framing, and every head states
//! its own version, host and framing.
//!
//! Everything appends to a `Vec<u8>`, in the order of the functions: a first line with [`request_line`] or [`status_line`],
//! fields with [`field`], [`forwarded`] and [`framing`], then [`end`].

use crate::fields::{Fields, is_name, is_value};
use crate::framing::Framing;
use crate::head::{RequestHead, ResponseHead};

/// What follows the data of each chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// The last chunk with no trailers behind it.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A whole request head, to be forwarded: its own fields as far as they go on, Host first, then `extra`.
///
/// `host` is usually [`RequestHead::authority`]; `framing` says how the body is going to be sent.
pub fn request<'a>(
    out: &mut Vec<u8>,
    head: &RequestHead,
    host: &[u8],
    framing: Framing,
    extra: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) {
    request_line(out, head.method_name(), head.target());
    field(out, b"host", host);
    forwarded(out, head.fields());
    for (name, value) in extra {
        field(out, name, value);
    }
    self::framing(out, framing);
    end(out);
}

/// A whole response head, to be forwarded: its own fields as far as they go on, then `extra`.
///
/// `framing` is usually [`ResponseHead::announced`].
pub fn response<'a>(
    out: &mut Vec<u8>,
    head: &ResponseHead,
    framing: Framing,
    extra: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) {
    status_line(out, head.status(), head.reason());
    forwarded(out, head.fields());
    for (name, value) in extra {
        field(out, name, value);
    }
    self::framing(out, framing);
    end(out);
}

/// A whole answer of the engine's own, with its body: `extra`, a length, and `connection: close` if `close`.
pub fn answer<'a>(
    out: &mut Vec<u8>,
    status: u16,
    extra: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    body: &[u8],
    close: bool,
) {
    status_line(out, status, reason(status));
    for (name, value) in extra {
        field(out, name, value);
    }
    if close {
        field(out, b"connection", b"close");
    }
    framing(out, Framing::Length(body.len() as u64));
    end(out);
    out.extend_from_slice(body);
}

/// `METHOD target HTTP/1.1`. The caller vouches for both parts, as a decoded head does.
pub fn request_line(out: &mut Vec<u8>, method: &[u8], target: &[u8]) {
    out.extend_from_slice(method);
    out.push(b' ');
    out.extend_from_slice(target);
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// `HTTP/1.1 status reason`; `status` has three digits.
pub fn status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    debug_assert!((100..1000).contains(&status));
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

/// One field line. The caller vouches for [`is_name`] and [`is_value`].
#[inline]
pub fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    debug_assert!(is_name(name), "not a field name: {name:?}");
    debug_assert!(is_value(value), "not a field value: {value:?}");
    line(out, name, value);
}

/// The received fields that go on, in their order; Host and all framing are left out.
pub fn forwarded(out: &mut Vec<u8>, fields: &Fields) {
    out.reserve(fields.raw.len());
    // Lines that were received just as they would be written are written as one piece.
    let (mut start, mut end) = (0, 0);
    for entry in fields.list.iter().filter(|entry| entry.goes_on()) {
        if let Some(whole) = fields.written(entry) {
            if whole.start != end {
                out.extend_from_slice(&fields.raw[start..end]);
                start = whole.start;
            }
            end = whole.end;
        } else {
            out.extend_from_slice(&fields.raw[start..end]);
            (start, end) = (0, 0);
            line(
                out,
                entry.name.get(&fields.raw),
                entry.value.get(&fields.raw),
            );
        }
    }
    out.extend_from_slice(&fields.raw[start..end]);
}

/// The field that tells where the body ends, where there is one to tell.
pub fn framing(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::None | Framing::UntilClose => {}
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Length(length) => {
            line(
                out,
                b"content-length",
                itoa::Buffer::new().format(length).as_bytes(),
            );
        }
    }
}

/// The empty line after the fields.
#[inline]
pub fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// A chunk's size line; its data and [`CHUNK_END`] follow. A length of zero writes nothing, since it would end the body.
pub fn chunk_size(out: &mut Vec<u8>, length: usize) {
    if length == 0 {
        return;
    }
    let mut digits = [0; 16];
    let mut left = length;
    let mut at = digits.len();
    while left > 0 {
        at -= 1;
        digits[at] = b"0123456789abcdef"[left & 15];
        left >>= 4;
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

/// A whole chunk; none for empty data.
pub fn chunk(out: &mut Vec<u8>, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    chunk_size(out, data.len());
    out.extend_from_slice(data);
    out.extend_from_slice(CHUNK_END);
}

/// The last chunk with the trailers that go on.
pub fn last_chunk(out: &mut Vec<u8>, trailers: &Fields) {
    out.extend_from_slice(b"0\r\n");
    forwarded(out, trailers);
    end(out);
}

/// The reason phrase of a status the engine may answer by itself; empty for others, which is as good (RFC 9112 §4).
#[must_use]
pub const fn reason(status: u16) -> &'static [u8] {
    match status {
        100 => b"Continue",
        101 => b"Switching Protocols",
        200 => b"OK",
        204 => b"No Content",
        301 => b"Moved Permanently",
        302 => b"Found",
        303 => b"See Other",
        307 => b"Temporary Redirect",
        308 => b"Permanent Redirect",
        400 => b"Bad Request",
        401 => b"Unauthorized",
        403 => b"Forbidden",
        404 => b"Not Found",
        405 => b"Method Not Allowed",
        408 => b"Request Timeout",
        413 => b"Content Too Large",
        414 => b"URI Too Long",
        417 => b"Expectation Failed",
        421 => b"Misdirected Request",
        426 => b"Upgrade Required",
        429 => b"Too Many Requests",
        431 => b"Request Header Fields Too Large",
        500 => b"Internal Server Error",
        501 => b"Not Implemented",
        502 => b"Bad Gateway",
        503 => b"Service Unavailable",
        504 => b"Gateway Timeout",
        _ => b"",
    }
}

#[inline]
fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
