//! Heads that came in other bytes: HTTP/2 says the same in frames, and is held to the same rules.

use crate::field::{Entry, FieldId, Span};
use crate::fields::{Fields, is_name, is_value};
use crate::framing::{Framing, parse_length};
use crate::head::{RequestHead, ResponseHead, Version};
use crate::limits::Limits;
use crate::method::Method;
use crate::name::identify;
use crate::reject::Reject;
use crate::start_line::{self, Target};

/// What stands before the fields of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestParts<'a> {
    /// `:method`
    pub method: &'a [u8],
    /// `:path`
    pub target: &'a [u8],
    /// `:authority`, where there is one.
    pub authority: Option<&'a [u8]>,
    /// Whether the head is all there is: no body follows.
    pub ended: bool,
}

/// What stands before the fields of a response.
#[derive(Clone, Copy, Debug)]
pub struct ResponseParts {
    /// `:status`
    pub status: u16,
    /// The method of the request it answers.
    pub method: Method,
    /// Whether the head is all there is: no body follows.
    pub ended: bool,
}

/// A head under construction: what was counted so far.
struct Absorbed {
    repeated: u64,
}

// === impl RequestHead ===

impl RequestHead {
    /// Fills the head from parts that are no HTTP/1.1 bytes. Cookie crumbs are joined into one field (RFC 9113 §8.2.3), each of
    /// them counted.
    ///
    /// # Errors
    /// What the decoder would refuse is refused here, and besides it every field that belongs to one connection (§8.2.2).
    pub fn assemble<'a>(
        &mut self,
        parts: RequestParts<'a>,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        limits: &Limits,
    ) -> Result<(), Reject> {
        self.clear();
        self.method = start_line::method(parts.method)?;
        if parts.target.len() > limits.target {
            return Err(Reject::TargetTooLong);
        }
        let Target::Origin(path) = start_line::parse(self.method, parts.target)? else {
            return Err(Reject::BadTarget);
        };
        self.name = self.fields.append(parts.method);
        self.received = self.fields.append(parts.target);
        self.target = self.received;
        self.path = path;
        let absorbed = absorb(&mut self.fields, fields, limits)?;
        self.authority = self.authorized(parts.authority, absorbed.repeated)?;
        if !start_line::is_authority(self.authority()) {
            return Err(Reject::BadHost);
        }
        self.version = Version::Http11;
        self.keep_alive = true;
        self.framing = match declared(&self.fields, absorbed.repeated)? {
            None if parts.ended => Framing::None,
            Some(1..) if parts.ended => return Err(Reject::BadLength),
            Some(length) => Framing::Length(length),
            None => Framing::Chunked,
        };
        if let Some(expectation) = self.fields.get(FieldId::Expect) {
            if absorbed.repeated & FieldId::Expect.bit() != 0
                || !expectation.eq_ignore_ascii_case(b"100-continue")
            {
                return Err(Reject::UnknownExpectation);
            }
            self.expects_continue = true;
        }
        Ok(())
    }

    /// `:authority` and Host say one thing, or only one of them says anything (RFC 9113 §8.3.1).
    fn authorized(&mut self, authority: Option<&[u8]>, repeated: u64) -> Result<Span, Reject> {
        if repeated & FieldId::Host.bit() != 0 {
            return Err(Reject::TwoHosts);
        }
        let host = self
            .fields
            .position(FieldId::Host)
            .map(|at| self.fields.list[at].value);
        match (authority, host) {
            (None, None) => Err(Reject::NoHost),
            (None, Some(host)) => Ok(host),
            (Some(authority), None) => Ok(self.fields.append(authority)),
            (Some(authority), Some(host)) => {
                if !host.get(&self.fields.raw).eq_ignore_ascii_case(authority) {
                    return Err(Reject::TwoHosts);
                }
                Ok(host)
            }
        }
    }
}

// === impl ResponseHead ===

