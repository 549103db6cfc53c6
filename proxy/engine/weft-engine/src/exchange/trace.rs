//! W3C trace context and request ids: kept where they are good, made where they are missing.

use rand::Rng;

/// `00-<trace>-<parent>-<flags>`
const LENGTH: usize = 55;

/// Writes a `traceparent` for the next hop: the trace of the one received, or a new one, `sampled` as is said; always a new
/// parent.
pub(super) fn traceparent(
    out: &mut Vec<u8>,
    received: Option<&[u8]>,
    sampled: bool,
    rng: &mut impl Rng,
) {
    match received.filter(|value| is_traceparent(value)) {
        Some(value) => {
            out.extend_from_slice(&value[..36]);
            hex(out, rng.random_range(1..=u64::MAX));
            // Versions to come may say more behind the flags; we speak version 00 and pass on what it knows.
            out.extend_from_slice(&value[52..LENGTH]);
            let start = out.len() - LENGTH;
            out[start..start + 2].copy_from_slice(b"00");
        }
        None => {
            out.extend_from_slice(b"00-");
            hex(out, rng.random());
            hex(out, rng.random_range(1..=u64::MAX));
            out.push(b'-');
            hex(out, rng.random_range(1..=u64::MAX));
            out.extend_from_slice(if sampled { b"-01" } else { b"-00" });
        }
    }
}

/// Whether requests under a `traceparent` are recorded (W3C Trace Context section 3.2.2.5).
pub(super) fn is_sampled(value: &[u8]) -> bool {
    let digit = value.get(54).copied().map(char::from);
    let flags = digit.and_then(|digit| digit.to_digit(16));
    flags.is_some_and(|flags| flags % 2 == 1)
}

/// Writes a new request id: 32 hexadecimal digits.
pub(super) fn request_id(out: &mut Vec<u8>, rng: &mut impl Rng) {
    hex(out, rng.random());
    hex(out, rng.random());
}

/// Whether a received value can be gone on with (W3C Trace Context section 3.2.2).
pub(super) fn is_traceparent(value: &[u8]) -> bool {
    let lower_hex = |bytes: &[u8]| {
        bytes
            .iter()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte))
    };
    let zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == b'0');
    if value.len() < LENGTH || [2, 35, 52].iter().any(|dash| value[*dash] != b'-') {
        return false;
    }
    let (version, trace, parent, flags) = (
        &value[..2],
        &value[3..35],
        &value[36..52],
        &value[53..LENGTH],
    );
    [version, trace, parent, flags].into_iter().all(lower_hex)
        && version != b"ff"
        && !zero(trace)
        && !zero(parent)
        && (value.len() == LENGTH || (version != b"00" && value[LENGTH] == b'-'))
}

fn hex(out: &mut Vec<u8>, number: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 16];
    for (pair, byte) in text.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    out.extend_from_slice(&text);
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    const GOOD: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn next(received: Option<&[u8]>) -> Vec<u8> {
        let mut out = Vec::new();
        traceparent(&mut out, received, true, &mut SmallRng::seed_from_u64(1));
        out
    }

    #[test]
    fn a_good_trace_goes_on_under_a_new_parent() {
        let next = next(Some(GOOD));
        assert!(is_traceparent(&next));
        assert_eq!((&next[..36], &next[52..]), (&GOOD[..36], &GOOD[52..]));
        assert_ne!(next[36..52], GOOD[36..52]);
    }

    #[test]
    fn a_missing_or_bad_trace_is_replaced_by_a_new_one() {
        for bad in [
            None,
            Some(&b"rubbish"[..]),
            Some(b"00-00000000000000000000000000000000-00f067aa0ba902b7-01"),
        ] {
            let next = next(bad);
            assert!(is_traceparent(&next), "{bad:?}");
        }
        assert!(!is_traceparent(&GOOD.to_ascii_uppercase()));
        assert!(!is_traceparent(&[GOOD, b"-x"].concat()));
    }
}
