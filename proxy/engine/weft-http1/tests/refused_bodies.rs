//! Rules 7 to 10 for what clients send: each line is refused for the reason beside it, however it is cut.

mod harness;

use harness::requests::{chunked, fields, raw};
use weft_http1::Reject;

#[test]
fn framing_fields() {
    fields(&[
        ("Content-Length: 1\r\nContent-Length: 1", Reject::TwoLengths),
        ("Content-Length: 1\r\ncontent-length: 2", Reject::TwoLengths),
        ("Content-Length: 1, 1", Reject::BadLength),
        ("Content-Length:", Reject::BadLength),
        ("Content-Length: +1", Reject::BadLength),
        ("Content-Length: -1", Reject::BadLength),
        ("Content-Length: 0x1", Reject::BadLength),
        ("Content-Length: 1 2", Reject::BadLength),
        ("Content-Length: 1.0", Reject::BadLength),
        ("Content-Length: 1234567890123456789", Reject::BadLength),
        ("Content-Length: \u{661}", Reject::BadLength),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            Reject::TwoEncodings,
        ),
        (
            "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
            Reject::TwoEncodings,
        ),
        ("Transfer-Encoding: gzip", Reject::UnknownEncoding),
        ("Transfer-Encoding: identity", Reject::UnknownEncoding),
        ("Transfer-Encoding: gzip, chunked", Reject::UnknownEncoding),
        (
            "Transfer-Encoding: chunked, chunked",
            Reject::UnknownEncoding,
        ),
        ("Transfer-Encoding: chunked;q=1", Reject::UnknownEncoding),
        ("Transfer-Encoding: \"chunked\"", Reject::UnknownEncoding),
        ("Transfer-Encoding: xchunked", Reject::UnknownEncoding),
        ("Transfer-Encoding:", Reject::UnknownEncoding),
        (
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            Reject::LengthAndEncoding,
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 0",
            Reject::LengthAndEncoding,
        ),
        (
            "Transfer-Encoding: gzip\r\nContent-Length: 0",
            Reject::LengthAndEncoding,
        ),
        ("Expect: 200-ok", Reject::UnknownExpectation),
        ("Expect:", Reject::UnknownExpectation),
        ("Expect: 100-continue, x", Reject::UnknownExpectation),
        (
            "Expect: 100-continue\r\nExpect: 100-continue",
            Reject::UnknownExpectation,
        ),
    ]);
    raw(&[(
        "POST / HTTP/1.0\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Reject::EncodingOnOldVersion,
    )]);
}

#[test]
fn connection_options() {
    fields(&[
        ("Connection: host", Reject::ConnectionNamesField),
        (
            "Connection: close, Content-Length\r\nContent-Length: 1",
            Reject::ConnectionNamesField,
        ),
        (
            "Connection: transfer-encoding",
            Reject::ConnectionNamesField,
        ),
        ("Connection: x-weft-caller", Reject::ConnectionNamesField),
        ("Connection: X-Weft-Reason", Reject::ConnectionNamesField),
        ("Connection: x-weft-anything", Reject::ConnectionNamesField),
        ("Connection: x-forwarded-for", Reject::ConnectionNamesField),
        (
            "Connection: x-forwarded-client-cert",
            Reject::ConnectionNamesField,
        ),
        ("Connection: forwarded", Reject::ConnectionNamesField),
        (
            "Connection: close\r\nA: b\r\nConnection: host",
            Reject::ConnectionNamesField,
        ),
        ("Connection: a b", Reject::BadConnection),
        ("Connection: a;b", Reject::BadConnection),
        ("Connection: \"close\"", Reject::BadConnection),
    ]);
}

#[test]
fn chunks() {
    chunked(&[
        ("\r\n", Reject::BadChunkSize),
        ("g\r\n", Reject::BadChunkSize),
        ("0x1\r\na\r\n", Reject::BadChunkSize),
        ("-1\r\n", Reject::BadChunkSize),
        ("+1\r\n", Reject::BadChunkSize),
        (" 1\r\na\r\n", Reject::BadChunkSize),
        ("1 \r\na\r\n", Reject::BadChunkSize),
        ("1 ;a\r\na\r\n", Reject::BadChunkSize),
        ("0000000000000001\r\na\r\n", Reject::BadChunkSize),
        ("ffffffffffffffff\r\n", Reject::BadChunkSize),
        (";a\r\n", Reject::BadChunkSize),
        ("\n", Reject::BadChunkSize),
        ("1\na\r\n", Reject::BadChunkEnd),
        ("1\ra\r\n", Reject::BadChunkEnd),
        ("1\r\nab\r\n", Reject::BadChunkEnd),
        ("1\r\na\n", Reject::BadChunkEnd),
        ("1\r\na0\r\n\r\n", Reject::BadChunkEnd),
        ("1\r\na\r0\r\n\r\n", Reject::BadChunkEnd),
        ("1;\r\na\r\n", Reject::BadChunkExtension),
        ("1;;\r\na\r\n", Reject::BadChunkExtension),
        ("1; \r\na\r\n", Reject::BadChunkExtension),
        ("1;a\nb\r\n", Reject::BadChunkExtension),
        ("1;a\x01\r\na\r\n", Reject::BadChunkExtension),
        ("1;a\u{e9}\r\na\r\n", Reject::BadChunkExtension),
        ("1;a\tb\r\na\r\n", Reject::BadChunkExtension),
        (
            &format!("1;{}\r\na\r\n", "x".repeat(257)),
            Reject::BadChunkExtension,
        ),
        ("0\r\n\n", Reject::BareLf),
        ("0\n\r\n", Reject::BadChunkEnd),
    ]);
}

#[test]
fn trailers() {
    chunked(&[
        ("0\r\nA: b\n\r\n", Reject::BareLf),
        ("0\r\n A: b\r\n\r\n", Reject::FoldedLine),
        ("0\r\n\tA: b\r\n\r\n", Reject::FoldedLine),
        ("0\r\n: b\r\n\r\n", Reject::BadFieldName),
        ("0\r\nno colon\r\n\r\n", Reject::BadFieldName),
        ("0\r\nA : b\r\n\r\n", Reject::BadFieldName),
        ("0\r\nA: b\r\n c\r\n\r\n", Reject::FoldedLine),
        ("0\r\nA: b\0\r\n\r\n", Reject::BadFieldValue),
        ("0\r\nA: b\rc\r\n\r\n", Reject::BareCr),
        ("0\r\nContent-Length: 1\r\n\r\n", Reject::TrailerRefused),
        (
            "0\r\nTransfer-Encoding: chunked\r\n\r\n",
            Reject::TrailerRefused,
        ),
        ("0\r\nHost: api\r\n\r\n", Reject::TrailerRefused),
        (
            "0\r\nA: b\r\nX-Weft-Caller: web\r\n\r\n",
            Reject::TrailerRefused,
        ),
        ("0\r\nConnection: close\r\n\r\n", Reject::TrailerRefused),
        ("0\r\nAuthorization: a\r\n\r\n", Reject::TrailerRefused),
        ("0\r\nX-Forwarded-For: a\r\n\r\n", Reject::TrailerRefused),
        (
            &format!("0\r\nA: {}\r\n\r\n", "b".repeat(4_094)),
            Reject::TrailerTooLarge,
        ),
        (
            &format!("0\r\n{}\r\n", "A: b\r\n".repeat(101)),
            Reject::TooManyFields,
        ),
        (
            &format!(
                "0\r\n{}\r\n",
                format!("A: {}\r\n", "b".repeat(4_000)).repeat(5)
            ),
            Reject::TrailerTooLarge,
        ),
    ]);
}
