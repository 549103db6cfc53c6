//! Which responses are forwarded, and what is said about them, however they are cut.

mod harness;

use harness::{Response, Responses, Said, tell_in_every_cut};
use weft_http1::{Eof, Framing, Method, Version, encode};

fn responses(method: Method, input: &str) -> Vec<Said> {
    tell_in_every_cut(|| Responses::to(method, true), input.as_bytes())
}

fn response(method: Method, input: &str) -> Response {
    match responses(method, input).into_iter().next() {
        Some(Said::Response(response)) => response,
        other => panic!("{input:?} is not a response: {other:?}"),
    }
}

#[test]
fn responses_are_framed_by_request_and_status() {
    let with_length = "Content-Length: 3\r\n\r\n";
    for (method, status, fields, framing, announced, keep_alive) in [
        (
            Method::Get,
            200,
            with_length,
            Framing::Length(3),
            Framing::Length(3),
            true,
        ),
        (
            Method::Get,
            200,
            "Content-Length: 3\r\nContent-Length: 3\r\n\r\n",
            Framing::Length(3),
            Framing::Length(3),
            true,
        ),
        (
            Method::Get,
            200,
            "Transfer-Encoding: chunked\r\n\r\n",
            Framing::Chunked,
            Framing::Chunked,
            true,
        ),
        (
            Method::Get,
            200,
            "\r\n",
            Framing::UntilClose,
            Framing::UntilClose,
            false,
        ),
        (Method::Get, 204, "\r\n", Framing::None, Framing::None, true),
        (
            Method::Get,
            204,
            with_length,
            Framing::None,
            Framing::None,
            true,
        ),
        (
            Method::Get,
            304,
            with_length,
            Framing::None,
            Framing::Length(3),
            true,
        ),
        (
            Method::Head,
            200,
            with_length,
            Framing::None,
            Framing::Length(3),
            true,
        ),
        (
            Method::Head,
            200,
            "Transfer-Encoding: chunked\r\n\r\n",
            Framing::None,
            Framing::Chunked,
            true,
        ),
        (
            Method::Head,
            200,
            "\r\n",
            Framing::None,
            Framing::None,
            true,
        ),
        (
            Method::Head,
            200,
            "Connection: close\r\n\r\n",
            Framing::None,
            Framing::None,
            false,
        ),
        (
            Method::Get,
            101,
            "Upgrade: a\r\n\r\n",
            Framing::UntilClose,
            Framing::None,
            false,
        ),
    ] {
        let told = response(method, &format!("HTTP/1.1 {status} X\r\n{fields}"));
        assert_eq!(
            (told.framing, told.announced, told.keep_alive),
            (framing, announced, keep_alive),
            "{method:?} {status} {fields:?}"
        );
    }
}

#[test]
fn informational_heads_come_before_the_final_one() {
    let said = responses(
        Method::Get,
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103\r\nLink: a\r\n\r\nHTTP/1.0 200 \r\n\r\nabc",
    );
    let statuses: Vec<_> = said
        .iter()
        .filter_map(|said| match said {
            Said::Response(response) => Some(response.status),
            _ => None,
        })
        .collect();
    assert_eq!(statuses, [100, 103, 200]);
    assert_eq!(
        said[3..],
        [Said::Body(b"abc".to_vec()), Said::Eof(Eof::Complete)]
    );
    let lone = responses(Method::Get, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(lone.last(), Some(&Said::Eof(Eof::Truncated)));
}

#[test]
fn an_answer_of_our_own_is_a_whole_response() {
    let mut out = Vec::new();
    encode::answer(
        &mut out,
        404,
        [(&b"x-weft-reason"[..], &b"no_route"[..])],
        b"no",
        true,
    );
    assert_eq!(
        harness::text(&out),
        "HTTP/1.1 404 Not Found\r\nx-weft-reason: no_route\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno"
    );
}

#[test]
fn a_body_is_told_as_the_clients_version_understands() {
    let length = Framing::Length(1);
    for (framing, old, new) in [
        (Framing::None, Framing::None, Framing::None),
        (length, length, length),
        (Framing::Chunked, Framing::UntilClose, Framing::Chunked),
        (Framing::UntilClose, Framing::UntilClose, Framing::Chunked),
    ] {
        assert_eq!(framing.towards(Version::Http10), old);
        assert_eq!(framing.towards(Version::Http11), new);
    }
}
