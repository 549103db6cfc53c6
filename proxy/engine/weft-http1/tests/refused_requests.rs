//! Rules 1 to 6 for what clients send: each line is refused for the reason beside it, however it is cut.

mod harness;

use harness::requests::{assert_refused, fields, raw};
use harness::{Requests, refusal, tell_in_every_cut};
use weft_http1::{Reject, Side};

#[test]
fn line_ends_and_sizes() {
    raw(&[
        (
            "\r\nGET / HTTP/1.1\r\nHost: web\r\n\r\n",
            Reject::LeadingEmptyLine,
        ),
        (
            "\nGET / HTTP/1.1\r\nHost: web\r\n\r\n",
            Reject::LeadingEmptyLine,
        ),
        ("\r", Reject::LeadingEmptyLine),
        ("GET / HTTP/1.1\nHost: web\r\n\r\n", Reject::BareLf),
        ("GET / HTTP/1.1\r\nHost: web\n\r\n", Reject::BareLf),
        ("GET / HTTP/1.1\r\nHost: web\r\n\n", Reject::BareLf),
        ("GET / HTTP/1.1\r\nHost: web\n\n", Reject::BareLf),
        ("GET / HTTP/1.1\r\nHost:\n web\r\n\r\n", Reject::BareLf),
        (
            "GET / HTTP/1.1\r\nHost: web\r\nA: b\rc\r\n\r\n",
            Reject::BareCr,
        ),
        (
            "GET / HTTP/1.1\r\nHost: web\r\nA: b\r\r\n\r\n",
            Reject::BareCr,
        ),
        (
            "GET / HTTP/1.1\r\nHost: web\r\nA\r: b\r\n\r\n",
            Reject::BareCr,
        ),
        ("GET / HTTP/1.1\r\nHost: web\r\n\r \r\n\r\n", Reject::BareCr),
        ("GARBAGEGARBAGEGARBAGEGARBAGE", Reject::NoMethod),
        ("GARBAGEGARBAGEGARBAGEGAR", Reject::NoMethod),
    ]);
    let huge = |bytes: usize| {
        let mut head = b"GET / HTTP/1.1\r\nHost: web\r\nA: ".to_vec();
        head.resize(bytes - 4, b'a');
        head.extend_from_slice(b"\r\n\r\n");
        head
    };
    assert_refused([
        (huge(16 * 1024 + 1), Reject::HeadTooLarge),
        (huge(64 * 1024), Reject::HeadTooLarge),
        (
            huge(16 * 1024 + 1)[..16 * 1024].to_vec(),
            Reject::HeadTooLarge,
        ),
        (many_fields(101), Reject::TooManyFields),
        (many_fields(500), Reject::TooManyFields),
    ]);
    assert_eq!(
        refusal(&tell_in_every_cut(Requests::new, &huge(16 * 1024))),
        None
    );
    assert_eq!(
        refusal(&tell_in_every_cut(Requests::new, &many_fields(100))),
        None
    );
}

fn many_fields(count: usize) -> Vec<u8> {
    let more = "a: b\r\n".repeat(count - 1);
    format!("GET / HTTP/1.1\r\nHost: web\r\n{more}\r\n").into_bytes()
}

#[test]
fn field_lines() {
    fields(&[
        ("A: b\r\n c", Reject::FoldedLine),
        ("A: b\r\n\tc: d", Reject::FoldedLine),
        (" A: b", Reject::FoldedLine),
        ("A : b", Reject::BadFieldName),
        ("A\t: b", Reject::BadFieldName),
        ("Content-Length : 1", Reject::BadFieldName),
        (": b", Reject::BadFieldName),
        ("A b: c", Reject::BadFieldName),
        ("A(b): c", Reject::BadFieldName),
        ("A\u{e9}: c", Reject::BadFieldName),
        ("no colon", Reject::BadFieldName),
        ("A", Reject::BadFieldName),
        ("A\0: b", Reject::BadFieldName),
        ("A: b\0c", Reject::BadFieldValue),
        ("A: b\x01", Reject::BadFieldValue),
        ("A: b\x0bc", Reject::BadFieldValue),
        ("A: \x7f", Reject::BadFieldValue),
        ("A: \x1b[0m", Reject::BadFieldValue),
    ]);
}

#[test]
fn methods_and_request_lines() {
    let line = |line: &str| format!("{line}\r\nHost: web\r\n\r\n").into_bytes();
    assert_refused(
        [
            ("get / HTTP/1.1", Reject::BadMethod),
            ("GE_T / HTTP/1.1", Reject::BadMethod),
            ("G3T / HTTP/1.1", Reject::BadMethod),
            (" / HTTP/1.1", Reject::BadMethod),
            (" GET / HTTP/1.1", Reject::BadMethod),
            ("GET\t/ HTTP/1.1", Reject::BadMethod),
            ("\x16\x03\x01 / HTTP/1.1", Reject::BadMethod),
            ("ABCDEFGHIJKLMNOPQRSTU / HTTP/1.1", Reject::BadMethod),
            ("ABCDEFGHIJKLMNOPQRSTUVWXYZ / HTTP/1.1", Reject::NoMethod),
            ("CONNECT web:443 HTTP/1.1", Reject::MethodRefused),
            ("TRACE / HTTP/1.1", Reject::MethodRefused),
            ("GET /", Reject::BadRequestLine),
            ("GET", Reject::BadRequestLine),
            ("GET ", Reject::BadRequestLine),
            ("GET  / HTTP/1.1", Reject::BadRequestLine),
            ("GET /  HTTP/1.1", Reject::BadRequestLine),
            ("GET / HTTP/1.1 ", Reject::BadRequestLine),
            ("GET / x HTTP/1.1", Reject::BadRequestLine),
            ("GET  HTTP/1.1", Reject::BadRequestLine),
            ("GET / HTTP/1.2", Reject::BadVersion),
            ("GET / HTTP/2.0", Reject::BadVersion),
            ("GET / HTTP/0.9", Reject::BadVersion),
            ("GET / http/1.1", Reject::BadVersion),
            ("GET / HTTP/1.10", Reject::BadVersion),
            ("GET / HTTP/01.1", Reject::BadVersion),
            ("GET /\tHTTP/1.1", Reject::BadRequestLine),
            ("PRI * HTTP/2.0", Reject::BadVersion),
        ]
        .map(|(text, why)| (line(text), why)),
    );
}