impl ResponseHead {
    /// Fills the head from parts that are no HTTP/1.1 bytes.
    ///
    /// # Errors
    /// As [`RequestHead::assemble`].
    pub fn assemble<'a>(
        &mut self,
        parts: ResponseParts,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        limits: &Limits,
    ) -> Result<(), Reject> {
        self.clear();
        if !(100..600).contains(&parts.status) {
            return Err(Reject::BadStatusLine);
        }
        if parts.status == 101 {
            return Err(Reject::UnaskedUpgrade);
        }
        let absorbed = absorb(&mut self.fields, fields, limits)?;
        self.status = parts.status;
        self.version = Version::Http11;
        (self.keep_alive, self.persists) = (true, true);
        let length = declared(&self.fields, absorbed.repeated)?;
        let announced = length.map_or(Framing::None, Framing::Length);
        (self.framing, self.announced) = match (parts.status, parts.method) {
            (..200 | 204, _) => (Framing::None, Framing::None),
            (304, _) | (_, Method::Head) => (Framing::None, announced),
            _ if parts.ended => match length {
                None | Some(0) => (Framing::Length(0), Framing::Length(0)),
                Some(_) => return Err(Reject::BadLength),
            },
            _ => {
                let told = length.map_or(Framing::Chunked, Framing::Length);
                (told, told)
            }
        };
        Ok(())
    }
}

// === impl Fields ===

impl Fields {
    /// Fills trailers from parts that are no HTTP/1.1 bytes.
    ///
    /// # Errors
    /// What the decoder would refuse as a trailer.
    pub fn assemble_trailers<'a>(
        &mut self,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        limits: &Limits,
    ) -> Result<(), Reject> {
        self.clear();
        absorb(self, fields, limits)?;
        if self.raw.len() > limits.trailers {
            return Err(Reject::TrailerTooLarge);
        }
        if self
            .list
            .iter()
            .any(|entry| entry.id.is_refused_as_trailer())
        {
            return Err(Reject::TrailerRefused);
        }
        Ok(())
    }
}

/// Writes the fields down, one after another.
fn absorb<'a>(
    into: &mut Fields,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    limits: &Limits,
) -> Result<Absorbed, Reject> {
    let (mut count, mut repeated) = (0, 0);
    let mut cookies: Vec<u8> = Vec::new();
    for (name, value) in fields {
        count += 1;
        if count > limits.most_fields() {
            return Err(Reject::TooManyFields);
        }
        if !is_name(name) {
            return Err(Reject::BadFieldName);
        }
        if !is_value(value) {
            return Err(Reject::BadFieldValue);
        }
        if into.raw.len() + cookies.len() + name.len() + value.len() > limits.head {
            return Err(Reject::HeadTooLarge);
        }
        let id = identify(name);
        match id {
            FieldId::Cookie if value.is_empty() => continue,
            FieldId::Cookie => {
                if !cookies.is_empty() {
                    cookies.extend_from_slice(b"; ");
                }
                cookies.extend_from_slice(value);
                continue;
            }
            FieldId::Te if value.eq_ignore_ascii_case(b"trailers") => {}
            FieldId::ContentLength => {}
            id if id.is_hop_by_hop() => return Err(Reject::ConnectionField),
            _ => {}
        }
        repeated |= into.seen & id.bit();
        insert(into, id, name, value);
    }
    if !cookies.is_empty() {
        insert(into, FieldId::Cookie, b"cookie", &cookies);
    }
    Ok(Absorbed { repeated })
}

fn insert(into: &mut Fields, id: FieldId, name: &[u8], value: &[u8]) {
    into.seen |= id.bit();
    let entry = Entry {
        name: into.append(name),
        value: into.append(value),
        id,
        dropped: id.is_hop_by_hop() || (id.is_open() && name.contains(&b'_')),
    };
    into.list.push(entry);
}

/// The length the fields declare.
fn declared(fields: &Fields, repeated: u64) -> Result<Option<u64>, Reject> {
    let Some(length) = fields.get(FieldId::ContentLength) else {
        return Ok(None);
    };
    if repeated & FieldId::ContentLength.bit() != 0 {
        return Err(Reject::TwoLengths);
    }
    parse_length(length).map(Some)
}

#[cfg(test)]
mod tests;
