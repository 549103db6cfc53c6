//! Paths: which are ambiguous, and what is done about them.
//!
//! Two readers of `/a/../admin` or `/a//b` may see different resources, and a rule that looks at one of them would guard
//! the other not at all. So, wherever a rule looks at the path, an ambiguous one is made plain once at a gateway and
//! refused between services, and `%2f`, `%5c` and `%00` pass only where the chosen rule permits them. Where nothing
//! looks, the path passes as it came (RFC 9110 section 7.7).

use std::borrow::Cow;

/// What is unusual about a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// A segment `.` or `..`, `%2e` counting as `.`; or an empty segment (`//`) other than the last.
    pub ambiguous: bool,
    /// `%2f`, `%5c` or `%00`, in either case.
    pub encoded: bool,
}

/// Where a path is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At a gateway, for a client of any kind.
    Gateway,
    /// Between services.
    Mesh,
}

/// Why a path is refused, always as `bad_request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Dot segments or `//` between services.
    Ambiguous,
    /// `%2f`, `%5c` or `%00` where the rule does not permit them.
    Encoded,
}

/// The shape of a path, query excluded. One pass, no allocation.
pub fn classify(path: &str) -> Shape {
    let bytes = path.as_bytes();
    let mut shape = Shape {
        ambiguous: false,
        encoded: percents(bytes).any(is_hidden),
    };
    let body = bytes.strip_prefix(b"/").unwrap_or(bytes);
    let mut segments = body.split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        shape.ambiguous |= is_dots(segment) || segment.is_empty() && !last;
    }
    shape
}

/// The path rules shall look at, before route and Access: itself, its plain form at a gateway, or refused. `looked`:
/// whether any rule of the service or gateway looks at paths at all.
pub fn admit(path: &str, looked: bool, place: Place) -> Result<Cow<'_, str>, Refused> {
    if !looked || !classify(path).ambiguous {
        return Ok(Cow::Borrowed(path));
    }
    match place {
        Place::Gateway => Ok(Cow::Owned(normalise(path))),
        Place::Mesh => Err(Refused::Ambiguous),
    }
}

/// After the route is chosen: whether its path may carry `%2f`, `%5c` and `%00`. `permitted`: what the chosen rule says.
pub fn admit_encoded(path: &str, looked: bool, permitted: bool) -> Result<(), Refused> {
    if looked && !permitted && path.contains('%') && classify(path).encoded {
        return Err(Refused::Encoded);
    }
    Ok(())
}

/// Dot segments removed as in RFC 3986 section 5.2.4 (`%2e` counting as `.`), `//` made `/`; nothing else changes, and a
/// second time changes nothing.
pub fn normalise(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut directory = true;
    for segment in path.split('/') {
        directory = true;
        match dots(segment.as_bytes()) {
            Some(1) => {}
            Some(_) => drop(kept.pop()),
            None if segment.is_empty() => {}
            None => {
                kept.push(segment);
                directory = false;
            }
        }
    }
    let mut plain = String::with_capacity(path.len() + 1);
    for segment in &kept {
        plain.push('/');
        plain.push_str(segment);
    }
    if directory {
        plain.push('/');
    }
    plain
}

/// What follows each percent sign, the sign included.
fn percents(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    (0..bytes.len())
        .filter(|at| bytes[*at] == b'%')
        .map(|at| &bytes[at..])
}

fn is_hidden(at: &[u8]) -> bool {
    matches!(
        at,
        [b'%', b'2', b'f' | b'F', ..] | [b'%', b'5', b'c' | b'C', ..] | [b'%', b'0', b'0', ..]
    )
}

fn is_dots(segment: &[u8]) -> bool {
    dots(segment).is_some()
}

/// How many dots a segment consists of, if one or two and nothing else.
fn dots(mut segment: &[u8]) -> Option<usize> {
    let mut count = 0;
    while !segment.is_empty() {
        segment = match segment {
            [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
            _ => return None,
        };
        count += 1;
    }
    matches!(count, 1 | 2).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_ambiguous_where_two_readers_may_differ() {
        for (path, ambiguous, encoded) in [
            ("/", false, false),
            ("/a/b/", false, false),
            ("/a.b/..c/d..", false, false),
            ("/...", false, false),
            ("/.well-known/x", false, false),
            ("/.", true, false),
            ("/a/..", true, false),
            ("/a/./b", true, false),
            ("/%2e%2E/b", true, false),
            ("/.%2e", true, false),
            ("//", true, false),
            ("/a//b", true, false),
            ("/a%2fb", false, true),
            ("/a%5Cb", false, true),
            ("/a%00", false, true),
            ("/a%20b", false, false),
            ("/%2e%2f", false, true),
            ("/a/%2", false, false),
        ] {
            assert_eq!(classify(path), Shape { ambiguous, encoded }, "{path}");
        }
    }

    #[test]
    fn a_gateway_makes_a_path_plain() {
        for (path, plain) in [
            ("/a/../b", "/b"),
            ("/../../b", "/b"),
            ("/a/./b/", "/a/b/"),
            ("/a//b", "/a/b"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/%2e%2e/x%2fy", "/x%2fy"),
            ("//", "/"),
        ] {
            assert_eq!(normalise(path), plain, "{path}");
            assert_eq!(admit(path, true, Place::Gateway).as_deref(), Ok(plain));
            assert_eq!(admit(path, true, Place::Mesh), Err(Refused::Ambiguous));
            assert_eq!(admit(path, false, Place::Mesh).as_deref(), Ok(path));
        }
    }

    #[test]
    fn encoded_slashes_pass_only_where_permitted_or_not_looked_at() {
        assert_eq!(admit_encoded("/a%2fb", true, false), Err(Refused::Encoded));
        assert_eq!(admit_encoded("/a%2fb", true, true), Ok(()));
        assert_eq!(admit_encoded("/a%2fb", false, false), Ok(()));
        assert_eq!(admit_encoded("/a%20b", true, false), Ok(()));
    }

    proptest! {
        #[test]
        fn what_was_made_plain_is_plain(path in "(/([a.]{0,3}|%2e|%2E|%2f))+") {
            let plain = normalise(&path);
            prop_assert!(!classify(&plain).ambiguous, "{} became {}", path, plain);
            prop_assert_eq!(normalise(&plain), plain);
        }

        #[test]
        fn a_plain_path_stays_as_it_is(path in "(/[a-z%0-9.]{1,5})+/?") {
            if !classify(&path).ambiguous {
                prop_assert_eq!(normalise(&path), path);
            }
        }
    }
}
