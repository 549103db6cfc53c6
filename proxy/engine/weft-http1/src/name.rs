//! Finding a known field by its name in a few instructions: one table look-up, then a comparison word by word.

use crate::field::{FieldId, NAMED};

/// Setting this bit lowers the letters and changes no other byte of a known name.
const LOWER: u64 = 0x2020_2020_2020_2020;

const SLOTS: usize = 512;
const EMPTY: u8 = u8::MAX;

/// Chosen such that no two known names share a slot; the table does not compile otherwise.
const MULTIPLIER: u64 = 0x91b7_584a_2265_b1f5;

/// Slot to index in [`NAMED`].
const TABLE: [u8; SLOTS] = {
    let mut table = [EMPTY; SLOTS];
    let mut at = 0;
    while at < NAMED.len() {
        let slot = slot(NAMED[at].1.as_bytes());
        assert!(
            table[slot] == EMPTY,
            "two names share a slot: choose another multiplier"
        );
        table[slot] = at as u8;
        at += 1;
    }
    table
};

/// The known field of that name, a token in any case.
#[inline]
pub(crate) fn identify(name: &[u8]) -> FieldId {
    let found = TABLE[slot(name)];
    if let Some((id, known)) = NAMED.get(usize::from(found))
        && is_same(name, known.as_bytes())
    {
        return *id;
    }
    let word = first_word(name);
    if word << 8 == first_word(b"x-weft-?") << 8 && name.len() > 7 {
        FieldId::Weft
    } else if word == first_word(b"x-forwar")
        && name.len() > 12
        && is_same(&name[4..12], b"rwarded-")
    {
        FieldId::Forwarding
    } else {
        FieldId::Other
    }
}

/// Whether `name` is `known`, which is in lower case and shares its slot.
#[inline]
fn is_same(name: &[u8], known: &[u8]) -> bool {
    if name.len() != known.len() || first_word(name) != first_word(known) {
        return false;
    }
    match (name.last_chunk::<8>(), known.last_chunk::<8>()) {
        (Some(last), Some(known_last)) => {
            u64::from_le_bytes(*last) | LOWER == u64::from_le_bytes(*known_last)
                && (name.len() <= 16 || name[8..].eq_ignore_ascii_case(&known[8..]))
        }
        _ => true, // The word is all of it.
    }
}

#[inline]
const fn slot(name: &[u8]) -> usize {
    let mixed = (first_word(name) ^ name.len() as u64).wrapping_mul(MULTIPLIER);
    (mixed >> 55) as usize
}

/// The first eight bytes, or all of a shorter name, in lower case.
#[inline]
const fn first_word(name: &[u8]) -> u64 {
    let word = if let Some(first) = name.first_chunk::<8>() {
        u64::from_le_bytes(*first)
    } else if let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        u32::from_le_bytes(*first) as u64 | (u32::from_le_bytes(*last) as u64) << 32
    } else {
        match name {
            [a] => *a as u64,
            [a, b] => *a as u64 | (*b as u64) << 8,
            [a, b, c] => *a as u64 | (*b as u64) << 8 | (*c as u64) << 16,
            _ => 0,
        }
    };
    word | LOWER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case_and_nothing_near_it() {
        for (id, name) in NAMED {
            assert_eq!(identify(name.as_bytes()), *id);
            assert_eq!(identify(name.to_uppercase().as_bytes()), *id);
            for at in 0..name.len() {
                let mut near = name.as_bytes().to_vec();
                near[at] = if near[at] == b'q' { b'j' } else { b'q' };
                assert_ne!(identify(&near), *id, "{name} {at}");
            }
            assert_ne!(identify(&name.as_bytes()[1..]), *id);
            assert_ne!(identify(format!("{name}s").as_bytes()), *id);
        }
    }

    #[test]
    fn open_prefixes_are_found_in_any_case() {
        assert_eq!(identify(b"X-Weft-Anything"), FieldId::Weft);
        assert_eq!(identify(b"x-weft-a"), FieldId::Weft);
        assert_eq!(identify(b"x-weft-"), FieldId::Other);
        assert_eq!(identify(b"x-wefts-a"), FieldId::Other);
        assert_eq!(identify(b"X-FORWARDED-CLIENT-CERT"), FieldId::Forwarding);
        assert_eq!(identify(b"x-forwarded-"), FieldId::Other);
        assert_eq!(identify(b"x-forwardes-a"), FieldId::Other);
    }

    #[test]
    fn bytes_that_are_no_token_name_nothing() {
        assert_eq!(FieldId::from_name(b"content\rlength"), FieldId::Other);
        assert_eq!(FieldId::from_name(b""), FieldId::Other);
    }
}
