//! Responses, as they come from upstreams.

use std::mem::MaybeUninit;

use super::body::Body;
use super::{Eof, Step};
use crate::block::{self, Tokens};
use crate::fields::Fields;
use crate::framing::{Connection, Framing};
use crate::head::ResponseHead;
use crate::limits::Limits;
use crate::method::Method;
use crate::reject::Reject;
use crate::scan::Scan;
use crate::start_line;

/// Decodes one connection's responses, each to the request named by [`ResponseDecoder::expect`].
#[derive(Debug)]
pub struct ResponseDecoder {
    limits: Limits,
    at: At,
    method: Method,
    offered_upgrade: bool,
    informational: usize,
    /// The start of a head that has not arrived in full.
    partial: Vec<u8>,
    trailers: Fields,
}

#[derive(Debug)]
enum At {
    Head(Scan),
    Body(Body),
    Bad(Reject),
}

// === impl ResponseDecoder ===

impl ResponseDecoder {
    /// A decoder at the start of a connection, expecting the response to a GET.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            at: At::Head(Scan::response()),
            method: Method::Get,
            offered_upgrade: false,
            informational: 0,
            partial: Vec::new(),
            trailers: Fields::new(),
        }
    }

    /// Says what the next response answers: to HEAD it has no body, and only after an offered upgrade may it be 101.
    pub const fn expect(&mut self, method: Method, offered_upgrade: bool) {
        self.method = method;
        self.offered_upgrade = offered_upgrade;
    }

    /// Takes what was read, up to the next step; returns how many bytes were consumed and what they were.
    ///
    /// `head` is filled when the step is [`Step::Head`] and stays as it is until the next head begins. An informational head
    /// is followed by another one. What follows a 101 is data until the peer closes. After a head call again with what is
    /// left, even if nothing is, until [`Step::End`] or [`Step::Need`].
    #[inline]
    pub fn feed(&mut self, input: &[u8], head: &mut ResponseHead) -> (usize, Step) {
        let (taken, step) = match &mut self.at {
            At::Head(_) => self.feed_head(input, head),
            At::Body(body) => body.feed(input, &self.limits, &mut self.trailers),
            At::Bad(reject) => return (0, Step::Bad(*reject)),
        };
        match step {
            Step::End => {
                self.at = At::Head(Scan::response());
                self.informational = 0;
            }
            Step::Bad(reject) => self.at = At::Bad(reject),
            _ => {}
        }
        (taken, step)
    }

    /// What it means that the upstream sends nothing more.
    #[must_use]
    pub fn eof(&self) -> Eof {
        match &self.at {
            At::Head(_) if self.partial.is_empty() && self.informational == 0 => Eof::Clean,
            At::Body(body) if body.is_done() || body.is_until_close() => Eof::Complete,
            _ => Eof::Truncated,
        }
    }

    /// Whether no byte of a response was consumed since the last one ended.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.eof() == Eof::Clean
    }

    /// Whether the whole body was handed out, so that nothing but [`Step::End`] is left of this message.
    #[must_use]
    pub const fn is_body_done(&self) -> bool {
        matches!(&self.at, At::Body(body) if body.is_done())
    }

    /// The trailers of the message whose [`Step::Trailers`] was last.
    #[must_use]
    pub const fn trailers(&self) -> &Fields {
        &self.trailers
    }

    fn feed_head(&mut self, input: &[u8], head: &mut ResponseHead) -> (usize, Step) {
        let At::Head(scan) = &mut self.at else {
            return (0, Step::Need);
        };
        // As for requests: the scan judges whatever is not one good head in one piece.
        if self.partial.is_empty()
            && let Ok(Some(taken)) = parse(input, &self.limits, head)
        {
            return self.begin(taken, head);
        }
        let taken = match scan.take(input, &mut self.partial, &self.limits) {
            Err(reject) => return (0, Step::Bad(reject)),
            Ok((taken, false)) => return (taken, Step::Need),
            Ok((taken, true)) => taken,
        };
        let raw = std::mem::take(&mut self.partial);
        match parse(&raw, &self.limits, head) {
            Ok(Some(_)) => self.begin(taken, head),
            Ok(None) => (taken, Step::Bad(block::why_head_refused(&raw))),
            Err(reject) => (taken, Step::Bad(reject)),
        }
    }

    /// Goes on from a head that is good in itself, if it fits the request.
    fn begin(&mut self, taken: usize, head: &mut ResponseHead) -> (usize, Step) {
        if head.is_informational() {
            self.informational += 1;
            if self.informational > self.limits.informational {
                return (taken, Step::Bad(Reject::TooManyInformational));
            }
            self.at = At::Head(Scan::response());
            return (taken, Step::Head);
        }
        if head.status == 101 && !self.offered_upgrade {
            return (taken, Step::Bad(Reject::UnaskedUpgrade));
        }
        if self.method == Method::Head && head.status != 101 {
            if head.announced == Framing::UntilClose {
                head.announced = Framing::None;
                head.keep_alive = head.persists;
            }
            head.framing = Framing::None;
        }
        self.trailers.clear();
        self.at = At::Body(Body::new(head.framing));
        (taken, Step::Head)
    }
}

/// Fills a head from the start of `input` and returns its length, or nothing if it is not there in full or not well-formed.
fn parse(input: &[u8], limits: &Limits, head: &mut ResponseHead) -> Result<Option<usize>, Reject> {
    let mut tokens: Tokens<'_> = [const { MaybeUninit::uninit() }; Limits::MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let Ok(httparse::Status::Complete(length)) = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(
            &mut response,
            input,
            &mut tokens[..limits.most_fields()],
        )
    else {
        return Ok(None);
    };
    let Some((line, repeated)) =
        block::absorb(&input[..length], response.headers, &mut head.fields)
    else {
        return Ok(None);
    };
    if length > limits.head {
        return Ok(None);
    }
    (head.version, head.status) = start_line::status_line(&input[..line])?;
    head.fields.raw.clear();
    head.fields.raw.extend_from_slice(&input[..length]);
    head.reason = crate::field::Span::at(line.min(start_line::REASON_AT), line);
    govern(head, repeated)?;
    Ok(Some(length))
}

/// How it is framed, as far as it tells itself, and what becomes of its connection.
#[inline]
fn govern(head: &mut ResponseHead, repeated: u64) -> Result<(), Reject> {
    let connection = Connection::collect(&mut head.fields)?;
    let declared = Framing::declared(&head.fields, head.version, repeated, true)?;
    head.persists = connection.persists(head.version);
    (head.framing, head.announced) = match (head.status, declared) {
        (101, _) => (Framing::UntilClose, Framing::None),
        (..200 | 204, _) => (Framing::None, Framing::None),
        (304, announced) => (Framing::None, announced),
        (_, Framing::None) => (Framing::UntilClose, Framing::UntilClose),
        (_, told) => (told, told),
    };
    head.keep_alive = head.persists && head.framing != Framing::UntilClose;
    Ok(())
}
