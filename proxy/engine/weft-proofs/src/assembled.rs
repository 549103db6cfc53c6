//! Requests that came in frames of HTTP/2: what the engine makes of their parts for an application that speaks HTTP/1.1.

use weft_http1::{Framing, Limits, RequestHead, RequestParts, encode};

use crate::forward;
use crate::requests::is_strict;

/// Parts are lines: method, target, authority (`-`: none), then fields as `name: value`. What is taken of them is, written down,
/// one request that a strict reader takes for the same.
pub fn check(data: &[u8]) {
    let (first, rest) = data.split_at(data.len().min(1));
    let ended = first.first().is_some_and(|first| first & 1 == 1);
    let mut lines = rest.split(|byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let parts = RequestParts {
        method: line(),
        target: line(),
        authority: Some(line()).filter(|authority| *authority != b"-"),
        ended,
    };
    let fields = lines.filter_map(|line| {
        let at = line.iter().skip(1).position(|byte| *byte == b':')? + 1;
        Some((&line[..at], line[at + 1..].strip_prefix(b" ")?))
    });
    let mut head = RequestHead::new();
    if head.assemble(parts, fields, &Limits::REQUEST).is_err() {
        return;
    }
    let mut bytes = Vec::new();
    encode::request(&mut bytes, &head, head.authority(), head.framing(), []);
    match head.framing() {
        Framing::None => {}
        Framing::Chunked => bytes.extend_from_slice(b"3\r\nabc\r\n0\r\n\r\n"),
        Framing::Length(length @ 0..=4096) => {
            bytes.resize(bytes.len() + usize::try_from(length).expect("small"), b'a');
        }
        Framing::Length(_) => return,
        Framing::UntilClose => panic!("a request until the connection closes"),
    }
    let written = forward::requests(&bytes, Limits::MESH);
    assert_eq!(
        written.messages.len(),
        1,
        "{:?}",
        String::from_utf8_lossy(&bytes)
    );
    assert_eq!(written.bytes, bytes);
    assert_eq!(
        written.messages[0].meaning.fields[1..],
        forward::forwarded(head.fields()).collect::<Vec<_>>()
    );
    is_strict(&written);
}