#[test]
fn targets() {
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: web\r\n\r\n").into_bytes();
    let long = format!("/{}", "a".repeat(8_000));
    assert_refused(
        [
            (&*long, Reject::TargetTooLong),
            (&long.repeat(3), Reject::TargetTooLong),
            ("/a#b", Reject::BadTarget),
            ("/a\\b", Reject::BadTarget),
            ("/a\"b", Reject::BadTarget),
            ("/a<b", Reject::BadTarget),
            ("/a{b}", Reject::BadTarget),
            ("/a|b", Reject::BadTarget),
            ("/a^b", Reject::BadTarget),
            ("/a`b", Reject::BadTarget),
            ("/caf\u{e9}", Reject::BadTarget),
            ("/a\x01", Reject::BadTarget),
            ("/a\x7f", Reject::BadTarget),
            ("/a\tb", Reject::BadTarget),
            ("/%", Reject::BadTarget),
            ("/%4", Reject::BadTarget),
            ("/%zz", Reject::BadTarget),
            ("/?a=%g0", Reject::BadTarget),
            ("*", Reject::BadTarget),
            ("a", Reject::BadTarget),
            ("web:80", Reject::BadTarget),
            ("?a", Reject::BadTarget),
            ("https://web/", Reject::BadTarget),
            ("ftp://web/", Reject::BadTarget),
            ("http:/web/", Reject::BadTarget),
            ("http:///a", Reject::BadTargetAuthority),
            ("http://", Reject::BadTargetAuthority),
            ("http://?a", Reject::BadTargetAuthority),
            ("http://user@web/", Reject::BadTargetAuthority),
            ("http://web:/", Reject::BadTargetAuthority),
            ("http://web:123456/", Reject::BadTargetAuthority),
            ("http://web,api/", Reject::BadTargetAuthority),
            ("http://we\\b/", Reject::BadTargetAuthority),
            ("http://web/#a", Reject::BadTarget),
            ("http://web#a", Reject::BadTarget),
        ]
        .map(|(target, why)| (get(target), why)),
    );
    let fits = tell_in_every_cut(Requests::new, &get(&long[..8_000]));
    assert_eq!(refusal(&fits), None);
    assert_refused([(get(&long)[..8_006].to_vec(), Reject::TargetTooLong)]);
}

#[test]
fn hosts() {
    let with = |hosts: &str| format!("GET / HTTP/1.1\r\n{hosts}\r\n").into_bytes();
    assert_refused(
        [
            ("", Reject::NoHost),
            ("A: b\r\n", Reject::NoHost),
            ("Host: web\r\nHost: web\r\n", Reject::TwoHosts),
            ("Host: web\r\nA: b\r\nhost: api\r\n", Reject::TwoHosts),
            ("Host:\r\n", Reject::BadHost),
            ("Host:  \r\n", Reject::BadHost),
            ("Host: user@web\r\n", Reject::BadHost),
            ("Host: user:secret@web\r\n", Reject::BadHost),
            ("Host: web/a\r\n", Reject::BadHost),
            ("Host: web, api\r\n", Reject::BadHost),
            ("Host: web,api\r\n", Reject::BadHost),
            ("Host: web api\r\n", Reject::BadHost),
            ("Host: web:\r\n", Reject::BadHost),
            ("Host: web:a\r\n", Reject::BadHost),
            ("Host: web:123456\r\n", Reject::BadHost),
            ("Host: web:65536\r\n", Reject::BadHost),
            ("Host: web:-1\r\n", Reject::BadHost),
            ("Host: :80\r\n", Reject::BadHost),
            ("Host: [::1\r\n", Reject::BadHost),
            ("Host: [::1]80\r\n", Reject::BadHost),
            ("Host: []\r\n", Reject::BadHost),
            ("Host: [web]\r\n", Reject::BadHost),
            ("Host: ::1\r\n", Reject::BadHost),
            ("Host: w%65b\r\n", Reject::BadHost),
            ("Host: we\\b\r\n", Reject::BadHost),
            ("Host: w\u{e9}b\r\n", Reject::BadHost),
        ]
        .map(|(hosts, why)| (with(hosts), why)),
    );
    raw(&[
        ("GET http://web/ HTTP/1.1\r\n\r\n", Reject::NoHost),
        (
            "GET http://web/ HTTP/1.1\r\nHost: a@b\r\n\r\n",
            Reject::BadHost,
        ),
        (
            "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
            Reject::TwoHosts,
        ),
        ("GET / HTTP/1.0\r\nHost:\r\n\r\n", Reject::BadHost),
    ]);
}

#[test]
fn every_reason_has_a_word_of_its_own_and_a_status() {
    let mut words: Vec<_> = Reject::ALL.iter().map(|reject| reject.word()).collect();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), Reject::ALL.len());
    for reject in Reject::ALL {
        assert!(matches!(
            reject.status(Side::Request),
            400 | 405 | 414 | 417 | 431 | 501 | 502
        ));
        assert_eq!(reject.status(Side::Response), 502);
        assert!(
            reject
                .word()
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b == b'_')
        );
    }
}
