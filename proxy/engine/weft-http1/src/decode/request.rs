//! Requests, as they come from clients.

use std::mem::MaybeUninit;

use super::body::Body;
use super::{Eof, Step};
use crate::block::{self, Tokens};
use crate::field::{FieldId, Span};
use crate::fields::Fields;
use crate::framing::{Connection, Framing};
use crate::head::{RequestHead, Version};
use crate::limits::Limits;
use crate::method::Method;
use crate::reject::Reject;
use crate::scan::Scan;
use crate::start_line::{self, Target};

/// Decodes one connection's requests, one after another.
#[derive(Debug)]
pub struct RequestDecoder {
    limits: Limits,
    at: At,
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

// === impl RequestDecoder ===

impl RequestDecoder {
    /// A decoder at the start of a connection.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            at: At::Head(Scan::request()),
            partial: Vec::new(),
            trailers: Fields::new(),
        }
    }

    /// Takes what was read, up to the next step; returns how many bytes were consumed and what they were.
    ///
    /// `head` is filled when the step is [`Step::Head`] and stays as it is until the next message begins. After a head call
    /// again with what is left, even if nothing is, until [`Step::End`] or [`Step::Need`].
    #[inline]
    pub fn feed(&mut self, input: &[u8], head: &mut RequestHead) -> (usize, Step) {
        let (taken, step) = match &mut self.at {
            At::Head(_) => self.feed_head(input, head),
            At::Body(body) => body.feed(input, &self.limits, &mut self.trailers),
            At::Bad(reject) => return (0, Step::Bad(*reject)),
        };
        match step {
            Step::End => self.at = At::Head(Scan::request()),
            Step::Bad(reject) => self.at = At::Bad(reject),
            _ => {}
        }
        (taken, step)
    }

    /// What it means that the client sends nothing more.
    #[must_use]
    pub fn eof(&self) -> Eof {
        match &self.at {
            At::Head(_) if self.partial.is_empty() => Eof::Clean,
            At::Body(body) if body.is_done() => Eof::Complete,
            _ => Eof::Truncated,
        }
    }

    /// Whether it is between two messages, and no byte of the next one was consumed.
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

    fn feed_head(&mut self, input: &[u8], head: &mut RequestHead) -> (usize, Step) {
        let At::Head(scan) = &mut self.at else {
            return (0, Step::Need);
        };
        // Nearly always a head comes in one piece and is good. Whatever else happens is judged by the scan, in the order of
        // the bytes.
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

    fn begin(&mut self, taken: usize, head: &RequestHead) -> (usize, Step) {
        self.trailers.clear();
        self.at = At::Body(Body::new(head.framing));
        (taken, Step::Head)
    }
}

/// Fills a head from the start of `input` and returns its length, or nothing if it is not there in full or not well-formed.
fn parse(input: &[u8], limits: &Limits, head: &mut RequestHead) -> Result<Option<usize>, Reject> {
    let mut tokens: Tokens<'_> = [const { MaybeUninit::uninit() }; Limits::MAX_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    let Ok(httparse::Status::Complete(length)) =
        request.parse_with_uninit_headers(input, &mut tokens[..limits.most_fields()])
    else {
        return Ok(None);
    };
    let (Some(name), Some(target), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Ok(None);
    };
    let Some((line, repeated)) = block::absorb(&input[..length], request.headers, &mut head.fields)
    else {
        return Ok(None);
    };
    // `METHOD SP target SP HTTP/1.x`, at the very start and nothing more.
    if length > limits.head || line != name.len() + target.len() + 10 {
        return Ok(None);
    }
    head.method = start_line::method(name.as_bytes())?;
    if target.len() > limits.target {
        return Err(Reject::TargetTooLong);
    }
    let form = start_line::parse(head.method, target.as_bytes())?;
    head.fields.raw.clear();
    head.fields.raw.extend_from_slice(&input[..length]);
    head.name = Span::at(0, name.len());
    head.received = Span::at(name.len() + 1, name.len() + 1 + target.len());
    head.version = if minor == 0 {
        Version::Http10
    } else {
        Version::Http11
    };
    address(head, form, repeated)?;
    govern(head, repeated)?;
    Ok(Some(length))
}

/// Where it goes: authority and target.
#[inline]
fn address(head: &mut RequestHead, form: Target<'_>, repeated: u64) -> Result<(), Reject> {
    let host = head.fields.position(FieldId::Host);
    match host {
        None if head.version == Version::Http11 => return Err(Reject::NoHost),
        None => head.authority = Span::default(),
        Some(_) if repeated & FieldId::Host.bit() != 0 => return Err(Reject::TwoHosts),
        Some(at) => {
            head.authority = head.fields.list[at].value;
            if !start_line::is_authority(head.authority()) {
                return Err(Reject::BadHost);
            }
        }
    }
    match form {
        Target::Origin(path) => {
            head.path = path;
            head.target = head.received;
        }
        Target::Absolute { authority, rest } => {
            head.authority = head.fields.append(authority);
            head.target = head.fields.append(match (rest.first(), head.method) {
                (Some(b'/'), _) => b"",
                (None, Method::Options) => b"*",
                _ => b"/",
            });
            head.target.end = head.fields.append(rest).end;
            head.path = start_line::origin(head.target())?;
        }
    }
    Ok(())
}

/// How it is framed, and what becomes of its connection.
#[inline]
fn govern(head: &mut RequestHead, repeated: u64) -> Result<(), Reject> {
    let connection = Connection::collect(&mut head.fields)?;
    head.framing = Framing::declared(&head.fields, head.version, repeated, false)?;
    head.keep_alive = connection.persists(head.version);
    // Neither is for HTTP/1.0 to ask (RFC 9110 §10.1.1, §7.8).
    let modern = head.version == Version::Http11;
    head.upgrade = connection.upgrade && modern && head.fields.has(FieldId::Upgrade);
    head.expects_continue = false;
    if let Some(expectation) = head.fields.get(FieldId::Expect) {
        if repeated & FieldId::Expect.bit() != 0
            || !expectation.eq_ignore_ascii_case(b"100-continue")
        {
            return Err(Reject::UnknownExpectation);
        }
        head.expects_continue = modern;
    }
    Ok(())
}
