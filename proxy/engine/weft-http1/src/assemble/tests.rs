use super::*;

type Lines<'a> = &'a [(&'a str, &'a str)];

/// Method, target and authority.
type Start<'a> = (&'a str, &'a str, Option<&'a str>);

fn request(parts: Start<'_>, lines: Lines<'_>, ended: bool) -> Result<RequestHead, Reject> {
    let (method, target, authority) = parts;
    let mut head = RequestHead::new();
    let parts = RequestParts {
        method: method.as_bytes(),
        target: target.as_bytes(),
        authority: authority.map(str::as_bytes),
        ended,
    };
    head.assemble(parts, bytes(lines), &Limits::REQUEST)
        .map(|()| head)
}

fn bytes<'a>(lines: Lines<'a>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    lines
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
}

#[test]
fn a_request_of_frames_is_the_same_head_as_one_of_lines() {
    let lines = [
        ("accept", "*/*"),
        ("te", "trailers"),
        ("cookie", "a=1"),
        ("x", "y"),
        ("cookie", "b=2"),
    ];
    let head = request(("GET", "/a?b", Some("web:80")), &lines, true).expect("a good head");
    assert_eq!(
        (head.method(), head.path(), head.query()),
        (Method::Get, &b"/a"[..], Some(&b"b"[..]))
    );
    assert_eq!(
        (head.authority(), head.framing()),
        (&b"web:80"[..], Framing::None)
    );
    assert!(head.accepts_trailers());
    let forwarded: Vec<_> = head
        .fields()
        .forwarded()
        .map(|field| (field.name, field.value))
        .collect();
    assert_eq!(
        forwarded,
        [
            (&b"accept"[..], &b"*/*"[..]),
            (b"x", b"y"),
            (b"cookie", b"a=1; b=2")
        ]
    );
}

#[test]
fn a_body_is_framed_by_its_length_or_in_chunks() {
    let post =
        |lines, ended| request(("POST", "/", Some("web")), lines, ended).map(|head| head.framing());
    assert_eq!(
        post(&[("content-length", "5")], false),
        Ok(Framing::Length(5))
    );
    assert_eq!(post(&[], false), Ok(Framing::Chunked));
    assert_eq!(
        post(&[("content-length", "5")], true),
        Err(Reject::BadLength)
    );
    assert_eq!(
        post(&[("content-length", "0")], true),
        Ok(Framing::Length(0))
    );
}

#[test]
fn what_lines_would_be_refused_for_frames_are_refused_for() {
    let good = ("GET", "/", Some("web"));
    let cases: &[(Start<'_>, Lines<'_>, Reject)] = &[
        (("get", "/", Some("web")), &[], Reject::BadMethod),
        (("CONNECT", "/", Some("web")), &[], Reject::MethodRefused),
        (("GET", "a", Some("web")), &[], Reject::BadTarget),
        (("GET", "http://web/", Some("web")), &[], Reject::BadTarget),
        (("GET", "/#a", Some("web")), &[], Reject::BadTarget),
        (("GET", "*", Some("web")), &[], Reject::BadTarget),
        (("GET", "/", None), &[], Reject::NoHost),
        (("GET", "/", Some("")), &[], Reject::BadHost),
        (("GET", "/", Some("me@web")), &[], Reject::BadHost),
        (good, &[("host", "other")], Reject::TwoHosts),
        (
            ("GET", "/", None),
            &[("host", "a"), ("host", "a")],
            Reject::TwoHosts,
        ),
        (good, &[("connection", "close")], Reject::ConnectionField),
        (
            good,
            &[("transfer-encoding", "chunked")],
            Reject::ConnectionField,
        ),
        (good, &[("upgrade", "websocket")], Reject::ConnectionField),
        (good, &[("te", "gzip")], Reject::ConnectionField),
        (
            good,
            &[("content-length", "1"), ("content-length", "1")],
            Reject::TwoLengths,
        ),
        (good, &[("content-length", "+1")], Reject::BadLength),
        (good, &[("expect", "x")], Reject::UnknownExpectation),
        (good, &[("a b", "x")], Reject::BadFieldName),
        (good, &[("a", "x\r\ny")], Reject::BadFieldValue),
        (good, &[("a", " x")], Reject::BadFieldValue),
    ];
    for (parts, lines, reject) in cases {
        assert_eq!(
            request(*parts, lines, false).err(),
            Some(*reject),
            "{parts:?} {lines:?}"
        );
    }
}

#[test]
fn an_empty_crumb_leaves_no_white_space_behind() {
    let lines = [
        ("cookie", "a=1"),
        ("cookie", ""),
        ("cookie", "b=2"),
        ("cookie", ""),
    ];
    let head = request(("GET", "/", Some("web")), &lines, true).expect("a good head");
    assert_eq!(head.get(FieldId::Cookie), Some(&b"a=1; b=2"[..]));
    let head = request(("GET", "/", Some("web")), &[("cookie", "")], true).expect("a good head");
    assert!(head.fields().is_empty());
}

#[test]
fn cookie_crumbs_are_counted_one_by_one() {
    let crumbs = vec![("cookie", "a=1"); 101];
    assert_eq!(
        request(("GET", "/", Some("web")), &crumbs, true).err(),
        Some(Reject::TooManyFields)
    );
}

#[test]
fn authority_and_an_equal_host_are_one() {
    let head = request(("GET", "/", Some("Web")), &[("host", "web")], true).expect("a good head");
    assert_eq!(head.authority(), b"web");
}

fn response(
    status: u16,
    method: Method,
    lines: Lines<'_>,
    ended: bool,
) -> Result<(Framing, Framing), Reject> {
    let mut head = ResponseHead::new();
    let parts = ResponseParts {
        status,
        method,
        ended,
    };
    head.assemble(parts, bytes(lines), &Limits::RESPONSE)?;
    Ok((head.framing(), head.announced()))
}

#[test]
fn a_response_of_frames_tells_where_its_body_ends() {
    use Framing::{Chunked, Length, None};
    let length: Lines<'_> = &[("content-length", "7")];
    assert_eq!(
        response(200, Method::Get, &[], false),
        Ok((Chunked, Chunked))
    );
    assert_eq!(
        response(200, Method::Get, &[], true),
        Ok((Length(0), Length(0)))
    );
    assert_eq!(
        response(200, Method::Get, length, false),
        Ok((Length(7), Length(7)))
    );
    assert_eq!(
        response(200, Method::Get, length, true),
        Err(Reject::BadLength)
    );
    assert_eq!(
        response(200, Method::Head, length, true),
        Ok((None, Length(7)))
    );
    assert_eq!(response(204, Method::Get, &[], true), Ok((None, None)));
    assert_eq!(
        response(304, Method::Get, length, true),
        Ok((None, Length(7)))
    );
    assert_eq!(
        response(101, Method::Get, &[], true),
        Err(Reject::UnaskedUpgrade)
    );
    assert_eq!(
        response(600, Method::Get, &[], true),
        Err(Reject::BadStatusLine)
    );
}

#[test]
fn trailers_have_no_say_about_framing_or_identity() {
    let mut trailers = Fields::new();
    assert_eq!(
        trailers.assemble_trailers(bytes(&[("grpc-status", "0")]), &Limits::REQUEST),
        Ok(())
    );
    assert_eq!(trailers.get(FieldId::GrpcStatus), Some(&b"0"[..]));
    for name in ["x-weft-caller", "host", "content-length", "authorization"] {
        let refused = trailers.assemble_trailers(bytes(&[(name, "1")]), &Limits::REQUEST);
        assert_eq!(refused, Err(Reject::TrailerRefused), "{name}");
    }
}
