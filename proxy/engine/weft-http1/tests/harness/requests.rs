//! Requests that are refused, with only the interesting part of each spelled out.

use weft_http1::Reject;

use super::{Requests, refusal, tell_in_every_cut, text};

/// Each input is refused for the reason beside it, however it is cut.
pub(crate) fn assert_refused(cases: impl IntoIterator<Item = (Vec<u8>, Reject)>) {
    for (input, expected) in cases {
        let said = tell_in_every_cut(Requests::new, &input);
        assert_eq!(
            refusal(&said),
            Some(expected),
            "{:?}: {said:?}",
            text(&input)
        );
    }
}

/// A request line and fields as written, Host left out.
pub(crate) fn raw(cases: &[(&str, Reject)]) {
    assert_refused(
        cases
            .iter()
            .map(|(input, why)| (input.as_bytes().to_vec(), *why)),
    );
}

/// A good request line and Host before the fields as written.
pub(crate) fn fields(cases: &[(&str, Reject)]) {
    assert_refused(cases.iter().map(|(fields, why)| {
        (
            format!("POST / HTTP/1.1\r\nHost: web\r\n{fields}\r\n\r\n").into_bytes(),
            *why,
        )
    }));
}

/// A good head before a chunked body as written.
pub(crate) fn chunked(cases: &[(&str, Reject)]) {
    assert_refused(cases.iter().map(|(body, why)| {
        let head = "POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n";
        (format!("{head}{body}").into_bytes(), *why)
    }));
}
