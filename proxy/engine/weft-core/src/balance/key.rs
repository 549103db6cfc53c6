//! The key of a request, whose like go to the same endpoint.

use super::hash;

/// A key, hashed: the same in every engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub(super) u64);

// === impl Key ===

impl Key {
    /// Of a value; none where it is empty.
    pub fn of(value: &[u8]) -> Option<Key> {
        (!value.is_empty()).then(|| Key(hash::of([value])))
    }

    /// Of the cookie of that name among the lines of a Cookie field, joined with `; ` or `, `; the first where there are
    /// several.
    pub fn of_cookie(lines: &[u8], name: &[u8]) -> Option<Key> {
        let mut pairs = lines.split(|byte| matches!(byte, b';' | b','));
        let value = pairs.find_map(|pair| value_of(pair.trim_ascii(), name))?;
        Key::of(value.trim_ascii())
    }

    /// Of the parameter of that name in a query, undecoded; the first where there are several.
    pub fn of_parameter(query: &[u8], name: &[u8]) -> Option<Key> {
        let mut pairs = query.split(|byte| *byte == b'&');
        Key::of(pairs.find_map(|pair| value_of(pair, name))?)
    }
}

fn value_of<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    pair.strip_prefix(name)?.strip_prefix(b"=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_and_parameters_are_found_by_their_whole_name() {
        let of = Key::of(b"7");
        for lines in ["sid=7", "a=1; sid=7", "xsid=1;sid=7 ; sid=8", "a=1, sid=7"] {
            assert_eq!(Key::of_cookie(lines.as_bytes(), b"sid"), of, "{lines}");
        }
        for lines in ["", "sid", "sid=", "sidx=7", "a=sid=7"] {
            assert_eq!(Key::of_cookie(lines.as_bytes(), b"sid"), None, "{lines}");
        }
        for query in ["u=7", "a=1&u=7", "xu=1&u=7&u=8"] {
            assert_eq!(Key::of_parameter(query.as_bytes(), b"u"), of, "{query}");
        }
        for query in ["", "u", "u=", "ux=7"] {
            assert_eq!(Key::of_parameter(query.as_bytes(), b"u"), None, "{query}");
        }
        assert_ne!(Key::of(b"7"), Key::of(b"8"));
    }
}
