//! Heads: from the h2 crate's maps to ours, and back.

use h2::RecvStream;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use weft_http1::{
    Field, Limits, Method, Reject, RequestHead, RequestParts, ResponseHead, ResponseParts,
};

/// The lines of a map.
pub(super) fn lines(map: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    map.iter()
        .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
}

/// What a request's head comes to, as RFC 9113 section 6.5.2 counts it.
pub(super) fn size<T>(request: &Request<T>) -> usize {
    const EACH: usize = 32;
    let path = request.uri().path_and_query();
    lines(request.headers()).fold(
        path.map_or(0, |path| path.as_str().len()),
        |sum, (name, value)| sum + name.len() + value.len() + EACH,
    )
}

/// Reads a request's head.
pub(super) fn read_request(
    request: &Request<RecvStream>,
    limits: &Limits,
    head: &mut RequestHead,
) -> Result<(), Reject> {
    let uri = request.uri();
    let parts = RequestParts {
        method: request.method().as_str().as_bytes(),
        target: uri
            .path_and_query()
            .map_or("*", |target| target.as_str())
            .as_bytes(),
        authority: uri
            .authority()
            .map(|authority| authority.as_str().as_bytes()),
        ended: request.body().is_end_stream(),
    };
    head.assemble(parts, lines(request.headers()), limits)
}

/// Reads a response's head.
pub(super) fn read_response<T>(
    response: &Response<T>,
    ended: bool,
    method: Method,
    limits: &Limits,
    head: &mut ResponseHead,
) -> Result<(), Reject> {
    let parts = ResponseParts {
        status: response.status().as_u16(),
        method,
        ended,
    };
    head.assemble(parts, lines(response.headers()), limits)
}

/// Adds a field that was read, or is our own: either is good in both versions.
pub(crate) fn append(map: &mut HeaderMap, name: &[u8], value: &[u8]) {
    let parsed = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value));
    debug_assert!(parsed.0.is_ok() && parsed.1.is_ok(), "{name:?}: {value:?}");
    if let (Ok(name), Ok(value)) = parsed {
        map.append(name, value);
    }
}

/// Adds fields that go on.
pub(crate) fn append_fields<'a>(map: &mut HeaderMap, fields: impl Iterator<Item = Field<'a>>) {
    for field in fields {
        append(map, field.name, field.value);
    }
}

/// Adds fields that are prepared as lines of HTTP/1.1.
pub(crate) fn append_lines(map: &mut HeaderMap, lines: &[u8]) {
    for line in lines.split(|byte| *byte == b'\n') {
        if let Some(at) = line.iter().position(|byte| *byte == b':') {
            append(map, &line[..at], line[at + 1..].trim_ascii());
        }
    }
}
