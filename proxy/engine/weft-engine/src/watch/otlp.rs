//! What spans are in OTLP's protobuf: the part of `opentelemetry/proto/trace/v1` (1.x, stable) that an engine says.
//!
//! The messages stand here, and prost encodes them: the crate with all of OpenTelemetry's messages brings its SDK along.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message;

use super::{Ending, Record};
use crate::observe::Direction;

/// `ExportTraceServiceRequest`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Export {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

/// `ExportTraceServiceResponse`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Exported {
    #[prost(message, optional, tag = "1")]
    pub(super) partial_success: Option<PartialSuccess>,
}

/// What of it was not taken.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(super) rejected_spans: i64,
    #[prost(string, tag = "2")]
    pub(super) error_message: String,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, repeated, tag = "11")]
    events: Vec<Event>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(fixed64, tag = "1")]
    time_unix_nano: u64,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "3")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 3")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
}

const KIND_SERVER: i32 = 2;
const KIND_CLIENT: i32 = 3;
const STATUS_ERROR: i32 = 2;
const FLAG_SAMPLED: u32 = 1;

/// A batch, as bytes; spans of one service stand together.
pub(super) fn encode(records: &[Record]) -> Vec<u8> {
    let mut by_service: Vec<(String, Vec<Span>)> = Vec::new();
    for record in records {
        let service = match record.direction {
            Direction::Outbound | Direction::Gateway => record.source,
            Direction::Inbound => record.destination,
        };
        let name = match (&*service.text(), record.direction) {
            ("", Direction::Gateway) => "gateway".to_owned(),
            (name, _) => name.to_owned(),
        };
        match by_service.iter_mut().find(|(known, _)| *known == name) {
            Some((_, spans)) => spans.push(Span::of(record)),
            None => by_service.push((name, vec![Span::of(record)])),
        }
    }
    let resource_spans = by_service.into_iter().map(resource).collect();
    Export { resource_spans }.encode_to_vec()
}

fn resource((service, spans): (String, Vec<Span>)) -> ResourceSpans {
    let attributes = match service.split_once('/') {
        Some((namespace, name)) => vec![
            text("service.namespace", namespace),
            text("service.name", name),
        ],
        None => vec![text("service.name", &service)],
    };
    ResourceSpans {
        resource: Some(Resource { attributes }),
        scope_spans: vec![ScopeSpans {
            scope: Some(Scope {
                name: "weft-engine".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            }),
            spans,
        }],
    }
}

// === impl Span ===

impl Span {
    fn of(record: &Record) -> Self {
        let end = nanos(record.at);
        let start = end.saturating_sub(span(record.took));
        let destination = record.destination.text();
        let reason = record.reason.map_or("", |reason| reason.as_str());
        let tcp = record.code == 0;
        let named = [
            ("http.request.method", &*record.method),
            ("url.path", &record.path),
            ("server.address", &record.host),
            ("client.address", &record.client.to_string()),
            ("weft.source", &record.source.text()),
            ("weft.destination", &destination),
            ("weft.instance", &record.instance),
            ("weft.route", &record.route.text()),
            ("weft.reason", reason),
            ("error.type", reason),
            ("weft.request_id", &record.request_id),
            ("weft.end", record.ending.map_or("", Ending::word)),
            ("network.transport", if tcp { "tcp" } else { "" }),
        ];
        let mut attributes: Vec<KeyValue> = named
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| text(key, value))
            .collect();
        attributes.push(number("weft.tries", record.tries.into()));
        if !tcp {
            attributes.push(number("http.response.status_code", record.code.into()));
        }
        let (sent, received) = match record.ending {
            Some(_) => ("weft.sent", "weft.received"),
            None => ("http.request.body.size", "http.response.body.size"),
        };
        attributes.extend([
            number(sent, record.moved.0),
            number(received, record.moved.1),
        ]);
        let failed = record.reason.is_some() || record.code >= 500;
        Self {
            trace_id: bytes(&record.trace.trace),
            span_id: bytes(&record.trace.span),
            parent_span_id: bytes(&record.trace.parent),
            name: match tcp {
                true => format!("tcp {destination}"),
                false => format!("{} {destination}", record.method),
            }
            .trim()
            .to_owned(),
            kind: match record.direction {
                Direction::Outbound => KIND_CLIENT,
                Direction::Inbound | Direction::Gateway => KIND_SERVER,
            },
            start_time_unix_nano: start,
            end_time_unix_nano: end,
            attributes,
            events: events(record, start),
            status: failed.then(|| Status {
                message: record.detail.clone(),
                code: STATUS_ERROR,
            }),
            flags: if record.trace.sampled {
                FLAG_SAMPLED
            } else {
                0
            },
        }
    }
}

/// The head of the answer, and each try that failed. When a try failed is not known: it stands at the beginning.
fn events(record: &Record, start: u64) -> Vec<Event> {
    let missed = record.missed.iter().map(|one| Event {
        time_unix_nano: start,
        name: "try failed".to_owned(),
        attributes: vec![
            text("weft.instance", &one.instance),
            text("weft.reason", one.reason.as_str()),
            text("exception.message", &one.detail),
        ],
    });
    let head = record.head.map(|head| Event {
        time_unix_nano: start + span(head),
        name: "first byte".to_owned(),
        attributes: Vec::new(),
    });
    missed.chain(head).collect()
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(Value::Text(value.to_owned()));
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value }),
    }
}

fn number(key: &str, value: u64) -> KeyValue {
    let value = Some(Value::Number(i64::try_from(value).unwrap_or(i64::MAX)));
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value }),
    }
}

/// Of hexadecimal digits; nothing of none.
fn bytes(digits: &[u8]) -> Vec<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let pair = |pair: &[u8]| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok();
    digits.chunks_exact(2).filter_map(pair).collect()
}

fn nanos(at: SystemTime) -> u64 {
    span(at.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn span(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_become_bytes_and_none_become_nothing() {
        assert_eq!(bytes(b"00ff10"), [0, 255, 16]);
        assert_eq!(bytes(&[0; 16]), Vec::<u8>::new());
    }
}
