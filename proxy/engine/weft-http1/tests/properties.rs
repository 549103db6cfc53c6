//! What holds for any bytes: no panic, the same told for every cut, the same as two other readers say, and what is written
//! reads as what was meant.

mod harness;
mod reference;

use harness::{Requests, Responses, Said, tell};
use proptest::prelude::*;
use weft_http1::{
    Fields, Framing, Limits, Method, RequestDecoder, RequestHead, ResponseDecoder, ResponseHead,
    Step, encode,
};

/// Pieces that heads are made of and broken by; a sequence of them is more often nearly right than random bytes are.
const PIECES: &[&str] = &[
    "GET",
    "POST",
    "OPTIONS",
    "get",
    "TRACE",
    " ",
    "  ",
    "/",
    "/a?b",
    "*",
    "http://api",
    "http://a@b/",
    "#",
    "%2e",
    "%",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    " HTTP/1.1\n",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    "Host: web\r\n",
    "Host: a,b\r\n",
    "Host:\r\n",
    "Content-Length: 3\r\n",
    "Content-Length: 3, 3\r\n",
    "Content-Length: +3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip\r\n",
    "Connection: close\r\n",
    "Connection: host\r\n",
    "Connection: a\r\n",
    "A: b\r\n",
    "a:\t c \r\n",
    "a :c\r\n",
    " folded\r\n",
    "A_B: c\r\n",
    "Expect: 100-continue\r\n",
    "Expect: x\r\n",
    "abc",
    "3\r\nabc\r\n",
    "0\r\n\r\n",
    "0\r\nA: b\r\n\r\n",
    "3;x\r\nabc\r\n",
    ";",
    ":",
    "\0",
    "\u{e9}",
    "GET / HTTP/1.1\r\nHost: web\r\n",
    "POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.0 304\r\n",
    "HTTP/1.1 101 x\r\n\r\n",
];

fn nearly_http() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        20 => proptest::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

/// A head whose first line is good and whose lines are mostly so.
fn nearly_a_request() -> impl Strategy<Value = Vec<u8>> {
    let fields: Vec<&str> = PIECES
        .iter()
        .copied()
        .filter(|piece| piece.ends_with("\r\n") && piece.contains(':'))
        .collect();
    let lines = proptest::collection::vec(proptest::sample::select(fields), 0..5);
    let first = proptest::sample::select(vec![
        "GET / HTTP/1.1\r\nHost: web\r\n",
        "POST http://api?x HTTP/1.1\r\nHost: web\r\n",
        "PUT /%41 HTTP/1.0\r\n",
    ]);
    let damage = proptest::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    (first, lines, damage).prop_map(|(first, lines, damage)| {
        let mut head = format!("{first}{}\r\n", lines.concat()).into_bytes();
        if let Some((at, byte)) = damage {
            let at = at.index(head.len());
            head[at] = byte;
        }
        head
    })
}

/// A chunked request with a body that is nearly right, and perhaps another request behind it.
fn nearly_a_body() -> impl Strategy<Value = Vec<u8>> {
    let piece = proptest::sample::select(vec![
        "3\r\nabc\r\n",
        "10;a=b\r\n0123456789abcdef\r\n",
        "3\r\nabc\r\n",
        "1\r\n\n\r\n",
        "1;\r\na\r\n",
        "2\r\na\r\n",
        "0\r\n\r\n",
        "0\r\nA: b\r\nC_D: e\r\n\r\n",
        "0\r\nHost: a\r\n\r\n",
        "0\r\n a\r\n\r\n",
        "0\r\nA: b\n\r\n",
        "\r\n",
        "0\r\n\r\nGET / HTTP/1.1\r\nHost: web\r\nContent-Length: 3\r\n\r\nabc",
    ]);
    let first = proptest::sample::select(vec![
        "POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ]);
    (first, proptest::collection::vec(piece, 0..6))
        .prop_map(|(first, body)| format!("{first}{}", body.concat()).into_bytes())
}

fn pieces<'a>(mut input: &'a [u8], cuts: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for cut in cuts {
        let (piece, rest) = input.split_at(usize::from(*cut).min(input.len()));
        pieces.push(piece);
        input = rest;
    }
    pieces.push(input);
    pieces
}

fn token() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9!#$%&'*+.^`|~-]{1,20}"
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(b'\t'), b' '..=b'~', 0x80..=0xff_u8], 0..40)
        .prop_map(|value| value.trim_ascii().to_vec())
}

fn plain_fields() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let field = (token().prop_map(|name| format!("p-{name}")), value());
    proptest::collection::vec(field, 0..12)
}

fn pairs(fields: &[(String, Vec<u8>)]) -> impl Iterator<Item = (&[u8], &[u8])> {
    fields
        .iter()
        .map(|(name, value)| (name.as_bytes(), &value[..]))
}

fn received(fields: &Fields) -> Vec<(String, Vec<u8>)> {
    fields
        .iter()
        .map(|field| (harness::text(field.name), field.value.to_vec()))
        .collect()
}

