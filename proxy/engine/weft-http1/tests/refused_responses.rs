//! Rules 1, 2, 7, 9, 10 and 11 for what upstreams send: each line is refused for the reason beside it, however it is cut.

mod harness;

use harness::{Responses, refusal, tell_in_every_cut, text};
use weft_http1::{Method, Reject};

fn assert_refused(cases: impl IntoIterator<Item = (Vec<u8>, Reject)>) {
    for (input, expected) in cases {
        let said = tell_in_every_cut(|| Responses::to(Method::Get, false), &input);
        assert_eq!(
            refusal(&said),
            Some(expected),
            "{:?}: {said:?}",
            text(&input)
        );
    }
}

/// A good status line before the fields as written.
fn fields(cases: &[(&str, Reject)]) {
    assert_refused(cases.iter().map(|(fields, why)| {
        (
            format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n").into_bytes(),
            *why,
        )
    }));
}

#[test]
fn status_lines_and_line_ends() {
    let line = |line: &str| format!("{line}\r\nContent-Length: 0\r\n\r\n").into_bytes();
    assert_refused(
        [
            ("", Reject::LeadingEmptyLine),
            ("HTTP/2 200", Reject::BadStatusLine),
            ("HTTP/2.0 200 OK", Reject::BadStatusLine),
            ("HTTP/1.2 200 OK", Reject::BadStatusLine),
            ("http/1.1 200 OK", Reject::BadStatusLine),
            ("HTTP/1.1", Reject::BadStatusLine),
            ("HTTP/1.1 ", Reject::BadStatusLine),
            ("HTTP/1.1 20 OK", Reject::BadStatusLine),
            ("HTTP/1.1 2000 OK", Reject::BadStatusLine),
            ("HTTP/1.1 099 OK", Reject::BadStatusLine),
            ("HTTP/1.1 600 OK", Reject::BadStatusLine),
            ("HTTP/1.1 2x0 OK", Reject::BadStatusLine),
            ("HTTP/1.1  200 OK", Reject::BadStatusLine),
            ("HTTP/1.1 200\tOK", Reject::BadStatusLine),
            ("HTTP/1.1 200 O\0K", Reject::BadStatusLine),
            ("HTTP/1.1 200 O\rK", Reject::BadStatusLine),
            (" HTTP/1.1 200 OK", Reject::BadStatusLine),
            ("SSH-2.0-OpenSSH_9.2", Reject::BadStatusLine),
            ("HTTP/1.1 101 Switching Protocols", Reject::UnaskedUpgrade),
        ]
        .map(|(text, why)| (line(text), why)),
    );
    fields(&[
        ("A: b\nC: d", Reject::BareLf),
        ("A: b\rC: d", Reject::BareCr),
        ("A: b\r\n c", Reject::FoldedLine),
        ("A : b", Reject::BadFieldName),
        ("Content-Length : 1", Reject::BadFieldName),
        (": b", Reject::BadFieldName),
        ("A: b\0", Reject::BadFieldValue),
        ("A: b\x7f", Reject::BadFieldValue),
    ]);
    assert_refused([
        (b"HTTP/1.1 200 OK\nA: b\r\n\r\n".to_vec(), Reject::BareLf),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n\n".to_vec(), Reject::BareLf),
    ]);
}

#[test]
fn sizes() {
    let padded = |bytes: usize| {
        let mut head = b"HTTP/1.1 204 No Content\r\nA: ".to_vec();
        head.resize(bytes - 4, b'a');
        head.extend_from_slice(b"\r\n\r\n");
        head
    };
    let many = |count| {
        format!(
            "HTTP/1.1 204 No Content\r\n{}\r\n",
            "a: b\r\n".repeat(count)
        )
        .into_bytes()
    };
    assert_refused([
        (padded(64 * 1024 + 1), Reject::HeadTooLarge),
        (many(101), Reject::TooManyFields),
        (
            b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(17),
            Reject::TooManyInformational,
        ),
    ]);
    for fits in [
        padded(64 * 1024),
        many(100),
        b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(16),
    ] {
        let said = tell_in_every_cut(|| Responses::to(Method::Get, false), &fits);
        assert_eq!(refusal(&said), None);
    }
}

#[test]
fn framing_fields() {
    fields(&[
        ("Content-Length: 1\r\nContent-Length: 2", Reject::TwoLengths),
        (
            "Content-Length: 1\r\nContent-Length: 01",
            Reject::TwoLengths,
        ),
        ("Content-Length: 1, 1", Reject::BadLength),
        ("Content-Length: -1", Reject::BadLength),
        ("Content-Length:", Reject::BadLength),
        ("Content-Length: 1234567890123456789", Reject::BadLength),
        (
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            Reject::LengthAndEncoding,
        ),
        ("Transfer-Encoding: gzip", Reject::UnknownEncoding),
        ("Transfer-Encoding: gzip, chunked", Reject::UnknownEncoding),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            Reject::TwoEncodings,
        ),
        ("Connection: content-length", Reject::ConnectionNamesField),
        ("Connection: x-weft-caller", Reject::ConnectionNamesField),
        ("Connection: a b", Reject::BadConnection),
    ]);
    assert_refused([(
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
        Reject::EncodingOnOldVersion,
    )]);
}

#[test]
fn framing_fields_are_judged_where_there_is_no_body_too() {
    let bad = b"HTTP/1.1 304 Not Modified\r\nContent-Length: x\r\n\r\n";
    assert_refused([(bad.to_vec(), Reject::BadLength)]);
    let said = tell_in_every_cut(|| Responses::to(Method::Head, false), bad);
    assert_eq!(refusal(&said), Some(Reject::BadLength));
}

#[test]
fn chunks_and_trailers() {
    let chunked = |body: &str| {
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}").into_bytes()
    };
    assert_refused(
        [
            ("x\r\n", Reject::BadChunkSize),
            ("0000000000000001\r\n", Reject::BadChunkSize),
            ("1;\r\na\r\n", Reject::BadChunkExtension),
            ("1\r\nab", Reject::BadChunkEnd),
            ("1\n", Reject::BadChunkEnd),
            ("0\r\nContent-Length: 1\r\n\r\n", Reject::TrailerRefused),
            ("0\r\nx-weft-caller: a\r\n\r\n", Reject::TrailerRefused),
            ("0\r\n a: b\r\n\r\n", Reject::FoldedLine),
            ("0\r\na: b\n\r\n", Reject::BareLf),
        ]
        .map(|(body, why)| (chunked(body), why)),
    );
}
