//! The request as it goes on.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use rand::Rng;
use weft_core::header::forwarded_for;
use weft_http1::{Field, FieldId, Fields, Framing, RequestHead, encode};

use super::deadline::{TIMEOUT, said};
use super::decide::{Forward, Way};
use super::trace;
use crate::h1::{Connection, Scratch};
use crate::h2::{append, append_fields, append_lines};
use crate::world::Gateway;

/// How long is left for a try.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    /// To its response head.
    pub(super) head: Duration,
    /// For the whole of a call that has a deadline.
    pub(super) call: Option<Duration>,
}

/// Marks a copy, and says of what.
pub(super) const MIRROR: &[u8] = b"x-weft-mirror";

/// What a gateway says about its client.
pub(super) struct Public<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) scheme: &'static str,
    pub(super) ip: IpAddr,
}

/// Takes off what does not go on, and writes the lines that every try adds.
pub(super) fn prepare(
    scratch: &mut Scratch,
    connection: &Connection,
    public: Option<&Public<'_>>,
    ratio: Option<f64>,
    rng: &mut impl Rng,
) {
    let Scratch {
        request: head,
        lines,
        trail,
        ..
    } = scratch;
    lines.clear();
    if let Some(public) = public {
        forwarding(head, lines, public);
    }
    if connection.peer.is_some()
        && let Some(original) = head.get(FieldId::XWeftMirror)
    {
        // Only an engine says so, and the application may want to know that nobody hears its answer.
        encode::field(lines, MIRROR, original);
    }
    let fields = head.fields_mut();
    for identity in [
        FieldId::XWeftCaller,
        FieldId::XWeftReason,
        FieldId::XWeftMirror,
        FieldId::Weft,
    ] {
        fields.drop_id(identity);
    }
    if public.is_some() {
        fields.drop_id(FieldId::XRequestId);
    }
    if public.is_some() || !fields.has(FieldId::XRequestId) {
        lines.extend_from_slice(b"x-request-id: ");
        trail.request_id = Some(lines.len());
        trace::request_id(lines, rng);
        lines.extend_from_slice(b"\r\n");
    }
    lines.extend_from_slice(b"traceparent: ");
    // A stranger's trace would be recorded because the stranger says so.
    let believed = public.is_none_or(|public| public.gateway.trusted.believes(public.ip));
    let received = fields.get(FieldId::Traceparent);
    let received = received.filter(|value| believed && trace::is_traceparent(value));
    let goes_on = received.is_some();
    trail.trace = Some(lines.len());
    trail.parent = received.and_then(|value| value[36..].first_chunk().copied());
    let sampled = goes_on || ratio.is_none_or(|ratio| rng.random::<f64>() < ratio);
    trace::traceparent(lines, received, sampled, rng);
    lines.extend_from_slice(if connection.wire.is_http2() {
        b"\r\nvia: 2 weft\r\n"
    } else {
        b"\r\nvia: 1.1 weft\r\n"
    });
    fields.drop_id(FieldId::Traceparent);
    if !goes_on {
        fields.drop_id(FieldId::Tracestate);
    }
    if let Some(peer) = &connection.peer {
        encode::field(lines, b"x-weft-caller", peer.caller.as_str().as_bytes());
    }
}

fn forwarding(head: &mut RequestHead, lines: &mut Vec<u8>, public: &Public<'_>) {
    let believed = public.gateway.trusted.believes(public.ip);
    let text = |value: &[u8]| std::str::from_utf8(value).unwrap_or_default().to_owned();
    let before = head
        .fields()
        .joined(b"x-forwarded-for")
        .map(|value| text(&value));
    let kept = |id| head.get(id).filter(|_| believed).map(<[u8]>::to_vec);
    let scheme =
        kept(FieldId::XForwardedProto).unwrap_or_else(|| public.scheme.as_bytes().to_vec());
    let host = kept(FieldId::XForwardedHost).unwrap_or_else(|| head.authority().to_vec());
    encode::field(
        lines,
        b"x-forwarded-for",
        forwarded_for(before.as_deref(), public.ip, believed).as_bytes(),
    );
    encode::field(lines, b"x-forwarded-proto", &scheme);
    encode::field(lines, b"x-forwarded-host", &host);
    let fields = head.fields_mut();
    for id in [
        FieldId::XForwardedFor,
        FieldId::XForwardedProto,
        FieldId::XForwardedHost,
    ] {
        fields.drop_id(id);
    }
    if !believed {
        fields.drop_id(FieldId::Forwarding);
        fields.drop_id(FieldId::Forwarded);
        fields.drop_id(FieldId::XRealIp);
        fields.drop_name(b"x-client-ip");
    }
}

