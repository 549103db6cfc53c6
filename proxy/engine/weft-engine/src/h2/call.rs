//! One stream of a client: a request and its answer.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Response, StatusCode};
use weft_http1::FieldId;
use weft_http1::{Field, Fields, RequestHead};

use super::{Incoming, Outgoing, append, append_fields, append_lines, status};
use crate::h1::{Answer, with_date};

/// A request that came on a stream.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) incoming: Incoming,
    respond: SendResponse<Bytes>,
    pub(crate) outgoing: Option<Outgoing>,
}

// === impl Call ===

impl Call {
    pub(super) fn new(body: RecvStream, respond: SendResponse<Bytes>) -> Self {
        Self {
            incoming: Incoming::new(body),
            respond,
            outgoing: None,
        }
    }

    /// Sends the head of an answer; `ended`: it is all.
    pub(crate) fn head(&mut self, response: Response<()>, ended: bool) -> io::Result<()> {
        let stream = self
            .respond
            .send_response(response, ended)
            .map_err(|error| io::Error::new(io::ErrorKind::BrokenPipe, error))?;
        self.outgoing = Some(Outgoing::new(stream, Bytes::new(), ended));
        Ok(())
    }

    /// Sends an informational head.
    pub(crate) fn informational<'a>(&mut self, code: u16, fields: impl Iterator<Item = Field<'a>>) {
        let mut response = Response::new(());
        if let Ok(code) = StatusCode::from_u16(code) {
            *response.status_mut() = code;
            append_fields(response.headers_mut(), fields);
            // It may be left out; whether the client is still there shows soon enough.
            let _ = self.respond.send_informational(response);
        }
    }

    /// Whether the client has left. Ready then.
    pub(crate) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.outgoing {
            Some(outgoing) => outgoing.poll_reset(cx),
            None => self.respond.poll_reset(cx).map(drop),
        }
    }

    /// Ends it in the middle.
    pub(crate) fn reset(&mut self) {
        match &mut self.outgoing {
            Some(outgoing) => outgoing.reset(Reason::INTERNAL_ERROR),
            None => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
    }

    /// Says what the engine says itself, to a caller of gRPC in its own terms. Ready when the client has taken it.
    pub(crate) async fn answer(
        &mut self,
        said: &Answer,
        head_only: bool,
        grpc: bool,
    ) -> io::Result<()> {
        let mut response = Response::new(());
        let bodiless = grpc || said.is_bodiless();
        *response.status_mut() = if grpc {
            StatusCode::OK
        } else {
            StatusCode::from_u16(said.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
        };
        let map = response.headers_mut();
        with_date(|date| append(map, b"date", date));
        if let Some(reason) = said.reason {
            append(map, b"x-weft-reason", reason.as_str().as_bytes());
        }
        if grpc {
            if let Some((name, value)) = &said.extra {
                append(map, name.as_bytes(), value.as_bytes());
            }
            let code = said
                .reason
                .map_or_else(|| status::of_http(said.status), status::of);
            append(map, b"content-type", b"application/grpc");
            append(map, b"grpc-status", code.to_string().as_bytes());
            append(map, b"grpc-message", status::message(&said.body).as_bytes());
        } else {
            let mut lines = Vec::new();
            said.encode_fields(&mut lines);
            append_lines(map, &lines);
        }
        let ended = bodiless || head_only || said.body.is_empty();
        self.head(response, ended)?;
        let Some(outgoing) = &mut self.outgoing else {
            return Ok(());
        };
        let mut body = Bytes::copy_from_slice(said.body.as_bytes());
        std::future::poll_fn(|cx| outgoing.poll_send(cx, &mut body, true)).await
    }

    /// Where the request's body ended.
    pub(crate) fn trailers(&self) -> &Fields {
        self.incoming.trailers()
    }
}

/// Whether a request is one of gRPC.
pub(crate) fn is_grpc(head: &RequestHead) -> bool {
    head.get(FieldId::ContentType)
        .and_then(|kind| kind.strip_prefix(b"application/grpc"))
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}
