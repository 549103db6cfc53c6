//! The called engine's first byte: go, or why not.
//!
//! 0 is go. Any other number is one more than the reason's place in the list of reasons, which only ever grows at its end.

use weft_core::reason::{ALL, Reason};

/// Bytes may flow.
pub(super) const GO: u8 = 0;

/// What to say instead.
pub(super) fn refusal(reason: Reason) -> u8 {
    let place = ALL.iter().position(|known| *known == reason);
    place
        .and_then(|place| u8::try_from(place + 1).ok())
        .unwrap_or(u8::MAX)
}

/// What was said; a reason of a newer engine is taken as `internal`.
pub(super) fn parse(byte: u8) -> Result<(), Reason> {
    match byte.checked_sub(1) {
        None => Ok(()),
        Some(place) => Err(ALL
            .get(usize::from(place))
            .copied()
            .unwrap_or(Reason::Internal)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_reads_back_and_none_is_go() {
        assert_eq!(parse(GO), Ok(()));
        for reason in ALL {
            assert_eq!(parse(refusal(reason)), Err(reason));
        }
        assert_eq!(parse(u8::MAX), Err(Reason::Internal));
    }
}