/// `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    ProptestConfig {
        cases: asked.cases.max(1_000),
        failure_persistence: None,
        ..asked
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_cut_of_any_bytes_tells_the_same(
        input in prop_oneof![nearly_http(), nearly_a_request(), nearly_a_body()],
        cuts in proptest::collection::vec(0_u8..40, 0..12),
    ) {
        let whole = tell(Requests::new(), [&input[..]]);
        prop_assert_eq!(&tell(Requests::new(), pieces(&input, &cuts)), &whole);
        prop_assert_eq!(&tell(Requests::new(), input.chunks(1)), &whole);
        for method in [Method::Get, Method::Head] {
            let whole = tell(Responses::to(method, false), [&input[..]]);
            prop_assert_eq!(&tell(Responses::to(method, false), pieces(&input, &cuts)), &whole);
            prop_assert_eq!(&tell(Responses::to(method, false), input.chunks(1)), &whole);
        }
    }

    #[test]
    fn random_bytes_never_panic(input in proptest::collection::vec(any::<u8>(), 0..400)) {
        tell(Requests::new(), [&input[..]]);
        tell(Responses::to(Method::Get, true), [&input[..]]);
    }

    #[test]
    fn a_slow_reader_agrees(head in nearly_a_request()) {
        // The reference reads one head, up to the first empty line.
        let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(());
        };
        let head = &head[..end + 4];
        let read = reference::read(head);
        let said = tell(Requests::new(), [head]).into_iter().next();
        match (read, said) {
            (None, Some(Said::Bad(_))) => {}
            (Some(read), Some(Said::Request(told))) => {
                prop_assert_eq!(&read.method, &told.method);
                let origin = told.target.trim_start_matches('/');
                prop_assert!(read.target.ends_with(origin));
                let lines: Vec<_> = told.fields.into_iter().map(|(name, value, _)| (name, value)).collect();
                prop_assert_eq!(read.fields, lines);
                let body = match told.framing {
                    Framing::None => reference::Body::None,
                    Framing::Length(length) => reference::Body::Length(length),
                    Framing::Chunked => reference::Body::Chunked,
                    Framing::UntilClose => return Err(TestCaseError::fail("a request until close")),
                };
                prop_assert_eq!(read.body, body);
            }
            (read, said) => prop_assert!(false, "{:?}: reference {read:?}, codec {said:?}", harness::text(head)),
        }
    }

    #[test]
    fn what_is_accepted_httparse_reads_the_same(input in prop_oneof![nearly_http(), nearly_a_request()]) {
        let Some(Said::Request(told)) = tell(Requests::new(), [&input[..]]).into_iter().next() else {
            return Ok(());
        };
        let mut fields = [httparse::EMPTY_HEADER; 128];
        let mut request = httparse::Request::new(&mut fields);
        prop_assert!(request.parse(&input).is_ok_and(|status| status.is_complete()));
        prop_assert_eq!(request.method, Some(&*told.method));
        let parsed: Vec<_> = request.headers.iter().map(|line| (line.name.to_string(), line.value.to_vec())).collect();
        let lines: Vec<_> = told.fields.into_iter().map(|(name, value, _)| (name, value)).collect();
        prop_assert_eq!(parsed, lines);
    }

    #[test]
    fn a_written_request_reads_as_meant(
        target in "/[a-z0-9/._~-]{0,30}(\\?[a-z=&]{0,20})?",
        fields in plain_fields(),
        length in 0_u64..1_000_000_000_000_000_000,
        kind in 0_usize..3,
    ) {
        let framing = [Framing::None, Framing::Chunked, Framing::Length(length)][kind];
        let mut bytes = Vec::new();
        encode::request_line(&mut bytes, b"PUT", target.as_bytes());
        encode::field(&mut bytes, b"host", b"web");
        pairs(&fields).for_each(|(name, value)| encode::field(&mut bytes, name, value));
        encode::framing(&mut bytes, framing);
        encode::end(&mut bytes);
        let mut head = RequestHead::new();
        let (taken, step) = RequestDecoder::new(Limits::REQUEST).feed(&bytes, &mut head);
        prop_assert_eq!((taken, step), (bytes.len(), Step::Head));
        prop_assert_eq!((head.target(), head.framing()), (target.as_bytes(), framing));
        // Forwarded once more it is the same request again.
        let mut again = Vec::new();
        encode::request(&mut again, &head, head.authority(), head.framing(), []);
        prop_assert_eq!(harness::text(&again), harness::text(&bytes));
    }

    #[test]
    fn a_written_response_reads_as_meant(status in 200_u16..600, fields in plain_fields()) {
        prop_assume!(status != 204 && status != 304);
        let mut bytes = Vec::new();
        encode::status_line(&mut bytes, status, encode::reason(status));
        pairs(&fields).for_each(|(name, value)| encode::field(&mut bytes, name, value));
        encode::framing(&mut bytes, Framing::Chunked);
        encode::end(&mut bytes);
        let mut head = ResponseHead::new();
        let (taken, step) = ResponseDecoder::new(Limits::RESPONSE).feed(&bytes, &mut head);
        prop_assert_eq!((taken, step), (bytes.len(), Step::Head));
        prop_assert_eq!((head.status(), head.framing()), (status, Framing::Chunked));
        prop_assert_eq!(&received(head.fields())[..fields.len()], &fields[..]);
        let mut again = Vec::new();
        encode::response(&mut again, &head, head.announced(), []);
        prop_assert_eq!(harness::text(&again), harness::text(&bytes));
    }

    #[test]
    fn written_chunks_and_trailers_read_as_meant(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..6),
        fields in plain_fields(),
    ) {
        let mut bytes = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        chunks.iter().for_each(|data| encode::chunk(&mut bytes, data));
        let mut trailers = Fields::new();
        pairs(&fields).for_each(|(name, value)| trailers.push(name, value));
        encode::last_chunk(&mut bytes, &trailers);
        let mut said = tell(Responses::to(Method::Get, false), [&bytes[..]]).into_iter().skip(1).peekable();
        let body = chunks.concat();
        if !body.is_empty() {
            prop_assert_eq!(said.next(), Some(Said::Body(body)));
        }
        if !fields.is_empty() {
            let lines = fields.into_iter().map(|(name, value)| (name, value, false)).collect();
            prop_assert_eq!(said.next(), Some(Said::Trailers(lines)));
        }
        prop_assert_eq!(said.next(), Some(Said::End));
    }
}
