//! W3C trace context and request ids: kept where they are good, made where they are missing.

use rand::Rng;

use crate::watch::Trace;

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
            out.extend_from_slice(&digits(not_zero(rng)));
            // Versions to come may say more behind the flags; we speak version 00 and pass on what it knows.
            out.extend_from_slice(&value[52..LENGTH]);
            let start = out.len() - LENGTH;
            out[start..start + 2].copy_from_slice(b"00");
        }
        None => {
            let mut text = *b"00-ttttttttttttttttTTTTTTTTTTTTTTTT-pppppppppppppppp-01";
            text[3..19].copy_from_slice(&digits(rng.random()));
            text[19..35].copy_from_slice(&digits(not_zero(rng)));
            text[36..52].copy_from_slice(&digits(not_zero(rng)));
            if !sampled {
                text[54] = b'0';
            }
            out.extend_from_slice(&text);
        }
    }
}

/// The first part of a new trace that nobody records yet.
pub(crate) fn new_trace(rng: &mut impl Rng) -> Trace {
    Trace {
        trace: [digits(rng.random()), digits(not_zero(rng))]
            .concat()
            .try_into()
            .unwrap_or_default(),
        span: digits(not_zero(rng)),
        parent: [0; 16],
        sampled: false,
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
    out.extend_from_slice(&digits(rng.random()));
    out.extend_from_slice(&digits(rng.random()));
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

/// Zero is no id.
fn not_zero(rng: &mut impl Rng) -> u64 {
    rng.random::<u64>().max(1)
}

/// In hexadecimal.
fn digits(number: u64) -> [u8; 16] {
    let mut text = [0; 16];
    text[..8].copy_from_slice(&half((number >> 32) as u32));
    text[8..].copy_from_slice(&half(number as u32));
    text
}

/// All eight digits at once: every half byte gets a byte of its own, and those from ten on are moved up to the letters.
fn half(number: u32) -> [u8; 8] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let halves = u64::from(number);
    let halves = (halves | halves << 16) & 0x0000_ffff_0000_ffff;
    let halves = (halves | halves << 8) & 0x00ff_00ff_00ff_00ff;
    let halves = (halves | halves << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = ((halves + 6 * ONES) >> 4) & ONES;
    let distance = u64::from(b'a' - b'9' - 1);
    (halves + u64::from(b'0') * ONES + distance * letters).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn every_half_byte_is_its_digit() {
        for number in [0, 1, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, u64::MAX] {
            assert_eq!(digits(number), format!("{number:016x}").as_bytes());
        }
    }

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
