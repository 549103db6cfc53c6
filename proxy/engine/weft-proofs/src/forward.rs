//! What the engine does with messages, without the engine: read, framed anew, written.

use std::ops::Range;

use weft_http1::{
    Eof, Fields, Framing, Limits, Method, RequestDecoder, RequestHead, ResponseDecoder,
    ResponseHead, Step, Version, encode,
};

/// What was written, and what it means.
#[derive(Debug, Default)]
pub(crate) struct Forwarded {
    pub(crate) bytes: Vec<u8>,
    pub(crate) messages: Vec<Message>,
}

/// One whole message.
#[derive(Debug)]
pub(crate) struct Message {
    /// Where its head was written.
    pub(crate) head: Range<usize>,
    /// Where its body was written, framing included.
    pub(crate) framed: Range<usize>,
    pub(crate) meaning: Meaning,
}

/// What a reader must make of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Meaning {
    /// Method and target, or status.
    pub(crate) first: String,
    /// Names in lower case, framing aside.
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, Vec<u8>)>,
}

/// A message that is being written.
struct Open {
    start: usize,
    body: usize,
    chunked: bool,
    meaning: Meaning,
}

/// The whole requests at the start of these bytes, forwarded as to an upstream.
pub(crate) fn requests(data: &[u8], limits: Limits) -> Forwarded {
    let mut decoder = RequestDecoder::new(limits);
    let mut head = RequestHead::new();
    let mut done = Forwarded::default();
    let mut open: Option<Open> = None;
    let mut rest = data;
    loop {
        let (taken, step) = decoder.feed(rest, &mut head);
        match step {
            Step::Head => {
                let start = done.bytes.len();
                let host = Some(head.authority()).filter(|host| !host.is_empty());
                let host = host.unwrap_or(b"web").to_vec();
                encode::request(&mut done.bytes, &head, &host, head.framing(), []);
                let first = format!("{} {}", latin(head.method_name()), latin(head.target()));
                let mut fields = vec![("host".to_owned(), host)];
                fields.extend(forwarded(head.fields()));
                let chunked = head.framing() == Framing::Chunked;
                open = Some(Open::new(start, done.bytes.len(), chunked, first, fields));
            }
            Step::Data(range) => with(&mut open).data(&mut done.bytes, &rest[range]),
            Step::Trailers => with(&mut open).trailers(&mut done.bytes, decoder.trailers()),
            Step::End => open.take().expect("a head came before").end(&mut done),
            Step::Need | Step::Bad(_) => return done.whole(open),
        }
        rest = &rest[taken..];
    }
}

/// The whole responses to requests of one method at the start of these bytes, forwarded as to a client.
pub(crate) fn responses(
    data: &[u8],
    method: Method,
    offered_upgrade: bool,
    limits: Limits,
) -> Forwarded {
    let mut decoder = ResponseDecoder::new(limits);
    decoder.expect(method, offered_upgrade);
    let mut head = ResponseHead::new();
    let mut done = Forwarded::default();
    let mut open: Option<Open> = None;
    let mut rest = data;
    loop {
        let (taken, step) = decoder.feed(rest, &mut head);
        match step {
            Step::Head if head.status() == 101 => {
                assert!(offered_upgrade, "101 came unasked");
                return done.whole(open);
            }
            Step::Head => {
                let start = done.bytes.len();
                let announced = head.announced().towards(Version::Http11);
                encode::response(&mut done.bytes, &head, announced, []);
                let chunked = head.framing().towards(Version::Http11) == Framing::Chunked;
                let fields = forwarded(head.fields()).collect();
                let first = head.status().to_string();
                let message = Open::new(start, done.bytes.len(), chunked, first, fields);
                if head.is_informational() {
                    message.end(&mut done);
                } else {
                    open = Some(message);
                }
            }
            Step::Data(range) => with(&mut open).data(&mut done.bytes, &rest[range]),
            Step::Trailers => with(&mut open).trailers(&mut done.bytes, decoder.trailers()),
            Step::End => open.take().expect("a head came before").end(&mut done),
            Step::Need if decoder.eof() == Eof::Complete => {
                if let Some(message) = open.take() {
                    message.end(&mut done);
                }
                return done;
            }
            Step::Need | Step::Bad(_) => return done.whole(open),
        }
        rest = &rest[taken..];
    }
}

fn with(open: &mut Option<Open>) -> &mut Open {
    open.as_mut().expect("a head came before")
}

/// What goes on of the fields.
pub(crate) fn forwarded(fields: &Fields) -> impl Iterator<Item = (String, Vec<u8>)> {
    fields
        .forwarded()
        .map(|field| (latin(field.name).to_ascii_lowercase(), field.value.to_vec()))
}

fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

// === impl Open ===

impl Open {
    fn new(
        start: usize,
        body: usize,
        chunked: bool,
        first: String,
        fields: Vec<(String, Vec<u8>)>,
    ) -> Self {
        let meaning = Meaning {
            first,
            fields,
            body: Vec::new(),
            trailers: Vec::new(),
        };
        Self {
            start,
            body,
            chunked,
            meaning,
        }
    }

    fn data(&mut self, out: &mut Vec<u8>, data: &[u8]) {
        self.meaning.body.extend_from_slice(data);
        if self.chunked {
            encode::chunk(out, data);
        } else {
            out.extend_from_slice(data);
        }
    }

    fn trailers(&mut self, out: &mut Vec<u8>, trailers: &Fields) {
        self.meaning.trailers = forwarded(trailers).collect();
        encode::last_chunk(out, trailers);
        self.chunked = false;
    }

    fn end(self, done: &mut Forwarded) {
        if self.chunked {
            done.bytes.extend_from_slice(encode::LAST_CHUNK);
        }
        done.messages.push(Message {
            head: self.start..self.body,
            framed: self.body..done.bytes.len(),
            meaning: self.meaning,
        });
    }
}

// === impl Forwarded ===

impl Forwarded {
    /// Without the message that did not come to its end.
    fn whole(mut self, open: Option<Open>) -> Self {
        if let Some(open) = open {
            self.bytes.truncate(open.start);
        }
        self
    }

    pub(crate) fn meanings(&self) -> Vec<&Meaning> {
        self.messages
            .iter()
            .map(|message| &message.meaning)
            .collect()
    }
}
