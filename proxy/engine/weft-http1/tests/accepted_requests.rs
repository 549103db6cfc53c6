//! Which requests are served, and what is said about it, however it is cut.

mod harness;

use harness::{Lines, Request, Requests, Said, tell_in_every_cut};
use weft_http1::{Eof, FieldId, Limits, RequestDecoder, RequestHead, Step};

fn requests(input: &str) -> Vec<Said> {
    tell_in_every_cut(Requests::new, input.as_bytes())
}

fn request(input: &str) -> Request {
    match requests(input).into_iter().next() {
        Some(Said::Request(request)) => request,
        other => panic!("{input:?} is not a request: {other:?}"),
    }
}

fn kept(fields: &Lines) -> Vec<&str> {
    let kept = fields.iter().filter(|(_, _, dropped)| !dropped);
    kept.map(|(name, _, _)| name.as_str()).collect()
}

#[test]
fn targets_are_taken_apart() {
    for (target, forwarded, path, query) in [
        ("/", "/", "/", None),
        ("/a/b?c=d?e", "/a/b?c=d?e", "/a/b", Some("c=d?e")),
        ("/?", "/?", "/", Some("")),
        (
            "/a;b=c/%2F~'()!$&[]@:,",
            "/a;b=c/%2F~'()!$&[]@:,",
            "/a;b=c/%2F~'()!$&[]@:,",
            None,
        ),
        ("//a/../b", "//a/../b", "//a/../b", None),
        ("http://api:80/a?b", "/a?b", "/a", Some("b")),
        ("HTTP://api", "/", "/", None),
        ("http://api?b", "/?b", "/", Some("b")),
    ] {
        let told = request(&format!("GET {target} HTTP/1.1\r\nHost: web\r\n\r\n"));
        assert_eq!(
            (&*told.target, &*told.path, told.query.as_deref()),
            (forwarded, path, query)
        );
    }
    assert_eq!(
        request("OPTIONS * HTTP/1.1\r\nHost: web\r\n\r\n").target,
        "*"
    );
    assert_eq!(
        request("OPTIONS http://web HTTP/1.1\r\nHost: web\r\n\r\n").target,
        "*"
    );
}

#[test]
fn an_absolute_target_replaces_host() {
    let told = request("GET http://api:81/ HTTP/1.1\r\nHost: web\r\n\r\n");
    assert_eq!(told.authority, "api:81");
    for host in [
        "web",
        "web:80",
        "10.0.0.1:65535",
        "[::1]",
        "[2001:db8::1]:80",
        "a_b.c-d",
        "web.",
    ] {
        assert_eq!(
            request(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).authority,
            host
        );
    }
    assert_eq!(request("GET / HTTP/1.0\r\n\r\n").authority, "");
}

#[test]
fn connections_persist_by_version_and_by_what_they_say() {
    for (version, connection, persists) in [
        ("1.1", "a: b", true),
        ("1.1", "Connection: close", false),
        ("1.1", "Connection: keep-alive, CLOSE", false),
        ("1.1", "Connection: x, , y", true),
        ("1.0", "a: b", false),
        ("1.0", "Connection: Keep-Alive", true),
        ("1.0", "Connection: keep-alive\r\nConnection: close", false),
    ] {
        let told = request(&format!(
            "GET / HTTP/{version}\r\nHost: web\r\n{connection}\r\n\r\n"
        ));
        assert_eq!(told.keep_alive, persists, "{version} {connection}");
    }
}

#[test]
fn fields_that_end_here_are_dropped_even_before_connection_names_them() {
    let told = request(
        "GET / HTTP/1.1\r\nX-Secret: 1\r\nAccept: a\r\nHost: web\r\nConnection: x-secret, Accept, close\r\n\
         Keep-Alive: 1\r\nProxy-Connection: a\r\nTE: trailers\r\nUpgrade: h2c\r\nX_Caller: a\r\nX-Kept: 1\r\n\
         x-secret: 2\r\nx-secret-too: 3\r\n\r\n",
    );
    assert_eq!(kept(&told.fields), ["Host", "X-Kept", "x-secret-too"]);
}

