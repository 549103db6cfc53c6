//! How long a caller still waits: told by its engine, by an application on this host, or by gRPC. It only ever shortens.

use std::time::Duration;

use tokio::time::Instant;
use weft_http1::{FieldId, RequestHead};

use crate::h2::is_grpc;

/// How long whoever is before this engine waits for the head, in milliseconds.
pub(super) const TIMEOUT: &[u8] = b"x-weft-timeout-ms";

/// Nobody waits longer than that.
const MOST: Duration = Duration::from_secs(86_400);

/// How long the calling engine waits for the head, or an application on this host says it does.
pub(super) fn patience(head: &RequestHead) -> Option<Duration> {
    if !head.fields().has(FieldId::Weft) {
        return None;
    }
    let value = head.fields().joined(TIMEOUT)?;
    let millis = std::str::from_utf8(&value).ok()?.parse().ok()?;
    Some(Duration::from_millis(millis).min(MOST))
}

/// When a call of gRPC is over for its caller, who began it then.
pub(super) fn of_call(head: &RequestHead, began: Instant) -> Option<Instant> {
    let value = head.get(FieldId::GrpcTimeout)?;
    is_grpc(head)
        .then(|| timeout(value))?
        .map(|left| began + left)
}

/// What stands in `grpc-timeout`: at most eight digits and a unit. Zero is not allowed, and over at once.
fn timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let left = match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    };
    Some(left.min(MOST))
}

/// The same for the next hop. What is left is at least as much as can be said.
pub(super) fn said(left: Duration) -> String {
    match left.as_millis() {
        millis @ ..=99_999_999 => format!("{}m", millis.max(1)),
        millis => format!("{}S", millis / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_of_grpc_is_eight_digits_at_most_and_a_unit() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("250m", Some(Duration::from_millis(250))),
            ("9u", Some(Duration::from_micros(9))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("0S", Some(Duration::ZERO)),
            ("99999999H", Some(MOST)),
            ("100000000n", None),
            ("S", None),
            ("", None),
            ("5", None),
            ("5s", None),
            ("-5S", None),
            ("5.5S", None),
            ("5S ", None),
        ] {
            assert_eq!(timeout(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_left_is_said_so_that_it_reads_back() {
        for (left, expected) in [
            (Duration::ZERO, "1m"),
            (Duration::from_micros(1500), "1m"),
            (Duration::from_secs(86_400), "86400000m"),
            (Duration::from_secs(200_000), "200000S"),
        ] {
            assert_eq!(said(left), expected);
            assert!(timeout(said(left).as_bytes()).is_some());
        }
    }
}
