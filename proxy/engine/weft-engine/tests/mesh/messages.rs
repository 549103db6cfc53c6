//! HTTP/1.1 as it is spoken: bodies, framing, upgrades, refusals.

use std::io::{BufRead, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::http::Client;
use crate::support::stage::Stage;
use crate::support::until;

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 % 251) as u8).collect()
}

#[test]
fn large_bodies_pass_both_ways_however_they_are_framed() {
    let stage = Stage::new();
    let mut client = stage.client();
    let body = pattern(3_000_000);
    for path in ["/echo", "/chunked"] {
        client.send(
            format!(
                "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
                body.len()
            )
            .as_bytes(),
        );
        client.send(&body);
        assert!(client.answer(false).body == body, "{path} with a length");
        client.send(
            format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                .as_bytes(),
        );
        for piece in body.chunks(70_001) {
            client.send(format!("{:X}\r\n", piece.len()).as_bytes());
            client.send(piece);
            client.send(b"\r\n");
        }
        client.send(b"0\r\nX-Trailer: t\r\n\r\n");
        assert!(client.answer(false).body == body, "{path} in chunks");
    }
}

#[test]
fn a_slow_reader_holds_the_sender_back_and_nothing_piles_up() {
    let stage = Stage::new();
    let body = pattern(64 * 1024 * 1024);
    let length = body.len();
    let mut client = stage.client();
    let stream = client
        .stream
        .get_ref()
        .try_clone()
        .expect("a second handle");
    let writer = std::thread::spawn(move || {
        let mut stream = stream;
        stream
            .write_all(
                format!("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
                    .as_bytes(),
            )
            .and_then(|()| stream.write_all(&body))
    });
    assert_eq!(client.answer(false).text(), "early");
    let _ = writer.join().expect("no panic");
    for engine in [&stage.near, &stage.far] {
        assert!(
            engine.resident_kib() < 64 * 1024,
            "{} KiB",
            engine.resident_kib()
        );
    }
}

#[test]
fn head_has_no_body_and_the_connection_goes_on() {
    let stage = Stage::new();
    let mut client = stage.client();
    let answer = client.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(
        (answer.status, answer.field("content-length")),
        (200, Some("0"))
    );
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let stage = Stage::new();
    let mut client = stage.client();
    client.send(b"GET /status/201 HTTP/1.1\r\nHost: a\r\n\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /status/203 HTTP/1.1\r\nHost: a\r\n\r\n");
    let answers: Vec<_> = (0..3).map(|_| client.answer(false)).collect();
    assert_eq!(
        answers
            .iter()
            .map(|answer| answer.status)
            .collect::<Vec<_>>(),
        [201, 200, 203]
    );
    assert_eq!(answers[1].text(), "abc");
}

#[test]
fn an_old_client_gets_bodies_it_understands() {
    let stage = Stage::new();
    let mut client = stage.client();
    let answer = client.ask("POST /chunked HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(
        (answer.text().as_str(), answer.field("transfer-encoding")),
        ("hello", None)
    );
    assert!(client.is_closed());
    let mut client = stage.client();
    let answer = client.ask("GET /status/200 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(answer.field("connection"), Some("keep-alive"));
    assert!(answer.text().contains("host: api\r\n"), "{}", answer.text());
    assert_eq!(client.ask("GET / HTTP/1.0\r\n\r\n").status, 200);
}

#[test]
fn a_body_that_ends_with_the_connection_is_framed_for_the_client() {
    let stage = Stage::new();
    let mut client = stage.client();
    let answer = client.get("/until-close");
    assert_eq!(
        (answer.text().as_str(), answer.field("transfer-encoding")),
        ("to the end", Some("chunked"))
    );
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn a_body_that_is_cut_off_is_cut_off_for_the_client_too() {
    let stage = Stage::new();
    let mut client = stage.client();
    client.send(b"GET /cut HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.try_answer(false).is_none());
    stage.near.counts(
        1,
        "weft_requests_total",
        &["reason=\"reset\"", "code=\"200\""],
    );
}

#[test]
fn what_an_upstream_may_not_say_is_a_reset_and_is_counted() {
    let stage = Stage::new();
    let answer = stage
        .client()
        .ask("POST /rubbish HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((answer.status, answer.reason()), (502, Some("reset")));
    stage.far.counts(
        1,
        "weft_rejected_messages_total",
        &["response", "bad_field_name"],
    );
}

#[test]
fn a_client_that_waits_for_100_gets_it_from_the_application() {
    let stage = Stage::new();
    let mut client = stage.client();
    client.send(
        b"POST /continue HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(client.head().expect("a head").status, 100);
    client.send(b"hello");
    assert_eq!(client.answer(false).text(), "hello");
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn informational_answers_go_on() {
    let stage = Stage::new();
    let mut client = stage.client();
    client.send(b"GET /hints HTTP/1.1\r\nHost: a\r\n\r\n");
    let hints = client.head().expect("a head");
    assert_eq!((hints.status, hints.field("link")), (103, Some("</a>")));
    assert_eq!(client.answer(false).text(), "after hints");
}

#[test]
fn a_websocket_becomes_a_tunnel_and_bytes_sent_early_come_first() {
    let stage = Stage::new();
    let mut client = stage.client();
    client
        .send(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    let answer = client.answer(false);
    assert_eq!(
        (answer.status, answer.field("upgrade")),
        (101, Some("websocket"))
    );
    let mut hello = [0; 5];
    client.stream.read_exact(&mut hello).expect("bytes");
    assert_eq!(&hello, b"hello");
    let body = pattern(100_000);
    client.send(&body);
    let mut back = vec![0; body.len()];
    client.stream.read_exact(&mut back).expect("bytes");
    assert!(back == body);
    client
        .stream
        .get_ref()
        .shutdown(std::net::Shutdown::Write)
        .expect("shut");
    assert!(client.is_closed());
    stage
        .near
        .counts(1, "weft_requests_total", &["code=\"101\""]);
}

#[test]
fn a_client_that_ends_its_side_after_a_whole_request_still_gets_its_answer() {
    let stage = Stage::new();
    let mut client = stage.client();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client
        .stream
        .get_ref()
        .shutdown(std::net::Shutdown::Write)
        .expect("shut");
    assert_eq!(client.answer(false).status, 200);
}

#[test]
fn what_is_no_request_is_refused_answered_and_counted_and_nothing_is_forwarded() {
    let stage = Stage::new();
    for (bytes, status, reason, word) in [
        ("GET / HTTP/1.1\r\n\r\n", 400, "bad_request", "no_host"),
        (
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            400,
            "bad_request",
            "bare_lf",
        ),
        (
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            400,
            "bad_request",
            "bad_field_name",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            "bad_request",
            "length_and_encoding",
        ),
        (
            "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
            405,
            "bad_request",
            "method_refused",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
            501,
            "bad_request",
            "unknown_encoding",
        ),
    ] {
        let mut client = stage.client();
        client.send(bytes.as_bytes());
        let answer = client.answer(false);
        assert_eq!(
            (answer.status, answer.reason()),
            (status, Some(reason)),
            "{bytes:?}"
        );
        assert_eq!(answer.field("connection"), Some("close"));
        assert!(client.is_closed());
        stage
            .near
            .counts(1, "weft_rejected_messages_total", &["request", word]);
    }
    let mut client = stage.client();
    client.send(
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
            "x".repeat(20_000)
        )
        .as_bytes(),
    );
    let answer = client.answer(false);
    assert_eq!((answer.status, answer.reason()), (431, Some("too_large")));
    assert_eq!(stage.app.count(), 0);
}

#[test]
fn a_bad_chunk_in_a_body_is_answered_with_400() {
    let stage = Stage::new();
    let mut client = stage.client();
    client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
    assert_eq!(client.answer(false).status, 400);
    assert!(client.is_closed());
}

#[test]
fn a_refusal_arrives_although_its_body_was_not_read() {
    let mut stage = Stage::new();
    stage.near_endpoints(Vec::new());
    let mut stream = TcpStream::connect(stage.outbound).expect("connected");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("set");
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\n")
        .expect("sent");
    stream.write_all(&[b'x'; 30_000]).expect("sent");
    let mut client = Client::over(stream);
    assert_eq!(client.answer(false).reason(), Some("no_endpoint"));
    assert!(
        client.stream.fill_buf().is_ok_and(<[u8]>::is_empty),
        "ended in order, not by a reset"
    );
}

#[test]
fn one_byte_at_a_time_is_enough() {
    let stage = Stage::new();
    let mut client = stage.client();
    for byte in
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    {
        client.send(&[*byte]);
    }
    assert_eq!(client.answer(false).text(), "abc");
}

#[test]
fn connections_are_counted_while_they_are_open() {
    let stage = Stage::new();
    let clients: Vec<_> = (0..5).map(|_| stage.client()).collect();
    stage.near.counts(5, "weft_connections", &["outbound"]);
    drop(clients);
    until("they are gone", || {
        stage.near.metric("weft_connections", &["outbound"]) == 0.0
    });
}
