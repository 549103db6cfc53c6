//! Refusals as gRPC tells them: a status of its own in an answer that HTTP takes for a success.

use weft_core::reason::Reason;

/// The gRPC status of a reason, <https://grpc.io/docs/guides/status-codes/>.
pub(super) const fn of(reason: Reason) -> u8 {
    const DEADLINE_EXCEEDED: u8 = 4;
    const PERMISSION_DENIED: u8 = 7;
    const RESOURCE_EXHAUSTED: u8 = 8;
    const UNIMPLEMENTED: u8 = 12;
    const INTERNAL: u8 = 13;
    const UNAVAILABLE: u8 = 14;
    match reason {
        Reason::RequestTimeout => DEADLINE_EXCEEDED,
        Reason::Denied | Reason::TlsRequired => PERMISSION_DENIED,
        Reason::Limited | Reason::TooLarge => RESOURCE_EXHAUSTED,
        Reason::NoRoute => UNIMPLEMENTED,
        Reason::BadRequest | Reason::Internal => INTERNAL,
        Reason::NoEndpoint
        | Reason::ConnectFailed
        | Reason::ConnectTimeout
        | Reason::Reset
        | Reason::RetryExhausted
        | Reason::Overloaded
        | Reason::TlsFailed
        | Reason::Draining => UNAVAILABLE,
    }
}

/// The status of an answer without a reason, as gRPC maps statuses of HTTP.
pub(super) const fn of_http(status: u16) -> u8 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

/// A message as `grpc-message` carries it: everything but printable ASCII, and `%`, is percent-encoded.
pub(super) fn message(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.trim_end().bytes() {
        match byte {
            b'%' | ..0x20 | 0x7f.. => drop(write!(out, "%{byte:02X}")),
            _ => out.push(char::from(byte)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_plain_ascii_and_one_line() {
        assert_eq!(message("50% of\n\"ä\"\n"), "50%25 of%0A\"%C3%A4\"");
    }

    #[test]
    fn what_may_work_another_time_is_unavailable_and_what_may_not_is_not() {
        assert_eq!((of(Reason::NoEndpoint), of(Reason::Denied)), (14, 7));
        assert_eq!((of(Reason::RequestTimeout), of_http(503)), (4, 14));
    }
}
