//! Where a message comes from and where it goes.

use weft_http1::{Eof, Fields, RequestDecoder, RequestHead, ResponseDecoder, ResponseHead, Step};

use crate::h2::{Incoming, Outgoing};
use crate::io::{Input, Output, Stream};

/// A decoder that is past its message's head.
#[derive(Debug)]
pub(crate) enum Body<'a> {
    /// Of a request.
    Request(&'a mut RequestDecoder, &'a mut RequestHead),
    /// Of a response.
    Response(&'a mut ResponseDecoder, &'a mut ResponseHead),
}

/// Where a message comes from.
#[derive(Debug)]
pub(crate) enum Source<'a> {
    /// A connection, one message after another.
    H1 {
        stream: &'a mut Stream,
        input: &'a mut Input,
        body: Body<'a>,
    },
    /// A stream of a connection.
    H2(&'a mut Incoming),
}

/// Where it goes.
#[derive(Debug)]
pub(crate) enum Sink<'a> {
    /// A connection, one message after another.
    H1 {
        stream: &'a mut Stream,
        output: &'a mut Output,
    },
    /// A stream of a connection.
    H2(&'a mut Outgoing),
}

// === impl Body ===

impl Body<'_> {
    pub(super) fn feed(&mut self, input: &[u8]) -> (usize, Step) {
        match self {
            Self::Request(decoder, head) => decoder.feed(input, head),
            Self::Response(decoder, head) => decoder.feed(input, head),
        }
    }

    pub(super) fn trailers(&self) -> &Fields {
        match self {
            Self::Request(decoder, _) => decoder.trailers(),
            Self::Response(decoder, _) => decoder.trailers(),
        }
    }

    pub(super) fn eof(&self) -> Eof {
        match self {
            Self::Request(decoder, _) => decoder.eof(),
            Self::Response(decoder, _) => decoder.eof(),
        }
    }
}

// === impl Source ===

impl Source<'_> {
    pub(super) fn trailers(&self) -> &Fields {
        match self {
            Self::H1 { body, .. } => body.trailers(),
            Self::H2(incoming) => incoming.trailers(),
        }
    }
}
