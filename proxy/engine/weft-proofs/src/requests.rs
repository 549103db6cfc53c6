//! Requests of HTTP/1.1, one behind the other.

use weft_http1::Limits;

use crate::chunks;
use crate::forward::{self, Forwarded};
use crate::harness::{Requests, tell};
use crate::input::Input;
use crate::reference::{self, Body};

/// The longest head, and the most fields, that the slow reader takes.
const HEAD: usize = 16_000;
const FIELDS: usize = 100;

/// However the bytes are cut, the same is read; what is forwarded of them is what a strict reader takes for the same requests,
/// and as many; forwarded once more it stays as it is.
pub fn check(data: &[u8]) {
    let input = Input::new(data);
    let whole = tell(Requests::new(), [input.message]);
    assert_eq!(tell(Requests::new(), input.pieces()), whole);
    if let Some(bytes) = input.bytes() {
        assert_eq!(tell(Requests::new(), bytes), whole);
    }
    is_strict(&forward::requests(input.message, Limits::REQUEST));
}

/// What was written reads as what was meant.
pub(crate) fn is_strict(written: &Forwarded) {
    let again = forward::requests(&written.bytes, Limits::MESH);
    assert_eq!(again.meanings(), written.meanings());
    assert_eq!(again.bytes, written.bytes);
    for message in &written.messages {
        let (head, framed) = (
            &written.bytes[message.head.clone()],
            &written.bytes[message.framed.clone()],
        );
        let fields = &message.meaning.fields;
        for (name, _) in fields.iter().chain(&message.meaning.trailers) {
            assert!(
                !name.contains('_') && !HOP_BY_HOP.contains(&&**name),
                "{name} was forwarded"
            );
        }
        if head.len() > HEAD || fields.len() >= FIELDS {
            continue;
        }
        let read = reference::read(head);
        let read = read.unwrap_or_else(|| panic!("dirty: {:?}", String::from_utf8_lossy(head)));
        assert_eq!(
            format!("{} {}", read.method, read.target),
            message.meaning.first
        );
        let mut told = read.fields;
        for (name, _) in &mut told {
            name.make_ascii_lowercase();
        }
        told.retain(|(name, _)| name != "content-length" && name != "transfer-encoding");
        assert_eq!(&told, fields);
        match read.body {
            Body::None => assert!(framed.is_empty()),
            Body::Length(length) => assert_eq!(framed.len() as u64, length),
            Body::Chunked => match chunks::read(framed) {
                chunks::Read::Whole(body, lines, taken) => {
                    assert_eq!((&body, taken), (&message.meaning.body, framed.len()));
                    assert_eq!(lines.len(), message.meaning.trailers.len());
                }
                other => panic!("chunks that nobody reads: {other:?}"),
            },
        }
    }
}

const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "content-length",
    "transfer-encoding",
    "keep-alive",
    "proxy-connection",
    "te",
    "upgrade",
    "http2-settings",
];