#[test]
fn bodies_end_where_they_say_and_pipelined_requests_follow() {
    let said = requests(
        "POST /1 HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\n\r\nhello\
         PUT /2 HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: Chunked\r\n\r\n\
         3\r\nabc\r\n00A;x=\"y\"\r\n0123456789\r\n000\r\nA: b\r\nX_Y: z\r\n\r\n\
         GET /3 HTTP/1.1\r\nHost: web\r\n\r\nGET /4 HTTP/1.1\r\nHost: web\r\nContent-Length: 0\r\n\r\n",
    );
    let short: Vec<_> = said
        .iter()
        .map(|said| match said {
            Said::Request(request) => format!("{} {:?}", request.target, request.framing),
            Said::Body(body) => harness::text(body),
            Said::Trailers(lines) => format!("{:?}", kept(lines)),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(
        short,
        [
            "/1 Length(5)",
            "hello",
            "End",
            "/2 Chunked",
            "abc0123456789",
            "[\"A\"]",
            "End",
            "/3 None",
            "End",
            "/4 Length(0)",
            "End",
            "Eof(Clean)",
        ]
    );
}

#[test]
fn the_end_of_input_is_clean_between_requests_only() {
    for (input, expected) in [
        ("", Eof::Clean),
        ("G", Eof::Truncated),
        ("GET / HTTP/1.1\r\nHost: web\r\n\r", Eof::Truncated),
        (
            "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 2\r\n\r\na",
            Eof::Truncated,
        ),
        (
            "POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            Eof::Truncated,
        ),
        ("GET / HTTP/1.1\r\nHost: web\r\n\r\n", Eof::Clean),
    ] {
        assert_eq!(
            requests(input).last(),
            Some(&Said::Eof(expected)),
            "{input:?}"
        );
    }
}

#[test]
fn expectations_and_upgrades_are_for_1_1() {
    let told =
        request("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n");
    assert!(told.expects_continue && kept(&told.fields).contains(&"Expect"));
    assert!(!request("POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expects_continue);
    let ask = |rest: &str| {
        request(&format!(
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n{rest}\r\n"
        ))
    };
    assert_eq!(
        ask("Connection: keep-alive, Upgrade\r\n")
            .upgrade
            .as_deref(),
        Some("websocket")
    );
    assert_eq!(ask("").upgrade, None);
}

#[test]
fn a_head_is_edited_before_it_is_forwarded() {
    let mut decoder = RequestDecoder::new(Limits::REQUEST);
    let mut head = RequestHead::new();
    let input = b"GET /a?b HTTP/1.1\r\nHost: web\r\nCookie: a\r\nX-A: 1\r\nx-a: 2\r\n\r\n";
    assert_eq!(decoder.feed(input, &mut head).1, Step::Head);
    assert_eq!(head.fields().joined(b"X-a").as_deref(), Some(&b"1, 2"[..]));
    assert_eq!(head.fields().joined(b"x-b"), None);
    head.set_target(b"/c?d").expect("a good target");
    assert!(head.set_target(b"c").is_err() && head.set_target(b"/ ").is_err());
    head.fields_mut().drop_id(FieldId::Cookie);
    head.fields_mut().drop_name(b"X-A");
    head.fields_mut().push(b"via", b"1.1 weft");
    let mut out = Vec::new();
    weft_http1::encode::request(
        &mut out,
        &head,
        b"api",
        head.framing(),
        [(&b"a"[..], &b"b"[..])],
    );
    assert_eq!(
        harness::text(&out),
        "GET /c?d HTTP/1.1\r\nhost: api\r\nvia: 1.1 weft\r\na: b\r\n\r\n"
    );
    assert_eq!(head.received_target(), b"/a?b");
    assert_eq!(
        (head.path(), head.query(), head.host()),
        (&b"/c"[..], Some(&b"d"[..]), &b"web"[..])
    );
}

fn decoded(input: &str) -> RequestHead {
    let mut head = RequestHead::new();
    let (_, step) = RequestDecoder::new(Limits::REQUEST).feed(input.as_bytes(), &mut head);
    assert_eq!(step, Step::Head, "{input:?}");
    head
}

#[test]
fn a_websocket_is_a_get_without_body_that_offers_nothing_else() {
    for (method, upgrade, rest, expected) in [
        ("GET", "WebSocket", "Connection: Upgrade\r\n", true),
        ("GET", "websocket", "", false),
        ("POST", "websocket", "Connection: upgrade\r\n", false),
        ("GET", "h2c", "Connection: upgrade\r\n", false),
        (
            "GET",
            "websocket",
            "Connection: upgrade\r\nContent-Length: 1\r\n",
            false,
        ),
    ] {
        let head = decoded(&format!(
            "{method} / HTTP/1.1\r\nHost: a\r\nUpgrade: {upgrade}\r\n{rest}\r\n"
        ));
        assert_eq!(head.is_websocket(), expected, "{method} {upgrade} {rest:?}");
    }
}

#[test]
fn te_says_whether_trailers_are_understood() {
    let with =
        |te: &str| decoded(&format!("GET / HTTP/1.1\r\nHost: a\r\n{te}\r\n")).accepts_trailers();
    assert!(with("TE: trailers\r\n") && with("TE: gzip\r\nTE: deflate, Trailers\r\n"));
    assert!(!with("") && !with("TE: gzip\r\n"));
}

#[test]
fn a_host_is_an_authority_without_its_port() {
    for (authority, host) in [
        ("web:80", "web"),
        ("web", "web"),
        ("[::1]:80", "[::1]"),
        ("[::1]", "[::1]"),
    ] {
        let head = decoded(&format!("GET / HTTP/1.1\r\nHost: {authority}\r\n\r\n"));
        assert_eq!(head.host(), host.as_bytes());
    }
}

#[test]
fn white_space_around_values_is_not_forwarded() {
    let head = decoded(
        "GET / HTTP/1.1\r\nA: b\r\nPad: c \t \r\nHost: a\r\nTab:\td\r\nTight:e\r\nWide:   f\r\nEmpty:\r\nBlank: \r\nZ: z\r\n\r\n",
    );
    let mut out = Vec::new();
    weft_http1::encode::forwarded(&mut out, head.fields());
    assert_eq!(
        harness::text(&out),
        "A: b\r\nPad: c\r\nTab: d\r\nTight: e\r\nWide: f\r\nEmpty: \r\nBlank: \r\nZ: z\r\n"
    );
}
