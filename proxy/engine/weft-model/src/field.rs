//! Which header fields may be edited by rules.

/// Fields that no rule may set, add or remove: they frame messages, route them or say who is who.
pub const PROTECTED: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Prefixes of such fields.
pub const PROTECTED_PREFIXES: &[&str] = &["x-forwarded-", "x-weft-"];

/// Whether no rule may touch a field of this lower-case name.
pub fn is_protected(name: &str) -> bool {
    PROTECTED.contains(&name)
        || PROTECTED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// A field name as rules write it: a token of RFC 9110 section 5.6.2 in lower case, without `_`.
pub fn is_name(name: &str) -> bool {
    (1..=256).contains(&name.len())
        && name.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^`|~".contains(&byte)
        })
}

/// A field value that can be sent as it is: visible ASCII, spaces and tabs inside only (RFC 9110 section 5.5).
pub fn is_value(value: &str) -> bool {
    value.len() <= 8192
        && value
            .bytes()
            .all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte))
        && value.trim_matches([' ', '\t']) == value
}

/// A method as the codec lets it through: upper-case letters and `-`, 20 bytes at most.
pub fn is_method(method: &str) -> bool {
    (1..=20).contains(&method.len())
        && method
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_identity_and_forwarding_fields_are_protected() {
        for name in [
            "host",
            "content-length",
            "transfer-encoding",
            "connection",
            "x-weft-caller",
            "x-forwarded-for",
            "forwarded",
        ] {
            assert!(is_protected(name), "{name}");
        }
        for name in ["server", "x-canary", "cookie", "authorization"] {
            assert!(!is_protected(name), "{name}");
        }
    }

    #[test]
    fn names_are_lower_case_tokens() {
        assert!(is_name("x-canary") && is_name("0.a"));
        for name in ["", "X-Canary", "a b", "a:", "a_b", "ä"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn values_cannot_end_a_line_or_be_trimmed_by_a_reader() {
        assert!(is_value("") && is_value("a b") && is_value("a\tb"));
        for value in ["a\r\nb: c", "a\n", " a", "a ", "\u{7f}", "\0", "ä"] {
            assert!(!is_value(value), "{value:?}");
        }
    }
}
