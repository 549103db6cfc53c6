//! Amounts as people write them: `16KiB`, `1500ms`.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

/// Bytes: a number, or a text with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) u64);

/// A length of time: a text with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Length(pub(crate) Duration);

const SIZES: [(&str, u64); 6] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("B", 1),
];

/// In milliseconds.
const LENGTHS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

// === impl Size ===

impl Size {
    /// As memory counts them.
    pub(crate) fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// As a window of HTTP/2 counts them.
    pub(crate) fn window(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX >> 1)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => {
                write!(f, "{}MiB", bytes >> 20)
            }
            bytes if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => {
                write!(f, "{}KiB", bytes >> 10)
            }
            bytes => write!(f, "{bytes}B"),
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes, like 16384 or \"16KiB\"")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Size, E> {
                let count = u64::try_from(value);
                count
                    .map(Size)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Size, E> {
                Ok(Size(value))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                let found = amount(text, &SIZES);
                found
                    .map(Size)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

// === impl Length ===

impl Length {
    pub(super) const fn seconds(count: u64) -> Self {
        Self(Duration::from_secs(count))
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        for (unit, size) in LENGTHS.iter().rev() {
            if millis >= u128::from(*size) && millis.is_multiple_of(u128::from(*size)) {
                return write!(f, "{}{unit}", millis / u128::from(*size));
            }
        }
        write!(f, "{millis}ms")
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Length;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time with its unit, like \"10s\" or \"250ms\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Length, E> {
                let found = amount(text, &LENGTHS).map(Duration::from_millis);
                found
                    .map(Length)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

/// A whole number and one of the units.
fn amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, size) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_a_whole_number_with_a_known_unit() {
        for (text, expected) in [
            ("16KiB", Some(16 << 10)),
            ("2kB", Some(2_000)),
            ("7B", Some(7)),
            ("7", None),
            ("KiB", None),
            ("1.5KiB", None),
            ("1 KiB", None),
            ("-1KiB", None),
            ("99999999999999999999KiB", None),
            ("999999999999999999GiB", None),
        ] {
            assert_eq!(amount(text, &SIZES), expected, "{text}");
        }
        assert_eq!(amount("10s", &LENGTHS), Some(10_000));
        assert_eq!(amount("10", &LENGTHS), None);
    }

    #[test]
    fn amounts_are_shown_as_they_are_written() {
        for text in ["16KiB", "3MiB", "1000B"] {
            assert_eq!(
                amount(text, &SIZES)
                    .map(|size| Size(size).to_string())
                    .as_deref(),
                Some(text)
            );
        }
        for text in ["250ms", "10s", "90m", "2h"] {
            let length = amount(text, &LENGTHS).map(Duration::from_millis);
            assert_eq!(
                length.map(|length| Length(length).to_string()).as_deref(),
                Some(text)
            );
        }
    }
}
