//! Feeds bytes to a decoder in pieces and writes down what it said, so that two ways of cutting can be compared.
#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod requests;

use weft_http1::{
    Eof, Fields, Framing, Limits, Method, Reject, RequestDecoder, RequestHead, ResponseDecoder,
    ResponseHead, Step, Version,
};

/// What a decoder said, with pieces of one body put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Request(Request),
    Response(Response),
    Body(Vec<u8>),
    Trailers(Lines),
    End,
    Bad(Reject),
    Eof(Eof),
}

pub(crate) type Lines = Vec<(String, Vec<u8>, bool)>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) authority: String,
    pub(crate) version: Version,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    pub(crate) expects_continue: bool,
    pub(crate) upgrade: Option<String>,
    pub(crate) fields: Lines,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) reason: Vec<u8>,
    pub(crate) version: Version,
    pub(crate) framing: Framing,
    pub(crate) announced: Framing,
    pub(crate) keep_alive: bool,
    pub(crate) fields: Lines,
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn lines(fields: &Fields) -> Lines {
    fields
        .iter()
        .map(|field| (text(field.name), field.value.to_vec(), field.dropped))
        .collect()
}

/// What the two decoders have in common.
pub(crate) trait Decoder {
    fn step(&mut self, input: &[u8]) -> (usize, Step);
    fn head(&self) -> Said;
    fn trailers(&self) -> Lines;
    fn eof(&self) -> Eof;
}

pub(crate) struct Requests(pub(crate) RequestDecoder, pub(crate) RequestHead);
pub(crate) struct Responses(pub(crate) ResponseDecoder, pub(crate) ResponseHead);

impl Requests {
    pub(crate) fn new() -> Self {
        Self::limited(Limits::REQUEST)
    }

    pub(crate) fn limited(limits: Limits) -> Self {
        Self(RequestDecoder::new(limits), RequestHead::new())
    }
}

impl Responses {
    pub(crate) fn to(method: Method, offered_upgrade: bool) -> Self {
        let mut decoder = ResponseDecoder::new(Limits::RESPONSE);
        decoder.expect(method, offered_upgrade);
        Self(decoder, ResponseHead::new())
    }
}

impl Decoder for Requests {
    fn step(&mut self, input: &[u8]) -> (usize, Step) {
        self.0.feed(input, &mut self.1)
    }

    fn head(&self) -> Said {
        let head = &self.1;
        Said::Request(Request {
            method: text(head.method_name()),
            target: text(head.target()),
            path: text(head.path()),
            query: head.query().map(text),
            authority: text(head.authority()),
            version: head.version(),
            framing: head.framing(),
            keep_alive: head.keep_alive(),
            expects_continue: head.expects_continue(),
            upgrade: head.upgrade().map(text),
            fields: lines(head.fields()),
        })
    }

    fn trailers(&self) -> Lines {
        lines(self.0.trailers())
    }

    fn eof(&self) -> Eof {
        self.0.eof()
    }
}

impl Decoder for Responses {
    fn step(&mut self, input: &[u8]) -> (usize, Step) {
        self.0.feed(input, &mut self.1)
    }

    fn head(&self) -> Said {
        let head = &self.1;
        Said::Response(Response {
            status: head.status(),
            reason: head.reason().to_vec(),
            version: head.version(),
            framing: head.framing(),
            announced: head.announced(),
            keep_alive: head.keep_alive(),
            fields: lines(head.fields()),
        })
    }

    fn trailers(&self) -> Lines {
        lines(self.0.trailers())
    }

    fn eof(&self) -> Eof {
        self.0.eof()
    }
}

/// Feeds the pieces one after another, then the end of the input.
pub(crate) fn tell<'a>(
    mut decoder: impl Decoder,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<Said> {
    let mut said = Vec::new();
    for piece in pieces {
        let mut rest = piece;
        loop {
            let (taken, step) = decoder.step(rest);
            let input = rest;
            rest = &rest[taken..];
            match step {
                Step::Need => {
                    assert!(
                        rest.is_empty(),
                        "a step that needs more consumes all there is"
                    );
                    break;
                }
                Step::Head => said.push(decoder.head()),
                Step::Data(range) => {
                    assert!(!range.is_empty() && range.end == taken);
                    match said.last_mut() {
                        Some(Said::Body(body)) => body.extend_from_slice(&input[range]),
                        _ => said.push(Said::Body(input[range].to_vec())),
                    }
                }
                Step::Trailers => said.push(Said::Trailers(decoder.trailers())),
                Step::End => said.push(Said::End),
                Step::Bad(reject) => {
                    assert_eq!(
                        decoder.step(b"GET"),
                        (0, Step::Bad(reject)),
                        "it stays refused"
                    );
                    said.push(Said::Bad(reject));
                    return said;
                }
            }
        }
    }
    said.push(Said::Eof(decoder.eof()));
    said
}

/// Feeds the input whole, byte by byte and cut once at every position; asserts that all say the same, and returns it.
pub(crate) fn tell_in_every_cut<D: Decoder>(new: impl Fn() -> D, input: &[u8]) -> Vec<Said> {
    let whole = tell(new(), [input]);
    assert_eq!(
        tell(new(), input.chunks(1)),
        whole,
        "byte by byte: {:?}",
        text(input)
    );
    // Long inputs are long in one part; there every position says the same.
    let step = 1 + input.len() / 1_000;
    for at in (0..input.len()).step_by(step) {
        let (first, second) = input.split_at(at);
        assert_eq!(
            tell(new(), [first, second]),
            whole,
            "cut at {at}: {:?}",
            text(input)
        );
    }
    whole
}

/// What it was refused for, if it was.
pub(crate) fn refusal(said: &[Said]) -> Option<Reject> {
    match said.last() {
        Some(Said::Bad(reject)) => Some(*reject),
        _ => None,
    }
}