/// Whom the request names: itself, the rule, or in want of both the service.
fn host<'a>(head: &'a RequestHead, plan: &'a Forward) -> &'a [u8] {
    match plan.host.as_deref().map_or(head.authority(), str::as_bytes) {
        [] => plan.cluster.host(),
        host => host,
    }
}

/// The head of one try as HTTP/2 says it; `None`: it cannot.
pub(super) fn frame_try(
    scratch: &Scratch,
    plan: &Forward,
    left: Left,
) -> Option<http::Request<()>> {
    let head = &scratch.request;
    let mesh = matches!(plan.way, Way::Mesh { .. });
    let uri = http::Uri::builder()
        .scheme(if mesh { "https" } else { "http" })
        .authority(host(head, plan))
        .path_and_query(head.target())
        .build()
        .ok()?;
    let mut request = http::Request::new(());
    *request.method_mut() = http::Method::from_bytes(head.method_name()).ok()?;
    *request.uri_mut() = uri;
    let map = request.headers_mut();
    let edits = &plan.rule.request;
    let goes_on = |field: &Field<'_>| {
        field.id != FieldId::Expect && (edits.is_empty() || !edits.drops(field.name))
    };
    append_fields(map, head.fields().forwarded().filter(goes_on));
    append_lines(map, edits.lines());
    append_lines(map, &scratch.lines);
    if head.accepts_trailers() {
        append(map, b"te", b"trailers");
    }
    if mesh {
        append(map, TIMEOUT, left.head.as_millis().to_string().as_bytes());
    }
    if let Some(call) = left.call {
        append(map, b"grpc-timeout", said(call).as_bytes());
    }
    if let Framing::Length(length) = head.framing() {
        append(map, b"content-length", length.to_string().as_bytes());
    }
    Some(request)
}

/// Writes the head of one try, and what is kept of the body where it is not the first.
///
/// `ended`: the trailers, if the whole body was read already.
pub(super) fn encode_try(
    scratch: &mut Scratch,
    plan: &Forward,
    left: Left,
    ended: Option<&Fields>,
) {
    scratch.up.clear();
    let Scratch {
        request: head,
        up,
        lines,
        replay,
        ..
    } = scratch;
    let out = &mut up.staged;
    encode::request_line(out, head.method_name(), head.target());
    encode::field(out, b"host", host(head, plan));
    let edits = &plan.rule.request;
    if edits.is_empty() {
        encode::forwarded(out, head.fields());
    } else {
        for field in head
            .fields()
            .forwarded()
            .filter(|field| !edits.drops(field.name))
        {
            encode::field(out, field.name, field.value);
        }
        out.extend_from_slice(edits.lines());
    }
    out.extend_from_slice(lines);
    if head.is_websocket() {
        out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
    }
    if matches!(plan.way, Way::Mesh { .. }) {
        // Writing to memory does not fail.
        let _ = write!(out, "x-weft-timeout-ms: {}\r\n", left.head.as_millis());
    }
    if let Some(call) = left.call {
        encode::field(out, b"grpc-timeout", said(call).as_bytes());
    }
    encode::framing(out, head.framing());
    encode::end(out);
    let kept = replay.kept().unwrap_or_default();
    match head.framing() {
        Framing::Chunked => encode::chunk(out, kept),
        _ => out.extend_from_slice(kept),
    }
    if let Some(trailers) = ended
        && head.framing() == Framing::Chunked
    {
        encode::last_chunk(out, trailers);
    }
}
